"""Which weights a generative forgery was made with: a record replays bit for bit only with the same file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tamperscope.attacks.network import Network
from tamperscope.errors import AttackError
from tamperscope.records import JSON


def record(network: Network) -> dict[str, JSON]:
    """What a record says of the network: its SHA-256.

    Raises:
        WeightsError: the network has no Card.
    """
    return {"network": network.card["sha256"]}


def check(network: Network, params: Mapping[str, Any]) -> None:
    """Make sure that ``params`` were drawn for this network.

    Raises:
        AttackError: they name another file.
        WeightsError: the network has no Card.
    """
    if params["network"] != network.card["sha256"]:
        raise AttackError(
            f"the record was made with {network.name} of SHA-256 {params['network']}, here is {network.card['sha256']}",
            hint="install the version that made the record, or sample anew",
        )
