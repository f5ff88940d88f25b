"""Several files that appear together or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tamperscope.errors import UsageError

from .record import SUFFIX


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder whose content moves into ``out`` at the end, records last; hidden files and those of an error go.

    Raises:
        UsageError: ``out`` cannot be written, or something of that name is there.
    """
    scratch = out / f".{secrets.token_hex(6)}.partial"
    try:
        scratch.mkdir()
        yield scratch
        made = [path for path in scratch.iterdir() if not path.name.startswith(".")]
        for path in sorted(made, key=lambda path: (path.suffix == SUFFIX, path.name)):
            path.rename(out / path.name)
    except OSError as error:
        hint = "choose a folder that you may write to, with room enough"
        raise UsageError(f"cannot write into {out}: {error.strerror or error}", hint=hint) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
