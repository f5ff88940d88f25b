"""What a recipe may say of each system: a dataclass a table, whose fields are the keys.

Here and not beside the systems, so that a recipe is checked before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tamperscope.errors import UsageError

ABOVE_0: Mapping[str, Any] = {"above": 0.0}
SHARE: Mapping[str, Any] = {"least": 0.0, "below": 1.0}
COUNT: Mapping[str, Any] = {"least": 1}
HEADS = ("sigmoid", "softmax")
MEASURES = ("auroc", "auprc", "found", "minus_loss")
"""What the part calibrate may be looked at by: see `measures`."""


@dataclass(frozen=True, slots=True)
class PictureNet:
    """See `models.picture_net`."""

    backbone: str
    width: float = field(default=1.0, metadata=ABOVE_0)
    """Multiplies the channels of the backbone."""
    depth: float = field(default=1.0, metadata=ABOVE_0)
    """Multiplies its layers."""
    channel_attention: bool = True
    spatial_attention: bool = True
    dense: tuple[int, ...] = field(default=(256,), metadata=COUNT)
    dropout: float = field(default=0.3, metadata=SHARE)
    head: str = "sigmoid"
    """How the logits become a probability: one by "sigmoid", or one for each class by "softmax"."""
    pretrained: Path | None = None
    """The state of timm's network, say from ImageNet: a file that ends in .safetensors, or the name under which timm
    fetches it ("tf_efficientnet_b4.ns_jft_in1k"), the one case in which a training uses the network; from scratch if
    None."""

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise UsageError(f"head = {self.head!r}", hint=f"one of {', '.join(HEADS)}")


@dataclass(frozen=True, slots=True)
class PlainCnn:
    """See `models.plain_cnn`."""

    width: int = field(default=16, metadata=COUNT)
    """Channels of the first block."""
    dropout: float = field(default=0.5, metadata=SHARE)


@dataclass(frozen=True, slots=True)
class PatchNet:
    """See `models.patch_net`."""

    patch: int = field(default=16, metadata={"least": 4})
    """Pixels a side of a patch, a multiple of 4 that divides the side of the picture."""
    width: int = field(default=128, metadata={"least": 16})
    depth: int = field(default=4, metadata={"least": 0})
    heads: int = field(default=4, metadata=COUNT)
    dropout: float = field(default=0.1, metadata=SHARE)


YOLOS: Mapping[str, tuple[str, str]] = {
    "yolov3": ("v3/yolov3.yaml", ""),
    "yolov5nu": ("v5/yolov5.yaml", "n"),
    "yolov5su": ("v5/yolov5.yaml", "s"),
    "yolov8x": ("v8/yolov8.yaml", "x"),
}
"""The table of each in the library, and its size there. All have the head without anchor boxes ("u")."""


@dataclass(frozen=True, slots=True)
class Yolo:
    """See `systems.yolo`."""

    model: str
    width: float = field(default=1.0, metadata=ABOVE_0)
    """Multiplies the channels of the model."""
    depth: float = field(default=1.0, metadata=ABOVE_0)
    """Multiplies its layers."""
    pretrained: Path | None = None
    """The state of the library's network as safetensors; from scratch if None."""

    def __post_init__(self) -> None:
        if self.model not in YOLOS:
            raise UsageError(f"model = {self.model!r}", hint=f"the models are {', '.join(YOLOS)}")

    @property
    def table(self) -> str:
        """The file in the library that says how its layers follow each other."""
        return YOLOS[self.model][0]

    @property
    def size(self) -> str:
        """The letter of its scale there, if there are several."""
        return YOLOS[self.model][1]


@dataclass(frozen=True, slots=True)
class OwnNet:
    """A network of the user's: ``build`` is called with ``side`` and gives one that takes pictures to logits."""

    build: str
    """The module and the function in it, "my_module:build": found as Python finds modules, beside the recipe, or in the
    working directory."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is fitted at once, from rows that are all in memory."""

    most: int = field(default=20000, metadata={"least": 2})
    """Rows to learn from, as many forged as authentic ones where there are; more are left out, drawn by the seed."""


@dataclass(frozen=True, slots=True)
class Svm(Rows):
    """See `sklearn.svm.SVC` and `sklearn.svm.LinearSVC`."""

    kernel: str = "rbf"
    """"rbf", whose time grows with the square of the rows, or "linear"."""
    penalty: float = field(default=1.0, metadata=ABOVE_0)
    """C."""
    components: int | None = field(default=128, metadata={"least": 0})
    """Principal components that stand for the pixels, fewer where there are fewer; 0 for the pixels themselves."""

    def __post_init__(self) -> None:
        _one_of("kernel", self.kernel, ("rbf", "linear"))


