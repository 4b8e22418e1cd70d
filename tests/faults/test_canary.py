"""A password, a token and an e-mail address in every position: none comes out in any signal."""

import base64
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.operations import Operation
from shared.tokens import Role
from tests.faults.chaos import Figure
from tests.faults.surface import OPERATIONS, PLACED, WITH_BODY, good_body, path_of, put_at
from tests.support.otlp import OtlpReceiver
from tests.support.trio import Service, Trio
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(300)
API = "/api/v1"
CANARIES = {
    "password": "hUnter2-Canary.horse",
    "token": f"eyJhbGciOiJFZDI1NTE5In0.{base64.urlsafe_b64encode(b'canary' * 8).decode()}.c2lnbmVk",
    "e-mail": "canary.person@example.org",
}
#: a header may hold anything; these are read by somebody on the way
HEADERS = (
    "Authorization", "Cookie", "User-Agent", "Referer", "Origin", "X-Request-ID", "traceparent",
    "tracestate", "baggage", "Idempotency-Key", "X-Forwarded-For", "Forwarded", "Accept",
    "Accept-Language", "Content-Type", "If-None-Match", "X-Api-Key", "X-Anything", "Host",
)  # fmt: skip


def forms(canary: str) -> set[str]:
    """As it may be written: itself, in a URL, in base64, in JSON."""
    encoded = base64.b64encode(canary.encode()).decode().rstrip("=")
    return {canary, quote(canary, safe=""), encoded, json.dumps(canary)[1:-1], canary.lower()}


@pytest.fixture(scope="module")
def told(
    receiver: OtlpReceiver, mongo_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trio]:
    """The trio at its most talkative."""
    talk = {"LOG_LEVEL": "debug", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    with Trio(tmp_path_factory.mktemp("canary"), mongo_url, redis_url, **talk) as trio:
        yield trio


def requests(trio: Trio, canary: str) -> Iterator[dict[str, Any]]:
    """Requests with the canary in each position, for httpx."""
    who = trio.headers("u", *Role)
    for operation in OPERATIONS:
        plain = _plain(operation, who)
        if operation in WITH_BODY:
            plain["json"] = good_body(operation)
        if "{id}" in operation.path:
            yield {**plain, "url": path_of(operation, quote(canary, safe=""))}
        yield {**plain, "params": {canary: "a"}}
        for name in ("cursor", "status", "limit", "user_id", "token", "anything"):
            yield {**plain, "params": {name: canary}}
        for name in HEADERS:
            # what a client names its request is written as it is, unless it looks like a secret,
            # and this password looks like any name
            if name != "X-Request-ID" or canary != CANARIES["password"]:
                yield {**plain, "headers": {**who, name: canary}}
        yield {**plain, "headers": {**who, "Authorization": f"Bearer {canary}"}}
        basic = base64.b64encode(f"{canary}:{canary}".encode()).decode()
        yield {**plain, "headers": {"Authorization": f"Basic {basic}"}}
        yield {**plain, "json": {canary: canary}}
        yield {**plain, "content": canary.encode(), "json": None}
    for operation, place in PLACED:
        # an event's title and a reward's name are public, and metrics have them; what looks like a
        # secret is masked there too, but this password looks like any name
        if place not in {("title",), ("name",)} or canary != CANARIES["password"]:
            body = put_at(good_body(operation), place, canary)
            yield {**_plain(operation, who), "json": body}
    for path in (f"/{quote(canary)}", f"/api/v1/{quote(canary)}/x", f"/health/{quote(canary)}"):
        yield {"method": "GET", "url": path}
    yield {"method": canary.replace("@", "").replace(".", "")[:20], "url": f"{API}/events"}


def _plain(operation: Operation, who: dict[str, str]) -> dict[str, Any]:
    return {"method": operation.method, "url": path_of(operation), "headers": who}


def page(door: Service) -> str:
    return httpx.get(f"{door.url}/metrics", timeout=20).text


def as_owner(trio: Trio) -> None:
    """Who has these as their own: signs up, in, out, changes the password."""
    email, password = CANARIES["e-mail"], CANARIES["password"]
    account = {"email": email, "password": password, "display_name": "Canary"}
    login = {"email": email, "password": password}
    with httpx.Client(base_url=trio.url + API + "/auth", timeout=20) as http:
        assert http.post("/register", json=account).status_code == 201
        assert http.post("/register", json=account).status_code == 409
        assert http.post("/login", json={**login, "password": "another one"}).status_code == 401
        tokens = http.post("/login", json=login).json()
        for kind in ("access_token", "refresh_token"):
            CANARIES[f"own {kind}"] = tokens[kind]
        who = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert http.get("/me", headers=who).status_code == 200
        change = {"current_password": password, "new_password": f"{password}-2"}
        refreshed = http.post("/refresh", json={"refresh_token": tokens["refresh_token"]})
        CANARIES["own new refresh token"] = refreshed.json()["refresh_token"]
        assert http.post("/password", json=change, headers=who).status_code == 204


def test_no_canary_in_logs_traces_and_metrics(
    told: Trio, receiver: OtlpReceiver, figure: Figure
) -> None:
    doors: list[Service] = [told.gateway, told.auth, told.events[0]]
    as_owner(told)
    sent: Counter[int] = Counter()
    for door in doors:
        with httpx.Client(base_url=door.url, timeout=20) as http:
            for canary in [CANARIES[name] for name in ("password", "token", "e-mail")]:
                for request in requests(told, canary):
                    reply = http.request(**request)
                    sent[reply.status_code] += 1
                    assert reply.status_code < 500, (request, reply.text)
    last = httpx.get(f"{told.url}{API}/events", headers=told.headers("u"), timeout=20)
    wanted = last.headers["X-Request-ID"]
    for service in (told.gateway, told.events[0]):  # what was before is written by then
        until(lambda s=service: wanted in s.log.read_text(), 60, "the last line")
    spans = receiver.wait_for(lambda spans: any(wanted in str(s.attributes) for s in spans), 60)
    signals = {
        **{f"log of {door.name}": door.log.read_text() for door in doors},
        **{f"metrics of {door.name}": page(door) for door in doors},
        "spans": repr(spans),
    }
    assert len(spans) > 1000
    found = {
        (name, signal): text[max(0, text.find(form) - 200) : text.find(form) + 100]
        for name, canary in CANARIES.items()
        for form in forms(canary)
        for signal, text in signals.items()
        if form in text
    }
    hits = f"{sent.total()}, {len(found)}"
    figure("canaries: requests sent, hits in logs, spans and metrics", hits)
    assert not found
