"""`python -m auth` serves; its commands look after accounts and keys."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from joserfc.jwk import OKPKey
from pydantic import ValidationError
from shared.serve import run

from auth.deps import connect
from auth.main import create_app
from auth.schemas import Registration
from auth.service import Accounts
from auth.settings import Settings
from shared.errors import DomainError
from shared.settings import load
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
    """Create an administrator.

    The password comes from --password-file, AUTH_ADMIN_PASSWORD or a prompt, never from an
    argument, which every process of the machine could read.
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

    async def create(accounts: Accounts) -> None:
        roles = (Role.ADMIN, Role.USER)
        user = await accounts.register(body.email, password, body.display_name, roles)
        typer.echo(f"{user.id} is an administrator")

    _do(create)


@cli.command()
def disable(email: Email) -> None:
    """Disable an account: its sessions end, it cannot sign in."""

    async def close(accounts: Accounts) -> None:
        await accounts.disable(email.casefold())
        typer.echo("disabled")

    _do(close)


@cli.command("generate-key")
def generate_key() -> None:
    """Print a new Ed25519 private key (PEM) for AUTH_SIGNING_KEY."""
    typer.echo(OKPKey.generate_key("Ed25519").as_pem(private=True).decode(), nl=False)


def _do(work: Callable[[Accounts], Awaitable[None]]) -> None:
    settings = load(Settings)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            deps = await connect(settings, stack)
            await work(deps.accounts)

    try:
        asyncio.run(main())
    except DomainError as exc:
        raise SystemExit(exc.detail) from None


if __name__ == "__main__":
    cli()
