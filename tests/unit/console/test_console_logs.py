"""The log follower loses nothing at a rotation and repeats nothing."""

import json
from pathlib import Path

import httpx
import pytest

from console.logs import LONGEST, TAIL, LogFollower, LokiFollower
from console.store import Line


def follower(folder: Path) -> tuple[LogFollower, list[Line]]:
    lines: list[Line] = []
    return LogFollower(folder, lines.append), lines


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_lines_arrive_once_whole_and_in_order_across_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "event.log"
    write(log, "one\n")
    follow, lines = follower(tmp_path)
    follow.poll()
    write(log, "two\nthr")
    follow.poll()
    write(log, "ee\nlast before\n")
    log.rename(tmp_path / "event.log.1")
    write(log, "first after\n")
    follow.poll()
    follow.poll()
    write(log, "second after\n")
    follow.poll()
    texts = [line.text for line in lines]
    assert texts == ["one", "two", "three", "last before", "first after", "second after"]
    assert {line.service for line in lines} == {"event"}


def test_a_truncated_file_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "auth.log"
    write(log, "a long first line\n")
    follow, lines = follower(tmp_path)
    follow.poll()
    log.write_text("new\n")
    follow.poll()
    assert [line.text for line in lines] == ["a long first line", "new"]


def test_a_file_that_appears_later_is_read_whole_and_one_that_goes_is_let_go(
    tmp_path: Path,
) -> None:
    follow, lines = follower(tmp_path / "logs")
    follow.poll()
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "gateway.log"
    write(log, "x\n" * 3)
    follow.poll()
    log.unlink()
    follow.poll()
    write(log, "again\n")
    follow.poll()
    assert [line.text for line in lines] == ["x", "x", "x", "again"]


def test_of_a_big_file_only_the_end_is_read_and_no_half_line(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    count = TAIL // 10 * 2
    log.write_text("".join(f"line-{i:07}\n" for i in range(count)))
    follow, lines = follower(tmp_path)
    while follow.poll():
        pass
    assert all(len(line.text) == 12 for line in lines)
    assert lines[-1].text == f"line-{count - 1:07}"
    assert len(lines) < count / 2


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_bytes(b"x" * (LONGEST + 1))
    follow, lines = follower(tmp_path)
    follow.poll()
    assert len(lines) == 1


async def test_of_loki_each_line_is_taken_once_also_when_it_comes_late() -> None:
    first = ("1700000000000000000", json.dumps({"event": "a", "service": "event"}))
    late = ("1699999999000000000", "plain text")
    values: dict[str, list[tuple[str, str]]] = {"event": [first], "mongo": []}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["query"] == '{service=~".+"}'
        streams = [{"stream": {"service": s}, "values": v} for s, v in values.items()]
        return httpx.Response(200, json={"data": {"result": streams}})

    lines: list[Line] = []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        loki = LokiFollower(http, "http://loki:3100/", lines.append)
        await loki.poll()
        values["mongo"].append(late)
        await loki.poll()
        await loki.poll()
    assert [(line.service, line.event) for line in lines] == [("event", "a"), ("mongo", "")]
    assert lines[1].at == pytest.approx(1699999999)
