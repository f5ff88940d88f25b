"""``tamperscope doctor``: is everything there that a scan needs?"""

from __future__ import annotations

import typer


def doctor() -> None:
    """Check the installation: codecs, models with their SHA-256, memory, cores. Exit code 1 if something is wrong."""
    from tamperscope import doctor as checks

    findings = checks.examine()
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.good else 'FAIL'}  {finding.what:<{width}}  {finding.state}")
    raise typer.Exit(0 if all(finding.good for finding in findings) else 1)
