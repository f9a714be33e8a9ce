"""The shapes that are compared; skipped where PyTorch is not installed."""

import pytest

torch = pytest.importorskip("torch")

from training.compare import SHAPES, main  # noqa: E402 - only with PyTorch


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_answers_and_listens_to_the_prompt(name: str) -> None:
    torch.manual_seed(0)
    network = SHAPES[name]().eval()
    image, previous = torch.rand(1, 3, 64, 48) * 2 - 1, torch.zeros(2, 1, 32, 24)
    prompts = torch.zeros(2, 8, 16, 12)
    prompts[0, 0, 4, 4] = prompts[1, 0, 12, 9] = 1.0
    with torch.inference_mode():
        features = [kept.repeat_interleave(2, 0) for kept in network.encoder(image)]
        logits, scores = network.decoder(*features, prompts, previous)
    assert logits.shape == (2, 3, 32, 24)
    assert scores.shape == (2, 3)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_shapes_are_of_different_sizes() -> None:
    sizes = {sum(weights.numel() for weights in make().parameters()) for make in SHAPES.values()}
    assert len(sizes) == len(SHAPES)


def test_a_shape_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", "nowhere", "--out", "nowhere", "cube"])
    assert "no such shape: cube; there are shipped," in capsys.readouterr().err
