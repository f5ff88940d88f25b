"""The contract of radiographs: grey pictures of any depth and size, seen at the size that the network knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tamperscope import anatomy
from tamperscope.preprocess import picture_channels, reduced, resized, seen_shape
from tamperscope.records import FloatArray, MaskArray, Volume

MODALITIES = ("CR", "DX", "RG", "OT")
"""Radiographs; OT is what a picture is read as that states nothing."""
PARTS = {"KNEE": ("KNEE", "LEG", "EXTREM", "LOW EXM", "FEMUR", "TIBIA", "JOINT")}
"""Words of a stated body part (PS3.16 annex L, and what is written in its place) that stand for that of the Card."""
GLANCE = 12
"""Cells a side of the picture that is compared with the mean one."""
TENTH = 10
"""Of the places of a map, the share whose mean tells of the picture as a whole: one in ten."""
LEAST_LEVELS = 32
"""With fewer grey levels there is no noise left to speak of."""


@dataclass(frozen=True, slots=True)
class RadiographInput:
    """The radiographs that a set of weights was trained for."""

    modality: str
    body_part: str
    side: int
    """Pixels of the shorter side at which larger pictures are seen."""
    least_side: int
    aspect: float
    """Largest quotient of the sides."""
    glance: tuple[float, ...]
    """The mean training picture in 12 x 12 cells, row by row: what a picture of this kind looks like at a glance."""
    likeness: float
    """Least correlation with it."""

    def takes(self, modality: str) -> bool:
        """Whether this is the contract for such pictures at all."""
        return modality in MODALITIES

    def refusals(self, volume: Volume) -> tuple[str, ...]:
        """Why ``volume`` is outside the contract, one plain sentence a reason; empty if it is inside."""
        if not self.takes(volume.modality):
            unstated = "" if volume.format == "dicom" else " (if it is a radiograph, say --modality DX)"
            return (f"the model was trained on radiographs, this is {volume.modality}{unstated}",)
        reasons = self._frame_refusals(volume)
        if reasons:
            return reasons
        plane = volume.voxels[0]
        if np.unique(plane).size < LEAST_LEVELS:
            return (f"the picture has fewer than {LEAST_LEVELS} grey levels, so its noise is gone",)
        likeness = self._likeness(self._shown(volume))
        if likeness >= self.likeness:
            return ()
        hint = "" if volume.format == "dicom" else "; if it is CT, say --modality CT"
        return (f"this does not look like a radiograph of a {self.body_part.lower()} ({likeness:.2f} alike){hint}",)

    def cautions(self, volume: Volume) -> tuple[str, ...]:
        """None: pictures of knees were trained on after all that files and sizes do to them."""
        del volume
        return ()

    def channels(self, plane: FloatArray) -> FloatArray:
        """A picture (H, W) as the network sees it, float32 (3, h, w): reduced where it is larger than in training."""
        return picture_channels(reduced(plane, self.side))

    def inside(self, volume: Volume) -> MaskArray:
        """The whole picture, on the grid of the answer."""
        depth, *shape = volume.shape
        height, width = seen_shape((shape[0], shape[1]), self.side)
        return np.ones((depth, -(-height // anatomy.STEP), -(-width // anatomy.STEP)), dtype=bool)

    def strides(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Pixels of (H, W) that one value of the answer stands for, down and across."""
        seen = seen_shape(shape, self.side)
        return anatomy.STEP * shape[0] / seen[0], anatomy.STEP * shape[1] / seen[1]

    def settled(self, maps: FloatArray, volume: Volume) -> FloatArray:
        """The network's answers (D, h, w) as a map of evidence: each the mean of itself and of the highest tenth.

        A generated picture shows everywhere what it is, hardly more in one place than in others; an edited one in one
        place alone.
        """
        del volume
        flat = np.sort(maps.reshape(len(maps), -1), axis=1)
        highest = flat[:, -max(1, flat.shape[1] // TENTH) :].mean(axis=1)
        return np.asarray(0.5 * (maps + highest[:, None, None]), dtype=np.float32)

    def places(self, inside: MaskArray, volume: Volume) -> float:
        """One: every picture is seen at the same size, so its highest value needs no correction."""
        del volume
        return float(len(inside))

    def facts(self) -> Mapping[str, str]:
        """The contract in words, for the Card."""
        return {
            "May judge": f"radiographs of the {self.body_part.lower()} ({', '.join(MODALITIES)}), 8 to 16 bits",
            "Size": f"at least {self.least_side} pixels a side; above {self.side} it is seen reduced",
            "Likeness": f"at least {self.likeness} with the mean training picture",
        }

    def _frame_refusals(self, volume: Volume) -> tuple[str, ...]:
        if volume.voxels.ndim != 3:
            return ("a colour picture is not a radiograph",)
        part = str(volume.header.get("body_part") or "").upper()
        if part and not any(word in part for word in PARTS.get(self.body_part, (self.body_part,))):
            return (f"the model was trained on the {self.body_part.lower()}, the file states {part}",)
        depth, height, width = volume.shape
        if depth != 1:
            return (f"the model judges single radiographs, this is a stack of {depth}",)
        if min(height, width) < self.least_side:
            return (f"the picture has {height} x {width} pixels, the model needs {self.least_side} a side",)
        if max(height, width) > self.aspect * min(height, width):
            return (f"the picture has {height} x {width} pixels: no model has seen so narrow a one",)
        return ()

    def _shown(self, volume: Volume) -> FloatArray:
        plane = reduced(volume.voxels[0], self.side)
        return -plane if volume.photometric == "MONOCHROME1" else plane

    def _likeness(self, plane: FloatArray) -> float:
        """Correlation with the mean picture, or with its mirror image where that is higher."""
        seen, mean = glance_of(plane), np.array(self.glance, dtype=np.float32)
        mirrored = seen.reshape(GLANCE, GLANCE)[:, ::-1].ravel()
        return max(float(np.corrcoef(one, mean)[0, 1]) for one in (seen, mirrored))


def glance_of(plane: FloatArray) -> FloatArray:
    """Ranks, 0 to 1, of the means of 12 x 12 cells of a picture (H, W), row by row: no contrast recipe moves them."""
    cells = resized(plane, (GLANCE, GLANCE))
    ranks = np.argsort(np.argsort(cells, axis=None, kind="stable"), kind="stable")
    return (ranks / (ranks.size - 1)).astype(np.float32)
