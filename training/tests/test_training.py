"""The second generation of the network and its training; skipped where PyTorch is not installed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from training import clicks  # noqa: E402
from training.bank import Bank, from_runs, runs  # noqa: E402
from training.evaluate import Case, next_click, pack, packed_cases  # noqa: E402
from training.fold import Encoded, Folder, Prompt, Settings  # noqa: E402
from training.judge import EVIDENCE  # noqa: E402 - only with PyTorch
from training.losses import loss  # noqa: E402
from training.network import Nano, Widths  # noqa: E402
from training.optimiser import Muon, orthogonal  # noqa: E402
from training.planes import opponent, prompt_planes  # noqa: E402
from training.rounds import LOCAL, Rounds, Shape  # noqa: E402
from training.scenes import Renderer, SceneSampler  # noqa: E402
from training.scores import Photographs, of_photos, save_evidence  # noqa: E402
from training.scores import main as fit_scores  # noqa: E402
from training.train import SamplerPool, main  # noqa: E402
from training.weights import load, save  # noqa: E402

SMALL = Widths(half=8, quarter=8, eighth=16, sixteenth=16, deepest=16, before=1, inside=1, after=1, encoder=1)


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Three photos of a bright square with a part, and a disc of two labels."""
    random = np.random.default_rng(0)
    photos = random.integers(0, 80, (3, 3, 384, 384), dtype=np.uint8)
    masks = np.zeros((6, 384, 384), np.uint8)
    masks[0::2, 100:260, 80:240], masks[1::2, 100:160, 80:240] = 255, 255
    photos[:, :, 100:260, 80:240] += np.uint8(120)
    y, x = np.mgrid[-1:1:192j, -1:1:192j]
    sprite = np.full((1, 4, 192, 192), 255, np.uint8)
    sprite[0, 3] = (x**2 + y**2 < 1) * np.uint8(255)
    boxes = np.array([(80, 100, 160, 160), (80, 100, 160, 60)] * 3)
    parts = np.full((6, 6), -1)
    parts[0::2, 0] = (1, 3, 5)
    return Bank(
        photos, np.full((3, 2), 384), np.array(["animals", "food", "underwater"]), masks, np.repeat(np.arange(3), 2),
        boxes, boxes[:, 2] * boxes[:, 3], np.array([True, False] * 3), parts, sprite,
        ((sprite[:, 3] > 0) * (1 + (x > 0))[None]).astype(np.uint8), np.array([[192, 192]]),
        (sprite[:, 3] > 0).sum((1, 2)), np.array(["fluent"]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, untrained."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save(path, Nano(SMALL))
    return path


@pytest.fixture
def image() -> NDArray[np.uint8]:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    pixels[30:90, 40:110] = (200, 40, 40)
    return pixels


def test_a_mask_comes_back_from_its_runs() -> None:
    mask = (np.random.default_rng(0).random((7, 9)) > 0.5).astype(np.uint8)
    assert (from_runs(runs(mask), 7, 9) == mask * 255).all()


def test_the_widths_that_ship_fit_ten_megabytes_in_half_precision() -> None:
    network = Nano()
    shipped = sum(each.numel() for part in (network.encoder, network.decoder) for each in part.state_dict().values())
    assert 2 * shipped < 10e6


def test_the_same_recipes_give_the_same_scenes_and_targets_lie_on_their_objects(bank: Bank) -> None:
    sampler, renderer = SceneSampler(bank), Renderer(bank, torch.device("cpu"))
    specs = [sampler.draw(np.random.default_rng((3, index)), 64) for index in range(24)]
    one, two = (renderer.render(specs, 64, np.random.default_rng(1)) for _ in range(2))
    shown = one.weights[:, 0] > 0
    assert shown.sum() > 12
    # Noise and exposure come from the device's own randomness and the given one; the truth does not.
    assert torch.equal(one.meant, two.meant)
    assert torch.equal(one.whole, two.whole)
    assert (one.meant[shown].int() <= one.whole[shown].int() + 1).all()


def test_the_deepest_place_is_in_the_middle_and_the_border_is_an_edge() -> None:
    region = torch.zeros(1, 32, 32, dtype=torch.bool)
    region[0, 4:19, 0:15] = True
    depths = clicks.depth(region)[0]
    assert depths[11, 7] == depths.max() == 8
    assert depths[11, 0] == 1
    assert (depths[~region[0]] == 0).all()


def test_a_correction_goes_into_the_larger_error() -> None:
    mask, answer = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    mask[0, 8:40, 8:40], answer[0, 8:40, 8:20], answer[0, 50:60, 50:60] = True, True, True
    place, label, there = clicks.corrections(mask, answer, torch.tensor([0.99]))
    x, y = (place[0] * 64).tolist()
    assert there.item()
    assert label.item() == 1
    assert 20 < x < 40
    assert 8 < y < 40


def test_a_loose_box_without_slack_is_tight() -> None:
    mask = torch.zeros(1, 50, 100, dtype=torch.bool)
    mask[0, 10:20, 30:70] = True
    assert torch.allclose(clicks.boxes(mask, torch.zeros(1, 4)), torch.tensor([[0.3, 0.2, 0.7, 0.4]]))


def test_planes_mark_clicks_box_and_the_newest_click() -> None:
    colours = opponent(torch.full((1, 3, 64, 64), 128.0))
    planes = prompt_planes(
        colours, torch.tensor([[(4.5, 4.5), (10.5, 2.5)]]), torch.tensor([[1, 0]]), torch.tensor([1]),
        torch.tensor([[2.0, 2.0, 8.0, 8.0]]), torch.tensor([True]), torch.tensor([False]), torch.tensor([True]),
    )[0]  # fmt: skip
    assert planes.shape == (10, 16, 16)
    assert planes[0].argmax() == 4 * 16 + 4
    assert planes[1].argmax() == 2 * 16 + 10
    assert planes[8].min() == planes[8][2, 10] == -1
    assert planes[6][5, 5] == 1
    assert planes[6][12, 12] == -1
    assert (planes[7] == 0).all()
    assert (planes[9] == 1).all()
    # All of one colour: everything is like what was clicked.
    assert torch.allclose(planes[4], torch.ones(16, 16), atol=1e-3)


def test_muon_steps_are_orthogonal_whatever_the_batch_of_shapes() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 8, 20)).float())
    assert (values > 0.5).all()
    assert (values < 1.4).all()
    weights = [torch.nn.Parameter(torch.randn(8, 2, 3, 3)) for _ in range(2)]
    before = [each.detach().clone() for each in weights]
    sum(each.square().sum() for each in weights).backward()  # type: ignore[union-attr]
    Muon(weights, torch.tensor(0.1)).step()
    assert all((each.norm() < old.norm()).item() for each, old in zip(weights, before, strict=True))


