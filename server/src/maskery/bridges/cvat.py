"""CVAT: its server calls models as functions of Nuclio; an interactor turns clicks into a mask.

As of `cvat/apps/lambda_manager/views.py` (the requests) and `tools-control.tsx` (the use of the answer) in CVAT 2.
"""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from maskery.bridges.outlines import outlines
from maskery.bridges.prompts import to_prompt
from maskery.engine import Prompt
from maskery.segmentation import PromptError, Segmentation

#: The header that names the function to call.
FUNCTION_HEADER = "x-nuclio-function-name"


class Invocation(BaseModel):
    """A call of an interactor.

    Attributes:
        image: the frame's file in base64.
        pos_points, neg_points: [x, y] in pixels of the frame, on the object and not on it.
        obj_bbox: two opposite corners of a box around the object, or nothing.
    """

    image: str
    pos_points: list[list[float]]
    neg_points: list[list[float]]
    obj_bbox: list[list[float]] | None = None

    def prompt(self) -> Prompt:
        """One object.

        Raises:
            PromptError: the box is not two corners.
        """
        labels = [1] * len(self.pos_points) + [0] * len(self.neg_points)
        corners = self.obj_bbox or []
        if len(corners) not in (0, 2):
            raise PromptError(f"obj_bbox has {len(corners)} corners; a box is two corners [x, y]", "obj_bbox")
        boxes = [[*corners[0], *corners[1]]] if corners else []
        return to_prompt([*self.pos_points, *self.neg_points], labels, boxes)


def function_id(model: str) -> str:
    """A model's id as a function; CVAT accepts letters, digits and `_.-` only."""
    return model.replace("/", ".")


def functions(models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The models as functions of Nuclio, by id."""
    return {function_id(model): _function(model) for model in models}


def _function(model: str) -> dict[str, Any]:
    annotations = {
        "name": model,
        "type": "interactor",
        "version": "2",
        "spec": "",
        "min_pos_points": "0",
        "min_neg_points": "0",
        # CVAT reads any text as true, so `startswith_box`, which makes the box mandatory, must be left out.
        "startswith_box_optional": "true",
        "help_message": "Click on the object; a right click marks what is not on it. A box may come first.",
    }
    return {
        "metadata": {"name": function_id(model), "annotations": annotations},
        "spec": {"description": f"{model}, served by Maskery"},
        "status": {"state": "ready", "httpPort": 0},
    }


def write_answer(segmentation: Segmentation) -> bytes:
    """The JSON of an answer: the mask within its bounding box, that box, and the largest part's outline."""
    segment = segmentation.masks[0].segments[0]
    if not segment.area:
        return b'{"mask":[[0]],"points":[],"bounds":[0,0,0,0]}'
    x0, y0, x1, y1 = segment.region
    points = json.dumps(outlines(segment)[0].tolist()).encode()
    bounds = json.dumps([x0, y0, x1 - 1, y1 - 1]).encode()
    rows = _rows(segment.pixels(segment.region))
    return b"".join([b'{"mask":[', rows, b'],"points":', points, b',"bounds":', bounds, b"}"])


def _rows(mask: NDArray[np.bool_]) -> bytes:
    """The rows of a mask as JSON lists of 0 and 255. Numbers of equal width let numpy write them all at once."""
    height, width = mask.shape
    numbers = np.where(mask[..., None], np.frombuffer(b"255,", np.uint8), np.frombuffer(b"  0,", np.uint8))
    text = np.empty((height, 4 * width + 2), np.uint8)
    text[:, 0] = ord("[")
    text[:, 1:-1] = numbers.reshape(height, 4 * width)
    # The comma after a row's last number moves behind the row.
    text[:, -2:] = ord("]"), ord(",")
    return text.tobytes()[:-1]
