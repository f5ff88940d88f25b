from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from nets import same, unreached  # noqa: E402
from tamperscope.evaluate.texture_features import NAMES  # noqa: E402
from tamperscope.models.feature_net import FEATURES, feature_net  # noqa: E402


def features(count: int = 20):
    scale = torch.logspace(-3, 6, FEATURES)
    return (torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(0)) + 7.0) * scale


def test_it_takes_as_many_features_as_there_are():
    assert len(NAMES) == FEATURES


def test_three_hidden_layers_and_every_parameter_learns():
    torch.manual_seed(0)
    net = feature_net(outputs=2, dropout=0.0)
    net.fit(features())
    assert sum(isinstance(layer, torch.nn.Linear) for layer in net.layers) == 4
    assert net(features()).shape == (20, 2)
    assert unreached(net, features()) == []


def test_the_unit_of_a_feature_is_of_no_matter_and_a_constant_one_is_harmless():
    torch.manual_seed(0)
    net, given = feature_net().eval(), features()
    given[:, 3] = 5.0
    answers = []
    for scale in (1.0, 1000.0):
        net.fit(given * scale)
        with torch.inference_mode():
            answers.append(net(given * scale))
    assert torch.isfinite(answers[0]).all()
    torch.testing.assert_close(*answers, atol=1e-4, rtol=1e-4)


def test_what_was_fitted_is_kept_with_the_weights():
    torch.manual_seed(0)
    net, again = feature_net(), feature_net()
    net.fit(features())
    again.load_state_dict(net.state_dict())
    assert same(net, again)
    assert torch.equal(again.middle, features().mean(0))


def test_the_same_seed_gives_the_same_weights():
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(feature_net())
    assert same(nets[0], nets[1])
    assert not same(nets[0], nets[2])
