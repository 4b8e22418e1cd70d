"""The outermost middleware on its own: IDs, peers, pages, log calls."""

from ipaddress import ip_network

import pytest

from plainview import request_id
from plainview.middleware import RequestMiddleware
from plainview.routes import RouteFinder

PRIVATE = tuple(map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "::1/128")))


def wrapped(app, **options):
    return RequestMiddleware(app, routes=RouteFinder(app), **options)


async def call(app, path="/x", method="GET", headers=(), client=("127.0.0.1", 1), **more):
    """Status, headers and body of the reply."""
    sent = []
    scope = {"type": "http", "path": path, "method": method, "headers": list(headers)}

    async def send(message):
        sent.append(message)

    await app({**scope, "client": client, **more}, None, send)
    headers = [item for message in sent for item in message.get("headers", ())]
    return sent[0]["status"], headers, b"".join(m.get("body", b"") for m in sent)


def replying(status=200, headers=(), seen=None):
    async def app(scope, receive, send):
        if seen is not None:
            seen.append(request_id())
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"hello", "more_body": False})

    return app


@pytest.mark.parametrize("given", [b"a" * 8, b"A-b_c.9" * 9, b"z" * 64])
async def test_good_ids_are_kept_and_returned_once(given):
    seen = []
    upstream = [(b"X-Request-Id", b"of-the-upstream"), (b"content-type", b"text/plain")]
    app = wrapped(replying(headers=upstream, seen=seen))
    _, headers, _ = await call(app, headers=[(b"x-request-id", given)])
    assert seen == [given.decode()]
    assert headers == [(b"content-type", b"text/plain"), (b"x-request-id", given)]
    assert request_id() is None


BAD_IDS = [b"", b"short", b"a" * 65, b"a b c d e f", b"abcdefgh\n", b"\xff" * 9]
MASKED_IDS = [b"4111111111111111", b"010-1234-5678", b"sk_live_0123456789abcdef", b"900101-1234567"]


@pytest.mark.parametrize("given", [*BAD_IDS, *MASKED_IDS])
async def test_bad_ids_and_those_that_would_be_masked_are_replaced(given):
    _, headers, _ = await call(wrapped(replying()), headers=[(b"x-request-id", given)])
    made = dict(headers)[b"x-request-id"]
    assert made != given
    assert len(made) == 32


async def test_pages_for_allowed_peers_only():
    pages = {"/health/live": lambda accept: (200, accept.encode(), "text/x")}
    app = wrapped(replying(404), pages=pages, allow=PRIVATE)
    accept = [(b"accept", b"a"), (b"accept", b"b")]
    status, headers, body = await call(app, "/health/live", headers=accept)
    assert (status, body) == (200, b"a,b")
    assert {b"x-request-id", b"content-type", b"content-length"} <= set(dict(headers))
    assert (await call(app, "/health/live", "HEAD"))[2] == b""
    assert (await call(app, "/health/live", "POST"))[0] == 405
    assert (await call(app, "/root/health/live", root_path="/root"))[0] == 200
    for stranger in (("192.0.2.1", 1), None):
        assert (await call(app, "/health/live", client=stranger))[0] == 404


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded"])
@pytest.mark.parametrize("allow", [None, PRIVATE])
async def test_what_strangers_hand_on_finds_no_page(name, allow):
    pages = {"/metrics": lambda accept: (200, b"", "text/x")}
    trusted = tuple(map(ip_network, ("10.0.0.0/8",)))
    app = wrapped(replying(404), pages=pages, allow=allow, trusted_proxies=trusted)
    handed_on = [(name, b"10.9.9.9")]
    assert (await call(app, "/metrics"))[0] == 200
    assert (await call(app, "/metrics", headers=handed_on))[0] == 404
    assert (await call(app, "/metrics", headers=handed_on, client=("10.0.0.1", 1)))[0] == 200
    stranger = [(b"x-forwarded-for", b"203.0.113.7")]
    status, *_ = await call(app, "/metrics", headers=stranger, client=("10.0.0.1", 1))
    assert status == (200 if allow is None else 404)


async def test_a_failure_that_nobody_answered_is_a_500_with_an_id_and_is_raised():
    errors, lines, sent = [], [], []

    async def broken(scope, receive, send):
        raise RuntimeError("x")

    async def send(message):
        sent.append(message)

    app = wrapped(broken, access=lambda record, scope: lines.append(record), failure=errors.append)
    with pytest.raises(RuntimeError):
        await app({"type": "http", "path": "/", "method": "GET", "headers": []}, None, send)
    assert sent[0]["status"] == 500
    assert b"x-request-id" in dict(sent[0]["headers"])
    assert [type(error) for error in errors] == [RuntimeError]
    assert [record.status for record in lines] == [500]


async def test_websockets_have_a_context_also_when_nothing_is_observed():
    seen = []

    async def app(scope, receive, send):
        seen.append(request_id())

    headers = [(b"x-request-id", b"ws-request")]
    await wrapped(app)({"type": "websocket", "path": "/", "headers": headers}, None, None)
    assert seen == ["ws-request"]


async def test_a_broken_log_does_not_break_the_request(monkeypatch):
    def broken(record, scope):
        raise RuntimeError("disk full")

    app = wrapped(replying(), access=broken)
    with pytest.raises(RuntimeError):
        await call(app)
    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    assert (await call(app))[0] == 200
