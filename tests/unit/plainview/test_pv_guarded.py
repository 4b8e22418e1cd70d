import asyncio

import pytest

from plainview.guarded import guarded, on_error


@pytest.fixture
def errors():
    seen: list[str] = []

    def broken(part: str) -> None:
        raise RuntimeError(part)

    callbacks = [broken, seen.append]
    on_error.extend(callbacks)
    yield seen
    for callback in callbacks:
        on_error.remove(callback)


def test_errors_are_swallowed_and_counted(errors, monkeypatch):
    monkeypatch.delenv("PLAINVIEW_STRICT")
    guard = guarded("logs")
    for _ in range(2):
        with guard:
            raise ValueError
    with guard:
        pass
    assert errors == ["logs", "logs"]


def test_tests_hear_of_them(errors):
    with pytest.raises(ValueError, match="x"), guarded("logs"):
        raise ValueError("x")
    assert errors == ["logs"]


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_exits_are_no_errors(kind, errors, monkeypatch):
    monkeypatch.delenv("PLAINVIEW_STRICT")
    with pytest.raises(kind), guarded("logs"):
        raise kind
    assert errors == []
