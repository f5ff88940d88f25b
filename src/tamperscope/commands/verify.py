"""``tamperscope verify``: is a report, or a file with Content Credentials, as it was signed; has the node seen it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tamperscope.commands.terminal import USAGE_ERROR, told, visible

if TYPE_CHECKING:
    from tamperscope.detectors.provenance.seen import Seen
    from tamperscope.detectors.provenance.trust import Trust
    from tamperscope.report.signature import Checked

CHANGED, UNKNOWN = 1, 3
NODE = Path("node.toml")
HEAD = 16
"""Bytes that tell a picture or PDF from anything else."""


def verify(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="With --key the folder of a report; else PDF, PNG, JPEG or TIFF files with Content Credentials; "
            "else files, folders or zips of a study, or nothing."
        ),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", "-k", help="The signer's public key (PEM): verify a signed report.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings of the node that keeps the ledger; node.toml if left out."),
    ] = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(help="PEM certificates, or a folder of them: whose Content Credentials count; may be repeated."),
    ] = None,
) -> None:
    """Verify a signed report or Content Credentials (C2PA), or set pictures against the node's ledger.

    With --key: exit codes 0 every file is as it was signed; 1 a file was changed, is missing or was added, or the list
    of them is not what this key signed; 2 usage error.

    PDF, PNG, JPEG and TIFF files alone, without --key and --config: are they as their Content Credentials say, by whom,
    and were they generated? Exit codes 0 all are unchanged; 1 one was changed, or its credentials are not valid or
    cannot be read; 2 usage error; 3 one has none (with --trust: none that somebody whom you trust vouches for).

    Else: follows the ledger's own chain too. Exit codes 0 all is as it was first seen; 1 something has changed; 2
    the ledger is damaged or cannot be read; 3 nothing has changed, but some pictures are not in the ledger.
    """
    with told():
        if key is not None:
            _report(paths or [], key, config)
        elif trust or (config is None and _hold_credentials(paths or [])):
            _credentials(paths or [], trust)
        else:
            _see_that_it_is_no_report(paths or [], config or NODE)
            _ledger(paths or [], config or NODE)


def _report(paths: list[Path], key: Path, config: Path | None) -> None:
    from tamperscope.errors import UsageError
    from tamperscope.report import signature

    if len(paths) != 1 or config is not None:
        raise UsageError("--key verifies the folder of one report", hint="tamperscope verify DIR --key public.pem")
    (folder,) = paths
    public = signature.public_key(key)
    found = signature.check(folder, public, apart=[key])
    for word, names in (
        ("CHANGED", found.changed),
        ("MISSING", found.missing),
        ("NOT SIGNED", found.added),
    ):
        for name in names:
            typer.echo(f"{word:<13} {visible(name)}")
    typer.echo(_outcome(found))
    typer.echo(f"Key (SHA-256): {signature.fingerprint(public)}")
    if not found.sound:
        raise typer.Exit(CHANGED)


def _outcome(found: Checked) -> str:
    """What was found of a report, as a sentence."""
    from tamperscope.report.signature import MANIFEST, SIGNATURE

    if found.missing == (SIGNATURE,) and not found.genuine:
        return f"The signature is missing, so {MANIFEST} proves nothing"
    if not found.genuine:
        return f"{MANIFEST} is not what this key signed: another key signed it, or it or {SIGNATURE} was changed"
    if found.sound:
        return f"All {len(found.same)} files are as they were signed, and none was added"
    changes = f"{len(found.changed)} changed, {len(found.missing)} missing, {len(found.added)} not signed"
    return f"{len(found.same)} files are as they were signed; {changes}"


def _see_that_it_is_no_report(paths: list[Path], config: Path) -> None:
    """A signed report without --key, where there is no node, is a call that lacks its key.

    Raises:
        UsageError: it is that.
    """
    from tamperscope.errors import UsageError
    from tamperscope.report.signature import MANIFEST

    if paths and not config.exists() and all((path / MANIFEST).is_file() for path in paths):
        raise UsageError(f"{paths[0]} is a signed report", hint="say with --key whose signature it should bear")


def _ledger(paths: list[Path], config: Path) -> None:
    from tamperscope import study
    from tamperscope.decode import decode
    from tamperscope.jobs import audit, database
    from tamperscope.jobs.ledger import Ledger
    from tamperscope.node.config import read

    settings = read(config)
    engine = database.connect(settings.database)
    database.ready(engine)
    ledger = Ledger(engine)
    rows = ledger.check()
    ledger.reaches(audit.last(settings.folder, "ledger"))
    typer.echo(f"The ledger holds {rows} slices; its chain is whole and ends in {ledger.head()}")
    if not paths:
        return
    reading = study.read(list(paths))
    found = ledger.compare(decode(series) for one in reading.studies for series in one.series)
    for failure in reading.failed:
        typer.echo(f"failed        {failure.error}", err=True)
    for changed in found.changed:
        typer.echo(f"CHANGED       {changed}")
    typer.echo(
        f"{found.same} slices are as they were first seen, {len(found.changed)} are not, {found.unknown} unknown"
    )
    if found.changed:
        raise typer.Exit(CHANGED)
    if reading.failed and not found.same:
        raise typer.Exit(USAGE_ERROR)
    raise typer.Exit(UNKNOWN if found.unknown or reading.failed else 0)


def _hold_credentials(paths: list[Path]) -> bool:
    """Whether all of these are files that may hold Content Credentials. They have no UID, so no ledger knows them."""
    from tamperscope.detectors.provenance import contents
    from tamperscope.limits import read_head

    return bool(paths) and all(contents.kind_of(read_head(path, HEAD)) is not None for path in paths)


def _credentials(paths: list[Path], trust: list[Path] | None) -> None:
    from tamperscope.detectors import provenance
    from tamperscope.errors import UsageError

    if not _hold_credentials(paths):
        what = "--trust goes with files that may hold Content Credentials"
        raise UsageError(what, hint="give PDF, PNG, JPEG or TIFF files, or leave it out")
    trusted = provenance.trust.load(trust)
    codes = {_told_of(path, trusted) for path in paths}
    worst = next((code for code in (CHANGED, UNKNOWN) if code in codes), 0)
    if worst:
        raise typer.Exit(worst)


def _told_of(path: Path, trusted: Trust) -> int:
    """Say what the Content Credentials of one file are worth; the exit code that it stands for."""
    from tamperscope.detectors.provenance import contents
    from tamperscope.limits import DEFAULT_LIMITS, read_file

    found = list(contents.credentials(read_file(path, DEFAULT_LIMITS), str(path), trusted))
    word, code = _worth(found, trusted)
    typer.echo(f"{word:<13} {visible(str(path))}")
    for one in found:
        typer.echo(f"              {visible(one.finding.text)}")
    return code


def _worth(found: list[Seen], trusted: Trust) -> tuple[str, int]:
    """What was found of one file as a word, and as an exit code; the first finding is that of its validity."""
    if not found:
        return "none", UNKNOWN
    first = found[0]
    if first.state == "broken":
        return "CHANGED", CHANGED
    if first.finding.severity != "note":
        return "INVALID", CHANGED
    if first.state == "verified":
        return "vouched for", 0
    return ("untrusted", UNKNOWN) if trusted.anchors else ("unchanged", 0)
