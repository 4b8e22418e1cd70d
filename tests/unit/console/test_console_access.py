"""Who may read the console."""

import base64
import json
from urllib.parse import unquote

import httpx
import pytest
from starlette.responses import PlainTextResponse

from console.access import Guard
from console.settings import ConsoleSettings

TOKEN = "a-token-of-some-length"


def client(token: str, host: str = "localhost:8080") -> httpx.AsyncClient:
    guarded = Guard(PlainTextResponse("inside"), token)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url=f"http://{host}")


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"])
async def test_without_a_token_this_machine_may_read(host: str) -> None:
    async with client("", host) as http:
        assert (await http.get("/")).text == "inside"


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil"])
async def test_a_name_pointed_at_loopback_may_not(host: str) -> None:
    async with client("", host) as http:
        assert (await http.get("/")).status_code == 421


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", basic(TOKEN)])
async def test_the_token_opens(header: str) -> None:
    async with client(TOKEN, "console.example") as http:
        assert (await http.get("/", headers={"Authorization": header})).text == "inside"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": basic("wrong")},
        {"Authorization": "Basic !!"},
        {"Authorization": "Bearer "},
    ],
)
async def test_anything_else_is_asked_for_it(headers: dict[str, str]) -> None:
    async with client(TOKEN) as http:
        reply = await http.get("/", headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Basic")


async def test_probes_need_no_token() -> None:
    async with client(TOKEN) as http:
        assert (await http.get("/health/live")).text == "inside"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "console"])
@pytest.mark.parametrize("token", [None, "", "too-short"])
def test_others_reach_it_only_with_a_token(host: str, token: str | None) -> None:
    with pytest.raises(ValueError, match="CONSOLE_TOKEN"):
        ConsoleSettings(host=host, console_token=token)
    assert ConsoleSettings(host=host, console_token=TOKEN).token == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert ConsoleSettings(host=host).token == ""


def test_watched_services_are_given_as_text() -> None:
    settings = ConsoleSettings(services="a=http://x:1/, b=http://y:2")
    assert settings.targets == {"a": "http://x:1", "b": "http://y:2"}


def test_links_are_there_only_where_the_programs_are() -> None:
    assert ConsoleSettings().links == {}
    links = ConsoleSettings(jaeger_link="http://j:1/", grafana_link="http://g:2").links
    assert links["in_jaeger"] == "http://j:1/trace/{trace}"
    query = json.loads(unquote(links["in_grafana"].partition("left=")[2]))["queries"][0]
    assert query["expr"] == '{service=~".+"} | trace_id="{trace}"'
