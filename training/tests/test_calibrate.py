"""Batch normalisation after averaging; skipped where PyTorch is not installed."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pycocotools import mask as coco_mask  # noqa: E402 - only with PyTorch

from training.calibrate import calibrate  # noqa: E402
from training.data import Library, Photo, Thing  # noqa: E402
from training.network import Nano  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def library() -> Library:
    """A bright square on noise."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 90, (160, 160, 3), dtype=np.uint8)
    mask = np.zeros((160, 160), np.uint8)
    mask[40:120, 50:110] = 1
    pixels[mask > 0] += np.uint8(120)
    thing = Thing(coco_mask.encode(np.asfortranarray(mask)), (50, 40, 60, 80), int(mask.sum()))
    return Library([Photo("made/up.png", pixels, (thing,))], [])


def statistics(network: Nano) -> dict[str, "torch.Tensor"]:
    return {name: value for name, value in network.state_dict().items() if "running" in name}


def test_what_is_measured_does_not_depend_on_what_was_believed(library: Library) -> None:
    torch.manual_seed(0)
    network = Nano().eval()
    misled = copy.deepcopy(network)
    for name, believed in misled.named_buffers():
        if "running_var" in name:
            believed.mul_(9)
    for each in (network, misled):
        calibrate(each, library, batches=2)
        assert not any(module.training for module in each.modules())
    found, mended = statistics(network), statistics(misled)
    for name, value in found.items():
        # Corrections hang on earlier answers, so the decoder sees slightly other prompts.
        tolerance = 1e-3 if name.startswith("encoder") else 0.3
        torch.testing.assert_close(mended[name], value, rtol=tolerance, atol=tolerance, msg=name)
    fresh = statistics(Nano())
    assert any((value - fresh[name]).abs().max() > 0.1 for name, value in found.items())


def test_training_may_go_on_afterwards(library: Library) -> None:
    network = Nano()
    before = [module.momentum for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    calibrate(network, library, batches=1)
    after = [module.momentum for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert before == after == [0.1] * len(after)
