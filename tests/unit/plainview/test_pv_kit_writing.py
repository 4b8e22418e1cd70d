"""A kit as files: idempotent, careful with what others wrote, clear about what cannot work."""

import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from plainview import Alert, Slo
from plainview.command import main
from plainview.kit import write
from plainview.kit.config import Part
from plainview.kit.folder import MANIFEST, NotOurs
from tests.support.processes import python

REFUSED = Alert("OrdersRefused", "sum(rate(orders_total[5m])) > 1", "{value:humanize} a second")
ON_FIRST_SCREEN = Alert(
    "OrdersSlow", "orders_s > 1", "slow", dashboards=("system",), panel="Error ratio by service"
)
PAID = Slo("paid", 0.99, 'orders_total{outcome="paid"}', "orders_total", "paid at once")


def files(directory):
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_text() for path in paths}


def times(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_every_kind_of_file_is_there_and_of_this_service(tmp_path):
    write(tmp_path, service="shop", slos=[PAID], alerts=[REFUSED], runbooks="https://git/kit/")
    found = files(tmp_path)
    boards = {name: text for name, text in found.items() if name.startswith("grafana/dashboards/")}
    names = ("overview", "system", "slos", "logs", "telemetry")
    assert {name: json.loads(text)["uid"] for name, text in boards.items()} == {
        f"grafana/dashboards/{name}.json": f"shop-{name}" for name in names
    }
    groups = yaml.safe_load(found["prometheus/rules/alerts.yml"])["groups"]
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert alerts["ServiceDown"]["expr"] == 'up{service="shop"} == 0'
    assert alerts["OrdersRefused"]["annotations"] == {
        "summary": "{{ $value | humanize }} a second",
        "runbook_url": "https://git/kit/runbooks/orders-refused.md",
    }
    grafana = yaml.safe_load(found["grafana/provisioning/alerting/rules.yaml"])["groups"]
    uids = [rule["uid"] for group in grafana for rule in group["rules"]]
    assert all(uid.startswith("shop-") and len(uid) <= 40 for uid in uids)
    assert len(set(uids)) == len(uids)
    books = {name: text for name, text in found.items() if name.startswith("runbooks/")}
    linked = [rule["annotations"]["runbook_url"] for rule in alerts.values()]
    assert books.keys() == {link.removeprefix("https://git/kit/") for link in linked}
    for name, text in books.items():
        assert re.findall(r"^## (Meaning|Impact|Diagnosis|Mitigation)$", text, re.M) == [
            *("Meaning", "Impact", "Diagnosis", "Mitigation")
        ], name
    for name, words in {
        "prometheus/rules/recording.yml": ("slo: paid", "slo: availability"),
        "alerts.md": ("[OrdersRefused](runbooks/", "[HighCpu](runbooks/"),
        "README.md": ("loki", "shop-overview", "job_name: shop"),
    }.items():
        assert [word for word in words if word not in found[name]] == []


def test_what_an_installation_does_not_have_is_left_out(tmp_path):
    words = {"mongodb", "redis", "sql", "http_client", "otelcol", "loki_", "mongo"}

    def named():
        read = [text for name, text in files(tmp_path).items() if name.endswith(("json", "yml"))]
        return {word for word in words if word in "".join(read).lower()}

    write(tmp_path, service="shop", parts=[])
    assert named() == set()
    write(tmp_path, service="shop", parts=get_args(Part))
    assert named() == words


def test_a_second_run_changes_nothing(tmp_path):
    write(tmp_path, service=["shop", "stock"], slos=[PAID])
    before = files(tmp_path), times(tmp_path)
    outcome = write(tmp_path, service=["shop", "stock"], slos=[PAID])
    assert (outcome.written, outcome.removed, outcome.kept) == ([], [], [])
    assert (files(tmp_path), times(tmp_path)) == before


def test_what_is_no_part_any_more_goes_unless_somebody_changed_it(tmp_path):
    other = Alert("OrdersLate", "orders_late > 1", "late")
    write(tmp_path, service="shop", alerts=[REFUSED, other])
    late = tmp_path / "runbooks/orders-late.md"
    late.write_text("# what we know by now\n")
    outcome = write(tmp_path, service="shop")
    assert outcome.removed == [Path("runbooks/orders-refused.md")]
    assert late.read_text() == "# what we know by now\n"


def test_a_changed_runbook_stays_and_other_changes_are_refused(tmp_path):
    write(tmp_path, service="shop")
    book, rules = tmp_path / "runbooks/high-cpu.md", tmp_path / "prometheus/rules/alerts.yml"
    book.write_text("# ours\n")
    outcome = write(tmp_path, service="shop", alerts=[REFUSED])
    assert outcome.kept == [Path("runbooks/high-cpu.md")]
    assert book.read_text() == "# ours\n"
    written = rules.read_text()
    rules.write_text("groups: []\n")
    before = files(tmp_path)
    with pytest.raises(NotOurs, match=r"since: prometheus/rules/alerts\.yml\."):
        write(tmp_path, service="shop", slos=[PAID])
    assert files(tmp_path) == before, "nothing is written when something is refused"
    write(tmp_path, service="shop", alerts=[REFUSED], force=True)
    assert rules.read_text() == written
    assert book.read_text() != "# ours\n"


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"../outside": "x", "/etc/passwd": "y"}'])
def test_files_of_others_are_refused(tmp_path, manifest):
    (tmp_path / "README.md").write_text("mine")
    if manifest:
        (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(NotOurs, match=r"README\.md.*--force"):
        write(tmp_path, service="shop")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert not (tmp_path / "alerts.md").exists()


def test_a_manifest_removes_nothing_outside(tmp_path):
    outside, kit = tmp_path / "outside", tmp_path / "kit"
    outside.write_text("x")
    write(kit, service="shop")
    known = json.loads((kit / MANIFEST).read_text())
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (kit / MANIFEST).write_text(json.dumps({**known, "../outside": digest, str(outside): digest}))
    assert write(kit, service="shop").removed == []
    assert outside.exists()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no service": ({"service": []}, "at least one service"),
    "service as PromQL": ({"service": 'a"} or up{b="'}, "use letters"),
    "part": ({"parts": ["oracle"]}, "no such part: oracle; there are"),
    "alert's name": ({"alerts": [Alert("../x", "up", "x")]}, "write its name as"),
    "alert's for": ({"alerts": [Alert("Late", "up", "x", for_="soon")]}, "no duration"),
    "alert twice": ({"alerts": [REFUSED, REFUSED]}, "declared twice"),
    "dashboard": ({"alerts": [Alert("Late", "up", "x", dashboards=("orders",))]}, "no dashboard o"),
    "panel": (
        {"alerts": [Alert("Late", "up", "x", dashboards=("system",), panel="Orders")]},
        "has no panel 'Orders'",
    ),
    "objective": ({"slos": [Slo("paid", 99.9, "a", "b")]}, "not between 0 and 1"),
    "objective's name": ({"slos": [Slo('a"b', 0.9, "a", "b")]}, "use letters"),
    "objective twice": ({"slos": [PAID, PAID]}, "declared twice"),
    "left out": ({"without": ["HighCpus"]}, "no usual alert HighCpus; there are ApiErrorRate"),
    "no selector": ({"slos": [Slo("paid", 0.9, "rate(a[5m])", "b")]}, "not the selector"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_work_is_said_and_nothing_written(tmp_path, name):
    arguments, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        write(tmp_path / "kit", **{"service": "shop", **arguments})
    assert not (tmp_path / "kit").exists()


def test_alerts_that_several_workers_cannot_have_are_left_out(tmp_path):
    usual, fewer = tmp_path / "usual", tmp_path / "fewer"
    write(usual, service="shop")
    leave = "HighCpu,HighMemory,RestartLoop"
    assert main(["kit", "--out", str(fewer), "--service", "shop", "--without", leave]) == 0
    more, less = [(each / "prometheus/rules/alerts.yml").read_text() for each in (usual, fewer)]
    gone = set(re.findall(r"alert: (\w+)", more)) - set(re.findall(r"alert: (\w+)", less))
    assert gone == set(leave.split(","))
    assert "process_" in more
    assert "process_" not in less
    assert not (fewer / "runbooks/high-cpu.md").exists()


def test_an_alert_of_ones_own_leads_to_any_panel(tmp_path):
    write(tmp_path, service="shop", alerts=[ON_FIRST_SCREEN])
    (rules,) = [text for name, text in files(tmp_path).items() if name.endswith("alerts.yml")]
    titles = json.loads((tmp_path / "grafana/dashboards/system.json").read_text())["panels"]
    (number,) = [each["id"] for each in titles if each["title"] == ON_FIRST_SCREEN.panel]
    assert rules.count(f"/d/shop-system?viewPanel={number}\n") == 2  # beside the usual one's


def test_one_of_the_usual_can_be_replaced(tmp_path):
    mine = Alert("HighCpu", "process_cpu > 2", "mine", severity="ticket")
    write(tmp_path, service="shop", alerts=[mine], slos=[Slo("latency", 0.5, "a_total", "b_total")])
    rules = (tmp_path / "prometheus/rules/alerts.yml").read_text()
    assert rules.count("alert: HighCpu") == 1
    assert "process_cpu > 2" in rules
    assert "0.25" not in (recording := (tmp_path / "prometheus/rules/recording.yml").read_text())
    assert "rate(a_total[5m])" in recording


MODULE = """
from fastapi import FastAPI
from plainview import Alert, Catalogue, ObservabilitySettings, Slo, observe

CATALOGUE = Catalogue("shop")
ORDERS = CATALOGUE.counter("orders_total", "Orders", labels={"outcome": ("paid", "refused")})
CATALOGUE.slo(Slo("paid", 0.99, 'orders_total{outcome="paid"}', "orders_total"))
REFUSED = CATALOGUE.alert(Alert("OrdersRefused", "rate(orders_totel[5m]) > 1", "many"))
app = FastAPI()
observe(app, ObservabilitySettings(service_name="shop"), catalogue=CATALOGUE)
def create_app(): return app
"""


RUN = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from plainview.command import main
said = []
for words in sys.argv[1:]:
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main(["kit", "--out", *words.split()])
    said.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


def test_the_command_reads_what_a_service_declares(tmp_path):
    (tmp_path / "shop.py").write_text(MODULE)
    made = ("one --app shop:app", "two --app shop")
    checked = ("two --app shop:app --check", "two --app shop:app --check --parts=")
    wrong = {
        "x --app shop:create_app": "neither an app after observe() nor",
        "x --app shop:nothing": "shop has no nothing",
        "x --app no.such": "cannot import no.such: ModuleNotFoundError",
    }
    # in one process, as Python takes long to start
    done = python(RUN, *made, *checked, *wrong, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one, two, same, differs, *refused = json.loads(done.stdout)
    for status, out, err in (one, two):
        assert status == 0, err
        assert "orders_totel is declared by no catalogue, alert OrdersRefused reads it" in out
        assert out.count("no catalogue") == 1
        assert "runbooks/orders-refused.md of your own alert OrdersRefused" in out
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert "slo: paid" in (tmp_path / "one/prometheus/rules/recording.yml").read_text()
    assert (same[0], differs[0]) == (0, 1)
    assert "differs: two/alerts.md" in differs[1]
    for (status, out, err), words in zip(refused, wrong.values(), strict=True):
        assert (status, out) == (2, "")
        assert words in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("before", "words", "status"),
    [
        (lambda out: None, "--service shop", 0),
        (lambda out: None, "", 2),
        (lambda out: None, "--service shop --parts oracle", 2),
        (lambda out: out.write_text("a file"), "--service shop", 2),
        (lambda out: (out.mkdir(), (out / "README.md").write_text("mine")), "--service s", 1),
    ],
    ids=["right", "no service", "no such part", "not a folder", "somebody else's"],
)
def test_exit_status(tmp_path, capsys, before, words, status):
    before(tmp_path / "kit")
    assert main(["kit", "--out", str(tmp_path / "kit"), *words.split()]) == status
    said = capsys.readouterr()
    assert bool(said.err) == (status > 0)
    assert "Traceback" not in said.err


def test_without_yaml_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert main(["kit", "--out", str(tmp_path), "--service", "shop"]) == 2
    assert "plainview[kit]" in capsys.readouterr().err
