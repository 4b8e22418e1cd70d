"""The log follower loses nothing at a rotation and repeats nothing."""

from pathlib import Path

from console.logs import LONGEST, TAIL, LogFollower
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
    follow.close()
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
    follow.close()
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
    follow.close()
    assert [line.text for line in lines] == ["x", "x", "x", "again"]


def test_of_a_big_file_only_the_end_is_read_and_no_half_line(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    count = TAIL // 10 * 2
    log.write_text("".join(f"line-{i:07}\n" for i in range(count)))
    follow, lines = follower(tmp_path)
    while follow.poll():
        pass
    follow.close()
    assert all(len(line.text) == 12 for line in lines)
    assert lines[-1].text == f"line-{count - 1:07}"
    assert len(lines) < count / 2


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_bytes(b"x" * (LONGEST + 1))
    follow, lines = follower(tmp_path)
    follow.poll()
    follow.close()
    assert len(lines) == 1
