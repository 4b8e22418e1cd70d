"""Names and kinds that metrics carry, without any server."""

from types import SimpleNamespace

import pytest
from redis import exceptions

from plainview.instruments import mongo
from plainview.instruments import redis as redis_instrument
from plainview.signals import (
    DB_CONNECTION_FAILURES,
    DB_CONNECTIONS,
    DB_CONNECTIONS_MAX,
)
from plainview.testing import metric_delta
from tests.support.processes import python


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("GET secret-key", "GET"),
        ("get k", "GET"),
        ("XREADGROUP GROUP g c BLOCK 2000 STREAMS s >", "XREADGROUP_BLOCK"),
        ("XREADGROUP GROUP g c COUNT 9 BLOCK 1 STREAMS s >", "XREADGROUP_BLOCK"),
        ("XREADGROUP GROUP g c STREAMS s >", "XREADGROUP"),
        ("XREAD BLOCK 5 STREAMS s 0", "XREAD_BLOCK"),
        ("ключ", "_OTHER"),
        ("", "_OTHER"),
    ],
)
def test_redis_operation_names_hold_no_data(command, name):
    words = command.split()
    for args in (words, [*words[:1], *(word.encode() for word in words[1:])]):
        assert redis_instrument.operation(tuple(args)) == name


@pytest.mark.parametrize(
    ("args", "name"), [(("XGROUP CREATE", "s", "g"), "XGROUP"), (("no such thing!", "k"), "NO")]
)
def test_a_name_of_several_words_is_its_first(args, name):
    assert redis_instrument.operation(args) == name


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.TimeoutError("Timeout reading"), "timeout"),
        (exceptions.ConnectionError("refused"), "unavailable"),
        (OSError("unreachable"), "unavailable"),
        (exceptions.ResponseError("WRONGTYPE"), "rejected"),
        (exceptions.ResponseError("BUSYGROUP Consumer Group name already exists"), None),
        (exceptions.NoScriptError("NOSCRIPT"), None),
        (exceptions.WatchError("changed"), None),
        (ValueError("other"), "other"),
    ],
)
def test_redis_failures(error, kind):
    assert redis_instrument.error_type(error) == kind


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({"code": 11000, "errmsg": "E11000"}, "duplicate_key"),
        ({"code": 50}, "timeout"),
        ({"errtype": "NetworkTimeout"}, "timeout"),
        ({"errtype": "AutoReconnect"}, "unavailable"),
        ({"code": 10107}, "unavailable"),
        ({"code": 2, "errmsg": "BadValue"}, "rejected"),
        ({"errtype": "InvalidBSON"}, "other"),
        ({"errmsg": "no code"}, "rejected"),
    ],
)
def test_mongo_failures(failure, kind):
    assert mongo.error_type(failure) == kind


MONGO = {"db_system_name": "mongodb"}


def gauge(spec: object, **labels: str) -> float:
    with metric_delta(spec, **labels) as found:
        found._before = 0
    return found.value


def test_mongo_pool_gauges_follow_the_events():
    pool = mongo.PoolMetrics()
    event = SimpleNamespace(address=("h", 1), options={"maxPoolSize": 7}, reason="timeout")
    other = SimpleNamespace(address=("h", 1), options={})
    pool.pool_created(event)
    pool.connection_created(event)
    pool.connection_created(event)
    pool.pool_created(other)
    pool.connection_checked_out(event)
    assert [gauge(DB_CONNECTIONS, **MONGO, state=state) for state in ("used", "idle")] == [1, 1]
    assert gauge(DB_CONNECTIONS_MAX, **MONGO) == 107
    with metric_delta(DB_CONNECTION_FAILURES, **MONGO) as failures:
        pool.connection_check_out_failed(event)
    assert failures.value == 1
    pool.connection_checked_in(event)
    for step in (pool.connection_closed, pool.pool_closed) * 2:
        step(event)
    assert gauge(DB_CONNECTIONS, **MONGO) == gauge(DB_CONNECTIONS_MAX, **MONGO) == 0


MISSING = """
import sys
for name in ("pymongo", "redis", "httpx", "sqlalchemy"):
    sys.modules[name] = None
import plainview
from plainview import checks
for function, extra in (
    (plainview.observe_mongo, "mongo"),
    (plainview.observe_redis, "redis"),
    (lambda: plainview.observe_httpx(None, "x"), "httpx"),
    (lambda: plainview.observe_sqlalchemy(None), "sqlalchemy"),
    (lambda: checks.mongo(None), "mongo"),
    (lambda: checks.redis(None), "redis"),
    (lambda: checks.http("http://x"), "httpx"),
    (lambda: checks.sqlalchemy(None), "sqlalchemy"),
):
    try:
        function()
    except ImportError as error:
        assert f"plainview[{extra}]" in str(error), error
    else:
        raise SystemExit(f"{extra}: no error")
print("named")
"""


def test_extras_are_needed_only_upon_use():
    result = python(MISSING)
    assert result.stdout == "named\n", result.stderr
