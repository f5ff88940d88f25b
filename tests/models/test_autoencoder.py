from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from tamperscope.attacks.autoencoder import MARGIN, STRIDE, UPSAMPLINGS  # noqa: E402
from tamperscope.models.autoencoder import Autoencoder, decoder, encoder  # noqa: E402


def net(kind: str):
    torch.manual_seed(0)
    made = Autoencoder(encoder(4, 2), decoder(kind, 4, 2)).eval()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made


@pytest.mark.parametrize("kind", UPSAMPLINGS)
@pytest.mark.parametrize("sides", [(4, 4), (64, 48)])
def test_a_picture_keeps_its_shape(kind, sides):
    with torch.inference_mode():
        again = net(kind)(torch.zeros(2, 1, *sides))
    assert again.shape == (2, 1, *sides)


@pytest.mark.parametrize("kind", UPSAMPLINGS)
def test_no_pixel_reaches_further_than_the_margin_of_a_tile(kind):
    calm = torch.zeros(1, 1, 160, 160)
    made, reach = net(kind).double(), 0
    for corner in range(STRIDE):
        spot = calm.clone()
        spot[..., 80 + corner, 80 + corner] = 1.0
        with torch.inference_mode():
            change = (made(spot.double()) - made(calm.double())).abs()[0, 0].amax(dim=0)
        touched = torch.nonzero(change > 0).flatten()
        reach = max(reach, int((touched - 80 - corner).abs().max()))
    assert 8 < reach <= MARGIN


def test_a_bottleneck_keeps_fewer_numbers_than_the_picture_has():
    latent = encoder()(torch.zeros(1, 1, 64, 64))
    assert latent.shape[2:] == (64 // STRIDE, 64 // STRIDE)
    assert latent.numel() <= 64 * 64 / 2
