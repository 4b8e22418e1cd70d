"""Shapes, counts, thresholds, and which host may be loaded."""

import socket
import subprocess
import sys
from collections import Counter

import pytest

from lab.load import __main__ as load
from lab.load.__main__ import COMPOSE_URL, limits, seconds, target
from lab.load.plan import (
    KINDS,
    MAX_SECONDS,
    Record,
    Shape,
    Thresholds,
    judge,
    percentile,
    report,
    users_at,
)
from lab.load.prepare import NotReadyError


def failing(record: Record, thresholds: Thresholds, shape: Shape = Shape.STEADY) -> set[str]:
    return {verdict.what for verdict in judge(record, thresholds, shape) if not verdict.ok}


def sound(ms: float = 20, count: int = 100) -> Record:
    record = Record()
    for step in KINDS:
        for number in range(count):
            record.add(step, ms, third=3 * number // count)
    return record


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize(("users", "duration"), [(1, 5), (20, 60), (500, MAX_SECONDS)])
def test_every_shape_is_bounded_and_ends(shape, users, duration):
    counts = [users_at(shape, t * duration / 1000, users, duration) for t in range(1001)]
    assert counts[-1] is None
    assert all(count is not None and 1 <= count <= users for count in counts[:-1])
    assert max(count or 0 for count in counts) == users


def test_spike_is_a_spike_and_the_others_rise_once():
    spike = [users_at(Shape.SPIKE, t, 100, 100) for t in range(100)]
    assert spike == [20] * 40 + [100] * 20 + [20] * 40
    steady = [users_at(Shape.STEADY, t, 100, 100) or 0 for t in range(100)]
    assert steady == sorted(steady)
    assert steady[10:] == [100] * 90


def test_percentiles():
    assert percentile({}, 0.95) == 0
    assert percentile({10: 94, 20: 1, 900: 5}, 0.95) == 0.02
    assert percentile({10: 94, 900: 6}, 0.95) == 0.9


def test_failures_count_by_their_ratio_and_refusals_apart():
    record = sound()
    record.failures["claim", "500 internal_error"] = record.times.total() // 100
    record.refusals["claim", "sold_out"] = 80
    assert failing(record, Thresholds()) == set()
    record.failures["claim", "500 internal_error"] += 1
    assert failing(record, Thresholds()) == {"error ratio"}
    assert "claim: 500 internal_error  12" in report(record, [])
    assert "claim: sold_out  80" in report(record, [])


@pytest.mark.parametrize("kind", ["read", "write", "claim", "sign-in"])
def test_each_kind_has_its_own_limit(kind):
    record = sound()
    for step in (step for step, of in KINDS.items() if of == kind):
        for _ in range(6):
            record.add(step, 9_000, third=0)
    assert failing(record, Thresholds()) == {f"P95 {kind}"}


def test_a_test_without_claims_fails():
    record = sound()
    record.times = Counter({key: n for key, n in record.times.items() if key[0] != "claim"})
    assert failing(record, Thresholds()) == {"P95 claim"}
    assert {"P95 read", "P95 claim"} <= failing(Record(), Thresholds())


def test_a_soak_that_slows_down_fails():
    record = sound(ms=60)
    for _ in range(20):
        record.add("claim", 300, third=2)
    assert failing(record, Thresholds(), Shape.STEADY) == set()
    assert failing(record, Thresholds(), Shape.SOAK) == {"P95 claim, last third"}


def test_a_record_survives_json():
    record = sound()
    record.failures["join", "0 refused"] += 1
    record.refusals["claim", "sold_out"] += 1
    assert Record.read(record.json()) == record


def test_thresholds_from_arguments():
    changed = limits(0.5, ["claim=0.25"])
    assert (changed.error_ratio, changed.p95_s["claim"], changed.p95_s["read"]) == (0.5, 0.25, 0.5)
    with pytest.raises(ValueError, match="'clam' is not one of claim"):
        limits(0.1, ["clam=1"])


def test_durations_are_bounded():
    assert [seconds(text) for text in ("90", "90s", "5m", "30m")] == [90, 90, 300, 1800]
    for text in ("", "1h", "31m", "1", "-5", "9999999999", "5 minutes"):
        with pytest.raises(ValueError, match=r"duration|takes"):
            seconds(text)


def test_the_demo_is_found_before_compose(tmp_path):
    assert target("", "", tmp_path) == COMPOSE_URL
    (tmp_path / "demo.json").write_text('{"services": {"gateway": "http://127.0.0.1:1234"}}')
    assert target("", "", tmp_path) == "http://127.0.0.1:1234"


def test_hosts_that_may_be_loaded(tmp_path):
    for here in ("http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9"):
        assert target(here, "", tmp_path) == here
    staging = "https://staging.example.com"
    assert target(f"{staging}/ignored", "staging.example.com", tmp_path) == staging


@pytest.mark.parametrize(
    ("host", "allowed", "words"),
    [
        ("https://rewards.example.com", "", "--allow-host"),
        ("rewards.example.com:8000", "", "--allow-host"),
        ("https://rewards.example.com", "staging.example.com", "--allow-host"),
        ("http://127.0.0.1@rewards.example.com", "", "--allow-host"),
        ("http://127.0.0.1.example.com", "", "--allow-host"),
        *((host, "", "is no address") for host in ("ftp://127.0.0.1", "http://", "://")),
    ],
)
def test_other_hosts_are_refused(host, allowed, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        target(host, allowed, tmp_path)


def test_a_page_on_a_taken_port_is_refused_before_anything_is_made(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match="2"):
            load.main(host="http://127.0.0.1:1", page_port=port)
    assert capsys.readouterr().err == (
        f"load: port {port} is taken: choose another with --page-port\n"
    )


@pytest.mark.parametrize("status", [0, 3])
def test_locust_that_counts_nothing_has_failed_unless_its_page_was_closed(monkeypatch, status):
    def started(_, **options):
        return real([sys.executable, "-c", f"raise SystemExit({status})"], **options)

    real = subprocess.Popen
    monkeypatch.setattr(load.subprocess, "Popen", started)
    plan = {"host": "http://127.0.0.1:1", "duration_s": 5}
    if status:
        with pytest.raises(NotReadyError, match="ended with 3 and counted nothing"):
            load.run_locust(plan, False, 1)
    else:
        assert load.run_locust(plan, False, 1) == Record()


def test_locust_has_a_moment_to_end_by_itself_after_ctrl_c():
    done = []

    class Locust:
        def wait(self, seconds):
            done.append(seconds)
            if len(done) == 1:
                raise KeyboardInterrupt

        def terminate(self):
            done.append("terminated")

        kill = terminate

    load._wait(Locust(), 60)
    assert done == [60, 2]
