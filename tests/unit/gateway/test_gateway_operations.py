"""Operations, settings and header rules without any I/O."""

from typing import Any

import pytest

from gateway import headers
from gateway.operations import operations
from shared.tokens import Role
from tests.support.gateway_app import gateway_settings


def document(**operation: Any) -> dict[str, Any]:
    return {"paths": {"/api/v1/things/{id}": {"post": operation, "summary": "no operation"}}}


def test_an_operation_says_who_serves_it_and_who_may_call_it():
    key = [{"name": "Idempotency-Key", "in": "header"}]
    found = operations(document(**{"x-upstream": "event", "x-roles": ["USER"], "parameters": key}))
    operation = found["/api/v1/things/{id}"]["POST"]
    assert (operation.upstream, operation.roles) == ("event", {Role.USER})
    assert operation.idempotency_key
    assert not operation.is_sign_in


@pytest.mark.parametrize("missing", ["x-roles", "x-upstream"])
def test_nothing_becomes_public_by_being_forgotten(missing):
    operation = {"x-upstream": "event", "x-roles": []}
    del operation[missing]
    with pytest.raises(KeyError, match=missing):
        operations(document(**operation))
    with pytest.raises(ValueError, match="ROOT"):
        operations(document(**{"x-upstream": "event", "x-roles": ["ROOT"]}))


def test_names_that_look_like_ours_are_dropped_whatever_connection_says():
    given = [
        (b"connection", b"X-User-Id, x-plain ,"),
        (b"x-user-id", b"root"), (b"x_user_id", b"root"), (b"x-plain", b"1"), (b"x-kept", b"2"),
    ]  # fmt: skip
    assert headers.for_upstream(given, "192.0.2.1") == [
        (b"x-kept", b"2"),
        (b"x-forwarded-for", b"192.0.2.1"),
    ]
    assert headers.for_client([(b"X-User-Id", b"1"), (b"X-Kept", b"2")], 200) == [(b"x-kept", b"2")]


def test_keys_are_read_from_auth_and_metrics_by_the_inside():
    settings = gateway_settings(auth_url="http://auth:1/")
    assert settings.keys_url == "http://auth:1/.well-known/jwks.json"
    assert settings.metrics_allow  # somebody has to widen it on purpose
