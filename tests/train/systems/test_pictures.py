from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")
pytest.importorskip("timm", reason="the extra [train] is not installed")

from safetensors.torch import save_file  # noqa: E402

from tamperscope.errors import TrainingError, UsageError, WeightsError  # noqa: E402
from tamperscope.train.augment import Augmentation  # noqa: E402
from tamperscope.train.classifier import Classifier, Standing, seeded  # noqa: E402
from tamperscope.train.options import OwnNet, PatchNet, PictureInput, PictureNet, PlainCnn  # noqa: E402
from tamperscope.train.picture_cache import AUTHENTIC, FORGED, Shown, Slices  # noqa: E402
from tamperscope.train.recipe import Recipe, Training  # noqa: E402
from tamperscope.train.slices import Batches  # noqa: E402
from tamperscope.train.systems.pictures import PictureStudent, build, spec_of  # noqa: E402

SIDE = 32
TRAINING = Training(steps=60, batch=4, rate=3e-3, save_every=1000, validate=40)
PLAIN = Recipe("tiny", "plain-cnn", PlainCnn(2, 0.0), PictureInput(SIDE), train=TRAINING)
SMALL = replace(PLAIN, system="picture-net", net=PictureNet("resnet50", 0.125, 0.25, dense=(8,)))
PATCHES = replace(PLAIN, system="patch-net", net=PatchNet(8, 32, 1, 2))


def spots(seed: int, count: int = 40) -> Slices:
    """Noise; in the forged half there is a bright spot somewhere."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        picture = rng.integers(60, 120, (SIDE, SIDE), dtype=np.uint8)
        if number % 2:
            row, column = rng.integers(4, SIDE - 10, 2)
            picture[row : row + 6, column : column + 6] = 250
        found.append(Shown(str(number), bool(number % 2), "CT", (picture,), np.array([number % 2], np.int8)))
    return Slices(tuple(found))


def student(recipe: Recipe = PLAIN) -> PictureStudent:
    return PictureStudent(recipe, spots(0), spots(1))


def learner(recipe: Recipe = PLAIN, batches: Batches | None = None) -> Classifier:
    made = student(recipe)
    made.batches = batches or made.batches
    return made.classifier


def state(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in net.state_dict().values()])


def test_it_learns_what_tells_the_classes_apart_and_keeps_the_best_weights():
    taught = learner(replace(PLAIN, augment=Augmentation(flips=True, noise=0.02)))
    before = taught.look(0)
    losses = [taught.step(number, np.random.default_rng(number))["loss"] for number in range(TRAINING.steps)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert taught.look(60) > max(0.95, before)
    assert (float(taught.standing.best), int(taught.standing.step)) == (taught.look(61), 60)
    assert torch.equal(state(taught.best), state(taught.net))
    assert not any(one.requires_grad for one in taught.best.parameters())


@pytest.mark.parametrize("recipe", [PLAIN, SMALL, PATCHES], ids=lambda recipe: recipe.system)
def test_the_same_step_from_the_same_weights_ends_alike_with_dropout_too(recipe):
    chosen = replace(recipe, net=replace(recipe.net, dropout=0.5), augment=Augmentation(noise=0.1))
    found = []
    for before in (0, 17):
        taught = learner(chosen)
        torch.rand(before)  # whatever happened to torch's own generator
        taught.step(0, np.random.default_rng(3))
        found.append(state(taught.net))
    assert torch.equal(*found)


def test_torchs_own_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        torch.rand(10)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(5)
    learner()
    assert torch.equal(torch.rand(3), expected)


def test_patience_counts_looks_without_a_better_one():
    standing = Standing()
    assert [standing.see(value, step) for step, value in enumerate((0.4, 0.6, 0.6, 0.5, 0.7))] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert (float(standing.best), int(standing.step), int(standing.waited), int(standing.looked)) == (0.7, 4, 0, 4)
    taught = learner(replace(PLAIN, train=replace(TRAINING, patience=2)))
    for step in range(3):
        assert not taught.stopped()
        taught.look(step)
    assert taught.stopped()


def test_no_more_slices_are_looked_at_than_asked_for_half_of_them_forged():
    few = replace(PLAIN, train=replace(TRAINING, validate=6))
    assert [len(student(few).places[label]) for label in (AUTHENTIC, FORGED)] == [3, 3]
    assert student(few).places == student(few).places
    assert (student(few).shown, student().shown) == (6, 40)
    assert student().nbytes == 80 * SIDE * SIDE


class Fixed(Batches):
    """The same eight pictures, in one piece or two."""

    def __init__(self) -> None:
        super().__init__(spots(2), Augmentation())
        self._all = super().draw(np.random.default_rng(1), 8)
        self._at = 0

    def draw(self, _, count):
        first, self._at = self._at, (self._at + count) % 8
        return self._all[0][first : first + count], self._all[1][first : first + count]


def test_gradients_of_small_batches_add_up_to_those_of_a_large_one():
    found = []
    for batch, accumulate in ((4, 2), (8, 1)):
        taught = learner(replace(PLAIN, train=replace(TRAINING, batch=batch, accumulate=accumulate)), Fixed())
        taught.step(0, np.random.default_rng(0))
        found.append([one.grad.clone() for one in taught.net.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


OWN = """
import torch

