"""Whatever a tool sends becomes a prompt, or an error that names the field."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from maskery.bridges.cvat import Invocation
from maskery.bridges.label_studio import Prediction, RegionPrompt, find_output
from maskery.bridges.x_anylabeling import Prediction as RemotePrediction
from maskery.segmentation import PromptError, PromptLimits, Size

SIZE = Size(96, 64)
OUTPUT = find_output('<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i"/></View>')

numbers = st.one_of(
    st.integers(-200, 200), st.floats(0, 100), st.floats(), st.integers(), st.just(10**400), st.booleans(), st.none()
)
scalars = st.one_of(numbers, st.text(max_size=5))
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))
points = st.lists(st.lists(numbers, max_size=3) | values, max_size=4)

regions = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["keypointlabels", "rectanglelabels", "brushlabels", "keypoint", "brush", "ellipse"]),
        "value": st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("x", "y", "width", "height", "rotation", "rle"), numbers | values)
            | dict.fromkeys(("labels", "keypointlabels", "rectanglelabels", "brushlabels"), values),
        ),
    },
    optional={"is_positive": st.booleans() | values, "to_name": values, "image_rotation": numbers},
)


def read(kind: type[BaseModel], fields: Any) -> Any:
    return kind.model_validate_json(json.dumps(fields))


@given(st.lists(regions, max_size=4))
def test_regions_of_label_studio(drawn: list[Any]) -> None:
    with suppress(ValidationError, PromptError):
        body = {"tasks": [], "params": {"context": {"result": drawn}}}
        prompt = RegionPrompt.of(read(Prediction, body).regions, OUTPUT)
        assert len(prompt.check(SIZE, PromptLimits())) == len(prompt.labels_by_object)


@given(points, points, points | st.none())
def test_clicks_of_cvat(positive: Any, negative: Any, box: Any) -> None:
    with suppress(ValidationError, PromptError):
        fields = {"image": "", "pos_points": positive, "neg_points": negative, "obj_bbox": box}
        assert len(read(Invocation, fields).prompt().check(SIZE, PromptLimits())) == 1


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["point", "rectangle"]), "data": st.lists(numbers, max_size=5) | values},
            optional={"label": values},
        )
    )
)
def test_marks_of_x_anylabeling(marks: Any) -> None:
    with suppress(ValidationError, PromptError):
        fields = {"model": "", "image": "", "params": {"marks": marks}}
        prompt = read(RemotePrediction, fields).prompt()
        boxes = sum(mark["type"] == "rectangle" for mark in marks)
        assert prompt is None or len(prompt.check(SIZE, PromptLimits())) == max(1, boxes)


@given(st.text(max_size=60) | st.sampled_from(["<View/>", "<a", "<!--", "<View><Image/></View>", "<?xml?><View/>"]))
def test_labelling_configurations(text: str) -> None:
    with suppress(PromptError):
        find_output(text)
