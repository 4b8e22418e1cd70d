"""How long things are kept is said once, by the program that keeps them."""

import re

import yaml

from monitoring import retention
from ops.archive import LOG_TYPES
from plainview.signals import LOG_TYPES as WRITTEN
from tests.stack.programs import ROOT


def test_every_kind_of_line_has_its_time_and_is_archived() -> None:
    assert set(retention.log_days()) == set(WRITTEN) == set(LOG_TYPES)


def test_a_query_may_be_as_long_as_the_longest_time() -> None:
    limits = yaml.safe_load((ROOT / "telemetry/loki.yaml").read_text())["limits_config"]
    assert retention.hours(limits["max_query_length"]) > max(retention.log_days().values()) * 24


def test_durations() -> None:
    assert [retention.hours(text) for text in ("15d", "12w6d", "72h")] == [360, 2160, 72]


def test_the_archive_has_time_to_catch_up() -> None:
    """`schedule` looks at the past 7 days; a line has to live longer than that."""
    assert min(retention.log_days().values()) > 7


BYTES_PER_SAMPLE = 1.5


def test_the_metrics_fit_into_their_size_for_their_time() -> None:
    """The table of docs/operations.md has every job as it is scraped, and its sum is right."""
    text = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z-]+) \| ([\d,]+) \| (\d+) s \|$", text)
    table = {job: (int(series.replace(",", "")), int(every)) for job, series, every in rows}
    config = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    default = config["global"]["scrape_interval"]
    scraped = {
        job["job_name"]: int(job.get("scrape_interval", default).removesuffix("s"))
        for job in config["scrape_configs"]
    }
    assert {job: every for job, (_, every) in table.items()} == scraped
    assert {job for job, every in scraped.items() if every == 5} == {"gateway", "auth", "event"}
    per_second = sum(series / every for series, every in table.values())
    per_day = per_second * 86_400 * BYTES_PER_SAMPLE
    days, size = retention.metrics()
    assert size == "10 GB"
    held = 10e9 / per_day
    assert 60 <= days <= held < 1.1 * days
    assert f"{per_second:,.0f} samples a second" in text.replace("\n", " ")
    assert f"{per_day / 1e6:.0f} MB a day, and 10 GB hold {held:.0f} days" in text.replace(
        "\n", " "
    )
