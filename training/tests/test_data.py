"""Photos, masks and cut-outs as they are read, and generated objects."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from training.data import NoData, read_library
from training.sprites import Sprites

# pycocotools decodes masks in a way that numpy 2 is about to forbid.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty images of a person with a shirt, and two cut-outs."""
    random = np.random.default_rng(0)
    folder = tmp_path / "data"
    images, annotations = [], []
    (folder / "clothing" / "images").mkdir(parents=True)
    for index in range(20):
        person = np.zeros((120, 90), np.uint8)
        cv2.ellipse(person, (45, 60), (25, 45), 0, 0, 360, 1, -1)
        shirt = person.copy()
        shirt[:40] = shirt[80:] = 0
        pixels = random.integers(0, 90, (120, 90, 3), dtype=np.uint8)
        pixels[person > 0] += np.array((120, 60, 20), np.uint8)
        cv2.imwrite(str(folder / "clothing" / "images" / f"{index}.jpg"), pixels)
        images.append({"id": index, "file_name": f"{index}.jpg", "width": 90, "height": 120})
        for category, mask in ((1, person), (2, shirt)):
            rle = coco_mask.encode(np.asfortranarray(mask))
            stored = {"size": rle["size"], "counts": rle["counts"].decode()}
            annotations.append({"image_id": index, "category_id": category, "segmentation": stored})
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "shirt"}]
    listing = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "clothing" / "annotations.json").write_text(json.dumps(listing))
    (folder / "cutouts" / "drawn").mkdir(parents=True)
    for name in "ab":
        cutout = random.integers(0, 256, (50, 40, 4), dtype=np.uint8)
        cutout[:, :, 3] = np.where(np.arange(40) < 30, 255, 0)
        cv2.imwrite(str(folder / "cutouts" / "drawn" / f"{name}.webp"), cutout)
    return folder


def test_things_know_their_parts(data: Path) -> None:
    library = read_library(data)
    assert len(library.photos) == 20
    assert len(library.cutouts) == 2
    person, shirt = library.photos[0].things
    assert (person.whole, person.parts) == (True, (1,))
    assert not shirt.whole
    assert person.mask().sum() == person.area > shirt.area


def test_photos_are_shrunk_together_with_their_masks(data: Path) -> None:
    photo = read_library(data, longest=60).photos[0]
    assert photo.pixels.shape[:2] == photo.things[0].mask().shape == (60, 45)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="there is no folder"):
        read_library(tmp_path / "nowhere")
    with pytest.raises(NoData, match="holds no"):
        read_library(tmp_path)


def test_invented_things_are_made_of_their_parts(data: Path) -> None:
    sprites = Sprites(read_library(data))
    seen = 0
    for seed in range(20):
        sprite = sprites.invented(np.random.default_rng(seed))
        if sprite.parts:
            seen += 1
            np.testing.assert_array_equal(np.sum(sprite.parts, axis=0), sprite.pixels[:, :, 3] > 127)
    assert seen > 5
