"""Event: one read beside the same read without the service, and what telemetry costs."""

from datetime import UTC, datetime, timedelta

import httpx

from lab.bench.processes import Process
from lab.bench.rig import OFF, Ratio, Rig, median_ratio, table
from shared.tokens import Role


def bench(rig: Rig) -> list[Ratio]:
    """CPU per request, since the database's stand-in shares the machine's cores."""
    services, mongo = event_services(rig)
    path = f"/api/v1/events/{make_event(rig, services[0])}"
    ways = [rig.stand_in("bare", mongo), *services]
    found = rig.in_turn(ways, path, lambda: rig.bearer("bench", Role.USER))
    table("one event by ID", found)
    off, on = found["event, telemetry off"], found["event, 10% of traces"]
    return [
        Ratio(
            "event_read_over_bare",
            median_ratio(off, found["bare"], lambda each: each.cpu_us),
            1.5,
            least=False,
        ),
        Ratio(
            "event_on_over_off",
            median_ratio(off, on, lambda each: each.cpu_us),
            0.75,
            least=True,
        ),
    ]


def event_services(rig: Rig) -> tuple[list[Process], str]:
    """Event with telemetry off and with 10 % of traces on one database, and its address."""
    mongo, receiver = rig.mongo(), rig.stand_in("receiver")
    common = {
        "MONGO_URL": mongo,
        "REDIS_URL": rig.valkey(),
        "JWKS_URL": rig.stand_in("upstream").url + "/.well-known/jwks.json",
        # what is measured are requests, not the jobs beside them
        "SIGNALS_SECONDS": "60",
    }
    on = {"TRACE_SAMPLE_RATIO": "0.1", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
    off = rig.service("event", "event, telemetry off", {**common, **OFF})
    return [off, rig.service("event", "event, 10% of traces", {**common, **on})], mongo


def make_event(rig: Rig, service: Process) -> str:
    """The ID of a new active event."""
    now = datetime.now(UTC)
    body = {
        "title": "The bench's own",
        "status": "active",
        "starts_at": (now - timedelta(days=1)).isoformat(),
        "ends_at": (now + timedelta(days=1)).isoformat(),
    }
    headers = rig.bearer("boss", Role.OPERATOR)
    url = f"{service.url}/api/v1/events"
    with httpx.Client(trust_env=False, timeout=10) as client:
        return str(client.post(url, json=body, headers=headers).raise_for_status().json()["id"])
