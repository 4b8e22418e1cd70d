"""BackgroundJobStale on what the services really expose: names, labels and the form of numbers."""

import time
from pathlib import Path

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitoring import rules
from monitoring.settings import JOB_STALE_S
from tests.ops.checks import program, run
from tests.stack.programs import ROOT
from tests.support.trio import Service, Trio

METRIC = "background_job_last_success_timestamp_seconds"
TASKS = {
    "gateway": {"active_users"},
    "auth": {"relay", "population", "active_days"},
    "event": {"consumer", "reconciler", "gauges"},
}


def scraped(service: Service) -> dict[str, float]:
    """Seconds since the last success by task, as a scrape of now has them."""
    text = httpx.get(f"{service.url}/metrics", headers={"Accept": "text/plain"}).text
    (family,) = [each for each in text_string_to_metric_families(text) if each.name == METRIC]
    assert {frozenset(sample.labels) for sample in family.samples} == {frozenset({"task"})}
    return {sample.labels["task"]: time.time() - sample.value for sample in family.samples}


def test_the_alert_is_silent_on_live_jobs_and_names_each_that_stands_still(
    trio: Trio, tmp_path: Path
) -> None:
    series, expected = [], []
    for name, service in (
        ("gateway", trio.gateway),
        ("auth", trio.auth),
        ("event", trio.events[0]),
    ):
        ages = scraped(service)
        assert set(ages) == TASKS[name]
        assert all(age < JOB_STALE_S / 2 for age in ages.values()), ages
        for task in ages:
            labels = {"job": name, "service": name, "instance": f"{name}:1", "task": task}
            text = ",".join(f'{key}="{value}"' for key, value in labels.items())
            # promtool's clock begins at 0: from then on nothing of it ends well any more
            series.append({"series": f"{METRIC}{{{text}}}", "values": "0x120"})
            expected.append({**labels, "severity": "warning"})
    groups = yaml.safe_load((ROOT / rules.RULES / "alerts.yml").read_text())["groups"]
    for group in groups:
        group["rules"] = [each for each in group["rules"] if each["alert"] == "BackgroundJobStale"]
        for rule in group["rules"]:
            rule["annotations"] = {}
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [group for group in groups if group["rules"]]})
    )
    when = {"silent": "2m45s", "all of them": "3m15s"}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "name": name,
                "interval": "5s",
                "input_series": series,
                "alert_rule_test": [
                    {
                        "eval_time": at,
                        "alertname": "BackgroundJobStale",
                        "exp_alerts": []
                        if name == "silent"
                        else [{"exp_labels": labels} for labels in expected],
                    }
                ],
            }
            for name, at in when.items()
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    run(program("promtool"), "test", "rules", str(tmp_path / "test.yaml"))
