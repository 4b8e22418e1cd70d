"""Dashboards against the types that Grafana publishes of its model and of each panel's options.

A key that this version of Grafana does not know (a renamed option, a misspelt one) is an error of
the TypeScript compiler here and would be ignored without a word there.
"""

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
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the compiler says of each dashboard, all compiled at once: name to its errors.

    `kit-...` are those of another company's kit; `unknown` has an option that Grafana lacks.
    """
    packages = sorted(CACHE.glob("grafana_schema-*/node_modules"))
    assert packages, "tests/stack/build grafana_schema"
    folder = tmp_path_factory.mktemp("types")
    (folder / "node_modules").symlink_to(packages[-1])
    write(folder / "kit", service="shop", parts=["redis"])
    kit = (folder / "kit").glob("grafana/dashboards/*.json")
    files = {file.stem: file for file in DASHBOARDS} | {f"kit-{file.stem}": file for file in kit}
    boards = {name: json.loads(file.read_text()) for name, file in files.items()}
    boards["unknown"] = json.loads(files["overview"].read_text())
    stat = next(panel for panel in boards["unknown"]["panels"] if panel["type"] == "stat")
    stat["options"]["colourMode"] = "background"
    for name, board in boards.items():
        (folder / f"{name}.ts").write_text(source(board, packages[-1]))
    compiler = [
        "node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
        "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler",
        "--preserveSymlinks", "--pretty", "false", *(f"{name}.ts" for name in boards),
    ]  # fmt: skip
    done = ended(compiler, 300, cwd=folder)
    assert done.stderr == ""
    found: dict[str, list[str]] = {name: [] for name in boards}
    for line in done.stdout.splitlines():
        if not line.startswith(" "):  # else it goes on with the last error
            found[line.partition(".ts(")[0]].append(line)
    return found


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
        parts = {"Options": panel["options"]}
        if custom := panel["fieldConfig"]["defaults"].get("custom"):
            parts["FieldConfig"] = custom
        lines.append(f"// {panel['title']}")
        for part, value in parts.items():
            name, type_ = f"panel{panel['id']}{part}", f"{panel['type']}.{part}"
            lines.append(f"export const {name}: Given<{type_}> = {json.dumps(value)};")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", [file.stem for file in DASHBOARDS])
def test_dashboard(name: str, said: dict[str, list[str]]) -> None:
    assert said[name] == []


def test_a_kit_of_another_company(said: dict[str, list[str]]) -> None:
    kit = {name: errors for name, errors in said.items() if name.startswith("kit-")}
    assert len(kit) > 3
    assert kit == {name: [] for name in kit}


def test_an_unknown_option_is_an_error(said: dict[str, list[str]]) -> None:
    (error,) = said["unknown"]
    assert "colourMode" in error