@dataclass(frozen=True, slots=True)
class Tree(Rows):
    """See `sklearn.tree.DecisionTreeClassifier`."""

    depth: int | None = field(default=None, metadata=COUNT)
    """As deep as it grows if None."""
    leaf: int = field(default=1, metadata=COUNT)
    """Rows that a leaf holds at least."""


@dataclass(frozen=True, slots=True)
class Forest(Tree):
    """See `sklearn.ensemble.RandomForestClassifier`."""

    trees: int = field(default=100, metadata={"least": 1, "most": 1000})


@dataclass(frozen=True, slots=True)
class ClassicalInput:
    """8-bit pixels as rows: of whole slices made small, or of regions of slices as they are."""

    look: str = "pixels"
    """"pixels" or "regions"."""
    side: int = field(default=64, metadata={"least": 8, "most": 256})
    """Pixels a side of the small picture; or of a region, in pixels of the slice, a multiple of 4."""
    window_hu: tuple[float, float] = (-1000.0, 400.0)

    def __post_init__(self) -> None:
        _one_of("look", self.look, ("pixels", "regions"))
        _window(self.window_hu)
        if self.look == "regions" and self.side % 4:
            raise UsageError(f"side = {self.side}", hint="of regions it is a multiple of 4")


@dataclass(frozen=True, slots=True)
class FeatureNet:
    """See `models.feature_net`."""

    hidden: tuple[int, int, int] = field(default=(64, 32, 16), metadata=COUNT)
    dropout: float = field(default=0.2, metadata=SHARE)


@dataclass(frozen=True, slots=True)
class Cascade:
    """See `train.systems.cascade`: a network on windows, and support vectors on its map of a slice."""

    width: int = field(default=16, metadata={"least": 4, "most": 256})
    """Channels of the first layer; see `models.window_net`."""
    channel_attention: bool = True
    spatial_attention: bool = True
    dropout: float = field(default=0.3, metadata=SHARE)
    windows: int = field(default=8, metadata=COUNT)
    """Windows that a slice teaches the network with, of each kind."""
    slices: int = field(default=2, metadata=COUNT)
    """Slices of each label whose maps a series teaches the support vectors with."""
    components: int = field(default=256, metadata=COUNT)
    """Principal components of a map's matrices, fewer where there are fewer."""
    penalty: float = field(default=1.0, metadata=ABOVE_0)
    """C of the support vectors."""
    most: int = field(default=20000, metadata={"least": 2})
    """Slices that teach the support vectors at most."""


@dataclass(frozen=True, slots=True)
class CascadeInput:
    """Slices as 8-bit pictures, pixel by pixel, and the map that is made of them."""

    window_hu: tuple[float, float] = (-1000.0, 400.0)
    stride: int = field(default=4, metadata={"least": 1, "most": 32})
    """Pixels from one window to the next."""
    levels: int = field(default=100, metadata={"least": 2, "most": 256})
    """Of the map, for its co-occurrence matrices."""

    def __post_init__(self) -> None:
        _window(self.window_hu)


@dataclass(frozen=True, slots=True)
class NativeInput:
    """Slices as 8-bit pictures, pixel by pixel."""

    window_hu: tuple[float, float] = (-1000.0, 400.0)

    def __post_init__(self) -> None:
        _window(self.window_hu)


@dataclass(frozen=True, slots=True)
class PictureInput:
    """Slices as pictures; see `pictures.PictureSpec`."""

    side: int | None = field(default=None, metadata=COUNT)
    """The side for which the network was published if None."""
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    clahe: bool = False

    def __post_init__(self) -> None:
        _window(self.window_hu)


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{key} = {value!r}", hint=f"it is one of {', '.join(allowed)}")


def _window(window_hu: tuple[float, float]) -> None:
    low, high = window_hu
    if not low < high:
        raise UsageError(f"window_hu = [{low:g}, {high:g}]", hint="the first value is the lower one")


@dataclass(frozen=True, slots=True)
class ForensicNet:
    """See `models.forensic_net`."""

    width: int = field(default=16, metadata=COUNT)
    """Channels at full resolution."""
    constrained: int = field(default=3, metadata=COUNT)
    """Filters of the constrained convolution."""


@dataclass(frozen=True, slots=True)
class CropInput:
    """Crops of native pixels; see `train.native`."""

    side: int = field(default=128, metadata={"least": 32})
    """Pixels a side, a multiple of 16."""
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    most: int = field(default=24, metadata=COUNT)
    """Slices of a series that are read to learn from: as memory allows."""

    def __post_init__(self) -> None:
        _window(self.window_hu)


