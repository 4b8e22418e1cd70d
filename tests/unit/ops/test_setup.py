"""What `ops.setup` hands to the programs around."""

from pathlib import Path

import pytest

from monitoring.settings import KIT
from ops import setup
from tests.stack.programs import ROOT


def test_links_have_the_ports_that_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(setup.LINKS) == {KIT.grafana, KIT.handbook.removesuffix("/docs")}
    source = tmp_path / "configuration"
    for name in ("grafana", "prometheus"):
        setup.copy(ROOT / name, source / name)
    monkeypatch.setattr(setup, "SOURCE", source)
    monkeypatch.setattr(setup, "give", lambda *_: None)
    monkeypatch.setattr(setup.secrets, "make", lambda _: None)
    monkeypatch.setenv("GRAFANA_LINK", "https://status.example.com/grafana/")
    monkeypatch.setenv("CONSOLE_LINK", "http://localhost:18080")
    setup.main(tmp_path, tmp_path / "out", tmp_path)
    texts = {path: path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not [path for path, text in texts.items() if any(link in text for link in setup.LINKS)]
    rules = (tmp_path / "out/grafana/provisioning/alerting/rules.yaml").read_text()
    assert "dashboard_url: https://status.example.com/grafana/d/er-system?viewPanel=" in rules
    assert "runbook_url: http://localhost:18080/docs/runbooks/service-down.md" in rules
    monkeypatch.setenv("GRAFANA_LINK", "")
    setup.main(tmp_path, tmp_path / "out", tmp_path)
    assert (
        (tmp_path / "out/grafana/provisioning/alerting/rules.yaml")
        .read_text()
        .count("http://localhost:3000/d/")
    )
