"""Each incident has its page, and each page tells the truth about names."""

import re

import pytest

from lab.incidents.catalogue import BY_SLUG, Incident
from monitoring import rules
from plainview.kit.names import metrics_in
from tests.stack.programs import ROOT

PAGES = ROOT / "docs" / "incidents"


def test_pages_and_scenarios_are_one_set() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(BY_SLUG)
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\)", (PAGES / "README.md").read_text(), re.M)
    assert listed == list(BY_SLUG)


@pytest.mark.parametrize("incident", BY_SLUG.values(), ids=lambda incident: incident.slug)
def test_page(incident: Incident) -> None:
    text = (PAGES / f"{incident.slug}.md").read_text()
    assert text.startswith(f"# {incident.title}\n")
    assert f"make break SCENARIO={incident.slug}" in text
    assert f"[{incident.alert.name}](../runbooks/{incident.alert.runbook}.md)" in text
    sections = re.findall(r"(?m)^## (.+)$", text)
    assert sections == ["What you see", "Where to look first", "The answer"]
    blocks = re.findall(r"```promql\n(.*?)```", text, re.S)
    assert blocks
    for query in "".join(blocks).splitlines():
        assert metrics_in(query) <= rules.known(), query
