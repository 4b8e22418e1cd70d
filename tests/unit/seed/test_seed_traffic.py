"""The traffic of the seeder: deterministic, from many addresses, bounded, patient."""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from seed import traffic as seed_traffic
from seed.traffic import OWN_EVENTS, SESSIONS, Traffic

OPERATOR = {"email": "operator@example.com", "password": "secret-of-operator"}
EVENTS = {"items": [{"id": "e1"}, {"id": "e2"}]}


class Gateway:
    """Answers every request with success, or not at all."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.away = False
        self.made = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.away:
            return httpx.Response(503)
        path, method = request.url.path.removeprefix("/api/v1"), request.method
        if path in ("/auth/login", "/auth/refresh"):
            if b"secretx" in request.content:
                return httpx.Response(401)
            tokens = {"access_token": "a", "refresh_token": "r", "expires_in": 300}
            return httpx.Response(200, json=tokens)
        if method == "POST" and path == "/events":
            self.made += 1
            return httpx.Response(201, json={"id": f"own{self.made}"})
        if path == "/events":
            return httpx.Response(200, json=EVENTS)
        items: dict[str, Any] = {"items": [{"id": "x1"}]}
        return httpx.Response(201 if method == "POST" else 200, json=items)

    def paths(self) -> list[tuple[str, str]]:
        return [(r.method, r.url.path) for r in self.requests]


def traffic(gateway: Gateway, seed: int = 1, users: int = 200) -> Traffic:
    http = httpx.AsyncClient(transport=httpx.MockTransport(gateway), base_url="http://gateway")
    rng = random.Random(seed)
    return Traffic(http, rng, users, password="secret", operator=OPERATOR)


async def steps(count: int, seed: int = 1) -> tuple[Gateway, Traffic]:
    gateway = Gateway()
    sender = traffic(gateway, seed)
    for _ in range(count):
        await sender.step()
    return gateway, sender


async def test_it_does_what_users_and_operators_do_also_in_vain() -> None:
    gateway, _ = await steps(600)
    seen = Counter(gateway.paths())
    for wanted in (
        ("POST", "/api/v1/auth/login"),
        ("POST", "/api/v1/auth/register"),
        ("GET", "/api/v1/auth/me"),
        ("GET", "/api/v1/events"),
        ("POST", "/api/v1/events"),
        ("POST", "/api/v1/events/e1/participations"),
        ("POST", "/api/v1/rewards/x1/requests"),
        ("PATCH", "/api/v1/reward-requests/x1"),
        ("GET", "/api/v1/event"),
    ):
        assert seen[wanted], wanted
    assert any(b"secretx" in r.content for r in gateway.requests)
    claims = [r for r in gateway.requests if r.url.path.endswith("/requests")]
    keys = Counter(r.headers["idempotency-key"] for r in claims)
    assert set(keys.values()) == {1, 2}


async def test_users_have_addresses_of_their_own() -> None:
    gateway, _ = await steps(400)
    logins = [r for r in gateway.requests if r.url.path.endswith("/login")]
    by_user: dict[bytes, set[str]] = {}
    for r in logins:
        user = r.content.split(b'"')[3]
        by_user.setdefault(user, set()).add(r.headers["x-forwarded-for"])
    assert all(len(addresses) == 1 for addresses in by_user.values())
    assert len(set.union(*by_user.values())) > 0.9 * len(by_user) > 20


async def test_the_same_seed_sends_the_same() -> None:
    one, two, other = [(await steps(150, seed))[0].paths() for seed in (3, 3, 4)]
    assert one == two
    assert one != other


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(seed_traffic.WEIGHTS, "run_an_event", 20)
    _, sender = await steps(1500)
    assert len(sender._sessions) <= SESSIONS
    assert len(sender._own) <= OWN_EVENTS
    assert len(sender._newcomers) <= 200


async def test_while_the_gateway_is_away_it_asks_less_and_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway, pauses = Gateway(), []
    gateway.away = True

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 10:
            gateway.away = False
        if len(pauses) == 14:
            raise asyncio.CancelledError

    monkeypatch.setattr(seed_traffic.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await traffic(gateway).run(1000)
    assert pauses[2] < pauses[4] < pauses[6]
    assert max(pauses) < 16
    assert pauses[-1] < 0.5
