"""Generated requests on every operation of the merged OpenAPI document, good ones and bad ones.

500 on each with `make test-faults`, always other ones; 20 in CI, always the same.
"""

import asyncio
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from gateway.operations import Operation
from monitoring.settings import KIT
from shared.tokens import Role
from tests.faults.chaos import Figure
from tests.faults.size import ALL, many
from tests.faults.surface import DOCUMENT, OPERATIONS, documented, named
from tests.support.event_data import add_event, add_reward
from tests.support.servers import EmbeddedMongo
from tests.support.trio import Trio

CASES = many(500, 20)
pytestmark = pytest.mark.timeout(900)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def known(trio: Trio, mongo: EmbeddedMongo) -> dict[str, str]:
    """IDs of what exists, by the part of the path before the ID."""

    async def make() -> dict[str, str]:
        async with trio.events[0].database(mongo.url) as database:
            event = await add_event(database, users=["fuzzer"])
            reward = await add_reward(database, event, stock=10_000, approval="manual")
        return {"events": event, "rewards": reward}

    ids = asyncio.run(make())
    key = {"Idempotency-Key": "first"}
    with trio.client("fuzzer") as http:
        claim = http.post(f"/rewards/{ids['rewards']}/requests", headers=key).raise_for_status()
    return {**ids, "reward-requests": claim.json()["id"]}


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_no_request_is_an_error_of_ours(
    trio: Trio, known: dict[str, str], operation: Operation, figure: Figure
) -> None:
    """Never a 5xx; what succeeds has the documented shape, what does not says so properly."""
    target = SCHEMA[operation.path][operation.method]
    id_ = known.get(operation.path.split("/")[3], "0" * 32)
    seen: dict[int, int] = {}
    modes = [GenerationMode.POSITIVE]
    said = documented(operation)
    if said.get("parameters") or "requestBody" in said:  # else nothing can be wrong
        modes.append(GenerationMode.NEGATIVE)

    with requests.Session() as session:
        session.headers.update(trio.headers("fuzzer", *Role))

        cases = st.one_of(*(target.as_strategy(generation_mode=mode) for mode in modes))

        @given(cases, st.booleans())
        @settings(
            max_examples=CASES,
            deadline=None,
            derandomize=not ALL,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        def fuzz(case: Case, there: bool) -> None:
            if there and "id" in case.path_parameters:
                case.path_parameters["id"] = id_
            reply = case.call(base_url=trio.url, session=session, timeout=20)
            seen[reply.status_code] = seen.get(reply.status_code, 0) + 1
            checks: list[Any] = [not_a_server_error]
            if reply.status_code < 300:
                checks.append(response_schema_conformance)
            case.validate_response(reply, checks=checks)
            if reply.status_code >= 400:
                problem = reply.json()
                assert reply.headers["content-type"][0].startswith("application/problem+json")
                assert problem["request_id"] == reply.headers["x-request-id"][0]

        fuzz()
    figure(f"fuzzing {operation.method} {operation.path}", str(dict(sorted(seen.items()))))
    assert sum(seen.values()) >= CASES / 2, "hardly anything was generated"


def test_series_of_each_service_are_within_the_budget(trio: Trio, figure: Figure) -> None:
    """After all of it, far below where SeriesExplosion begins to look."""
    for service in trio.services:
        found, budget = len(service.samples()), KIT.thresholds.series_base
        figure(f"series of {service.name} after fuzzing", f"{found} ({budget})")
        assert found < budget
