"""Name the ports of this machine that something else holds, before anything is started.

Usage: docker compose config --format json | python -m ops.ports [PORT ...]

The ports given are the stack's own already: it runs. Needs Python alone. Exit code 1 names what is
taken and the variable that moves it.
"""

import json
import re
import socket
import sys
from pathlib import Path
from typing import Any


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
    text = (Path(__file__).parent.parent / "docker-compose.yml").read_text()
    found = re.findall(r"\$\{(\w+):-\d+\}:(\d+)", text)
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


if __name__ == "__main__":
    problems = taken(json.load(sys.stdin), {int(port) for port in sys.argv[1:]})
    sys.exit("\n".join(problems) if problems else 0)
