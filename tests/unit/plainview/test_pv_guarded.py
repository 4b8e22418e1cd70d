import asyncio

import pytest

from plainview.guarded import guarded
from plainview.signals import TELEMETRY_ERRORS
from plainview.testing import metric_delta


def errors(part):
    return metric_delta(TELEMETRY_ERRORS, part=part)


@pytest.mark.parametrize(("part", "counted"), [("logs", "logs"), ("of the user", "other")])
def test_errors_are_swallowed_and_counted(part, counted, monkeypatch):
    monkeypatch.delenv("PLAINVIEW_STRICT")
    guard = guarded(part)
    with errors(counted) as swallowed:
        for _ in range(2):
            with guard:
                raise ValueError
        with guard:
            pass
    assert swallowed.value == 2


def test_tests_hear_of_them():
    with errors("logs") as counted, pytest.raises(ValueError, match="x"), guarded("logs"):
        raise ValueError("x")
    assert counted.value == 1


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_exits_are_no_errors(kind, monkeypatch):
    monkeypatch.delenv("PLAINVIEW_STRICT")
    with errors("logs") as counted, pytest.raises(kind), guarded("logs"):
        raise kind
    assert counted.value == 0
