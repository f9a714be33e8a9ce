"""Which of three answers is meant; skipped where PyTorch is not installed."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from training import checkpoint  # noqa: E402 - only with PyTorch
from training.judge import EVIDENCE, Judge, evidence  # noqa: E402
from training.network import Nano  # noqa: E402


def test_every_answer_is_judged_by_the_same_number_of_things() -> None:
    torch.manual_seed(0)
    network = Nano().eval()
    prompt = torch.rand(2, 8, 16, 24)
    with torch.no_grad():
        features = tuple(each.repeat(2, 1, 1, 1) for each in network.encoder(torch.rand(1, 3, 64, 96)))
        look = network.decoder.look(*features, prompt, torch.zeros(2, 1, 32, 48))
        seen = evidence(network.decoder, look, features, prompt)
        scores = Judge().eval()(seen)
    assert seen.shape == (2, 3, EVIDENCE)
    assert torch.isfinite(seen).all()
    assert scores.shape == (2, 3)


def test_a_judge_is_kept_with_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    network, judge = Nano(), Judge()
    checkpoint.save(path, network, checkpoint.Average(network, 0.9), (), 7, ())
    with pytest.raises(checkpoint.NoJudge, match="has no judge"):
        checkpoint.judge(path)
    checkpoint.keep_judge(path, judge)
    assert checkpoint.load(path)["step"] == 7
    for name, kept in checkpoint.judge(path).state_dict().items():
        torch.testing.assert_close(kept, judge.state_dict()[name])
