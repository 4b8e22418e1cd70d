"""Rules and alerts: tested by promtool one by one, each with its runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import alerts, channels, rules
from plainview.kit import names, recording
from plainview.kit.documents import labels
from tests.ops.checks import input_series, program, run
from tests.stack.programs import ROOT

CASES = Path(__file__).parent / "rules"
NAMES = {alert.name for alert in alerts.ALERTS}
RUNBOOKS = {alert.runbook for alert in alerts.ALERTS}
DOCUMENTS = rules.documents()


def test_promtool_accepts_the_rules() -> None:
    files = [str(path) for path in rules.generated() if path.parent == rules.RULES]
    run(program("promtool"), "check", "rules", "--lint-fatal", *files)


def test_an_unknown_metric_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typo = alerts.Alert("Typo", 'sum by (service) (rate(http_request_total{a="b"}[5m])) > 1', "x")
    monkeypatch.setattr(alerts, "REWARDS", [typo])
    with pytest.raises(ValueError, match="http_request_total"):
        rules.generated()


def provisioned(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / rules.GRAFANA / name).read_text())
    return document


def test_grafana_rules() -> None:
    found = [rule for group in provisioned("rules.yaml")["groups"] for rule in group["rules"]]
    for key in ("uid", "title"):
        values = [rule[key] for rule in found]
        assert len(set(values)) == len(values) == len(alerts.ALERTS)
    for rule, alert in zip(found, alerts.ALERTS, strict=True):
        assert re.fullmatch(r"[a-z0-9-]{1,40}", rule["uid"])
        assert rule["data"][0]["model"]["expr"] == alert.expr
        assert "$$" not in str(rule["data"])
        assert rule["noDataState"] == "OK"
        assert rule["execErrState"] == "Error"
        assert "${" not in str(rule)  # Grafana would put a variable there


KUBERNETES = "deploy/kubernetes/overlays"
PLACES = {  # a file to the line in which it gives a variable its value, or says that a secret does
    "docker-compose.yml": r"(?m)^      {0}: \$\{{{0}:-\S+\}}$",
    ".env.example": r"(?m)^#{0}=\S+$",
    f"{KUBERNETES}/single/grafana-messages.env": r"(?m)^{0}=\S+$",
    f"{KUBERNETES}/production/*.yaml": r"- {0}=\S+|name: grafana-messages #.*\b{0}\b",
}


def test_grafana_is_given_each_address_wherever_it_runs() -> None:
    """An empty one stops it."""
    text = (ROOT / channels.NOTIFICATIONS).read_text()
    missing = {
        (name, place)
        for name in re.findall(r"\$(\w+)", text)
        for place, line in PLACES.items()
        if not any(re.search(line.format(name), file.read_text()) for file in ROOT.glob(place))
    }
    assert missing == set()


def test_every_severity_has_its_channel() -> None:
    notifications, messages = provisioned("notifications.yaml"), provisioned("messages.yaml")
    points = {point["name"]: point["receivers"] for point in notifications["contactPoints"]}
    (tree,) = notifications["policies"]
    assert {alert.severity for alert in alerts.ALERTS} == channels.CHANNELS.keys()
    assert points[tree["receiver"]], "what matches no route would reach nobody"
    muted = {name for route in tree["routes"] for name in route.get("mute_time_intervals", [])}
    assert muted == {mute["name"] for mute in messages["muteTimes"]}
    uids = [each["uid"] for point in notifications["contactPoints"] for each in point["receivers"]]
    assert len(set(uids)) == len(uids)
    defined = set(re.findall(r'define "([\w.]+)"', str(messages["templates"])))
    assert set(re.findall(r'template "([\w.]+)"', str(notifications))) <= defined


def test_a_critical_alert_wakes_somebody_and_the_watchdog_nobody() -> None:
    assert channels.PAGERDUTY in channels.CHANNELS["critical"]
    assert channels.CHANNELS["none"] == (channels.DEADMAN,)
    assert {alert.name for alert in alerts.ALERTS if alert.severity == "none"} == {"Watchdog"}


def seconds(text: str) -> int:
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([dhms])", text))


def cases_of(slug: str) -> dict[str, Any]:
    # every scalar is text: YAML would read `0x120`, a series, as a number
    document = yaml.load((CASES / f"{slug}.yaml").read_text(), Loader=yaml.BaseLoader)
    return {"step": recording.INTERVAL, "every": "5s", **document}


def expected(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """What promtool compares: all labels, and the annotations with the links filled in."""
    (alert,) = [
        alert
        for alert in alerts.ALERTS
        if alert.name == name and labels(alert).items() <= found["labels"].items()
    ]
    links = {**DOCUMENTS.texts_of(alert), "summary": found["summary"]}
    return {"exp_labels": found["labels"], "exp_annotations": links}


def committed_groups(name: str) -> list[dict[str, Any]]:
    """One alert of the committed files, and what it reads of the recorded; the rest costs time."""
    recording, alerting = (
        yaml.safe_load((ROOT / rules.RULES / file).read_text())["groups"]
        for file in ("recording.yml", "alerts.yml")
    )
    for group in alerting:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] == name]
    found = [group for group in alerting if group["rules"]]
    reads = str(found)
    parts = {"red": "service:http", "slo": "service:slo"}
    return [*(group for group in recording if parts[group["name"].split("-")[0]] in reads), *found]


def promtool_file(slug: str, directory: Path) -> Path:
    """The unit test that promtool runs: rule files of the repository, series of the cases."""
    (name,) = {alert.name for alert in alerts.ALERTS if alert.runbook == slug}
    document = cases_of(slug)
    tests = [
        {
            "name": case["case"],
            "interval": case.get("every", document["every"]),
            "input_series": input_series(case["series"]),
            "alert_rule_test": [
                {
                    "eval_time": case["at"],
                    "alertname": name,
                    "exp_alerts": [expected(name, found) for found in case.get("alerts", [])],
                }
            ],
        }
        for case in document["cases"]
    ]
    groups = committed_groups(name)
    (directory / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    path = directory / f"{slug}.yaml"
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": document["step"],
        "group_eval_order": [group["name"] for group in groups],  # else it is left to chance
        "tests": tests,
    }
    path.write_text(yaml.safe_dump(test))
    return path


@pytest.mark.parametrize("slug", sorted(RUNBOOKS))
def test_alert(slug: str, tmp_path: Path) -> None:
    file = promtool_file(slug, tmp_path)
    try:
        run(program("promtool"), "test", "rules", str(file))
    except AssertionError as error:
        raise AssertionError(f"{error}\n`fires` does so first at {first_firing(file)}") from None


def first_firing(file: Path) -> str:
    """When the alert of the first case fires, within an hour: promtool names each such step."""
    document = yaml.safe_load(file.read_text())
    case = document["tests"][0]
    name, step = case["alert_rule_test"][0]["alertname"], seconds(document["evaluation_interval"])
    case["alert_rule_test"] = [
        {"eval_time": f"{at}s", "alertname": name, "exp_alerts": []}
        for at in range(step, 3600, step)
    ]
    every = file.with_name("every-step.yaml")
    every.write_text(yaml.safe_dump({**document, "tests": [case]}))
    command = [program("promtool"), "test", "rules", str(every)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(re.findall(r"time: (\w+),", said.stdout + said.stderr)), "no time")


def counts(expr: str) -> bool:
    """Whether an expression looks at counters, by itself or through a recorded rate."""
    return re.search(r"\b(rate|increase|changes)\(|:\w*(rate|p95_)", expr) is not None


@pytest.mark.parametrize("slug", sorted(RUNBOOKS - {"watchdog"}))
def test_alert_has_its_cases(slug: str) -> None:
    document = cases_of(slug)
    cases = {case["case"]: case for case in document["cases"]}
    wanted = {"fires", "one step before", "healthy", "no traffic"}
    if any(counts(alert.expr) for alert in alerts.ALERTS if alert.runbook == slug):
        wanted.add("reset")
    assert wanted <= set(cases), wanted - set(cases)
    for name, case in cases.items():
        assert ("alerts" in case) == name.startswith("fires"), name
        if name.startswith("fires"):
            before = cases[name.replace("fires", "one step before")]
            assert before["series"] == case["series"]
            assert seconds(before["at"]) == seconds(case["at"]) - seconds(document["step"]), name


def test_names_runbooks_and_cases_are_one_set() -> None:
    assert {path.stem for path in CASES.glob("*.yaml")} == RUNBOOKS
    assert {path.stem for path in (ROOT / rules.RUNBOOKS).glob("*.md")} == RUNBOOKS


@pytest.mark.parametrize("slug", sorted(RUNBOOKS))
def test_runbook(slug: str) -> None:
    text = (ROOT / rules.RUNBOOKS / f"{slug}.md").read_text()
    (name,) = {alert.name for alert in alerts.ALERTS if alert.runbook == slug}
    assert text.startswith(f"# {name}\n")
    sections = re.findall(r"(?m)^## (.+)$", text)
    assert sections == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    diagnosis = text.split("## Diagnosis")[1].split("## Mitigation")[0]
    assert "```" in diagnosis, "exact queries and commands"
    known = rules.known()
    for block in re.findall(r"```promql\n(.*?)```", text, re.S):
        for query in block.splitlines():
            assert names.metrics_in(query.split("#")[0]) <= known, query
    settings = "".join((ROOT / file).read_text() for file in (".env.example", "docker-compose.yml"))
    named = set(re.findall(r"`([A-Z0-9]+(?:_[A-Z0-9]+)+)`", text))
    assert named <= set(re.findall(r"[A-Z0-9_]+", settings)), "a setting that does not exist"
