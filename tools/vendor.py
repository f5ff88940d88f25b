"""Fetch the viewer of the web page anew, at the version and with the digests that its lock file pins.

    make vendor

What is fetched is committed, so that installing needs no node and the page fetches nothing from elsewhere. To move to
another version, write its number and integrity (`npm view @niivue/niivue@VERSION dist.integrity`) into the lock, empty
the sha256 of its files, run this, and look at the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parent.parent / "src" / "tamperscope" / "service" / "static" / "vendor"


def main() -> None:
    """Pack, check, unpack; nothing is written where a digest is another."""
    lock = json.loads((VENDOR / "lock.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        archive = pack(f"{lock['package']}@{lock['version']}", Path(folder))
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")
        if found != lock["integrity"]:
            sys.exit(f"{archive.name} has integrity {found}, the lock pins {lock['integrity']}")
        contents = {name: member(archive, entry["from"]) for name, entry in lock["files"].items()}
    for name, data in contents.items():
        digest = hashlib.sha256(data).hexdigest()
        pinned = lock["files"][name]["sha256"]
        if pinned not in ("", digest):
            sys.exit(f"{name} has SHA-256 {digest}, the lock pins {pinned}")
        lock["files"][name]["sha256"] = digest
    for name, data in contents.items():
        (VENDOR / name).write_bytes(data)
    (VENDOR / "lock.json").write_text(json.dumps(lock, indent=2) + "\n", encoding="utf-8")
    print(f"{lock['package']} {lock['version']}: {', '.join(contents)}")


def pack(package: str, folder: Path) -> Path:
    """The archive of a package, by npm's ordinary client; its scripts are not run."""
    subprocess.run(["npm", "pack", "--silent", "--ignore-scripts", package], cwd=folder, check=True)
    return next(folder.glob("*.tgz"))


def member(archive: Path, name: str) -> bytes:
    """The bytes of one file of a packed package."""
    with tarfile.open(archive) as packed:
        stream = packed.extractfile(f"package/{name}")
        if stream is None:
            sys.exit(f"{archive.name} has no {name}")
        return stream.read()


if __name__ == "__main__":
    main()
