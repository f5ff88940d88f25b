"""Forgeries and benign changes, one manipulation per file; `attack.Attack` is what each of them obeys."""

from __future__ import annotations

from tamperscope.attacks.add_noise import AddNoise
from tamperscope.attacks.annotation import Annotation
from tamperscope.attacks.attack import Attack
from tamperscope.attacks.autoencoder import Autoencoder
from tamperscope.attacks.blur_regrain import BlurRegrain
from tamperscope.attacks.chain import Chain
from tamperscope.attacks.compress import Compress
from tamperscope.attacks.copy_move import CopyMove
from tamperscope.attacks.crop import Crop
from tamperscope.attacks.ct_gan import CtGan
from tamperscope.attacks.ct_gan_blend import CtGanBlend
from tamperscope.attacks.cycle_gan import CycleGan
from tamperscope.attacks.denoise import Denoise
from tamperscope.attacks.diffusion_inpaint import DiffusionInpaint
from tamperscope.attacks.inpaint import Inpaint
from tamperscope.attacks.intensity import Intensity
from tamperscope.attacks.jekyll import Jekyll
from tamperscope.attacks.kernel_change import KernelChange
from tamperscope.attacks.knee_diffusion import KneeDiffusion
from tamperscope.attacks.knee_gan import KneeGan
from tamperscope.attacks.marker import Marker
from tamperscope.attacks.nodule import Nodule
from tamperscope.attacks.poisson import Poisson
from tamperscope.attacks.regrain import Regrain
from tamperscope.attacks.resample_paste import ResamplePaste
from tamperscope.attacks.resample_whole import ResampleWhole
from tamperscope.attacks.resize import Resize
from tamperscope.attacks.resize_finding import ResizeFinding
from tamperscope.attacks.splice import Splice
from tamperscope.attacks.window_8bit import Window8bit
from tamperscope.records import Volume

__all__ = [
    "AddNoise",
    "Annotation",
    "Attack",
    "Autoencoder",
    "BlurRegrain",
    "Chain",
    "Compress",
    "CopyMove",
    "Crop",
    "CtGan",
    "CtGanBlend",
    "CycleGan",
    "Denoise",
    "DiffusionInpaint",
    "Inpaint",
    "Intensity",
    "Jekyll",
    "KernelChange",
    "KneeDiffusion",
    "KneeGan",
    "Marker",
    "Nodule",
    "Poisson",
    "Regrain",
    "ResamplePaste",
    "ResampleWhole",
    "Resize",
    "ResizeFinding",
    "Splice",
    "Window8bit",
    "benign",
    "local",
    "synthesis",
]


def local(donors: tuple[Volume, ...] = ()) -> dict[str, Attack]:
    """Attacks that change one place, by name; those that need another patient's volume take it from ``donors``."""
    attacks: list[Attack] = [
        CtGan("inject"),
        CtGan("remove"),
        DiffusionInpaint("inject"),
        DiffusionInpaint("remove"),
        CycleGan("inject"),
        CycleGan("remove"),
        Autoencoder("region"),
        CtGanBlend("inject"),
        CtGanBlend("remove"),
        ResamplePaste(),
        BlurRegrain(),
        Inpaint(),
        Inpaint("harmonic"),
        Inpaint("median"),
        Inpaint("tv"),
        Inpaint("biharmonic"),
        Inpaint("patchmatch"),
        CopyMove(),
        Poisson(),
        Nodule(),
        Nodule("solid"),
        Nodule("part-solid"),
        Nodule("spiculated"),
        ResizeFinding("enlarge"),
        ResizeFinding("shrink"),
        Intensity(),
        Marker("erase"),
        Marker("draw"),
        Marker("replace"),
        Regrain(),
        *([Splice(donors)] if donors else []),
    ]
    return {attack.name: attack for attack in attacks}


def synthesis() -> dict[str, Attack]:
    """Attacks that a network makes of the whole picture, by name: it is generated, translated or reconstructed."""
    attacks: list[Attack] = [
        Autoencoder("whole"),
        KneeGan(),
        KneeDiffusion(),
        Jekyll(),
        Jekyll("healthy"),
        Jekyll("diseased"),
    ]
    return {attack.name: attack for attack in attacks}


def benign() -> dict[str, Attack]:
    """Changes of the whole picture that no detector may call tampering, by name."""
    attacks: list[Attack] = [
        Denoise(),
        Denoise("iterative"),
        AddNoise(),
        KernelChange("sharpen"),
        KernelChange("soften"),
        ResampleWhole(),
        Resize(),
        Crop(),
        Window8bit(),
        Compress(),
        Compress("jpeg"),
        Compress("jpeg2000"),
        Compress("jpeg-ls"),
        Annotation(),
    ]
    return {attack.name: attack for attack in attacks}
