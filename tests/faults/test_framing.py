"""Ten thousand connections of well-formed, odd and hostile bytes; what the upstream saw of them."""

import os

import pytest

from tests.support.issuer import Issuer
from tests.support.smuggling import attack

CASES = 10_000 if os.environ.get("FAULTS") == "all" else 1_000


@pytest.mark.timeout(600)
def test_the_upstream_sees_what_clients_sent() -> None:
    with Issuer() as issuer:
        on, faults = attack(issuer, CASES, set(), longest=200_000)
    print(f"{on.cases} connections, {on.reached} reached the upstream: {dict(on.kinds)}")  # noqa: T201
    assert faults == []
    assert on.reached >= 0.6 * on.cases
