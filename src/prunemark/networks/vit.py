"""A vision transformer."""

import torch
from torch import Tensor, nn

from prunemark.networks.base import Network
from prunemark.networks.initialisation import Initialisation

_TOKEN_STD = 0.02
_PATCHES = (16, 8, 4, 2, 1)


class Tokens(nn.Module):
    """Puts a class token before the patches and adds a learned position to each token."""

    def __init__(self, patches: int, dim: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, patches + 1, dim))

    def draw_(self, generator: torch.Generator) -> None:
        """Draw class token and positions from N(0, 0.02^2)."""
        for parameter in (self.class_token, self.position):
            parameter.copy_(torch.empty(parameter.shape).normal_(0, _TOKEN_STD, generator=generator))

    def forward(self, patches: Tensor) -> Tensor:
        """(N, patches, dim) -> (N, 1 + patches, dim)."""
        return torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1) + self.position


class EncoderBlock(nn.Module):
    """Self-attention and a perceptron of one hidden layer, each behind a LayerNorm and with a shortcut around it."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, tokens, dim) -> (N, tokens, dim)."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class VisionTransformer(Network):
    """The vision transformer with a class token and LayerNorm before each part of a block.

    Patches of `patch` x `patch` pixels become tokens of `heads` * round(64 * width) numbers by a convolution; `depth`
    blocks follow, a LayerNorm, and one linear layer on the class token. Inputs (N, C, H, W) of the one shape that the
    network was made for, logits (N, classes). With depth 12, 3 heads and patches of 16 pixels, for 3x224x224 inputs
    and 1,000 classes, 5,717,416 parameters, of which 5,647,872 are prunable weights: DeiT-Ti.

    The default patch is the largest of 16, 8, 4, 2 and 1 pixels that cuts both sides evenly into at least 8 patches,
    and 1 where none does: 16 for images of 224 pixels, 8 for 64, 4 for 32, 1 for 8.

    Raises:
        ValueError: patches that do not cut both sides evenly.

    Reference: Dosovitskiy et al., An image is worth 16x16 words, 2021, arXiv 2010.11929; its tiny form: Touvron et al.,
    Training data-efficient image transformers, 2021, arXiv 2012.12877.
    Deviations: no dropout; weights are drawn as in the other networks here (He normal), not from N(0, 0.02^2).
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        depth: int = 12,
        heads: int = 3,
        patch: int | None = None,
        width: float = 1.0,
        init: str = "he-normal",
    ) -> None:
        super().__init__(Initialisation(init=init))
        channels, height, breadth = input_shape
        patch = patch or _patch(height, breadth)
        if height % patch or breadth % patch:
            raise ValueError(f"patches of {patch}x{patch} pixels do not cut {height}x{breadth} images evenly")
        dim = heads * max(1, round(64 * width))
        self.embedding = nn.Conv2d(channels, dim, patch, stride=patch)
        self.tokens = Tokens((height // patch) * (breadth // patch), dim)
        self.blocks = nn.Sequential(*(EncoderBlock(dim, heads=heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc = nn.Linear(dim, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, classes) of inputs (N, C, H, W)."""
        tokens = self.tokens(self.embedding(inputs).flatten(2).transpose(1, 2))
        return self.fc(self.norm(self.blocks(tokens)[:, 0]))


def _patch(height: int, width: int) -> int:
    fitting = (p for p in _PATCHES if height % p == width % p == 0 and min(height, width) // p >= 8)
    return next(fitting, 1)