def test_a_part_that_was_meant_teaches_the_nearer_of_the_other_candidates() -> None:
    meant, whole = torch.zeros(2, 1, 16, 16)
    whole[0, 2:14, 2:14], meant[0, 2:8, 2:8] = 1, 1
    good = torch.stack([whole, meant, meant], 1) * 16 - 8
    bad = torch.stack([meant, whole, whole], 1) * 16 - 8
    single, weight, focus = torch.tensor([True]), torch.ones(1, 3), torch.ones(1, 16, 16)
    assert loss(good, meant, whole, single, weight, focus) < loss(bad, meant, whole, single, weight, focus)
    assert loss(bad, meant, whole, single, weight * 0, focus) == 0


def test_a_look_changes_the_mask_in_its_window_only(bank: Bank) -> None:
    device = torch.device("cpu")
    random = np.random.default_rng(0)
    rounds = Rounds(SamplerPool(SceneSampler(bank), 0, 0), Renderer(bank, device), Shape(64, 12, 2), random, device)
    kinds = set()
    for _ in range(5):
        batch = rounds.next()
        before = rounds.state.clone()
        rounds.take(batch, torch.full((12, 3, 32, 32), 3.0))
        lines = (torch.arange(64) + 0.5) / 64
        for item, (x0, y0, x1, y1) in enumerate(batch.windows.tolist()):
            # Cells whose middle lies on the edge of a window may go either way.
            within, near = (
                ((lines > y0 + by) & (lines < y1 - by))[:, None] & (lines > x0 + by) & (lines < x1 - by)
                for by in (1e-4, -1e-4)
            )
            assert torch.equal(rounds.state[item][~near], before[item][~near])
            assert (rounds.state[item][within] - 3).abs().max() < 1e-4
        kinds |= set(batch.kinds.tolist())
    assert LOCAL in kinds


