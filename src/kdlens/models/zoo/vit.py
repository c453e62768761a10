"""A vision transformer (Dosovitskiy et al. 2021) small enough for 32 x 32 images and a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head self-attention over tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `(n, t, width)` to tokens of the same shape."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width))


class Block(nn.Module):
    """Attention, then two linear layers; both behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `(n, t, width)` to tokens of the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CifarViT(nn.Module):
    """Patches of 4 x 4 pixels, a class token, learned positions (interpolated for other image sizes than 32 x 32)."""

    num_prefix_tokens = 1
    patch = 4
    grid = 8

    def __init__(
        self, num_classes: int = 10, in_channels: int = 3, width: int = 96, depth: int = 6, heads: int = 3
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(in_channels, width, self.patch, self.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, width, self.grid, self.grid))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        patches = self.patch_embed(x)
        tokens = (patches + self._positions(patches)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])

    def _positions(self, patches: Tensor) -> Tensor:
        size = (patches.shape[2], patches.shape[3])
        if size == (self.grid, self.grid):
            return self.pos_embed
        return F.interpolate(self.pos_embed, size, mode="bilinear", align_corners=False)


vit_tiny_cifar = CifarViT
