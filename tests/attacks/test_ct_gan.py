from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from generative import VOLUMES, check_laws
from tamperscope import phantom
from tamperscope.attacks import cubes
from tamperscope.attacks.ct_gan import NOISE_SOURCES, CtGan, Equalisation
from tamperscope.attacks.network import SCHEMA, Network
from tamperscope.errors import AttackError, WeightsError
from tamperscope.records import Volume

TABLE = Equalisation(
    np.array([-1024.0, -1000.0, -700.0, 200.0, 3071.0]),
    np.array([0.0, 1.0, 16384.0, 32000.0, 32768.0]),
    16384.0,
    0.0,
    32768.0,
)
LUNG_UNIT = float(TABLE.forward(np.array([-850.0]))[0])
SOFT_UNIT = float(TABLE.forward(np.array([40.0]))[0])
HOLE = (slice(6, 26),) * 3


@pytest.fixture
def network(tmp_path: Path) -> Callable[[np.ndarray], Network]:
    """A network that answers with the masked cube plus a given cube (32, 32, 32), which fills the hole."""
    onnx = pytest.importorskip("onnx", reason="the extra [train] is not installed")
    from onnx import TensorProto, helper, numpy_helper

    def make(filling: np.ndarray, name: str = "tiny") -> Network:
        kinds = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 1, 32, 32, 32)) for n in ("masked", "cube")]
        given = numpy_helper.from_array(filling.astype(np.float32)[None, None], "filling")
        node = helper.make_node("Add", ["masked", "filling"], ["cube"])
        graph = helper.make_graph([node], "adds", kinds[:1], kinds[1:], [given])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        data = model.SerializeToString()
        (tmp_path / f"{name}.onnx").write_bytes(data)
        card = {"schema": SCHEMA, "sha256": hashlib.sha256(data).hexdigest(), "equalisation": TABLE.to_json()}
        (tmp_path / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")
        return Network(name, tmp_path)

    return make


@pytest.fixture
def remover(network) -> CtGan:
    """Fills the hole with -850 HU."""
    filling = np.zeros((32, 32, 32))
    filling[HOLE] = LUNG_UNIT
    return CtGan("remove", network(filling, "remove"))


@pytest.fixture
def injector(network) -> CtGan:
    """Fills the hole with a ball of 40 HU, 12 mm wide, in -850 HU."""
    filling = np.zeros((32, 32, 32))
    filling[HOLE] = LUNG_UNIT
    filling[np.sqrt(sum((axis - 16) ** 2 for axis in np.indices(filling.shape))) < 6.0] = SOFT_UNIT
    return CtGan("inject", network(filling, "inject"))


def forged(attack: CtGan, volume: Volume, at: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return attack.apply(volume, attack.sample(volume, np.random.default_rng(seed), at)).volume.voxels


def sides(mask: np.ndarray) -> list[int]:
    return [int(np.ptp(axis)) + 1 for axis in np.nonzero(mask)]


def test_injection_brings_soft_tissue_and_never_lowers_a_voxel(injector, lung):
    after = forged(injector, lung, (24, 24, 24))
    assert after[22:27, 22:27, 22:27].mean() > -100.0
    assert (after >= lung.voxels).all()


def test_removal_takes_a_nodule_out_and_keeps_what_lies_round_it(remover, lung):
    lung.voxels[20:28, 20:28, 20:28] = 40.0
    lung.voxels[:, :, 40:] = 60.0
    after = forged(remover, lung, (24, 24, 24))
    assert after[20:28, 20:28, 20:28].max() < -700.0
    assert np.abs(after[:, :, 40:] - 60.0).max() < 3.0


@pytest.mark.parametrize(("spacing_mm", "longest"), [((1.0, 1.0, 1.0), 32), ((2.0, 1.0, 0.8), 40)])
def test_the_touch_up_has_1_3_times_the_longest_side_of_the_box_on_all_axes(remover, make, spacing_mm, longest):
    volume = make(np.rint(np.random.default_rng(1).normal(-850.0, 25.0, (64, 64, 64))), spacing_mm)
    attack = replace(remover, noise_source="gaussian")
    forgery = attack.apply(volume, attack.sample(volume, np.random.default_rng(0), (32, 32, 32)))
    assert sides(forgery.mask) == [int(1.3 * longest)] * 3


def test_without_noise_only_the_pasted_box_of_32_mm_changes(remover, make):
    volume = make(np.rint(np.random.default_rng(1).normal(-850.0, 25.0, (40, 64, 64))), (2.0, 0.8, 0.8))
    attack = replace(remover, noise_source="none")
    forgery = attack.apply(volume, attack.sample(volume, np.random.default_rng(0), (20, 32, 32)))
    assert sides(forgery.mask) == [16, 40, 40]
    assert not forgery.mask[:, :11].any()


def test_the_fixed_place_is_that_of_the_release_and_its_noise_arrives(remover, make):
    volume = make(np.rint(np.random.default_rng(3).normal(-880.0, 25.0, (80, 120, 130))))
    at = (40, 64, 90)
    fixed, silent = (replace(remover, noise_source=source) for source in ("fixed-place", "none"))
    params = fixed.sample(volume, np.random.default_rng(0), at)
    assert params["noise_at"] == [40, 51, 35]
    added = (forged(fixed, volume, at) - forged(silent, volume, at))[30:50, 54:74, 80:100]
    there = volume.voxels[30:50, 41:61, 25:45]
    assert np.corrcoef(added.ravel(), there.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("source", NOISE_SOURCES)
def test_every_source_of_noise_replays(injector, lung, source):
    attack = replace(injector, noise_source=source)
    params = attack.sample(lung, np.random.default_rng(5), (20, 24, 28))
    assert params["noise_source"] == source
    once, again = (attack.apply(lung, json.loads(json.dumps(params))) for _ in range(2))
    assert np.array_equal(once.volume.voxels, again.volume.voxels)
    assert np.array_equal(once.mask, once.volume.voxels != lung.voxels)


def test_gaussian_noise_is_30_hu_in_a_removal_and_follows_the_lung_in_an_injection(remover, injector, lung):
    assert remover.sample(lung, np.random.default_rng(0), (24, 24, 24))["noise_hu"] == 30.0
    noise_hu = injector.sample(lung, np.random.default_rng(0), (24, 24, 24))["noise_hu"]
    assert noise_hu == pytest.approx(0.6 * lung.voxels.std(), rel=0.05)


@pytest.mark.parametrize("at", [(0, 0, 0), (47, 47, 47), (0, 24, 47)])
def test_places_at_the_border_are_forged_as_far_as_the_volume_reaches(remover, lung, at):
    changed = forged(remover, lung, at) != lung.voxels
    assert changed[at[0]].any()
    assert changed.mean() < 0.5


def test_one_slice_is_forged_in_its_plane(remover, injector, make):
    volume = make(np.rint(np.random.default_rng(1).normal(-850.0, 20.0, (1, 64, 64))))
    assert forged(injector, volume, (0, 32, 32))[0, 31:34, 31:34].mean() > -100.0
    volume.voxels[0, 29:36, 29:36] = 40.0
    after = forged(remover, volume, (0, 32, 32))
    assert after[0, 29:36, 29:36].max() < -700.0
    assert max(sides(after != volume.voxels)) <= 41


def test_isolated_peaks_and_values_below_air_are_repaired(network, make):
    filling = np.zeros((32, 32, 32))
    filling[HOLE] = LUNG_UNIT
    filling[16, 16, 16] = 0.5
    filling[16, 16, 20] = -0.5
    volume = make(np.full((48, 48, 48), -850.0))
    volume.voxels[0, 0, 0] = -1024.0  # what this volume can hold
    after = forged(CtGan("remove", network(filling), "none"), volume, (24, 24, 24))
    assert after[24, 24, 24] == pytest.approx(-850.0 + (3071.0 + 850.0) / 125, abs=5.0)
    assert after[24, 24, 28] == pytest.approx(-1000.0, abs=5.0)


def test_a_record_of_another_network_is_refused(remover, injector, lung):
    params = remover.sample(lung, np.random.default_rng(0), (24, 24, 24))
    with pytest.raises(AttackError, match="SHA-256"):
        injector.apply(lung, params)


@pytest.mark.parametrize("at", [(-1, 0, 0), (0, 48, 0)])
def test_a_place_outside_is_refused(remover, lung, at):
    with pytest.raises(AttackError, match="outside"):
        remover.sample(lung, np.random.default_rng(0), at)
    params = remover.sample(lung, np.random.default_rng(0), (24, 24, 24))
    with pytest.raises(AttackError, match="outside"):
        remover.apply(lung, params | {"centre": list(at)})


def test_what_is_no_ct_states_no_spacing_or_is_too_small_is_refused_before_forging(remover, make, lung):
    cubes.require(lung, remover)
    small = make(np.zeros((30, 12, 40)), (1.0, 1.5, 1.5))
    for volume, why in (
        (phantom.radiograph((64, 64)), "CT"),
        (replace(lung, geometry="none"), "spacing"),
        (small, r"32 x 32 mm .* 18\.0 x 60\.0 mm"),
    ):
        with pytest.raises(AttackError, match=why):
            cubes.require(volume, remover)


def test_the_release_s_spacing_is_an_option(remover, lung):
    overlapping = replace(lung, header={"slice_thickness_mm": 2.0})
    faithful = replace(remover, spacing_source="slice-thickness")
    place = (24, 24, 24)
    apart = [one.sample(overlapping, np.random.default_rng(0), place)["slices_apart_mm"] for one in (remover, faithful)]
    assert apart == [1.0, 2.0]
    touched = [
        one.apply(overlapping, one.sample(overlapping, np.random.default_rng(0), place)).mask.any(axis=(1, 2)).sum()
        for one in (remover, faithful)
    ]
    assert touched[1] <= touched[0]
    with pytest.raises(AttackError, match="unknown spacing source"):
        replace(remover, spacing_source="x").sample(lung, np.random.default_rng(0), place)


@pytest.mark.parametrize("volume", VOLUMES.values(), ids=VOLUMES.keys())
def test_it_obeys_the_laws(remover, injector, volume):
    for attack in (remover, injector):
        check_laws(attack, CtGan(attack.mode, Network(attack.network.name, attack.network.folder)), volume)


def test_the_table_goes_there_and_back():
    hu = np.linspace(-1000.0, 2000.0, 500).astype(np.float32)
    unit = TABLE.forward(hu)
    assert (np.diff(unit) > 0).all()
    assert np.abs(unit).max() <= 0.5
    np.testing.assert_allclose(TABLE.back(unit), hu, atol=0.05)
    again = Equalisation.of({"equalisation": json.loads(json.dumps(TABLE.to_json()))})
    np.testing.assert_array_equal(again.forward(hu), unit)


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"equalisation": {"hu": [1, 2], "level": [1, 2]}},
        {"equalisation": TABLE.to_json() | {"level": [0, 1, 1, 2, 3]}},
        {"equalisation": TABLE.to_json() | {"hu": [0, 1]}},
    ],
)
def test_a_card_without_a_rising_table_is_refused(card):
    with pytest.raises(WeightsError, match="equalisation table"):
        Equalisation.of(card)
