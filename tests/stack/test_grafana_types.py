"""Dashboards against the types that Grafana publishes of its model and of each panel's options.

A key that this version of Grafana does not know (a renamed option, a misspelt one) is an error of
the TypeScript compiler here and would be ignored without a word there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plainview.kit import write
from tests.stack.programs import CACHE, ROOT
from tests.support.processes import ended

pytestmark = pytest.mark.timeout(330)  # the compiler takes seconds, on a busy machine many
Json = dict[str, Any]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
# every part may be left out, an enum is given by its value, and `null` is no value
PREAMBLE = """
import type { Dashboard } from "@grafana/schema";
type Given<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Given<U>[]
  : T extends object ? { [K in keyof T]?: Given<T[K]> | null } : T;
"""
# What Grafana saves with a query variable, and what its Prometheus data source reads of an
# annotation; both are not in the published types.
UNTYPED = {"definition", "expr", "step", "titleFormat", "textFormat", "useValueForTime"}


@pytest.fixture(scope="module")
def packages() -> Path:
    found = sorted(CACHE.glob("grafana_schema-*/node_modules"))
    assert found, "tests/stack/build grafana_schema"
    return found[-1]


def types_of(kind: str, packages: Path) -> str:
    """The module with the types of a kind of panel."""
    folder = packages / "@grafana/schema/dist/types/raw/composable" / kind.lower() / "panelcfg"
    (module,) = folder.rglob("*.d.ts")
    return str(module.relative_to(packages.parent)).removesuffix(".d.ts")


def source(dashboard: Json, packages: Path) -> str:
    """A program that is well typed when the dashboard is."""
    panels = [
        panel
        for each in dashboard["panels"]
        for panel in (each, *each.get("panels", ()))  # those of folded rows
        if panel["type"] != "row"
    ]
    model = {key: value for key, value in dashboard.items() if key != "panels"}
    for name in ("templating", "annotations"):
        model[name] = {
            "list": [
                {key: value for key, value in each.items() if key not in UNTYPED}
                for each in model[name]["list"]
            ]
        }
    lines = [PREAMBLE, f"export const model: Given<Dashboard> = {json.dumps(model)};"]
    kinds = sorted({panel["type"] for panel in panels})
    lines += [f'import type * as {kind} from "./{types_of(kind, packages)}";' for kind in kinds]
    for panel in panels:
        kind, name = panel["type"], f"panel{panel['id']}"
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        lines.append(f"// {panel['title']}")
        lines.append(
            f"export const {name}: Given<{kind}.Options> = {json.dumps(panel['options'])};"
        )
        if custom:
            lines.append(
                f"export const {name}Field: Given<{kind}.FieldConfig> = {json.dumps(custom)};"
            )
    return "\n".join(lines) + "\n"


def errors(packages: Path, directory: Path, *programs: str) -> str:
    """What the compiler says of programs."""
    (directory / "node_modules").symlink_to(packages)
    files = [f"dashboard{number}.ts" for number in range(len(programs))]
    for file, program in zip(files, programs, strict=True):
        (directory / file).write_text(program)
    compiler = [
        "node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
        "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler",
        "--preserveSymlinks", *files,
    ]  # fmt: skip
    done = ended(compiler, 300, cwd=directory)
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_dashboard(file: Path, packages: Path, tmp_path: Path) -> None:
    assert errors(packages, tmp_path, source(json.loads(file.read_text()), packages)) == ""


def test_a_kit_of_another_company(packages: Path, tmp_path: Path) -> None:
    write(tmp_path, service="shop", parts=["redis"])
    boards = [json.loads(file.read_text()) for file in tmp_path.glob("grafana/dashboards/*.json")]
    assert len(boards) > 3
    assert errors(packages, tmp_path, *(source(board, packages) for board in boards)) == ""


def test_an_unknown_option_is_an_error(packages: Path, tmp_path: Path) -> None:
    dashboard = json.loads((ROOT / "grafana" / "dashboards" / "overview.json").read_text())
    panel = next(panel for panel in dashboard["panels"] if panel["type"] == "stat")
    panel["options"]["colourMode"] = "background"
    assert "colourMode" in errors(packages, tmp_path, source(dashboard, packages))
