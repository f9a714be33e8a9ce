"""The parts of training that need no PyTorch: what is learned from, and who clicks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from training.clicks import Prompt, anywhere_off, careless_mask, correction, first_click, loose_box
from training.data import Library, NoData, Photo, open_data, read_library, split
from training.geometry import view, warp
from training.pack import pack
from training.scenes import Scenes
from training.schedules import SCHEDULES
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


@pytest.fixture
def disc() -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    cv2.circle(mask, (30, 34), 14, 1, -1)
    return mask


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


def test_a_command_without_its_data_ends_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cv2.setNumThreads", lambda _: None)
    with pytest.raises(SystemExit, match="2"):
        open_data(tmp_path / "nowhere")
    assert "there is no folder" in capsys.readouterr().err


def test_nothing_is_both_learned_from_and_held_out(data: Path) -> None:
    library = read_library(data)
    library.photos.append(Photo("fruit/1.jpg", library.photos[0].pixels, library.photos[0].things))
    learned, held = split(library)
    names = [{photo.name for photo in each.photos} for each in (learned, held)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 21
    assert "fruit/1.jpg" in names[1]


def test_a_pack_is_read_like_the_data_itself(data: Path, tmp_path: Path) -> None:
    assert pack(data, tmp_path / "small", side=60, quality=80) > 0
    small, large = read_library(tmp_path / "small"), read_library(data, longest=60)
    assert [photo.name for photo in small.photos] == [photo.name for photo in large.photos]
    assert len(small.cutouts) == 2
    for mine, theirs in zip(small.photos[0].things, large.photos[0].things, strict=True):
        np.testing.assert_array_equal(mine.mask(), theirs.mask())


def test_scenes_show_what_they_say(data: Path) -> None:
    scenes = Scenes(read_library(data))
    for seed in range(30):
        scene = scenes.draw(np.random.default_rng(seed), 64)
        assert scene.pixels.shape == (64, 64, 3)
        assert scene.pixels.dtype == np.uint8
        assert scene.targets
        for target in scene.targets:
            assert target.whole.shape == (64, 64)
            assert 0 < target.whole.mean() < 0.95
            assert set(np.unique(target.whole)) <= {0, 1}


def test_the_same_seed_makes_the_same_scene(data: Path) -> None:
    library = read_library(data)
    first, again = (Scenes(library).draw(np.random.default_rng(5), 64) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, again.pixels)


def test_invented_things_are_made_of_their_parts(data: Path) -> None:
    sprites = Sprites(read_library(data))
    seen = 0
    for seed in range(20):
        sprite = sprites.invented(np.random.default_rng(seed))
        if sprite.parts:
            seen += 1
            np.testing.assert_array_equal(np.sum(sprite.parts, axis=0), sprite.pixels[:, :, 3] > 127)
    assert seen > 5


def test_things_are_not_drawn_from_a_library_without_cutouts(data: Path) -> None:
    library = read_library(data)
    scene = Scenes(Library(library.photos), composites=1.0).draw(np.random.default_rng(0), 64)
    assert scene.targets


def test_a_view_puts_the_box_on_the_canvas() -> None:
    pixels = np.zeros((60, 80), np.uint8)
    pixels[20:40, 30:50] = 255
    shown = warp(pixels, view((30, 20, 50, 40), 40), 40)
    assert shown[2:-2, 2:-2].min() == 255
    wider = warp(pixels, view((20, 10, 60, 50), 40), 40)
    assert wider[10:30, 10:30].mean() > 250
    assert wider[:9].max() == 0


def test_the_first_click_is_on_the_object(disc: np.ndarray) -> None:
    for seed in range(30):
        x, y, label = first_click(disc, np.random.default_rng(seed))
        assert disc[y, x] == label == 1


def test_a_correction_is_where_the_answer_is_wrong(disc: np.ndarray) -> None:
    random = np.random.default_rng(0)
    missing, excess = disc.copy(), disc.copy()
    missing[:, :30] = 0
    excess[:20] = 1
    x, y, label = correction(disc, missing, random) or (0, 0, -1)
    assert (label, disc[y, x], missing[y, x]) == (1, 1, 0)
    x, y, label = correction(disc, excess, random) or (0, 0, -1)
    assert (label, disc[y, x], excess[y, x]) == (0, 0, 1)
    assert correction(disc, disc, random) is None


def test_other_prompts_are_about_the_object(disc: np.ndarray) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        x0, y0, x1, y1 = loose_box(disc, random)
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 64
        assert disc[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1].sum() > 0.5 * disc.sum()
        x, y, label = anywhere_off(disc, random) or (30, 34, 1)
        assert disc[y, x] == label == 0
        assert careless_mask(disc, random).any()


def test_only_a_single_click_is_ambiguous() -> None:
    assert Prompt([(1, 1, 1)]).ambiguous
    assert not Prompt([(1, 1, 1), (2, 2, 0)]).ambiguous
    assert not Prompt([(1, 1, 1)], box=(0, 0, 2, 2)).ambiguous
    assert not Prompt([(1, 1, 1)], drawn=True).ambiguous


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_rise_and_fall(name: str) -> None:
    schedule = SCHEDULES[name]
    assert 0 < schedule.rate(0) <= schedule.rate(schedule.warmup) == 1
    assert schedule.rate(schedule.steps - 1) <= 0.01
    sides = [stage.side for stage in schedule.stages]
    assert sides == sorted(sides)
    assert all(side % 16 == 0 for side in sides)
    assert schedule.stage(schedule.steps - 1) is schedule.stages[-1]
