"""A run ends: when it is told to, and when what it has started does not."""

import faulthandler
import signal
import threading

import pytest

LEAVING_S = 60  # for threads and exit handlers after the last line


def pytest_configure() -> None:
    """SIGTERM is Ctrl-C: fixtures are torn down, so that their servers end too."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """No test is running whose time-out could end a thread that hangs now: say where, and leave."""
    if hasattr(config, "workerinput"):  # waits for the others, and is ended by who started it
        return
    faulthandler.dump_traceback_later(LEAVING_S, exit=True)
