"""Name what would go wrong before anything is started: taken ports, misspelt variables in .env.

Usage: docker compose config --format json | python -m ops.preflight [PORT ...]

The ports given are the stack's own already: it runs. Needs Python alone. Exit code 1 names what is
taken and the variable that moves it. A name in .env that is nearly one of docker-compose.yml is
told and stops nothing: compose reads no such variable, and would not say so.
"""

import json
import re
import socket
import sys
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ASSIGNED = re.compile(r"(?m)^\s*(?:export\s+)?(\w+)=(.*?)\s*$")


def free(address: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((address, port))
        except OSError:
            return False
    return True


def variables() -> dict[int, str]:
    """The variable that moves a port, by the port inside the container."""
    found = re.findall(r"\$\{(\w+):-\d+\}:(\d+)", COMPOSE)
    return {int(inside): name for name, inside in found}


def taken(config: dict[str, Any], own: set[int]) -> list[str]:
    """One line for each published port that is neither free nor the stack's own."""
    names = variables()
    lines = []
    for service, definition in sorted(config["services"].items()):
        for port in definition.get("ports") or []:
            outside = int(str(port["published"]).split("-")[0])  # of a range the first
            address = port.get("host_ip") or "0.0.0.0"
            if outside in own or free(address, outside):
                continue
            other = f"{names.get(port['target'])}={outside + 10_000}"
            lines.append(
                f"port {outside} is taken, {service} needs it: stop what listens there, "
                f"or write {other} into .env"
            )
    return lines


def misspelt(env: str) -> list[str]:
    """One line for each name in the text of .env that compose does not read, and one like it does.

    What stands in .env.example just so is meant for a service by itself and no mistake.
    """
    read = set(re.findall(r"\$\{(\w+)", COMPOSE))
    example = (ROOT / ".env.example").read_text(encoding="utf-8").replace("#", "")
    known = set(ASSIGNED.findall(example))
    return [
        f"{name} in .env is read by nothing here: {like[0]}?"
        for name, value in ASSIGNED.findall(env)
        if name not in read and (name, value) not in known
        if (like := get_close_matches(name.upper(), read, n=1, cutoff=0.8))
    ]


if __name__ == "__main__":
    file = Path(".env")
    with suppress(OSError):  # compose says itself what it cannot read
        for line in misspelt(file.read_text(encoding="utf-8", errors="replace")):
            print(line, file=sys.stderr)
    problems = taken(json.load(sys.stdin), {int(port) for port in sys.argv[1:]})
    sys.exit("\n".join(problems) if problems else 0)
