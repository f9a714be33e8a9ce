"""An image answered as it is and mirrored: what a click means shall not hang on a direction.

In shapes, V is the number of views, 1 (as it is) or 2 (and mirrored), B that of prompts; V × B goes view by view.
"""

import torch
from torch import Tensor

from training.network import Decoder, Look

Features = tuple[Tensor, Tensor, Tensor]


def mirrored(x: Tensor) -> Tensor:
    """Columns in reverse."""
    return x.flip(-1)


def look_from_all(decoder: Decoder, features: Features, prompt: Tensor, previous: Tensor) -> tuple[Look, Tensor]:
    """What all views together answer, and the prompts [V × B, 8, S/4, S/4], both as each view shows them.

    The logits of a look are the mean over the views; what was thought of on the way to them is each view's own.

    Args:
        decoder: that answers.
        features: of the encoder, at a half, a quarter and an eighth, [V × B, channels, rows, columns].
        prompt, previous: [B, ...], as the image is; see `Decoder.look`.
    """
    # Not `expand`, whose count the exporter would take for a constant.
    every = torch.ones_like(features[0][:, :1, :1, :1]).unflatten(0, (-1, len(prompt)))
    turned = every.cumsum(0) > 1.5

    def shown(x: Tensor) -> Tensor:
        """[V, B, ...] or [1, B, ...] as each view shows it, or, as that is its own inverse, back; [V, B, ...]."""
        return torch.where(turned, mirrored(x), x)

    prompts = shown(prompt[None]).flatten(0, 1)
    look = decoder.look(*features, prompts, shown(previous[None]).flatten(0, 1))
    together = shown(look.logits.unflatten(0, (-1, len(prompt)))).mean(0, keepdim=True)
    return look._replace(logits=shown(together).flatten(0, 1)), prompts
