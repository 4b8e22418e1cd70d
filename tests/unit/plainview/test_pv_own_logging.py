"""Applications that have configured logging themselves, before or after; each a process."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import python

HEAD = """
import logging, logging.config
import structlog
from fastapi import FastAPI
from fastapi.testclient import TestClient
from plainview import ObservabilitySettings, get_logger, observe, request_context

def observed():
    app = FastAPI()
    observe(app, ObservabilitySettings(service_name="own", log_format="json"))
    return app
"""


def ran(program: str, folder: Path) -> tuple[list[dict[str, Any]], str]:
    """Lines of the program, and whatever else it wrote."""
    done = python(HEAD + program, cwd=folder, PLAINVIEW_STRICT="1", PYTHONWARNINGS="ignore")
    assert done.returncode == 0, done.stdout + done.stderr
    written = (done.stdout + done.stderr).splitlines()
    lines = [json.loads(line) for line in written if line.startswith('{"timestamp"')]
    return lines, "\n".join(line for line in written if not line.startswith('{"timestamp"'))


STRUCTLOGS = {
    "printing JSON": "structlog.configure(processors=[structlog.contextvars.merge_contextvars,"
    " mine, structlog.processors.add_log_level, structlog.processors.JSONRenderer()])",
    "cached, by stdlib": "structlog.configure(processors=[structlog.contextvars.merge_contextvars,"
    " mine, structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt='iso'),"
    " structlog.stdlib.PositionalArgumentsFormatter(),"
    " structlog.stdlib.ProcessorFormatter.wrap_for_formatter],"
    " logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger,"
    " cache_logger_on_first_use=True); logging.basicConfig(level=10); log.info('cached')",
    "a tuple": "structlog.configure(processors=(structlog.contextvars.merge_contextvars, mine,"
    " structlog.processors.KeyValueRenderer()))",
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", STRUCTLOGS)
def test_a_structlog_of_the_applications_own(how: str, when: str, tmp_path: Path) -> None:
    order = [STRUCTLOGS[how], "app = observed()"]
    program = f"""
def mine(logger, method, event_dict):
    event_dict["added"] = "by the application"
    return event_dict

log = structlog.get_logger()
{chr(10).join(order if when == "before" else order[::-1])}
with TestClient(app), request_context("request-1"):
    structlog.contextvars.bind_contextvars(tenant="acme")
    log.warning("order.placed", password="hunter2", n=1)
    log.debug("too low")
    try:
        raise ValueError("token=hunter2")
    except ValueError:
        log.exception("order.failed")
    get_logger().info("of plainview")
    logging.getLogger("std").warning("of stdlib")
"""
    lines, rest = ran(program, tmp_path)
    assert rest.replace("cached", "") == "" or ("cached" in how and rest.count("\n") == 0), rest
    placed, failed, own, std = [line for line in lines if line.get("request_id") == "request-1"]
    assert (placed["event"], placed["level"], placed["n"]) == ("order.placed", "warning", 1)
    assert (failed["event"], failed["level"]) == ("order.failed", "error")
    assert failed["exception_message"] == "token=***"
    assert placed["added"] == failed["added"] == "by the application"
    assert {line["tenant"] for line in (placed, failed, own, std)} == {"acme"}
    assert not {"level_", "timestamp_"} & placed.keys()
    assert "hunter2" not in str(lines) + rest


CONFIG = """
CONFIG = {
    "version": 1, "disable_existing_loggers": False,
    "handlers": {
        "console": {"class": "logging.StreamHandler"},
        "file": {"class": "logging.FileHandler", "filename": "own.log"},
    },
    "loggers": {"shop": {"handlers": ["console", "file"], "level": "INFO", "propagate": False}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
"""


@pytest.mark.parametrize("when", ["before", "after", "while it runs"])
def test_a_dict_config_of_the_applications_own(when: str, tmp_path: Path) -> None:
    configure = "logging.config.dictConfig(CONFIG)"
    program = f"""
{CONFIG}
{configure if when == "before" else ""}
app = observed()
{configure if when == "after" else ""}
with TestClient(app):
    {configure if when == "while it runs" else ""}
    logging.getLogger("shop").info("sold %s", 3)
    logging.getLogger("shop.cart").info("filled, password=hunter2")
    logging.getLogger("other").warning("other")
    get_logger().info("of plainview")
"""
    lines, rest = ran(program, tmp_path)
    assert rest == ""
    found = [line.get("message", line["event"]) for line in lines]
    assert found == ["sold 3", "filled, password=***", "other", "of plainview"]
    assert (tmp_path / "own.log").read_text().startswith("sold 3\n")  # a file is the application's
