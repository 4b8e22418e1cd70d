"""Write everything that is generated and committed: `make generate`; `--check` only compares.

The merged OpenAPI document is the gateway's table of routes; dashboards, rules and the
tables of the docs come from the catalogues.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI

import auth.main
import auth.settings
import event.main
import event.settings
from generate import kubernetes, pods, tables
from monitoring import channels, rules
from ops.secrets import new_signing_key

ROOT = Path(__file__).resolve().parents[1]
OPENAPI = Path("gateway/openapi.json")


def _apps() -> dict[str, FastAPI]:
    """The services, built but not started: nothing connects."""
    signing_key = new_signing_key()
    common: dict[str, Any] = {
        "mongo_url": "mongodb://unused",
        "redis_url": "redis://unused",
        "user_hash_key": "only to write a document",
    }
    return {
        "auth": auth.main.create_app(
            auth.settings.Settings(auth_signing_key=signing_key, **common)
        ),
        "event": event.main.create_app(event.settings.Settings(**common)),
    }


def merged_openapi() -> dict[str, Any]:
    """One document of all upstreams' `/api/` paths; each operation names upstream and roles.

    ValueError if an operation names no roles, or two services mean different things by one name.
    """
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Event rewards",
            "version": "0.1.0",
            "description": "Users join events and claim rewards; operators run events; "
            "auditors look on. Errors are RFC 9457 problem details.",
        },
        "paths": {},
        "components": {},
    }
    for upstream, app in _apps().items():
        document = app.openapi()
        for path, item in document["paths"].items():
            if not path.startswith("/api/"):
                continue
            for method, operation in item.items():
                if "x-roles" not in operation:
                    raise ValueError(f"{method.upper()} {path} names no x-roles")
                operation["x-upstream"] = upstream
                operation.setdefault("tags", [upstream])
            if path in merged["paths"]:
                raise ValueError(f"{path} is served twice")
            merged["paths"][path] = item
        for kind, parts in document.get("components", {}).items():
            known = merged["components"].setdefault(kind, {})
            for name, part in parts.items():
                if known.setdefault(name, part) != part:
                    raise ValueError(f"two services mean different things by {kind}/{name}")
    return merged


def generated() -> dict[Path, str]:
    """Path below the root to text, of every generated file."""
    document = json.dumps(merged_openapi(), indent=1, ensure_ascii=False) + "\n"
    parts = (rules, channels, tables, kubernetes, pods)
    return {
        OPENAPI: document,
        **{path: text for part in parts for path, text in part.generated().items()},
    }


def main(check: bool) -> int:
    """Write the files, or with `check` name those that differ and return 1."""
    stale = []
    for path, text in generated().items():
        file = ROOT / path
        if file.exists() and file.read_text() == text:
            continue
        stale.append(path)
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path}")
    if check and stale:
        print(
            "`make generate` writes these files otherwise. Change what they are made from (their "
            "first line or CONTRIBUTING.md names it), run `make generate`, and commit both."
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
