"""Operations as the OpenAPI document has them."""

from typing import Any

import pytest

from gateway.operations import operations
from tests.support.gateway_app import gateway_settings


def document(**operation: Any) -> dict[str, Any]:
    return {"paths": {"/api/v1/things/{id}": {"post": operation, "summary": "no operation"}}}


@pytest.mark.parametrize("missing", ["x-roles", "x-upstream"])
def test_nothing_becomes_public_by_being_forgotten(missing):
    operation = {"x-upstream": "event", "x-roles": []}
    del operation[missing]
    with pytest.raises(KeyError, match=missing):
        operations(document(**operation))
    with pytest.raises(ValueError, match="ROOT"):
        operations(document(**{"x-upstream": "event", "x-roles": ["ROOT"]}))


def test_metrics_are_for_the_inside_unless_somebody_widens_it():
    assert gateway_settings().metrics_allow
