"""What passes the gateway, either way: headers, addresses, paths, redirects."""

import gzip
import re
from dataclasses import replace
from typing import Any

import pytest

from gateway.operations import load_document
from shared.tokens import Role
from tests.support.gateway_app import gateway, upstream

EVENTS = "/api/v1/events"
LOGIN = "/api/v1/auth/login"


async def test_identity_headers_of_a_client_never_arrive(up, gw, issuer):
    evil = {
        "X-User-Id": "root", "x-uSeR-rOlEs": "ADMIN", "X_User_Id": "root", "X-User_Id": "root",
        "X-Role": "ADMIN", "x-roles": "ADMIN", "X-Internal-Token": "t", "X_INTERNAL_TOKEN": "t",
        "X-Forwarded-Host": "evil", "Forwarded": "for=1.1.1.1", "X-Real-IP": "1.1.1.1",
    }  # fmt: skip
    reply = await gw.client.get(
        EVENTS, headers={**evil, **issuer.headers("ann", Role.USER), "X-Plain": "stays"}
    )
    assert reply.status_code == 200
    names = {name.replace("_", "-") for name, _ in up.seen[0].headers}
    assert not [name for name in names if re.match("x-(user|role|internal|real)|forwarded", name)]
    assert up.seen[0].all("x-plain") == ["stays"]
    assert up.seen[0].all("x-forwarded-host") == []
    assert up.seen[0].all("x-forwarded-for") == ["127.0.0.1"]
    assert up.seen[0].all("authorization")
    sent = [pair for pair in up.seen[0].headers if pair[0] != "authorization"]  # random letters
    assert "root" not in str(sent)


async def test_headers_of_one_hop_end_there_both_ways(issuer):
    answer = [
        (b"Connection", b"X-Secret-Hop"), (b"X-Secret-Hop", b"1"), (b"Keep-Alive", b"timeout=9"),
        (b"Proxy-Authenticate", b"Basic"), (b"Upgrade", b"h2c"), (b"Trailer", b"X-T"),
        (b"X-Internal-Node", b"event-7"), (b"Server", b"insides"), (b"X-Request-ID", b"its-own-id"),
        (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"ETag", b'"7"'),
    ]  # fmt: skip
    async with upstream(headers=answer) as up, gateway(event_url=up.url, auth_url=issuer.url) as gw:
        sent = {
            "Connection": "X-Mine, keep-alive", "X-Mine": "1", "TE": "trailers", "Upgrade": "h2c",
            "Proxy-Authorization": "Basic x", "Keep-Alive": "timeout=1", "Proxy-Connection": "x",
        }  # fmt: skip
        reply = await gw.client.get(EVENTS, headers={**sent, **issuer.headers("ann", Role.USER)})
        gone = {"x-mine", "te", "upgrade", "proxy-authorization", "keep-alive", "proxy-connection"}
        assert not gone & {name for name, _ in up.seen[0].headers}
        gone = {"x-secret-hop", "keep-alive", "proxy-authenticate", "upgrade", "trailer"}
        assert not (gone | {"x-internal-node", "server"}) & set(reply.headers)
        assert reply.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert reply.headers["etag"] == '"7"'
        # the upstream's cookies are its client's, and nobody else's
        await gw.client.get(EVENTS, headers=issuer.headers("ben", Role.USER) | {"Cookie": ""})
        assert "a=1" not in str(up.seen[1].headers)


async def test_connection_cannot_delete_what_the_gateway_says(up, gw, issuer):
    named = "X-User-Id, X-Forwarded-For, X-Request-ID, traceparent, Host, Content-Length"
    reply = await gw.client.post(
        EVENTS,
        json={"title": "x"},
        headers={"Connection": named, **issuer.headers("ann", Role.OPERATOR)},
    )
    assert reply.status_code == 200
    for name in ("x-forwarded-for", "x-request-id", "traceparent", "host"):
        assert len(up.seen[0].all(name)) == 1, name
    assert up.seen[0].all("x-request-id") == [reply.headers["x-request-id"]]
    assert up.seen[0].body == b'{"title":"x"}'


async def test_trace_and_request_id_are_carried_baggage_is_not(up, gw, issuer):
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = {
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        "tracestate": "vendor=secret",
        "baggage": "user=root",
        "X-Request-ID": "client-chosen-1",
        "b3": "1-2-3",
        "X-B3-TraceId": trace,
    }
    reply = await gw.client.get(EVENTS, headers={**sent, **issuer.headers("ann", Role.USER)})
    seen = up.seen[0]
    assert reply.headers.get_list("x-request-id") == ["client-chosen-1"]
    assert seen.all("x-request-id") == ["client-chosen-1"]
    (parent,) = seen.all("traceparent")
    assert trace in parent
    assert "b7ad6b7169203331" not in parent  # our own span is the parent
    for name in ("baggage", "tracestate", "b3", "x-b3-traceid"):
        assert seen.all(name) == [], name
    hostile = {"X-Request-ID": "no spaces allowed", **issuer.headers("ann", Role.USER)}
    reply = await gw.client.get(EVENTS, headers=hostile)
    (made,) = up.seen[1].all("x-request-id")
    assert made == reply.headers["x-request-id"] != "no spaces allowed"