def build(side):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 1))

def two(side):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 2))

def nothing(side):
    return None
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "my_networks.py").write_text(OWN)
    return lambda name: replace(PLAIN, system="own", net=OwnNet(f"my_networks:{name}"), folder=tmp_path)


def test_a_network_of_ones_own_learns_as_any_other(own):
    taught = learner(own("build"))
    before = taught.look(0)
    for number in range(TRAINING.steps):
        taught.step(number, np.random.default_rng(number))
    assert taught.look(60) > before


def test_a_network_of_another_shape_is_refused(own):
    with pytest.raises(UsageError, match=r"gives \(4, 2\) for 4 inputs.*one logit"):
        learner(own("two")).step(0, np.random.default_rng(0))


@pytest.mark.parametrize(
    "build", ["my_networks:nothing", "my_networks:absent", "no_such_module:build", "my_networks", ":"]
)
def test_what_makes_no_network_is_told(own, build):
    with pytest.raises(UsageError, match=r"build = .*my_module:build|gives a NoneType"):
        learner(replace(own("build"), net=OwnNet(build)))


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_memory_that_runs_out_is_told(monkeypatch, error):
    taught = learner()

    def full(*_):
        raise error

    monkeypatch.setattr(taught, "loss", full)
    with pytest.raises(TrainingError, match=r"memory ran out with batch = 4.*smaller batch"):
        taught.step(0, np.random.default_rng(0))


def test_other_errors_of_torch_are_not_taken_for_memory(monkeypatch):
    taught = learner()

    def wrong(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(taught, "loss", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        taught.step(0, np.random.default_rng(0))


def test_two_classes_with_a_softmax_give_one_logit_by_their_difference():
    two = build(replace(SMALL, net=replace(SMALL.net, head="softmax")))
    seen = torch.rand(3, 1, SIDE, SIDE)
    with torch.inference_mode():
        classes, one = two.eval()[0](seen), two(seen)
    assert (classes.shape, one.shape) == ((3, 2), (3, 1))
    assert torch.allclose(torch.sigmoid(one[:, 0]), classes.softmax(1)[:, 1], atol=1e-6)
    with pytest.raises(UsageError, match="head = 'tanh' "):
        replace(SMALL.net, head="tanh")


def test_weights_to_start_from_must_be_there_and_fit(tmp_path):
    path = tmp_path / "w.safetensors"
    chosen = replace(SMALL, net=replace(SMALL.net, pretrained=path))
    with pytest.raises(WeightsError, match=r"cannot read the weights .*w\.safetensors"):
        build(chosen)
    save_file({"conv1.weight": torch.zeros(1, 1, 7, 7)}, path)
    with pytest.raises(WeightsError, match="do not fit resnet50"):
        build(chosen)
    donor = build(replace(SMALL, train=replace(TRAINING, seed=9))).body
    save_file(dict(donor.state_dict()), path)
    assert torch.equal(state(build(chosen).body), state(donor))


def test_weights_that_timm_does_not_know_by_this_name_are_told():
    with pytest.raises(WeightsError, match=r"cannot fetch the weights resnet50\.no_such_tag.*be online"):
        build(replace(SMALL, net=replace(SMALL.net, pretrained=Path("resnet50.no_such_tag"))))


def test_a_side_is_the_networks_own_or_one_that_it_can_take():
    assert spec_of(replace(PLAIN, input=PictureInput())).side == 224
    assert spec_of(replace(SMALL, net=PictureNet("efficientnet-b4"), input=PictureInput())).side == 380
    for recipe, side in ((PLAIN, 48), (PLAIN, 16), (SMALL, 16), (PATCHES, 36)):
        with pytest.raises(UsageError, match=f"side = {side}"):
            spec_of(replace(recipe, input=PictureInput(side)))
    with pytest.raises(UsageError, match="no backbone 'resnet51'"):
        spec_of(replace(SMALL, net=PictureNet("resnet51")))
