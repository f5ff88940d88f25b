"""What a run was made with: the code, the libraries, the machine."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

import tamperscope
from tamperscope.records import JSON

PACKAGE = Path(tamperscope.__file__).parent
LIBRARIES = ("torch", "timm", "numpy", "onnx", "onnxruntime", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Code:
    """The package as it ran."""

    commit: str | None = None
    """Of the checkout that it runs from; None where it is installed."""
    diff: bytes = b""
    """What is changed in the checkout since, as git prints it."""
    untracked: tuple[str, ...] = ()
    """Files of the package that git does not know, which no diff shows."""

    @classmethod
    def running(cls, package: Path = PACKAGE) -> Code:
        """Of the folder of a package. A checkout of something else, in which it is only installed, is none."""
        if not _git(package, "ls-files", "__init__.py"):
            return cls()
        commit = _git(package, "rev-parse", "HEAD").decode().strip()
        found = _git(package, "ls-files", "--others", "--exclude-standard")
        return cls(commit or None, _git(package, "diff", "HEAD"), tuple(found.decode(errors="replace").splitlines()))

    def to_json(self) -> dict[str, JSON]:
        """For records: the diff by its digest."""
        return {
            "version": tamperscope.__version__,
            "commit": self.commit,
            "diff_sha256": hashlib.sha256(self.diff).hexdigest() if self.diff else None,
            "untracked": list(self.untracked),
        }


def environment(device: str) -> dict[str, JSON]:
    """Python, platform, libraries, device and threads; nothing that names the machine or who uses it."""
    return {
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{name: _version(name) for name in LIBRARIES},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints, or nothing where there is no git or no repository."""
    git = shutil.which("git")
    if git is None:
        return b""
    try:
        done = subprocess.run([git, "-C", str(folder), *arguments], capture_output=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""
