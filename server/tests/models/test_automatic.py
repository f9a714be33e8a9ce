"""Everything in an image with small random networks."""

from pathlib import Path

import numpy as np
import pytest
from sam_cases import image
from sam_folders import CACHE, write_model

from maskery.models.sam.model import load
from maskery.segmentation import AutomaticOptions, Size, segment_everything

SIZE = Size(120, 90)


@pytest.mark.parametrize("architecture", ["sam", "sam_hq"])
def test_everything_a_random_network_finds_is_one_mask_and_the_same_each_time(
    architecture: str, tmp_path: Path
) -> None:
    write_model(tmp_path, architecture)
    model = load("team/small", tmp_path, "r", "f32", cache=CACHE)
    options = AutomaticOptions(8, pred_iou_threshold=0, stability_threshold=0, nms_iou=0.95, min_area=5)
    first, second = (segment_everything(model, model.encode(image(SIZE)), options.resolve(model)) for _ in range(2))
    (mask,) = first.masks
    assert mask.values is not None
    assert mask.segments
    assert [each.value for each in mask.segments] == list(range(1, len(mask.segments) + 1))
    # Every pixel of the mask belongs to one segment, and every segment has the pixels that it reports.
    assert [each.area for each in mask.segments] == np.bincount(mask.values.ravel())[1:].tolist()
    assert all(each.area >= 5 for each in mask.segments)
    assert first.usage == second.usage
    assert first.usage.output_tokens == 3 * 64
    np.testing.assert_array_equal(mask.values, second.masks[0].values)
