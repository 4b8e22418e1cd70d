"""Alloy's files where Alloy is not: levels, what stays between starts, style.

tests/stack/test_alloy.py runs the program.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.ops.levels import LINES
from tests.stack.programs import ROOT

TEXT = (ROOT / "telemetry/alloy.alloy").read_text()
LEVELS = {"debug", "info", "warning", "error", "critical"}
PROGRAM = """
package main

import ("encoding/json"; "fmt"; "os"; "strings"; "text/template")

func main() {
	var input struct { Template string; Values []map[string]any }
	json.NewDecoder(os.Stdin).Decode(&input)
	functions := template.FuncMap{"ToLower": strings.ToLower}
	parsed := template.Must(template.New("").Funcs(functions).Parse(input.Template))
	for _, values := range input.Values {
		if err := parsed.Execute(os.Stdout, values); err != nil { panic(err) }
		fmt.Println()
	}
}
"""


def extracted(line: str) -> dict[str, str]:
    """What the stages before the template take out of a line; the template sees text alone."""
    found: dict[str, str] = {}
    (block,) = re.findall(r"expressions = \{(.*?)\}", TEXT, re.S)
    if line.startswith("{"):
        document = json.loads(line)
        for name, source in re.findall(r'(\w+)\s*=\s*"(\w*)"', block):
            value = document.get(source or name)
            found |= {} if value is None else {name: str(value)}
    for expression in re.findall(r"expression = `(.*)`", TEXT):
        if match := re.search(expression, line):
            found |= match.groupdict()
    return found


def test_every_program_s_levels_are_ours(tmp_path: Path) -> None:
    go = shutil.which("go")
    if not go:
        pytest.skip("go is not installed")
    (tmp_path / "main.go").write_text(PROGRAM)
    (template,) = re.findall(r"template = `(.*)`", TEXT)
    asked = json.dumps({"Template": template, "Values": [extracted(line) for line in LINES]})
    done = subprocess.run(
        [go, "run", "main.go"],
        cwd=tmp_path,
        input=asked,
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(zip(LINES, done.stdout.removesuffix("\n").split("\n"), strict=True))
    assert said == LINES
    assert set(said.values()) - {""} <= LEVELS  # nothing said leaves the static label, info


def test_a_restart_finds_how_far_a_container_was_read() -> None:
    """Positions are kept by container ID and all labels, so only those that stay may be there."""
    (kept,) = re.findall(r'action = "labelkeep"\s*regex\s*= "([^"]+)"', TEXT)
    assert set(kept.split("|")) == {"__meta_docker_container_id", "service"}
    discovery = TEXT.index('discovery.relabel "containers"')
    assert discovery < TEXT.index("labelkeep") < TEXT.index("loki.source.docker")


def test_what_loki_would_refuse_is_not_sent() -> None:
    limits = yaml.safe_load((ROOT / "telemetry/loki.yaml").read_text())["limits_config"]
    (oldest,) = re.findall(r'older_than\s*= "(\w+)"', TEXT)
    assert oldest == limits["reject_old_samples_max_age"]
    assert TEXT.index("stage.timestamp") < TEXT.index("stage.drop")  # by the line's own time


def test_a_line_without_a_time_keeps_the_engine_s() -> None:
    """Another one would differ when the line is read again, and Loki would keep both."""
    files = [path for path in ROOT.glob("*/**/*.alloy") if ".venv" not in path.parts]
    reading = {path: text for path in files if "stage.timestamp" in (text := path.read_text())}
    assert len(reading) == 3  # of compose, Kubernetes and examples/adopt
    for path, text in reading.items():
        assert re.findall(r'action_on_failure = "(\w+)"', text) == ["skip"], path


def test_as_alloy_fmt_writes_it() -> None:
    for number, line in enumerate(TEXT.splitlines(), 1):
        assert not re.match(r"\t* +\S", line), f"line {number} is indented by spaces"
        assert line == line.rstrip(), f"line {number} has spaces at its end"
