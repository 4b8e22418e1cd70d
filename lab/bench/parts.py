"""Gateway, event and claims: each beside what it is compared with; the values of their ratios."""

import shutil
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import bson
import httpx
from pymongo import MongoClient

from event.settings import Settings
from lab.bench.load import CONNECTIONS
from lab.bench.rig import MANY, OFF, Measured, Rig, median_ratio, table
from lab.processes import Process, free_port
from seed.client import Client
from shared.tokens import Role

USERS = 300  # who claim
_NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-f; uwsgi_temp_path {directory}/nginx-u;
  scgi_temp_path {directory}/nginx-s;
  upstream it {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://it; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def gateway(rig: Rig) -> dict[str, float]:
    """Requests a second beside a bare proxy; everything on, limits too high to be reached."""
    upstream, receiver = rig.stand_in("upstream"), rig.stand_in("receiver")
    ways = [rig.stand_in(proxy, upstream.url) for proxy in ("aiohttp", "aiohttp_uvloop", "httpx")]
    if shutil.which("nginx"):
        ways.append(_nginx(rig, upstream.port))
    environment = {
        "EVENT_URL": upstream.url,
        "AUTH_URL": upstream.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "REDIS_URL": rig.valkey(),
        **{f"RATE_LIMIT_{name}": MANY for name in ("USER", "ADDRESS", "SIGN_IN")},
    }
    names = {10: "gateway, 10% of traces", 100: "gateway, 100% of traces"}
    for percent, name in names.items():
        own = {"TRACE_SAMPLE_RATIO": str(percent / 100)}
        ways.append(rig.service("gateway", name, environment | own))
    found = rig.in_turn(ways, "/api/v1/events", lambda: rig.bearer("bench"))
    table("proxy", found)
    return {
        f"gateway_{percent}pct_over_raw": median_ratio(
            found[name], found["aiohttp"], lambda each: each.rate
        )
        for percent, name in names.items()
    }


def _nginx(rig: Rig, upstream: int) -> Process:
    port = free_port()
    path = (rig.directory / "nginx.conf").resolve()
    path.write_text(_NGINX.format(directory=path.parent, upstream=upstream, port=port))
    command = [str(shutil.which("nginx")), "-c", str(path), "-e", str(path.with_suffix(".err"))]
    return rig.start("nginx", command, port)


def event(rig: Rig) -> dict[str, float]:
    """CPU per read, since the database's stand-in shares the machine's cores."""
    services, mongo = _event_services(rig)
    path = f"/api/v1/events/{rig.new_event(services[0].url)}"
    ways = [rig.stand_in("bare", mongo), *services]
    found = rig.in_turn(ways, path, lambda: rig.bearer("bench"))
    table("one event by ID", found)
    bare, off, on = (found[way.name] for way in ways)
    return {
        "event_read_over_bare": median_ratio(off, bare, lambda each: each.cpu_us),
        "event_on_over_off": median_ratio(off, on, lambda each: each.cpu_us),
    }


def _event_services(rig: Rig) -> tuple[list[Process], str]:
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


def claims(rig: Rig) -> dict[str, float]:
    """CPU of event per claim of one reward by users who take part, on the stand-in database."""
    services, mongo = _event_services(rig)
    service, event_id = services[1], rig.new_event(services[1].url)
    users = [rig.bearer(f"user-{number}") for number in range(USERS)]
    found: dict[str, list[Measured]] = {"granted": [], "sold out": []}
    base = f"{service.url}/api/v1"
    with (
        httpx.Client(base_url=base, trust_env=False, timeout=30) as http,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):

        def all_post(path: str, expected: int, key: str) -> None:
            def one(number: int) -> None:
                headers = {**users[number], "Idempotency-Key": f"{key}-{number}"}
                reply = http.post(path, headers=headers)
                if reply.status_code != expected:
                    raise RuntimeError(f"{path}: {reply.status_code} {reply.text}")

            list(pool.map(one, range(USERS)))

        all_post(f"/events/{event_id}/participations", 201, "taking-part")
        reward = {"name": "A reward", "kind": "points", "amount": 1, "approval": "automatic"}
        for number in range(rig.rounds + 1):
            for name, stock, expected in (("granted", USERS, 201), ("sold out", 0, 409)):
                boss = rig.token("boss", Role.OPERATOR)
                made = Client(service.url).new_reward(boss, event_id, **reward, stock=stock)
                cpu, began = service.cpu_s, time.monotonic()
                all_post(f"/rewards/{made}/requests", expected, made)
                took = time.monotonic() - began
                if number:  # the first round only warms up
                    cpu_us = (service.cpu_s - cpu) / USERS * 1e6
                    found[name].append(Measured(USERS / took, cpu_us))
    table("claim of one reward", found)
    rate, marker = statistics.median(each.rate for each in found["granted"]), _growth(mongo) / USERS
    between = Settings.model_fields["reconcile_seconds"].default
    print(
        f"on the stand-in: {rate:.0f} claims a second on one reward; {marker:.0f} bytes of its\n"
        f"document a claim, so {marker * 500 * between / 1000:.0f} KB at 500 claims a second\n"
        f"until the next sweep ({between:g} s)"
    )
    value = median_ratio(found["sold out"], found["granted"], lambda each: each.cpu_us)
    return {"sold_out_over_granted": value}


def _growth(mongo: str) -> int:
    """Bytes by which the claims since the last sweep have made a reward's document larger."""
    with MongoClient[dict[str, Any]](mongo) as client:
        rewards = client["event_rewards_event"]["rewards"].find()
        sizes = [len(bson.encode(reward)) for reward in rewards]
    return max(sizes) - min(sizes)
