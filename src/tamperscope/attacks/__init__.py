"""Forgeries and benign changes, one manipulation per file; `attack.Attack` is what each of them obeys."""

from __future__ import annotations

from tamperscope.attacks.add_noise import AddNoise
from tamperscope.attacks.attack import Attack
from tamperscope.attacks.blur_regrain import BlurRegrain
from tamperscope.attacks.compress import Compress
from tamperscope.attacks.copy_move import CopyMove
from tamperscope.attacks.ct_gan_blend import CtGanBlend
from tamperscope.attacks.denoise import Denoise
from tamperscope.attacks.inpaint import Inpaint
from tamperscope.attacks.nodule import Nodule
from tamperscope.attacks.resample_paste import ResamplePaste
from tamperscope.attacks.resample_whole import ResampleWhole
from tamperscope.attacks.splice import Splice
from tamperscope.records import Volume

__all__ = [
    "AddNoise",
    "Attack",
    "BlurRegrain",
    "Compress",
    "CopyMove",
    "CtGanBlend",
    "Denoise",
    "Inpaint",
    "Nodule",
    "ResamplePaste",
    "ResampleWhole",
    "Splice",
    "benign",
    "local",
]


def local(donors: tuple[Volume, ...] = ()) -> dict[str, Attack]:
    """Attacks that change one place, by name; those that need another patient's volume take it from ``donors``."""
    attacks: list[Attack] = [
        CtGanBlend("inject"),
        CtGanBlend("remove"),
        ResamplePaste(),
        BlurRegrain(),
        Inpaint(),
        CopyMove(),
        Nodule(),
        *([Splice(donors)] if donors else []),
    ]
    return {attack.name: attack for attack in attacks}


def benign() -> dict[str, Attack]:
    """Changes of the whole picture that no detector may call tampering, by name."""
    attacks: list[Attack] = [Denoise(), AddNoise(), ResampleWhole(), Compress()]
    return {attack.name: attack for attack in attacks}
