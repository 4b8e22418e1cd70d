"""Silence over half an hour, its time fed by promtool: only the watchdog fires.

tests/stack/test_silence.py looks at the real services for the minutes that a test may take.
"""

import re
from pathlib import Path

import pytest
import yaml

from monitoring import alerts, rules
from monitoring.settings import CATALOGUES, EXPORTED, KIT
from plainview.catalogue import Bounded
from plainview.kit import names, recording
from tests.ops.checks import input_series, program
from tests.stack.programs import ROOT
from tests.support.half_hour import HalfHour
from tests.support.processes import ended

OURS = {"service", "instance", "job", "environment", "le"}  # of Prometheus, and of a histogram


def fired(half_hour: HalfHour, directory: Path) -> set[str]:
    """The alerts that fire at any minute from 1 to 30, as promtool evaluates the shipped files."""
    files = [ROOT / rules.RULES / name for name in ("recording.yml", "alerts.yml")]
    expected = [
        {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []}
        for minute in range(1, 31)
        for name in sorted({alert.name for alert in alerts.ALERTS})
    ]
    test = {
        "rule_files": [str(path) for path in files],
        "evaluation_interval": recording.INTERVAL,
        "group_eval_order": [group["name"] for group in rules.groups()],
        "tests": [
            {
                "interval": "5s",
                "input_series": input_series(half_hour.series()),
                "alert_rule_test": expected,
            }
        ],
    }
    path = directory / "half-hour.yaml"
    path.write_text(yaml.safe_dump(test))
    done = ended([program("promtool"), "test", "rules", str(path)])
    said = done.stdout + done.stderr
    found = set(re.findall(r"alertname: (\w+), time", said))
    assert "Watchdog" in found, said[:2000]  # else it was not the rules that failed
    return found


def test_only_the_watchdog_fires(tmp_path: Path) -> None:
    assert fired(HalfHour(), tmp_path) == {"Watchdog"}


BAD = {
    "ApiErrorRate": HalfHour(errors=0.1),
    "ServiceDown": HalfHour(comes_back=False),
    "TelemetryDrops": HalfHour(lost_exports=0.1),
}


@pytest.mark.parametrize("alert", BAD)
def test_a_bad_half_hour_is_not_silent(alert: str, tmp_path: Path) -> None:
    assert alert in fired(BAD[alert], tmp_path)


def test_every_metric_of_a_rule_is_fed() -> None:
    read = {
        name
        for group in rules.groups()
        for rule in group["rules"]
        for name in names.metrics_in(rule["expr"])
    }
    fed = {series.split("{")[0] for series in HalfHour().series()}
    others = {name for name in names.EXTERNAL if name.removesuffix("_total") in fed}
    missing = read - recording.recorded(KIT) - fed - others
    assert missing == set(), f"tests/support/half_hour.py has no series of {missing}"


def test_series_are_those_that_services_have() -> None:
    declared = {metric.name: metric for catalogue in CATALOGUES for metric in catalogue.specs}
    checked = set()
    for series in HalfHour().series():
        name, _, rest = series.partition("{")
        spec = declared.get(re.sub("_(bucket|count)$", "", name))
        if spec is None:
            assert name in names.EXTERNAL | EXPORTED, name
            continue
        labels = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        own = {key: value for key, value in labels.items() if key not in OURS}
        assert set(own) == set(spec.labels), series
        for key, value in own.items():
            allowed = spec.labels[key]
            assert isinstance(allowed, Bounded) or value in {str(each) for each in allowed}, series
        checked.add(name)
    assert len(checked) > 25
