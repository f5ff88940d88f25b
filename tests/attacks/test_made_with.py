from __future__ import annotations

import json

import pytest

from tamperscope.attacks import made_with
from tamperscope.attacks.network import SCHEMA, Network
from tamperscope.errors import AttackError, WeightsError


def network(folder, sha256: str) -> Network:
    folder.mkdir()
    (folder / "net.json").write_text(json.dumps({"schema": SCHEMA, "name": "net", "sha256": sha256}))
    return Network("net", folder)


def test_a_record_fits_its_network_and_no_other(tmp_path):
    one, two = network(tmp_path / "a", "11"), network(tmp_path / "b", "22")
    params = made_with.record(one)
    made_with.check(one, params)
    with pytest.raises(AttackError, match="SHA-256 11, here is 22"):
        made_with.check(two, params)


def test_without_a_card_there_is_no_record(tmp_path):
    with pytest.raises(WeightsError):
        made_with.record(Network("absent", tmp_path))
