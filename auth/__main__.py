"""`python -m auth` serves; its commands look after accounts and keys."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from auth.deps import connect
from auth.main import create_app
from auth.schemas import Registration, mailbox
from auth.service import Accounts
from auth.settings import Settings
from shared.errors import DomainError
from shared.serve import run
from shared.settings import load
from shared.token_keys import new_key
from shared.tokens import Role

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Email = Annotated[str, typer.Option(help="E-mail address of the account")]


@cli.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Serve, with settings from the environment."""
    if context.invoked_subcommand is None:
        settings = load(Settings)
        run(lambda: create_app(settings), settings)


@cli.command("create-admin")
def create_admin(
    email: Email,
    name: Annotated[str, typer.Option(help="Display name")] = "Administrator",
    password_file: Annotated[Path | None, typer.Option(help="File with the password")] = None,
) -> None:
    """Create an administrator; the password comes from the file, AUTH_ADMIN_PASSWORD or a prompt.

    Never from an argument, which every process of the machine could read.
    """
    if password_file:
        password = password_file.read_text().strip()
    else:
        password = os.environ.get("AUTH_ADMIN_PASSWORD") or typer.prompt(
            "Password", hide_input=True, confirmation_prompt=True
        )
    try:
        body = Registration(email=email, password=password, display_name=name)
    except ValidationError as exc:
        lines = (f"{error['loc'][0]}: {error['msg']}" for error in exc.errors())
        raise SystemExit("\n".join(lines)) from None  # the error itself quotes the input
    roles = (Role.ADMIN, Role.USER)
    _do(lambda accounts: accounts.register(body.email, password, name, roles))
    typer.echo(f"{body.email} is an administrator")


@cli.command()
def disable(email: Email) -> None:
    """Disable an account: its sessions end, it cannot sign in."""
    try:
        address = mailbox(email)
    except ValueError as exc:
        raise SystemExit(f"email: {exc}") from None
    _do(lambda accounts: accounts.disable(address))
    typer.echo("disabled")


@cli.command("generate-key")
def generate_key() -> None:
    """Print a new Ed25519 private key (PEM) for AUTH_SIGNING_KEY."""
    typer.echo(new_key(), nl=False)


def _do(work: Callable[[Accounts], Awaitable[object]]) -> None:
    settings = load(Settings)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            await work(connect(settings, stack).accounts)

    try:
        asyncio.run(main())
    except DomainError as exc:
        raise SystemExit(exc.detail) from None


if __name__ == "__main__":
    cli()
