"""Ten thousand connections of well-formed, odd and hostile bytes; what the upstream saw of them."""

import pytest

from tests.faults.size import many
from tests.support.issuer import Issuer
from tests.support.smuggling import attack


@pytest.mark.timeout(600)
def test_the_upstream_sees_what_clients_sent() -> None:
    with Issuer() as issuer:
        on, faults = attack(issuer, many(10_000, 1_000), set(), longest=200_000)
    print(f"{on.cases} connections, {on.reached} reached the upstream: {dict(on.kinds)}")  # noqa: T201
    assert faults == []
    assert on.reached >= 0.6 * on.cases