def test_a_few_steps_of_training_leave_weights_that_answer(
    bank: Bank, tmp_path: Path, image: NDArray[np.uint8]
) -> None:
    bank.save(tmp_path / "bank")
    options = ["--steps", "2", "--device", "cpu", "--workers", "0", "--calibrate", "1", "--judge", "1", "--report", "1"]
    options += ["--judge-steps", "4", "--judge-photos", "1"]
    assert not main(["--bank", str(tmp_path / "bank"), "--out", str(tmp_path), "--stages", "1:32:4:2,64:4:2", *options])
    folder = Folder(tmp_path / "weights.safetensors")
    state = folder.begin(folder.encode(image), Prompt(((70.5, 60.5, 1),)))
    assert state.logits.shape == (120, 160)
    assert 0 < state.score < 1


def test_the_answer_is_a_fold_over_clicks(weights: Path, image: NDArray[np.uint8]) -> None:
    folder = Folder(weights)
    encoded: Encoded = folder.encode(image)
    points = ((70.5, 60.5, 1), (20.5, 20.5, 0), (100.5, 80.5, 1))
    state = folder.begin(encoded, Prompt(points[:1]))
    for count in (2, 3):
        state = folder.step(encoded, Prompt(points[:count]), state)
    again = folder.answer(folder.encode(image), Prompt(points))
    assert np.allclose(state.logits, again.logits, atol=1e-4)


def test_every_clicked_pixel_is_answered_as_it_was_clicked(weights: Path, image: NDArray[np.uint8]) -> None:
    folder = Folder(weights, Settings(local=0.3))
    points = ((70.5, 60.5, 1), (75.5, 62.5, 0), (10.5, 100.5, 1))
    logits = folder.answer(folder.encode(image), Prompt(points)).logits
    assert [bool(logits[int(y), int(x)] > 0) for x, y, _ in points] == [True, False, True]


def test_single_clicks_on_photos_ask_for_whole_objects_and_keep_their_sources(bank: Bank, weights: Path) -> None:
    device, network = torch.device("cpu"), load(weights)[0]
    # Photos of one source have no whole object.
    wholes = bank.wholes & (bank.owners != 1)
    shown = dataclasses.replace(bank, wholes=wholes)
    (seen, reached, single), sources = of_photos(network, shown, Renderer(bank, device), Shape(64, 6, 6), 4, device)
    assert set(sources) == {"animals", "underwater"}
    assert len(seen) == len(reached) == len(single) == len(sources)
    # Of every third batch a second look too.
    assert single.sum() * 6 == len(single) * 4
    assert all(wholes[spec.meant] for spec in Photographs(shown).draw(20, 64))


def test_a_judge_learns_from_photos_which_candidate_is_meant(weights: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    seen = torch.randn(512, 3, EVIDENCE)
    # On scenes the first candidate is right, on photos the one with the largest number.
    scenes = seen - 3, torch.tensor((0.9, 0.2, 0.2)).expand(512, 3), torch.ones(512)
    photos = seen, torch.softmax(4 * seen[:, :, 0], 1), torch.ones(512)
    for name, found in (("scenes", scenes), ("photos", photos)):
        save_evidence(tmp_path / f"{name}.npz", found)
    path = tmp_path / "weights.safetensors"
    save(path, load(weights)[0])
    assert not fit_scores(["--evidence", str(tmp_path), "--weights", str(path), "--iterations", "200"])
    judge = load(path)[1]
    assert (judge(scenes[0]).argmax(1) == 0).float().mean() > 0.9
    assert (judge(photos[0]).argmax(1) == photos[1].argmax(1)).float().mean() > 0.8


def test_cases_come_back_from_their_pack(tmp_path: Path) -> None:
    image = np.broadcast_to(np.linspace(0, 255, 160).astype(np.uint8)[None, :, None], (120, 160, 3))
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:110] = True
    case = Case("made", "up", image, mask, ~mask & False)
    pack([case, case], tmp_path / "cases.npz")
    one, two = packed_cases(tmp_path / "cases.npz")
    assert (one.mask == mask).all()
    assert (two.mask == mask).all()
    assert np.abs(one.pixels.astype(int) - image).mean() < 4
    click = next_click(one, np.zeros_like(mask))
    assert click is not None
    assert abs(click[1] - 60) <= 1
    assert click[2] == 1