async def test_encoded_replies_pass_untouched(issuer):
    packed = gzip.compress(b'{"items":[]}')
    encoding = [(b"Content-Encoding", b"gzip"), (b"Content-Type", b"application/json")]
    async with (
        upstream(headers=encoding, body=packed) as up,
        gateway(event_url=up.url, auth_url=issuer.url) as gw,
    ):
        headers = {"Accept-Encoding": "gzip", **issuer.headers("ann", Role.USER)}
        reply = await gw.client.get(EVENTS, headers=headers)
        assert reply.json() == {"items": []}
        assert reply.headers["content-length"] == str(len(packed))
        await gw.client.get(
            EVENTS, headers={"Accept-Encoding": "identity", **issuer.headers("ann", Role.USER)}
        )
        assert up.seen[1].all("accept-encoding") == ["identity"]
        assert len(up.seen[1].all("user-agent")) == 1


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ("", "9.9.9.9", "127.0.0.1"),
        ("10.0.0.0/8", "9.9.9.9", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, 9.9.9.9", "9.9.9.9"),  # the left one is the client's own word
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
    ],
)
async def test_forwarded_for_is_believed_from_trusted_proxies_only(
    issuer, trusted, forwarded, expected
):
    async with (
        upstream() as up,
        gateway(event_url=up.url, auth_url=issuer.url, trusted_proxies=trusted) as gw,
    ):
        headers = {"X-Forwarded-For": forwarded, **issuer.headers("ann", Role.USER)}
        assert (await gw.client.get(EVENTS, headers=headers)).status_code == 200
        assert up.seen[0].all("x-forwarded-for") == [expected]


@pytest.mark.parametrize(
    ("prefix", "one", "two", "shared"),
    [
        (64, "9.9.9.9:1", "9.9.9.9:2", True),
        (64, "2001:db8:0:1::1", "2001:db8:0:2::1", False),
        (48, "2001:db8:0:1::1", "2001:db8:0:2::1", True),
    ],
)
async def test_ports_and_addresses_of_one_network_are_one_client(issuer, prefix, one, two, shared):
    more = {"trusted_proxies": "127.0.0.1", "rate_limit_address": "1/minute"}
    async with (
        upstream() as up,
        gateway(event_url=up.url, auth_url=issuer.url, client_ipv6_prefix=prefix, **more) as gw,
    ):
        statuses = [
            (await gw.client.get(EVENTS, headers={"X-Forwarded-For": text})).status_code
            for text in (one, two)
        ]
        assert statuses == [401, 429 if shared else 401]


async def test_no_spelling_of_a_path_reaches_what_is_not_public(issuer):
    token = issuer.headers("ann", *Role)["Authorization"]
    targets = [
        "/api/v1/events/../../../metrics", "/api/v1/events/..%2f..%2f..%2fmetrics",
        "/api/v1/events/%2e%2e/%2e%2e/%2e%2e/metrics", "/api/v1/events/%2e%2e", "/api/v1/events/..",
        "/api/v1/events/..%5c..%5cmetrics", "/api/v1/events/..\\..\\metrics", "/api/v1/events/.",
        "/api/v1/events/a%2fb", "/api/v1/events/a%252fb", "/api/v1/events/a;b",
        "/api/v1/events/%3b",
        "/api/v1/events/..;/metrics", "/api/v1/events//", "//api/v1/events", "/api/v1//events",
        "//metrics", "/api/v1/events/a%00", "/api/v1/events/a%0d%0aX-User-Id:%20root",
        "/api/v1/events/a%3fstatus=draft", "/api/v1/events/a%23b", "/api/v1/events/%c0%ae%c0%ae",
        "/api/v1/events/a/../../../internal", "/health/live", "/docs/../metrics", "/internal",
        "/.well-known/jwks.json", "/api/v1/internal", "http://127.0.0.1/metrics", "*",
        "/api/v1/events/" + "a" * 200,
    ]  # fmt: skip
    outside = {"metrics_allow": "192.0.2.0/24"}  # this test is none of them
    async with upstream() as up, gateway(event_url=up.url, auth_url=up.url, **outside) as gw:
        gw.app.state.deps = replace(gw.deps, verifier=_Anybody())
        for target in targets:
            status, body = await gw.get(target, f"Authorization: {token}", wait_s=30)
            assert status in (400, 404), (target, status, body)
        assert up.seen == []
        status, _ = await gw.get("/api/v1/events/a-b_c.d~1", f"Authorization: {token}", wait_s=30)
        assert (status, up.seen[0].target) == (200, "/api/v1/events/a-b_c.d~1")


