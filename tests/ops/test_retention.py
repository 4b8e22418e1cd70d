"""How long things are kept is said once, by the program that keeps them."""

from __future__ import annotations

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
