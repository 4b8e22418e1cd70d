"""What people read when an alert fires and when it is over: every alert, as Grafana renders it."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import channels, rules
from tests.stack.programs import ROOT

Json = dict[str, Any]
GO = Path(__file__).parent / "messages.go"
LABELS = {
    "service": "event", "job": "event", "instance": "event:8002", "slo": "latency",
    "cause": "% of its commands fail", "task": "gauges", "event": "Autumn", "reward": "Gold badge",
}  # fmt: skip
START, END = "2026-11-26T10:00:00Z", "2026-11-26T10:12:30.4Z"
SILENCE = "http://localhost:3000/alerting/silence/new?matcher=x"
ID = re.compile(r"\b[0-9a-f]{24}\b|_id\b")


def rule_files() -> list[Json]:
    text = (ROOT / rules.GRAFANA / "rules.yaml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def templates() -> str:
    (found,) = yaml.safe_load((ROOT / rules.GRAFANA / "messages.yaml").read_text())["templates"]
    return str(found["template"])


def rendered(
    annotations: list[Json], messages: list[Json], directory: Path, mails: Sequence[Json] = ()
) -> list[str]:
    go = shutil.which("go")
    if not go:
        pytest.skip("go is not installed")
    asked = {
        "Annotations": annotations, "Templates": templates(), "Messages": messages,
        "Mails": list(mails),
    }  # fmt: skip
    done = subprocess.run(
        [go, "run", str(GO)], input=json.dumps(asked), cwd=directory,
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def message(text: str, status: str, *alerts: Json) -> Json:
    times = {"StartsAt": START, "EndsAt": END, "Status": status, "SilenceURL": SILENCE}
    return {"Text": text, "Message": {"Status": status, "Alerts": [{**a, **times} for a in alerts]}}


def clean(text: str) -> bool:
    return not re.search(r"ERROR|no value|%!|<nil>", text) and not ID.search(text)


def test_each_alert_says_what_where_since_when_how_bad_and_what_to_do(tmp_path: Path) -> None:
    found = rule_files()
    summaries = [rule["annotations"]["summary"] for rule in found]
    asked = [
        {"Text": text, "Labels": labels, "Value": value}
        for labels, value in ((LABELS, 12.3456), ({}, 12.3456), ({}, None))
        for text in summaries
    ]
    said = rendered(asked, [], tmp_path)
    full, bare, without = (said[n * len(found) : (n + 1) * len(found)] for n in range(3))
    assert set(without) == {""}, "while there is no value, nothing is said, and nothing fails"
    for text in (*full, *bare):
        assert clean(text), text
        assert text.strip() == text
        assert len(text) > 20
    for text, rule in zip(full, found, strict=True):
        assert "unknown" not in text, rule["title"]
        assert "12" in text or not re.search(r"\$values\.A\.Value", rule["annotations"]["summary"])

    asked = []
    for number, (rule, some) in enumerate(zip(found * 2, (*full, *bare), strict=True)):
        name = {"alertname": rule["title"], "severity": rule["labels"]["severity"]}
        labels = {**name, "service": "event"} if number < len(found) else name
        alert = {"Labels": labels, "Annotations": {**rule["annotations"], "summary": some}}
        asked += [
            message(text, status, alert)
            for status in ("firing", "resolved")
            for text in (channels.TITLE, channels.TEXT)
        ]
    said = rendered([], asked, tmp_path)
    for number, (rule, some) in enumerate(zip(found * 2, (*full, *bare), strict=True)):
        title, text, over, its_text = said[4 * number : 4 * number + 4]
        annotations, name = rule["annotations"], rule["title"]
        assert all(clean(each) for each in (title, text, over, its_text)), title
        assert title == f"FIRING {name}: {some}"
        assert "\n" not in title + over
        assert len(title) < 200, "PagerDuty and subjects of mails cut it"
        lines = text.strip().splitlines()
        assert lines[0] == some
        how_bad = annotations["impact"]
        assert lines[1] == f"Since 26 Nov 10:00:00 UTC, {rule['labels']['severity']}. {how_bad}"
        assert lines[2] == f"What to do: {annotations['runbook_url']}"
        if name != "Watchdog":
            assert lines[3] == f"Dashboard: {annotations['dashboard_url']}"
        assert lines[-1] == f"Silence it: {SILENCE}"
        where = " of event" if number < len(found) else ""
        assert over == f"RESOLVED {name}{where} is over after 12m30s"
        assert its_text.startswith(f"{name}{where} is over after 12m30s. It began 26 Nov 10:00:00")
        assert "ilence" not in its_text


def test_several_alerts_and_a_rule_that_cannot_be_evaluated(tmp_path: Path) -> None:
    def alert(summary: str, **labels: str) -> Json:
        named = {"alertname": "NotReady", **labels}
        return {"Labels": named, "Annotations": {"summary": summary} if summary else {}}

    one, two = alert("event at a is not"), alert("event at b is not", service="event")
    failed = alert("", alertname="DatasourceError", rulename="NotReady", severity="critical")
    failed["Annotations"] = {"Error": "no route to host"}
    asked = [
        message(channels.TITLE, "firing", one, two),
        message(channels.TEXT, "firing", one, two),
        message(channels.TITLE, "firing", failed),
        message(channels.TITLE, "firing", alert("")),
    ]
    title, text, error, nothing = rendered([], asked, tmp_path)
    assert title == "FIRING NotReady: event at a is not (one of 2)"
    assert text.index("event at a") < text.index("event at b")
    why = "the rule NotReady cannot be evaluated: no route to host"
    assert error == f"FIRING DatasourceError: {why}"
    assert nothing == "FIRING NotReady: no more is known"


READ = {each.name: each for told in channels.CHANNELS.values() for each in told}
READ.pop(channels.DEADMAN.name)  # a program asks for it


@pytest.mark.parametrize("name", READ)
def test_people_read_our_words_alone(name: str, tmp_path: Path) -> None:
    """Where a setting is left out, Grafana writes a text of its own, which says `[no value]`."""
    settings = READ[name].settings
    title = settings.get("title", settings.get("summary", settings.get("subject")))
    texts = settings.get("details", {"text": settings.get("text", settings.get("message"))})
    assert title == channels.TITLE
    labels = {"alertname": "NotReady", "severity": "critical", "service": "event"}
    alert = {"Labels": labels, "Annotations": {"summary": "event is not ready"}}
    asked = [message(text, how, alert) for how in ("firing", "resolved") for text in texts.values()]
    said = "".join(rendered([], asked, tmp_path))
    assert said.count("Since 26 Nov 10:00:00 UTC, critical.") == 1
    assert said.count("NotReady of event is over after 12m30s.") == 1
    # what PagerDuty gets beside it from Grafana, unless we say it
    assert set(texts) in ({"text"}, {"firing", "resolved"})


def test_a_mail_has_links_and_what_an_alert_says_stays_text(tmp_path: Path) -> None:
    template = (ROOT / "grafana/emails/ng_alert_notification.html").read_text()
    link = "http://localhost:8080/docs/runbooks/not-ready.md?a=1"
    text = f"<b>event</b>: is not\nWhat to do: {link}\nDashboard: http://localhost:3000/d/er-x\n"
    (mail,) = rendered(
        [], [], tmp_path, [{"Template": template, "Title": "FIRING x", "Message": text}]
    )
    assert "<title>FIRING x</title>" in mail
    assert "&lt;b&gt;event&lt;/b&gt;: is not<br>" in mail
    assert f'<a href="{link}">What to do</a><br>' in mail
    assert '<a href="http://localhost:3000/d/er-x">Dashboard</a><br>' in mail
    assert mail.startswith("<!doctype html>")
