"""The command `plainview`: `plainview kit` writes a kit, `plainview check` asks a service."""

import argparse
import sys
from collections.abc import Sequence

from . import check, kit

CANNOT = 2  # the exit status when a command could not do its work, as of argparse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status: 0 well, 1 something is wrong, 2 it could not be done."""
    parser = argparse.ArgumentParser(
        prog="plainview", description="Observability of a FastAPI service: its kit, its check."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (kit, check):
        command.add_to(commands)
    chosen = parser.parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"plainview: {error}\n")
        return CANNOT
    return status
