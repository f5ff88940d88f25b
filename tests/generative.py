"""For the tests of generative attacks: networks of a few nodes, whose answer is known, and the laws that they obey."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tamperscope import anatomy, phantom
from tamperscope.attacks import Attack, Chain
from tamperscope.attacks.network import SCHEMA, Network
from tamperscope.errors import AttackError
from tamperscope.records import Volume

VOLUMES = {
    "chest": phantom.chest((10, 72, 80), (2.5, 4.5, 4.5), np.random.default_rng(3)),
    "fine": phantom.chest((12, 64, 64), (1.25, 0.7, 0.7), np.random.default_rng(4)),
    "one slice": phantom.chest((1, 64, 64), (2.5, 0.7, 0.7), np.random.default_rng(5)),
    "tiny": phantom.chest((2, 9, 7), (2.5, 0.7, 0.7), np.random.default_rng(6)),
    "one voxel": phantom.chest((1, 1, 1), (2.5, 0.7, 0.7), np.random.default_rng(7)),
    "radiograph": phantom.radiograph((64, 56), np.random.default_rng(8)),
}


def network(folder: Path, name: str, graph: str) -> Network:
    """The network of an ONNX graph in text form, ``name (inputs) => (output) {...}``, with its Card in ``folder``."""
    import onnx.parser  # only the extra [train] has it

    data = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph}').SerializeToString()
    (folder / f"{name}.onnx").write_bytes(data)
    card = {"schema": SCHEMA, "name": name, "sha256": hashlib.sha256(data).hexdigest()}
    (folder / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")
    return Network(name, folder)


def own_place(attack: Attack, volume: Volume) -> tuple[int, int, int] | None:
    """None, so that the attack chooses; the middle, where it would remove something and there is nothing to remove."""
    first = attack.steps[0] if isinstance(attack, Chain) else attack
    takes = first.name.endswith("remove") or first.name.startswith("resize-finding")
    if not takes or volume.modality != "CT" or anatomy.findings(volume.voxels, volume.spacing_mm):
        return None
    with pytest.raises(AttackError, match="nothing to remove"):
        attack.sample(volume, np.random.default_rng(0))
    depth, height, width = volume.shape
    return depth // 2, height // 2, width // 2


def check_laws(attack: Attack, again: Attack, volume: Volume) -> None:
    """The record replays bit for bit, also with ``again``, an equal attack in whose networks nothing is open yet; the
    input stays as it was; the mask is what changed; whole numbers stay whole."""
    before = volume.voxels.copy()
    for seed, at in enumerate([(0, 0, 0), tuple(n - 1 for n in volume.shape), own_place(attack, volume)]):
        params = attack.sample(volume, np.random.default_rng(seed), at)
        assert params == again.sample(volume, np.random.default_rng(seed), at)
        forgery = attack.apply(volume, params)
        forged = forgery.volume.voxels
        assert np.array_equal(volume.voxels, before)
        assert np.isfinite(forged).all()
        assert np.array_equal(forged, np.rint(forged))
        assert np.array_equal(forgery.mask, forged != before)
        record = json.loads(json.dumps(forgery.record, allow_nan=False))
        assert record == {"attack": attack.name, "input": volume.digest, "params": params}
        assert again.apply(volume, record["params"]).volume.digest == forgery.volume.digest
