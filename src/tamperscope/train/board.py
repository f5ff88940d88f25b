"""The record of a run for TensorBoard, beside that which every run leaves. Needs the extra ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tamperscope.errors import MissingExtraError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


class Board:
    """Writes each mean of a run into the folder ``tensorboard`` of it.

    Raises:
        MissingExtraError: the package tensorboard is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils import tensorboard
        except ModuleNotFoundError as error:
            raise MissingExtraError("tensorboard", "tensorboard") from error
        self._folder, self._make = run / FOLDER, tensorboard.SummaryWriter
        self._writer: SummaryWriter | None = None

    def note(self, step: int, means: Mapping[str, float]) -> None:
        """Means of the steps up to this one; what an interrupted run wrote beyond its checkpoint is taken back."""
        if self._writer is None:
            self._writer = self._make(str(self._folder), purge_step=step)
        for name, value in means.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.close()
