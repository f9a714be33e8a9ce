"""Answers from the image and its mirror image; skipped where PyTorch is not installed."""

import pytest

torch = pytest.importorskip("torch")

from training.network import Nano  # noqa: E402 - only with PyTorch
from training.views import look_from_all, mirrored  # noqa: E402


@pytest.fixture
def asked() -> tuple[Nano, list[torch.Tensor]]:
    """A network, two images, their prompts, and what the answers start from."""
    torch.manual_seed(0)
    return Nano().eval(), [torch.rand(2, 3, 64, 96), torch.rand(2, 8, 16, 24), torch.rand(2, 1, 32, 48)]


@torch.no_grad()
def test_one_view_is_what_the_decoder_answers(asked: tuple[Nano, list[torch.Tensor]]) -> None:
    network, (image, *prompt) = asked
    features = network.encoder(image)
    look, prompts = look_from_all(network.decoder, features, *prompt)
    torch.testing.assert_close(look, network.decoder.look(*features, *prompt))
    torch.testing.assert_close(prompts, prompt[0])


@torch.no_grad()
def test_two_views_of_a_mirrored_picture_are_answered_mirrored(asked: tuple[Nano, list[torch.Tensor]]) -> None:
    network, (image, *prompt) = asked
    plain, _ = look_from_all(network.decoder, network.encoder(torch.cat([image, mirrored(image)])), *prompt)
    turned, _ = look_from_all(
        network.decoder, network.encoder(torch.cat([mirrored(image), image])), *map(mirrored, prompt)
    )
    torch.testing.assert_close(plain.logits[:2], mirrored(turned.logits[:2]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain.logits[:2], mirrored(plain.logits[2:]))
    alone = [
        network.decoder.look(*network.encoder(turn(image)), *map(turn, prompt)).logits
        for turn in (lambda x: x, mirrored)
    ]
    torch.testing.assert_close(plain.logits[:2], (alone[0] + mirrored(alone[1])) / 2, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(alone[0], mirrored(alone[1]), atol=1e-2)