class _Anybody:
    def recall(self, token: str) -> None:
        return None

    async def verify(self, token: str) -> Any:
        from shared.tokens import Principal

        return Principal("ann", frozenset(Role))


@pytest.mark.parametrize("path", ["/metrics", "/health/live", "/health/ready", "/health/startup"])
async def test_own_pages_are_for_listed_peers(path):
    async with gateway() as gw:
        await gw.becomes(200, path)  # ready is who has asked its dependencies once
    async with gateway(metrics_allow="192.0.2.0/24", trusted_proxies="127.0.0.1") as gw:
        reply = await gw.client.get(path, headers={"X-Forwarded-For": "192.0.2.1"})
        assert reply.status_code == 404
        assert reply.json()["code"] == "not_found"


async def test_redirects_are_handed_on_not_followed(issuer):
    async with (
        upstream() as inside,
        upstream(status=302, headers=[(b"Location", f"{inside.url}/metrics".encode())]) as up,
        gateway(event_url=up.url, auth_url=issuer.url) as gw,
    ):
        reply = await gw.client.get(EVENTS, headers=issuer.headers("ann", Role.USER))
        assert reply.status_code == 302
        assert inside.seen == []


async def test_unknown_methods_are_refused():
    async with gateway() as gw:
        assert (await gw.client.request("TRACE", EVENTS)).status_code == 405
        assert (await gw.client.request("HEAD", LOGIN)).status_code == 405
        got = await gw.talk(b"BREW /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n", 30)
        assert got[9:12] == b"400"


async def test_cors_is_an_allow_list(issuer):
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,traceparent",
    }
    async with gateway(cors_origins="https://shop.example, https://b.example") as gw:
        good = await gw.client.options(EVENTS, headers={"Origin": "https://shop.example", **asked})
        assert good.status_code == 200
        assert good.headers["access-control-allow-origin"] == "https://shop.example"
        # W3C Trace Context; Fetch, section 3.3.3: the preflight of a traced request is granted
        assert "traceparent" in good.headers["access-control-allow-headers"].lower()
        evil = await gw.client.options(EVENTS, headers={"Origin": "https://evil.example", **asked})
        assert evil.status_code == 400
        for origin, expected in (("https://b.example", "https://b.example"), ("null", None)):
            reply = await gw.client.get(EVENTS, headers={"Origin": origin})  # also an error says it
            assert reply.status_code == 401
            assert reply.headers.get("access-control-allow-origin") == expected
    async with gateway() as gw:
        reply = await gw.client.options(EVENTS, headers={"Origin": "https://shop.example", **asked})
        assert reply.status_code == 405


def _operations() -> list[tuple[str, str, list[str], str]]:
    return [
        (method.upper(), path, operation["x-roles"], operation["x-upstream"])
        for path, item in load_document()["paths"].items()
        for method, operation in item.items()
    ]


async def test_each_operation_is_open_to_its_roles_only(issuer):
    async with (
        upstream() as auth,
        upstream() as event,
        gateway(auth_url=auth.url, event_url=event.url, jwks_url=f"{issuer.url}/keys") as gw,
    ):
        for method, template, roles, name in _operations():
            path, seen = (
                template.replace("{id}", "some-id"),
                (auth if name == "auth" else event).seen,
            )
            before = len(seen)
            reply = await gw.client.request(method, path)
            assert (reply.status_code == 401) == bool(roles), (method, path)
            if roles:
                assert reply.headers["www-authenticate"].startswith("Bearer")
                for wrong in ("Basic YTpi", "Bearer", "Bearer a.b.c", "Bearer " + "x" * 5000):
                    denied = await gw.client.request(method, path, headers={"Authorization": wrong})
                    assert denied.status_code == 401, (method, path, wrong[:20])
                    assert wrong[:20] not in denied.text or wrong == "Bearer"
                for role in Role:
                    reply = await gw.client.request(method, path, headers=issuer.headers("u", role))
                    expected = 200 if role in roles else 403
                    assert reply.status_code == expected, (method, path, role)
                none = await gw.client.request(method, path, headers=issuer.headers("u"))
                assert none.status_code == 403
            assert len(seen) - before == (len(roles) or 1), (method, path)
            assert {(one.method, one.target) for one in seen[before:]} == {(method, path)}


async def test_the_document_is_there():
    async with gateway() as gw:
        assert (await gw.client.get("/openapi.json")).json() == load_document()
