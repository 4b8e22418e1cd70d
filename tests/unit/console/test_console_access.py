"""Who may read the console."""

import base64
import json
from urllib.parse import unquote

import httpx
import pytest
from fastapi import HTTPException
from starlette.responses import PlainTextResponse

from console.access import Guard
from console.pages import find
from console.settings import ConsoleSettings

TOKEN = "a-token-of-some-length"


def client(token: str, host: str = "localhost:8080") -> httpx.AsyncClient:
    guarded = Guard(PlainTextResponse("inside"), token)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url=f"http://{host}")


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


HERE = ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"]
POINTED_AT_LOOPBACK = ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil"]
WRONG = [{}, bearer("wrong"), basic("wrong"), {"Authorization": "Basic !!"}, bearer("")]


@pytest.mark.parametrize(
    ("token", "host", "headers", "status"),
    [
        *(("", host, {}, 200) for host in HERE),  # without a token this machine may read
        *(("", host, {}, 421) for host in POINTED_AT_LOOPBACK),
        *((TOKEN, "console.example", headers, 200) for headers in (bearer(TOKEN), basic(TOKEN))),
        *((TOKEN, "localhost:8080", headers, 401) for headers in WRONG),
    ],
)
async def test_who_may_read(token, host, headers, status):
    async with client(token, host) as http:
        reply = await http.get("/", headers=headers)
    assert reply.status_code == status
    assert (reply.text == "inside") is (status == 200)
    assert reply.headers.get("www-authenticate", "").startswith("Basic") is (status == 401)


async def test_probes_need_no_token():
    async with client(TOKEN) as http:
        assert (await http.get("/health/live")).text == "inside"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "console"])
def test_others_reach_it_only_with_a_token(host):
    for token in (None, "", "too-short"):
        with pytest.raises(ValueError, match="CONSOLE_TOKEN"):
            ConsoleSettings(host=host, console_token=token)
    assert ConsoleSettings(host=host, console_token=TOKEN).token == TOKEN


def test_loopback_needs_none():
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        assert ConsoleSettings(host=host).token == ""


def test_watched_services_are_given_as_text():
    settings = ConsoleSettings(services="a=http://x:1/, b=http://y:2")
    assert settings.targets == {"a": "http://x:1", "b": "http://y:2"}


def test_links_are_there_only_where_the_programs_are():
    assert ConsoleSettings().links == {}
    links = ConsoleSettings(jaeger_link="http://j:1/", grafana_link="http://g:2").links
    assert links["in_jaeger"] == "http://j:1/trace/{trace}"
    query = json.loads(unquote(links["in_grafana"].partition("left=")[2]))["queries"][0]
    assert query["expr"] == '{service=~".+"} | trace_id="{trace}"'


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8080", True),
        ("https://localhost:8080", True),  # behind a proxy that speaks TLS
        ("http://evil.example", False),
        ("http://localhost:8081", False),
        ("null", False),
        ("", False),
    ],
)
async def test_pages_of_another_origin_are_refused(token, origin, allowed):
    headers = {"Origin": origin, **bearer(token)}
    async with client(token) as http:
        reply = await http.get("/", headers=headers)
        assert reply.status_code == (200 if allowed else 403)
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def accept(scope: object, receive: object, send: object) -> None:
        await send({"type": "websocket.accept"})

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"host", b"localhost:8080"))
    scope = {"type": "websocket", "path": "/_nicegui_ws/", "headers": raw}
    await Guard(accept, token)(scope, None, send)
    assert sent[0]["type"] == ("websocket.accept" if allowed else "websocket.close")


@pytest.mark.parametrize("host", ["localhost:8080", "evil.example"])
async def test_every_answer_forbids_frames_and_foreign_scripts(host):
    async with client("", host) as http:
        reply = await http.get("/")
        policy = reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'self'" in policy
        assert "http" not in policy
        assert reply.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "name",
    ["\0.md", "a" * 300 + ".md", "a/" * 3000 + ".md", "\ud800.md", "../README.md", "/etc/passwd",
     "..%2fREADME.md", "runbooks", "runbooks/..", "", "no-such.md"],
)  # fmt: skip
def test_odd_names_are_no_page(name):
    with pytest.raises(HTTPException) as raised:
        find(name, ".md")
    assert raised.value.status_code == 404
