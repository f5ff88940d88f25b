"""PictureNet: a backbone of the literature, attention, dense layers and logits for a whole picture.

The paper that started this project: EfficientNet with attention over channels and places and dense layers, input at
the network's own resolution; MedNet is the same with EfficientNetV2 (Albahli and Nawaz, Multimed Tools Appl 2024).
What both leave open was chosen here: CBAM once, after the last features; the mean over places; one dense layer of 256
with ReLU and dropout. Backbones come from timm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import timm
from timm.models import adapt_input_conv, efficientnet, vgg
from torch import Tensor, nn

from tamperscope.errors import UsageError, WeightsError
from tamperscope.models.attention import Cbam

HEADS = ("classifier", "fc", "head", "pre_logits")
"""Parts of timm's weights that belong to ImageNet's classes."""
STEP = 8
"""Channels come in multiples of this, as in EfficientNet."""


class PictureNet(nn.Module):
    """Pictures (N, C, H, W) to logits (N, outputs), without sigmoid or softmax; sides of 32 pixels or more."""

    def __init__(self, body: nn.Module, attention: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.attention = attention
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        features = self.attention(self.body(x))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


class Margin(nn.Module):
    """Logits of authentic and forged (N, 2) to one (N, 1): the softmax over both is the sigmoid of their difference."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x[:, 1:] - x[:, :1]


def picture_net(
    backbone: str,
    *,
    channels: int = 1,
    outputs: int = 1,
    channel_attention: bool = True,
    spatial_attention: bool = True,
    dense: Sequence[int] = (256,),
    dropout: float = 0.3,
    pretrained: Mapping[str, Tensor] | None = None,
    width: float = 1.0,
    depth: float = 1.0,
) -> PictureNet:
    """A network for whole pictures.

    Args:
        backbone: One of `BACKBONES`, by the name that the papers use.
        channels: Of the pictures.
        outputs: 1 for a sigmoid, the number of classes for a softmax.
        channel_attention: Whether CBAM weighs channels.
        spatial_attention: Whether CBAM weighs places.
        dense: Units of each dense layer between the mean over places and the logits.
        dropout: Before the first dense layer, and after each.
        pretrained: State of timm's network of that name, say from ImageNet; None starts from scratch. Its classes are
            left out. For one channel the filters of the first layer are summed over red, green and blue.
        width: Multiplies the channels of the backbone, and so its own coefficient (Tan and Le, ICML 2019, equation 3).
        depth: Multiplies the layers of each stage likewise; "efficientnetv2-b0" with width 1.4 and depth 1.8 is the
            V2-B4 that the public family lacks. Both are 1 for the published backbones.

    Raises:
        UsageError: No backbone has this name.
        WeightsError: ``pretrained`` is the state of another network.
    """
    chosen = _chosen(backbone)
    body = chosen.build(chosen.name, channels, width, depth)
    if pretrained is not None:
        _load(body, chosen.name, pretrained, channels)
    features: int = body.num_features
    attention = Cbam(features, channel=channel_attention, spatial=spatial_attention)
    return PictureNet(body, attention, _head(features, dense, outputs, dropout))


def resolution(backbone: str) -> int:
    """Pixels a side for which a backbone was published: 380 for EfficientNet-B4, 224 for VGG.

    For EfficientNetV2, which is trained at growing sizes, that of its evaluation (Tan and Le, ICML 2021).

    Raises:
        UsageError: No backbone has this name.
    """
    return _chosen(backbone).resolution


def _head(features: int, dense: Sequence[int], outputs: int, dropout: float) -> nn.Sequential:
    """(N, features) to (N, outputs)."""
    layers: list[nn.Module] = [nn.Dropout(dropout)]
    for before, after in zip((features, *dense), dense, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(dense[-1] if dense else features, outputs))


def _load(body: nn.Module, name: str, weights: Mapping[str, Tensor], channels: int) -> None:
    kept = {key: value for key, value in weights.items() if key.split(".")[0] not in HEADS}
    config = timm.get_pretrained_cfg(name)
    first = f"{config.first_conv}.weight" if config else ""
    if first in kept and kept[first].shape[1] != channels:
        kept[first] = adapt_input_conv(channels, kept[first])
    try:
        body.load_state_dict(kept)
    except RuntimeError as error:
        hint = f"give the state of timm's {name}, with width and depth as it was trained"
        raise WeightsError(f"the weights do not fit {name}: {str(error)[:200]}", hint=hint) from error


def _scaled(channels: int, width: float) -> int:
    return max(STEP, round(channels * width / STEP) * STEP)


def _repeated(layers: Sequence[int], depth: float) -> tuple[int, ...]:
    return tuple(max(1, round(count * depth)) for count in layers)


# Each of the following makes (N, channels, H, W) into features (N, num_features, H/32, W/32), without head and pooling.


