"""Is this installation whole? Codecs, models, memory and cores, each as one line."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from tamperscope import __version__, weights
from tamperscope.decode import DECODERS
from tamperscope.errors import WeightsError

NEEDED_MEMORY = 2 * 2**30
"""Bytes that a scan of a long CT takes, with room to spare."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    state: str


def examine() -> list[Finding]:
    """Look at everything that a scan needs."""
    return [
        Finding("tamperscope", True, f"{__version__}, Python {platform.python_version()}, {platform.machine()}"),
        *[_codec(syntax, *decoder) for syntax, decoder in DECODERS.items()],
        _packages(),
        *_models(),
        _memory(),
        Finding("cores", True, str(weights.available_cores())),
    ]


def _codec(syntax: str, plugin: str, package: str) -> Finding:
    usable = plugin in get_decoder(UID(syntax)).available_plugins
    return Finding(f"codec {UID(syntax).name}", usable, f"{package}" if usable else f"pip install {package}")


def _packages() -> Finding:
    names = ("numpy", "scipy", "pydicom", "nibabel", "pillow", "onnxruntime")
    return Finding("libraries", True, ", ".join(f"{name} {metadata.version(name)}" for name in names))


def _models() -> list[Finding]:
    try:
        cards = weights.packaged()
    except WeightsError as error:
        return [Finding("models", False, str(error))]
    return [_model(card) for card in cards] or [Finding("models", False, "none; install the package again")]


def _model(card: weights.Card) -> Finding:
    try:
        weights.verified(card)
    except WeightsError as error:
        return Finding(f"model {card.name}", False, str(error))
    return Finding(f"model {card.name}", True, f"version {card.version}, sha256 {card.sha256}")


def _memory() -> Finding:
    if not hasattr(os, "sysconf"):  # Windows
        return Finding("memory", True, "unknown; a long CT takes about 1.5 GiB")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory", total >= NEEDED_MEMORY, f"{total / 2**30:.1f} GiB in all, a long CT takes about 1.5")
