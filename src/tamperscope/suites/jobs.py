"""A command of a benchmark: where its result goes, how far it is, and what its last run took."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """A command and where its result goes."""

    name: str
    folder: Path
    words: tuple[str, ...]
    """Of the command, after ``tamperscope``."""
    files: tuple[str, ...]
    """What is in the folder when it has ended well."""

    @property
    def command(self) -> str:
        """As a person would type it."""
        return shlex.join(("tamperscope", *self.words))


def state(job: Job, out: Path) -> str:
    """How far a job is: "done", "to do", or "failed: …" with the reason, to be tried again."""
    if all((job.folder / name).is_file() for name in job.files):
        return "done"
    error = record(job, out).get("error")
    return f"failed: {error}" if error else "to do"


def record(job: Job, out: Path) -> dict[str, Any]:
    """What is kept of the last run of a job; empty if it was never run to an end."""
    try:
        found = json.loads((out / "jobs" / f"{job.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