def _efficientnet(
    maker: str, own_width: float, own_depth: float, name: str, channels: int, width: float, depth: float
) -> Any:
    """Timm's makers take both coefficients by number, but are not public: the published sizes do without."""
    if width == depth == 1.0:
        return timm.create_model(name, in_chans=channels, num_classes=0, global_pool="")
    return getattr(efficientnet, maker)(
        name,
        channel_multiplier=own_width * width,
        depth_multiplier=own_depth * depth,
        pad_type="same",  # this and the next as in the reference, like timm's own "tf_" networks
        bn_eps=1e-3,
        in_chans=channels,
        num_classes=0,
        global_pool="",
    )


def _vgg(name: str, channels: int, width: float, depth: float) -> Any:
    stages: list[list[int]] = [[]]
    for layer in vgg.cfgs[name]:
        if layer == "M":
            stages.append([])
        else:
            stages[-1].append(int(layer))
    layers: list[int | str] = []
    for stage in stages[:-1]:
        (count,) = _repeated([len(stage)], depth)
        layers += [_scaled(stage[0], width)] * count + ["M"]
    # Of timm's two dense layers on 7 x 7 places, which go, no more is made than must be.
    body: Any = vgg.VGG(layers, in_chans=channels, num_classes=0, global_pool="", mlp_ratio=1 / 4096)
    body.pre_logits = nn.Identity()
    # Without norms a signal keeps its strength only if weights start by what comes in (He et al., ICCV 2015, equation
    # 10). timm starts them by what goes out, and a picture of one channel fades to a twentieth.
    for part in body.features:
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    return body


def _resnet(layers: Sequence[int], name: str, channels: int, width: float, depth: float) -> Any:
    widths = tuple(_scaled(count, width) for count in (64, 128, 256, 512))
    return timm.create_model(
        name, layers=_repeated(layers, depth), channels=widths, in_chans=channels, num_classes=0, global_pool=""
    )


def _densenet(layers: Sequence[int], name: str, channels: int, width: float, depth: float) -> Any:
    growth, blocks = _scaled(32, width), _repeated(layers, depth)
    return timm.create_model(
        name, growth_rate=growth, block_config=blocks, in_chans=channels, num_classes=0, global_pool=""
    )


class Backbone(NamedTuple):
    """What is known of a backbone."""

    name: str
    """In timm. EfficientNets are the ports of the reference ("tf_"), which exist in every size and resolution."""
    resolution: int
    build: Callable[[str, int, float, float], Any]
    """From name, channels, width and depth."""


def _v1(size: int, pixels: int, width: float, depth: float) -> Backbone:
    return Backbone(f"tf_efficientnet_b{size}", pixels, partial(_efficientnet, "_gen_efficientnet", width, depth))


def _v2(size: str, pixels: int, width: float = 1.0, depth: float = 1.0) -> Backbone:
    maker = "_gen_efficientnetv2_base" if size.startswith("b") else f"_gen_efficientnetv2_{size}"
    return Backbone(f"tf_efficientnetv2_{size}", pixels, partial(_efficientnet, maker, width, depth))


BACKBONES: Mapping[str, Backbone] = {
    # Coefficients of the reference implementation; Tan and Le, ICML 2019.
    "efficientnet-b0": _v1(0, 224, 1.0, 1.0),
    "efficientnet-b1": _v1(1, 240, 1.0, 1.1),
    "efficientnet-b2": _v1(2, 260, 1.1, 1.2),
    "efficientnet-b3": _v1(3, 300, 1.2, 1.4),
    "efficientnet-b4": _v1(4, 380, 1.4, 1.8),
    "efficientnet-b5": _v1(5, 456, 1.6, 2.2),
    "efficientnet-b6": _v1(6, 528, 1.8, 2.6),
    "efficientnet-b7": _v1(7, 600, 2.0, 3.1),
    # Tan and Le, ICML 2021.
    "efficientnetv2-b0": _v2("b0", 224),
    "efficientnetv2-b1": _v2("b1", 240, 1.0, 1.1),
    "efficientnetv2-b2": _v2("b2", 260, 1.1, 1.2),
    "efficientnetv2-b3": _v2("b3", 300, 1.2, 1.4),
    "efficientnetv2-s": _v2("s", 384),
    "efficientnetv2-m": _v2("m", 480),
    "efficientnetv2-l": _v2("l", 480),
    # Simonyan and Zisserman, ICLR 2015.
    "vgg16": Backbone("vgg16", 224, _vgg),
    "vgg19": Backbone("vgg19", 224, _vgg),
    # Huang et al., CVPR 2017.
    "densenet121": Backbone("densenet121", 224, partial(_densenet, (6, 12, 24, 16))),
    "densenet201": Backbone("densenet201", 224, partial(_densenet, (6, 12, 48, 32))),
    # He et al., CVPR 2016.
    "resnet50": Backbone("resnet50", 224, partial(_resnet, (3, 4, 6, 3))),
    "resnet101": Backbone("resnet101", 224, partial(_resnet, (3, 4, 23, 3))),
}


def _chosen(backbone: str) -> Backbone:
    if backbone not in BACKBONES:
        raise UsageError(f"there is no backbone {backbone!r}", hint=f"one of: {', '.join(BACKBONES)}")
    return BACKBONES[backbone]
