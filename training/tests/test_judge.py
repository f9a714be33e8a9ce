"""Which of three answers is meant; skipped where PyTorch is not installed."""

import pytest

torch = pytest.importorskip("torch")

from training.judge import EVIDENCE, Judge, evidence  # noqa: E402 - only with PyTorch
from training.network import PROMPT_PLANES, Nano  # noqa: E402


def test_every_answer_is_judged_by_the_same_number_of_things() -> None:
    torch.manual_seed(0)
    network = Nano().eval()
    prompt = torch.rand(2, PROMPT_PLANES, 16, 24)
    with torch.no_grad():
        features = tuple(each.repeat(2, 1, 1, 1) for each in network.encoder(torch.rand(1, 3, 64, 96)))
        look = network.decoder.look(*features, prompt, torch.zeros(2, 1, 32, 48))
        seen = evidence(network.decoder, look, features, prompt)
        scores = Judge().eval()(seen)
    assert seen.shape == (2, 3, EVIDENCE)
    assert torch.isfinite(seen).all()
    assert scores.shape == (2, 3)
