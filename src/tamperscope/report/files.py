"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tamperscope.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes take the place of ``path`` at the end, in one step; an error leaves the old file alone.

    Raises:
        UsageError: the folder cannot be made or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            yield stream
        temporary.replace(path)
    except OSError as error:
        hint = "choose a folder that you may write to"
        raise UsageError(f"cannot write {path}: {error.strerror or error}", hint=hint) from error
    finally:
        _remove(temporary)


def save(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, making its folder.

    Raises:
        UsageError: the folder cannot be made or the file cannot be written.
    """
    with replacing(path) as stream:
        stream.write(data)


def _remove(temporary: Path) -> None:
    try:
        temporary.unlink(missing_ok=True)
    except NotADirectoryError:
        return  # a parent is a file: nothing was written
