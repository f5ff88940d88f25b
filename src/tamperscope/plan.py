"""Which attacks a forgery is made by, as a user names them, and in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tamperscope import attacks
from tamperscope.attacks import Attack
from tamperscope.attacks.chain import Chain
from tamperscope.attacks.headers import HeaderAttack
from tamperscope.attacks.headers import every as every_header_attack
from tamperscope.attacks.network import Network
from tamperscope.errors import UsageError
from tamperscope.records import JSON, Volume

AnyAttack: TypeAlias = Any
"""An attack on pixels or on headers: frozen dataclasses all, which a protocol cannot say."""
FIXED = frozenset({"name", "benign", "modalities", "mode", "donors", "network", "decoder", "box_mm", "target"})
"""Fields of attacks that are no setting of theirs, or have a way of their own to be said."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Attacks in the order in which they are carried out: first on the pixels, then on the headers."""

    pixels: tuple[Attack, ...]
    headers: tuple[HeaderAttack, ...] = ()

    @property
    def name(self) -> str:
        """What records, marks and file names call it."""
        return "+".join([*(step.name for step in self.pixels), *(step.name for step in self.headers)])

    @property
    def attack(self) -> Attack | None:
        """All that happens to the pixels, as one attack."""
        return Chain(self.pixels) if len(self.pixels) > 1 else next(iter(self.pixels), None)

    @property
    def processed(self) -> bool:
        """Whether the pristine twin is not the source itself, but what its benign steps make of it."""
        return not self.benign and any(step.benign for step in self.pixels)

    @property
    def first(self) -> Attack | HeaderAttack:
        """The attack that gives the forgery its kind."""
        return self.pixels[0] if self.pixels else self.headers[0]

    @property
    def harmless(self) -> str:
        """The name of its benign steps alone: what makes the twin, where there are any."""
        return "+".join(step.name for step in self.pixels if step.benign)

    @property
    def benign(self) -> bool:
        """Whether the outcome counts as authentic: nothing but benign changes of the picture."""
        return not self.headers and all(step.benign for step in self.pixels)


def pixel_attacks(donors: tuple[Volume, ...] = ()) -> dict[str, Attack]:
    """Every attack on pixels by its name."""
    return attacks.local(donors) | attacks.synthesis() | attacks.benign()


def attack_named(name: str, mode: str | None = None, donors: tuple[Volume, ...] = ()) -> Attack | HeaderAttack:
    """The attack that a user means by a name and a mode: "ct-gan" and "remove" are "ct-gan-remove".

    Raises:
        UsageError: there is none; the message lists those that there are.
    """
    known: dict[str, Attack | HeaderAttack] = {**pixel_attacks(donors), **every_header_attack()}
    full = f"{name}-{mode}" if mode else name
    if full in known:
        return known[full]
    modes = sorted(mode_of(other) for other in known.values() if family(other) == name and mode_of(other))
    if modes:
        raise UsageError(f"{name} has the modes {', '.join(modes)}", hint=f"say --mode {modes[0]}, for example")
    if full in donor_attacks():
        raise UsageError(f"{full} takes a piece of another patient", hint="say with --donor whose")
    if name in known:
        raise UsageError(f"{name} has no mode {mode}", hint="leave --mode out")
    raise UsageError(
        f"unknown attack {full!r}", hint=f"the known ones are {', '.join(sorted({*known, *donor_attacks()}))}"
    )


def settings(words: Sequence[str]) -> dict[str, JSON]:
    """``key=value`` of a command line: numbers as numbers, all else as text.

    Raises:
        UsageError: no such text.
    """
    found: dict[str, JSON] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UsageError(f"{word!r} is no option", hint="say KEY=VALUE, such as noise_source=fixed-place")
        try:
            number = json.loads(value)
        except ValueError:
            number = value
        found[key] = number if isinstance(number, int | float) else value
    return found


def settled(attack: AnyAttack, options: Mapping[str, JSON]) -> AnyAttack:
    """The attack with its settings changed, such as ``noise_source`` of CT-GAN or ``grade`` of a generated knee.

    Raises:
        UsageError: it has no such setting; the message lists those that it has.
    """
    known = sorted({field.name for field in fields(attack)} - FIXED)
    unknown = sorted(options.keys() - set(known))
    if unknown:
        hint = f"it has {', '.join(known)}" if known else "it has none"
        raise UsageError(f"{attack.name} has no option {unknown[0]!r}", hint=hint)
    return replace(attack, **options) if options else attack


def trained(attack: AnyAttack, folder: Path) -> AnyAttack:
    """The attack with the networks of ``folder``, under the names that those of the package have.

    Raises:
        UsageError: the attack runs no network.
    """
    found = {name: getattr(attack, name) for name in ("network", "decoder") if hasattr(attack, name)}
    if not found:
        raise UsageError(f"{attack.name} runs no network", hint="leave the network out")
    return replace(attack, **{key: Network(one.name if one else attack.name, folder) for key, one in found.items()})


def mode_of(attack: Attack | HeaderAttack) -> str:
    """The mode that is the last part of an attack's name, or nothing."""
    mode = getattr(attack, "mode", None)
    return mode if isinstance(mode, str) and attack.name.endswith(f"-{mode}") else ""


def family(attack: Attack | HeaderAttack) -> str:
    """An attack's name without its mode: what a benchmark holds out as one generator."""
    return attack.name.removesuffix(f"-{mode_of(attack)}") if mode_of(attack) else attack.name


def donor_attacks() -> frozenset[str]:
    """Names of the attacks that need a piece of another patient."""
    return frozenset(attacks.local((anyone(),)).keys() - attacks.local().keys())


def anyone() -> Volume:
    """A stand-in for a donor, where only names are asked for."""
    return Volume(np.zeros((1, 1, 1), np.float32), np.eye(4), "CT")


def planned(
    attack: str,
    mode: str | None = None,
    then: Sequence[str] = (),
    donors: tuple[Volume, ...] = (),
    options: Mapping[str, JSON] | None = None,
    network: Path | None = None,
) -> Plan:
    """An attack, and what comes after it.

    Args:
        attack: its name, with or without the mode.
        mode: its mode.
        then: names of the attacks that come after it.
        donors: volumes of other patients, for the attacks that take a piece of them.
        options: settings of the first attack, see `settled`.
        network: folder that holds the first attack's network instead of the package.

    Raises:
        UsageError: an unknown attack or option, or one on pixels after one on headers.
    """
    first = settled(attack_named(attack, mode, donors), options or {})
    first = first if network is None else trained(first, network)
    steps = [first, *(attack_named(name, None, donors) for name in then)]
    on_headers = every_header_attack()
    pixels = [step for step in steps if step.name not in on_headers]
    if any(step.name in on_headers for step in steps[: len(pixels)]):
        raise UsageError(f"{steps[0].name} comes before an attack on pixels", hint="name the attacks on headers last")
    return Plan(tuple(pixels), tuple(steps[len(pixels) :]))
