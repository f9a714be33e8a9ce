"""X-AnyLabeling: the protocol of its remote server, which turns points and rectangles into polygons.

As of `anylabeling/services/auto_labeling/remote_server.py` in X-AnyLabeling 4.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from maskery.bridges.outlines import outlines
from maskery.bridges.prompts import to_prompt
from maskery.engine import Prompt
from maskery.segmentation import PromptError, Segmentation

# The tools that the application shows for a model, with their initial values.
_WIDGETS = {
    "button_add_point": None,
    "button_remove_point": None,
    "button_add_rect": None,
    "button_clear": None,
    "button_finish_object": None,
    "mask_fineness_slider": 10,
    "mask_fineness_value_label": None,
}

# The label that the application replaces by the user's.
_LABEL = "AUTOLABEL_OBJECT"


class Mark(BaseModel):
    """A point [x, y] or a rectangle [x, y, x, y], in pixels; the label of a point is 1 (on the object) or 0."""

    type: Literal["point", "rectangle"]
    data: list[float]
    label: int = 1


class Params(BaseModel):
    """Options of a prediction.

    Attributes:
        epsilon_factor: share of an outline's length by which a polygon may differ from it.
    """

    marks: list[Mark] = []
    epsilon_factor: Annotated[float, Field(ge=0, le=1)] = 0.001
    text_prompt: str | None = None


class Prediction(BaseModel):
    """A request to segment an image.

    Attributes:
        image: the image's file in base64, as a data: URL.
    """

    model: str
    image: str
    params: Params = Params()

    def prompt(self) -> Prompt | None:
        """One object per rectangle, or one object of all points; None: there are no marks.

        Raises:
            PromptError: the prompt is text, or a rectangle is negative.
        """
        marks = self.params.marks
        if self.params.text_prompt and not marks:
            raise PromptError("text_prompt: models of Maskery take points and rectangles, no text", "text_prompt")
        points = [mark for mark in marks if mark.type == "point"]
        boxes = [mark for mark in marks if mark.type == "rectangle"]
        if any(box.label != 1 for box in boxes):
            raise PromptError("marks: a rectangle is around the object, so its label is 1", "marks")
        if not marks:
            return None
        return to_prompt([mark.data for mark in points], [mark.label for mark in points], [box.data for box in boxes])


def describe(models: Iterable[str]) -> dict[str, Any]:
    """The list of models, by name."""
    return {"success": True, "data": {model: _description(model) for model in models}}


def _description(model: str) -> dict[str, Any]:
    return {
        "display_name": model,
        "widgets": [{"name": name, "value": value} for name, value in _WIDGETS.items()],
        "params": {},
        # The application hides models that have other capabilities than its own widgets.
        "capabilities": {},
        # Every image needs its own marks, so there is nothing to run on all images of a folder.
        "batch_processing_mode": None,
    }


def to_answer(segmentation: Segmentation | None, epsilon_factor: float = 0.0) -> dict[str, Any]:
    """The polygons of all objects; none without a segmentation."""
    segments = segmentation.masks[0].segments if segmentation else ()
    shapes = [
        {
            "label": _LABEL,
            "shape_type": "polygon",
            "points": [*outline.tolist(), outline[0].tolist()],
            "score": min(max(segment.score, 0.0), 1.0),
        }
        for segment in segments
        for outline in outlines(segment, epsilon_factor)
    ]
    return {"success": True, "data": {"shapes": shapes, "description": "", "replace": False}}
