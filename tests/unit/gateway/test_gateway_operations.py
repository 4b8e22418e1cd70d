"""Operations as the OpenAPI document has them."""

from typing import Any

import pytest

from gateway.operations import operations
from shared.tokens import Role


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
