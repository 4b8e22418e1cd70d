"""One client is one client in every service behind the gateway."""

from collections.abc import Iterator

import pytest

from tests.support.trio import Trio
from tests.support.waiting import until

CLIENT = "203.0.113.7"
LIMIT = 3


@pytest.fixture(scope="module")
def behind_proxies(
    tmp_path_factory: pytest.TempPathFactory, mongo_url: str, redis_url: str
) -> Iterator[Trio]:
    """All trust this machine, as compose's services trust its network."""
    environment = {
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "AUTH_ADDRESS_LIMIT": f"{LIMIT}/minute",
        "RATE_LIMIT_ADDRESS": f"{3 * LIMIT}/minute",
    }
    with Trio(tmp_path_factory.mktemp("trio"), mongo_url, redis_url, **environment) as trio:
        yield trio


@pytest.mark.parametrize("form", [CLIENT, f"{CLIENT}:4711", f"198.51.100.9, {CLIENT}"])
def test_an_address_reaches_auth_as_the_balancer_wrote_it(behind_proxies: Trio, form: str) -> None:
    account, before = behind_proxies.register(), len(behind_proxies.auth.lines())
    with behind_proxies.client() as http:
        http.post("/auth/login", json=account, headers={"X-Forwarded-For": form})
    lines = behind_proxies.auth.lines
    until(lambda: [line for line in lines()[before:] if "client_address" in line])
    told = {line.get("client_address") for line in lines()[before:]} - {None}
    assert told == {CLIENT}


def test_limits_of_gateway_and_auth_count_the_same_client(behind_proxies: Trio) -> None:
    wrong = {"email": "nobody@example.com", "password": "wrong for sure"}
    with behind_proxies.client() as http:

        def login(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return http.post("/auth/login", json=wrong, headers=headers).status_code

        def list_events(address: str) -> int:
            return http.get("/events", headers={"X-Forwarded-For": address}).status_code

        one, other = "203.0.113.20", "203.0.113.21"
        assert [login(one) for _ in range(LIMIT + 1)] == [401] * LIMIT + [429]
        assert login(other) == 401
        left = 3 * LIMIT - LIMIT - 1  # of the gateway's own limit
        assert [list_events(f"{one}:{n}") for n in range(left + 1)] == [401] * left + [429]
        assert list_events(other) == 401
