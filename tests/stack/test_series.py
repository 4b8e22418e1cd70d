"""No job has more series than docs/operations.md counts on for the time that metrics last."""

import re

import pytest

from tests.stack.programs import ROOT
from tests.stack.stack import Stack
from tests.stack.traffic import Traffic

pytestmark = pytest.mark.timeout(900)  # the first test of a session starts everything


def test_series_of_each_job(stack: Stack, traffic: Traffic) -> None:
    text = (ROOT / "docs/operations.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z-]+) \| ([\d,]+) \| \d+ s \|$", text)
    most = {job: int(series.replace(",", "")) for job, series in rows}
    query = "max by (job) (max_over_time(scrape_samples_post_metric_relabeling[1h]))"
    found = {row["metric"]["job"]: float(row["value"][1]) for row in stack.query(query)}
    assert {"gateway", "auth", "event", "collector", "span-metrics", "prometheus"} <= set(found)
    assert {job: n for job, n in found.items() if n > most[job]} == {}
