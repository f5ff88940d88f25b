"""A small convolutional autoencoder whose decoder up-samples in one of four ways, fully convolutional."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTH, LATENT = 24, 8
"""Of the published weights: channels at half resolution, and numbers that the bottleneck keeps of 4 x 4 pixels."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions round a skip, without norms: they would mix what lies far apart."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out: Tensor = x + self.second(functional.silu(self.first(functional.silu(x))))
        return out


class Interpolate(nn.Module):
    """Twice the size by nearest neighbour or bilinear interpolation."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2H, 2W)."""
        if self.mode == "nearest":
            return functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def upsampling(kind: str, before: int, after: int) -> nn.Module:
    """(N, before, H, W) to (N, after, 2H, 2W): "nearest", "bilinear", "transposed" (kernel 4) or "shuffle"."""
    if kind == "transposed":
        return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
    if kind == "shuffle":
        return nn.Sequential(nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2))
    return nn.Sequential(Interpolate(kind), nn.Conv2d(before, after, 3, padding=1))


class Encoder(nn.Module):
    """A picture (N, 1, H, W), H and W multiples of 4, to (N, latent, H/4, W/4)."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            Residual(2 * width),
            nn.SiLU(),
            nn.Conv2d(2 * width, latent, 1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        latent: Tensor = self.layers(picture)
        return latent


class Decoder(nn.Module):
    """(N, latent, H/4, W/4) to a picture (N, 1, H, W), up-sampled twice by one ``kind``."""

    def __init__(self, kind: str, width: int, latent: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(latent, 2 * width, 1),
            Residual(2 * width),
            nn.SiLU(),
            upsampling(kind, 2 * width, width),
            nn.SiLU(),
            upsampling(kind, width, width // 2),
            nn.SiLU(),
            nn.Conv2d(width // 2, 1, 3, padding=1),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """See the class."""
        picture: Tensor = self.layers(latent)
        return picture


class Autoencoder(nn.Module):
    """An encoder and one decoder: a picture (N, 1, H, W) in -1..1, H and W multiples of 4, to its reconstruction."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        again: Tensor = self.decoder(self.encoder(picture))
        return again


def encoder(width: int = WIDTH, latent: int = LATENT) -> Encoder:
    """The encoder with the numbers of the published weights."""
    net = Encoder(width, latent)
    _start(net)
    return net


def decoder(kind: str, width: int = WIDTH, latent: int = LATENT) -> Decoder:
    """A decoder with the numbers of the published weights."""
    net = Decoder(kind, width, latent)
    _start(net)
    return net


def _start(net: nn.Module) -> None:
    """Weights that keep the strength of a signal (He et al., ICCV 2015): without norms it fades in those of torch.

    The second convolution of a residual block is zero by design, and is left alone.
    """
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d) and part.weight.detach().any():
            nn.init.kaiming_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
