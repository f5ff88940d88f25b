"""``tamperscope serve``: the web page and the HTTP interface, and who may use them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tamperscope.commands.terminal import told

if TYPE_CHECKING:
    from tamperscope.service.accounts import Accounts
    from tamperscope.service.accounts import Role as Named
    from tamperscope.service.config import Config as Settings

app = typer.Typer(
    name="serve",
    help="Serve the page: drop a study on it, see what was changed.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
users = typer.Typer(name="users", help="Who may use the service.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(users)
FOLDER = "tamperscope-service"
Role = Annotated[str, typer.Option("--role", help="viewer, submitter or administrator.")]


@app.callback()
def serve(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings; none are needed.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help=f"Where studies and results are kept; {FOLDER} if not set.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port of the page; 8484 if not set.")] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="URL of a PostgreSQL database; SQLite in the folder if not set.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the page and the interface until Ctrl-C or SIGTERM: drop a study, see what was changed.

    Without users, whoever has the address that is printed may use it, from this machine alone.
    """
    with told():
        context.obj = _settings(config, folder, port, database)
        if context.invoked_subcommand is not None:
            return
        from tamperscope.jobs.processes import on_signals
        from tamperscope.service.run import Running

        one = Running(context.obj)
        on_signals(one.stop)
        one.run(lambda address: _begun(address, open_page=open_page))


def _settings(config: Path | None, folder: Path | None, port: int | None, database: str | None) -> Settings:
    from tamperscope.errors import MissingExtraError, UsageError

    if config is not None and folder is not None:
        raise UsageError(
            "--config and --folder cannot be given together", hint=f"set folder under [service] in {config}"
        )
    try:
        from tamperscope.service import config as configuration
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "the service", "serve") from error
    settings = configuration.read(config) if config else configuration.default((folder or Path(FOLDER)).resolve())
    if port is not None:
        settings = replace(settings, server=replace(settings.server, port=port))
    return replace(settings, database=database) if database else settings


def _begun(address: str, *, open_page: bool) -> None:
    typer.echo(f"Open {address}")
    if open_page:
        import webbrowser

        webbrowser.open(address)


@users.command()
def add(context: typer.Context, name: str, role: Role = "submitter") -> None:
    """Add a user; the password is asked for, or read from standard input."""
    with told():
        accounts = _accounts(context, make=True)
        if not accounts.any() and role != "administrator":
            typer.echo("The first user becomes administrator.")
            role = "administrator"
        accounts.add(name, cast("Named", role), _password())  # which says what roles there are
        typer.echo(f"{name} may log in as {role}.")


@users.command()
def token(
    context: typer.Context,
    name: str,
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "command line",
    days: Annotated[float, typer.Option("--days", help="How long it is good.", min=0.01, max=3650)] = 90.0,
) -> None:
    """Print a new token of a user, for programs."""
    with told():
        _, secret = _accounts(context).new_token(name, label, days)
        typer.echo(secret)


@users.command()
def password(context: typer.Context, name: str) -> None:
    """Set a new password; the user's sessions end."""
    with told():
        _accounts(context).change(name, password=_password())


@users.command()
def remove(context: typer.Context, name: str) -> None:
    """Remove a user; what it handed in stays."""
    with told():
        _accounts(context).remove(name)


@users.command("list")
def listed(context: typer.Context) -> None:
    """List the users."""
    with told():
        for user in _accounts(context).users():
            typer.echo(f"{user.name}\t{user.role}{' (disabled)' if user.disabled else ''}")


def _accounts(context: typer.Context, *, make: bool = False) -> Accounts:
    """The users of a service; ``make`` begins one where there is none."""
    from tamperscope.errors import UsageError
    from tamperscope.jobs import database
    from tamperscope.service.service import Service

    os.umask(0o077)  # the database and what lies beside it are the service's alone
    if not make:
        engine = database.connect(context.obj.database)
        if database.missing(engine) or database.version(engine)[0] is None:
            hint = "see --config and --folder; tamperscope serve users add NAME begins one"
            raise UsageError(f"there is no service in {context.obj.folder}", hint=hint)
        engine.dispose()
    service = Service.of(context.obj)
    database.migrate(service.engine)
    return service.accounts


def _password() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
