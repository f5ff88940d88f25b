from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

pytest.importorskip("timm", reason="the extra [train] is not installed")

import timm  # noqa: E402

from nets import difference, same, unreached  # noqa: E402
from tamperscope.errors import UsageError, WeightsError  # noqa: E402
from tamperscope.models.picture_net import BACKBONES, picture_net, resolution  # noqa: E402

SMALL = {"width": 0.25, "depth": 0.1}
FAMILIES = ("efficientnet-b0", "efficientnetv2-b0", "efficientnetv2-s", "vgg16", "densenet121", "resnet50")


def pictures(channels: int = 1, side: int = 64):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def parameters(net) -> int:
    return sum(weight.numel() for weight in net.parameters())


def test_every_backbone_is_one_of_timm_and_says_its_resolution():
    known = set(timm.list_models())
    assert {backbone.name for backbone in BACKBONES.values()} <= known
    expected = {"efficientnet-b4": 380, "efficientnet-b7": 600, "efficientnetv2-s": 384, "vgg16": 224, "vgg19": 224}
    assert {name: resolution(name) for name in expected} == expected


def test_an_unknown_backbone_is_refused_with_the_names_there_are():
    with pytest.raises(UsageError, match=r"'alexnet'.*efficientnet-b4"):
        picture_net("alexnet")


@pytest.mark.parametrize("backbone", FAMILIES)
def test_shape_and_every_parameter_learns(backbone):
    torch.manual_seed(0)
    net = picture_net(backbone, channels=2, outputs=3, dense=(16, 8), dropout=0.0, **SMALL)
    assert net(pictures(2)).shape == (2, 3)
    assert unreached(net, pictures(2)) == []


# Millions of parameters as published, without the classes of ImageNet: Tan and Le 2019 (5.3 and 19 with them), Tan
# and Le 2021 (7.1 for V2-B0), Huang et al. (8.0), He et al. (25.6), and the convolutions of VGG16.
@pytest.mark.parametrize(
    ("backbone", "millions"),
    [
        ("efficientnet-b0", 4.0),
        ("efficientnet-b4", 17.5),
        ("efficientnetv2-b0", 5.9),
        ("densenet121", 7.0),
        ("resnet50", 23.5),
        ("vgg16", 14.7),
    ],
)
def test_the_published_sizes(backbone, millions):
    with torch.device("meta"):
        net = picture_net(backbone, channels=3)
    assert parameters(net.body) / 1e6 == pytest.approx(millions, abs=0.06)


def test_the_published_size_is_that_of_the_published_coefficients():
    with torch.device("meta"):
        named = picture_net("efficientnet-b2")
        scaled = picture_net("efficientnet-b0", width=1.1, depth=1.2)
    assert {key: value.shape for key, value in named.state_dict().items()} == {
        key: value.shape for key, value in scaled.state_dict().items()
    }


def test_width_and_depth_scale_each_family():
    for backbone in FAMILIES:
        with torch.device("meta"):
            nets = [picture_net(backbone, width=w, depth=d) for w, d in ((0.25, 0.1), (0.5, 1.0), (1.0, 1.0))]
        small, middle, full = (parameters(net.body) for net in nets)
        assert small < middle < full


def test_switches_switch_attention_and_dense_layers_off():
    def names(**options):
        net = picture_net("resnet50", **options, **SMALL)
        return {name for name, _ in net.named_parameters() if not name.startswith("body.")}

    assert names(channel_attention=False, spatial_attention=False, dense=()) == {"head.1.weight", "head.1.bias"}
    assert "attention.spatial.conv.weight" in names(channel_attention=False) - names(spatial_attention=False)
    assert "attention.channel.first.weight" in names(spatial_attention=False) - names(channel_attention=False)


def test_the_same_seed_gives_the_same_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(picture_net("efficientnet-b0", **SMALL))
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])


def test_weights_of_imagenet_are_taken_up_and_their_classes_left_out():
    torch.manual_seed(3)
    source = timm.create_model("resnet50", layers=(1, 1, 1, 1), channels=(16, 32, 64, 128)).eval()
    net = picture_net("resnet50", channels=3, pretrained=source.state_dict(), **SMALL).eval()
    grey = picture_net("resnet50", pretrained=source.state_dict(), **SMALL).eval()
    x = pictures()
    with torch.inference_mode():
        expected = source.forward_features(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(net.body(x.expand(-1, 3, -1, -1)), expected)
        torch.testing.assert_close(grey.body(x), expected, atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_are_refused():
    with pytest.raises(WeightsError, match="do not fit tf_efficientnet_b0"):
        picture_net("efficientnet-b0", pretrained={"conv1.weight": torch.zeros(3)}, **SMALL)


@pytest.mark.parametrize("backbone", ["efficientnet-b0", "vgg16"])
def test_the_exported_network_answers_like_torch(backbone, tmp_path):
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    assert difference(picture_net(backbone, **SMALL), tmp_path, pictures()) < 1e-4