@dataclass(frozen=True, slots=True)
class MilNet:
    """See `models.mil_net`."""

    width: int = field(default=16, metadata={"least": 8})
    """Channels of the first convolution, a multiple of 8."""
    features: int = field(default=128, metadata=COUNT)
    """Numbers that describe a patch."""
    hidden: int = field(default=64, metadata=COUNT)
    """Units of the attention."""
    dropout: float = field(default=0.25, metadata=SHARE)


@dataclass(frozen=True, slots=True)
class BagInput:
    """Patches of native pixels; see `evaluate.systems.mil_net`."""

    patch: int = field(default=64, metadata={"least": 8})
    """Pixels a side, a multiple of 8."""
    stride: int = field(default=32, metadata={"least": 4})
    """Pixels between two patches, a multiple of 4."""
    window_hu: tuple[float, float] = (-1000.0, 400.0)
    slices: int = field(default=32, metadata={"least": 2})
    """Slices of a series that are read to learn from, those round the stated place of a forgery of its patient."""
    drawn: int = field(default=8, metadata={"least": 2})
    """Of these, the slices of a bag."""
    patches: int = field(default=256, metadata=COUNT)
    """Patches of a bag, at most."""

    def __post_init__(self) -> None:
        _window(self.window_hu)
        if self.patch % 8 or self.stride % 4 or self.stride > self.patch:
            raise UsageError(
                f"patch = {self.patch}, stride = {self.stride}",
                hint="patch is a multiple of 8, stride one of 4 and not larger than patch",
            )
        if self.drawn > min(self.slices, self.patches):
            raise UsageError(f"drawn = {self.drawn}", hint="no more than slices, and than patches")


@dataclass(frozen=True, slots=True)
class BackInTimeNet:
    """See `models.back_in_time_net`."""

    width: int = field(default=32, metadata={"least": 8})
    """Channels at full resolution, a multiple of 8."""
    learned: int = field(default=1000, metadata={"least": 1, "most": 1000})
    """Steps of noise that are learned, from the least noise on."""
    t: int = field(default=0, metadata={"least": 0})
    """The step of them that is made back when a picture is looked at."""

    def __post_init__(self) -> None:
        if self.width % 8 or self.t >= self.learned:
            raise UsageError(
                f"width = {self.width}, t = {self.t}, learned = {self.learned}",
                hint="width is a multiple of 8, and t is below learned",
            )


@dataclass(frozen=True, slots=True)
class CandidateInput:
    """Crops of native pixels of the lungs of a CT, or of anything else as a whole; see `train.native`."""

    side: int = field(default=96, metadata={"least": 32})
    """Pixels a side, a multiple of 8."""
    window_hu: tuple[float, float] = (-700.0, 2000.0)
    most: int = field(default=24, metadata=COUNT)
    """Slices of a series that are read to learn from: as memory allows."""

    def __post_init__(self) -> None:
        _window(self.window_hu)
        if self.side % 8:
            raise UsageError(f"side = {self.side}", hint="side is a multiple of 8")


class Options(NamedTuple):
    """What the tables of a system's recipe are read as."""

    net: type
    input: type
    augmented: bool = False
    """Whether [augment] says something to it."""
    needs: tuple[str, str] | None = None
    """A package beyond the extra "train", and the extra that brings it."""
    learns_on: bool = True
    """Whether an earlier training can go on with new series: not where all or a part of it is fitted at once."""
    measured: bool = True
    """Whether it tells forged from authentic inputs while it learns, so that a recipe can choose the measure."""


SYSTEMS: Mapping[str, Options] = {
    "picture-net": Options(PictureNet, PictureInput, augmented=True),
    "plain-cnn": Options(PlainCnn, PictureInput, augmented=True),
    "patch-net": Options(PatchNet, PictureInput, augmented=True),
    "own": Options(OwnNet, PictureInput, augmented=True),
    "svm": Options(Svm, ClassicalInput, learns_on=False, measured=False),
    "forest": Options(Forest, ClassicalInput, learns_on=False, measured=False),
    "tree": Options(Tree, ClassicalInput, learns_on=False, measured=False),
    "feature-net": Options(FeatureNet, NativeInput),
    "cascade": Options(Cascade, CascadeInput, learns_on=False),
    "yolo": Options(Yolo, PictureInput, augmented=True, needs=("ultralytics", "yolo")),
    "forensic-net": Options(ForensicNet, CropInput),
    "mil-net": Options(MilNet, BagInput),
    "back-in-time": Options(BackInTimeNet, CandidateInput, measured=False),
}
