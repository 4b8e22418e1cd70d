"""Names and kinds that metrics carry, without any server."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest
from redis import exceptions

from plainview import observe_httpx, request_context
from plainview.instruments import mongo
from plainview.instruments import redis as redis_instrument
from plainview.signals import (
    CLIENT_ERRORS,
    DB_CONNECTION_FAILURES,
    DB_CONNECTIONS,
    DB_CONNECTIONS_MAX,
    HTTP_CLIENT_DURATION,
    HTTP_CLIENT_FAILURES,
)
from plainview.testing import captured_spans, metric_delta
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


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), "connect"),
        (httpx.ConnectTimeout("away"), "connect"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.PoolTimeout("busy"), "timeout"),
        (httpx.RemoteProtocolError("bad"), "protocol"),
        (asyncio.CancelledError(), "cancelled"),
        (ValueError("other"), "other"),
    ],
)
async def test_http_client_failures(error, kind):
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    observe_httpx(client, "unit-fail")
    labels = {"upstream": "unit-fail"}
    with (
        metric_delta(HTTP_CLIENT_FAILURES, **labels, error_type=kind) as failures,
        metric_delta(HTTP_CLIENT_DURATION, **labels, status_class="error") as errors,
        pytest.raises(type(error)),
    ):
        await client.get("http://up/")
    assert (failures.value, errors.value) == (1, 1)


async def test_http_client_success_keeps_hooks_and_sends_the_request_id():
    seen: list[httpx.Request] = []
    hooked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201)

    async def hook(request: httpx.Request) -> None:
        hooked.append(request.url.path)

    transport = httpx.MockTransport(answer)
    client = httpx.AsyncClient(transport=transport, event_hooks={"request": [hook]})
    assert observe_httpx(client, "unit-ok") is client
    observe_httpx(client, "unit-ok")
    with (
        captured_spans() as spans,
        request_context("request-12345"),
        metric_delta(HTTP_CLIENT_DURATION, upstream="unit-ok", method="_other") as odd,
        metric_delta(HTTP_CLIENT_DURATION, upstream="unit-ok") as all_of_them,
    ):
        await client.post("http://up/a?x=1", headers={"X-Request-ID": "from-a-client"})
        await client.request("BREW", "http://up/b")
    assert (odd.value, all_of_them.value) == (1, 2)
    assert hooked == ["/a", "/b"]
    assert [request.headers["x-request-id"] for request in seen] == ["request-12345"] * 2
    assert seen[0].headers["traceparent"].split("-")[1] == spans[0].trace_id
    assert [span.name for span in spans] == ["POST", "HTTP"]
    assert spans[0].attributes["url.full"] == "http://up/***"


def test_failure_series_exist_before_the_first_failure():
    observe_httpx(httpx.AsyncClient(), "unit-new")
    samples = [
        sample.labels["error_type"]
        for family in HTTP_CLIENT_FAILURES.collector.collect()
        for sample in family.samples
        if sample.labels["upstream"] == "unit-new" and sample.name.endswith("_total")
    ]
    assert sorted(samples) == sorted(CLIENT_ERRORS)


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
