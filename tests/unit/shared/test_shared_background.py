"""Jobs of the services: nothing ends one unseen, and nothing keeps one from ending."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from plainview.testing import captured_logs, metric_delta
from shared import background
from shared.background import _failed, _succeeded, close_at_exit, repeat
from shared.errors import Unavailable
from tests.support.timing import in_time

Turn = Callable[[], Awaitable[object]]


async def run(turn: Turn, until: Callable[[], bool], **more: Any) -> None:
    async with AsyncExitStack() as stack:
        repeat(stack, "test", turn, **more)
        async with asyncio.timeout(30):
            while not until():
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(background, "CLOSE_S", 0.3)


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (RuntimeError("never thought of"), "error"),
        (Unavailable("away"), "warning"),
        (asyncio.CancelledError(), "error"),  # as drivers raise it when they cancel their own work
    ],
    ids=["unknown", "away", "cancelled by a driver"],
)
async def test_a_failure_is_logged_once_counted_and_tried_again(error, level):
    turns = 0

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns <= 3:
            raise error

    before = time.time()
    with captured_logs() as lines:
        async with metric_delta(_failed, task="test") as failures:
            await run(turn, lambda: turns > 5)
    assert failures.value == 3
    assert before <= metric_delta(_succeeded, task="test").value <= time.time()
    told = [(line["event"], line["level"]) for line in lines if line["component"] == "job"]
    assert told == [("job.failed", level), ("job.resumed", "info")]
    assert {line["task"] for line in lines} == {"test"}
    assert ("exception_type" in lines[0]) == (level == "error")


async def test_the_metrics_are_there_before_the_first_turn_has_ended():
    never = asyncio.Event()
    started = time.time()
    await run(never.wait, lambda: metric_delta(_succeeded, task="test").value >= started)
    assert metric_delta(_failed, task="test").value >= 0


async def test_pauses_grow_while_turns_fail_and_are_bounded(monkeypatch):
    monkeypatch.setattr(background, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(background, "LONGEST_PAUSE_S", 0.04)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def spy(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def turn() -> None:
        raise Unavailable("away")

    monkeypatch.setattr(background.asyncio, "sleep", spy)
    task = asyncio.ensure_future(background._repeat("test", turn, 0))
    while len(pauses) < 50:
        await sleep(0)
    await background.stop(task)
    for pause, longest in zip(pauses, [0.01, 0.02, *[0.04] * 48], strict=False):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses[10:])) > 5  # spread, so that replicas do not come back together


async def test_it_ends_though_a_driver_drops_the_cancellation():
    waiting = asyncio.Event()

    async def turn() -> None:
        waiting.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(60)

    async def ends() -> float:
        waiting.clear()
        start = time.monotonic()
        await run(turn, waiting.is_set)
        return time.monotonic() - start

    await in_time(ends, 0.25)


async def test_what_refuses_to_end_or_to_close_is_left_behind():
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async def broken() -> None:
        raise OSError("gone")

    with captured_logs() as lines:
        async with asyncio.timeout(20), AsyncExitStack() as stack:
            close_at_exit(stack, "stubborn", stubborn)
            close_at_exit(stack, "broken", broken)
            repeat(stack, "test", stubborn)
            await asyncio.sleep(0)
    told = {(line["event"], line.get("what")) for line in lines}
    left = {("close.failed", "broken"), ("close.late", "stubborn")}
    assert told == {("job.did_not_end", None), *left}
    released.set()
    await asyncio.sleep(0.01)
