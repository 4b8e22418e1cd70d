"""The incidents; those whose alerts look back longest come first, so that `run` waits once."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import Any, NamedTuple

import httpx

from lab.incidents.places import Details, Place, Verb
from lab.incidents.work import Work, browse, crash, flood, guess, slow_wire, stutter
from lab.processes import free_port
from monitoring.alerts import ALERTS
from plainview import Alert
from shared.announcements import STREAM

REPEAT_S = 11.0  # seconds; within 10 s a repeated refresh counts as a lost reply
ERRORS = ("ApiErrorRate", "SloBurnPage")  # most faults raise these if there is enough traffic
# A release restarts the service: for a moment it is no target and not ready.
RELEASE = ("ServiceDown", "NotReady", "RestartLoop", "SloBurnPage")
BY_NAME = {alert.name: alert for alert in ALERTS}


# The place is a demo where the incident is not for compose.
Step = Callable[[Any, Details], None]


def nothing(place: Any, details: Details) -> None:
    """The fault consists of its `work` alone."""


def no_details(place: Any) -> Details:
    """The fault needs no preparation."""
    return {}


class Fault(NamedTuple):
    """How to break something and how to undo it; both can be repeated."""

    inject: Step = nothing
    repair: Step = nothing


@dataclass(frozen=True)
class Incident:
    """A fault and the alert that must notice it.

    `prepare` makes what the fault needs and breaks nothing; its result reaches the others.
    `consequences` are alerts that the same fault may raise as well.
    """

    slug: str
    title: str
    alert: Alert
    window: str  # of the expression: how long it remembers after the repair
    consequences: tuple[str, ...] = ()
    fault: Fault = Fault()  # noqa: RUF009 - it is immutable
    prepare: Callable[[Any], Details] = no_details
    work: tuple[Work, ...] = (browse,)
    compose: bool = False  # whether it can be broken in compose too
    own_series: bool = False  # the alert may be true for other series before


def _done(verb: Verb, program: str, undo: Verb) -> Fault:
    return Fault(lambda place, _: place.do(verb, program), lambda place, _: place.do(undo, program))


def _used_token(place: Place) -> Details:
    tokens = place.api.call("POST", "/auth/login", json=place.accounts["USER"])
    old = {"refresh_token": tokens["refresh_token"]}
    place.api.call("POST", "/auth/refresh", json=old)
    sleep(REPEAT_S)
    return old


def _replay(place: Place, details: Details) -> None:
    with suppress(httpx.HTTPStatusError):  # 401: the platform ends the session, as it should
        place.api.call("POST", "/auth/refresh", json=details)


def _put_back(demo: Any, details: Details) -> None:
    demo.set_stock_left(details["reward_id"], 5)
    demo.close_event(details["event_id"])


ASIDE = f"{STREAM}:aside"


def _write_over_the_stream(demo: Any, _: Details) -> None:
    demo.redis("RENAMENX", STREAM, ASIDE)
    demo.redis("SET", STREAM, "something else", "NX")


def _put_the_stream_back(demo: Any, _: Details) -> None:
    # refused without the key that was put aside: then there is nothing to repair
    demo.redis("RENAME", ASIDE, STREAM)


INCIDENTS = (
    Incident(
        "token-reuse", "Somebody uses a refresh token that was used up",
        BY_NAME["RefreshTokenReuse"], "10 min", (), Fault(_replay),
        prepare=_used_token, work=(), compose=True,
    ),
    Incident(
        "otlp-down", "The receiver of spans is gone", BY_NAME["TelemetryDrops"], "5 min",
        ("TelemetryTargetDown",), _done("stop", "console", "start"), compose=True,
    ),
    Incident(
        "brute-force", "Passwords are guessed from many addresses", BY_NAME["LoginBruteForce"],
        "5 min", work=(guess,),
    ),
    Incident(
        "log-sink-stuck", "Nobody reads what the services log", BY_NAME["LogIngestion"], "5 min",
        (), _done("pause", "supervisor", "resume"), work=(browse, flood("event", 25_000)),
    ),
    Incident(
        "slow-wire", "The way from the gateway to event takes 0.7 s longer",
        BY_NAME["ApiLatencyP95"], "5 min", RELEASE,
        Fault(
            lambda demo, details: demo.deploy("gateway", EVENT_URL=details["url"]),
            lambda demo, _: demo.deploy("gateway"),
        ),
        prepare=lambda _: {"url": f"http://127.0.0.1:{free_port()}"},
        work=(browse, slow_wire("event", 0.7)),
    ),
    Incident(
        "bad-deploy", "A release of the gateway has a wrong address of event",
        BY_NAME["ApiErrorRate"], "5 min", RELEASE,
        Fault(
            lambda demo, _: demo.deploy("gateway", EVENT_URL="http://127.0.0.1:1"),
            lambda demo, _: demo.deploy("gateway"),
        ),
    ),
    Incident(
        "mongo-slow", "MongoDB hangs for 0.6 s again and again", BY_NAME["MongoSlow"], "5 min",
        ("ApiLatencyP95", "SloBurnPage"),
        Fault(repair=lambda place, _: place.do("resume", "mongo")),
        work=(browse, stutter("mongo", 0.6, 0.2)), compose=True,
    ),
    Incident(
        "mongo-down", "MongoDB is gone", BY_NAME["MongoFailures"], "1 min",
        (*ERRORS, "NotReady", "MongoSlow", "ApiLatencyP95", "ClaimRejections"),
        _done("stop", "mongo", "start"), compose=True,
    ),
    Incident(
        "redis-hang", "Redis takes connections and answers nothing", BY_NAME["RedisDown"], "1 min",
        (), _done("pause", "valkey", "resume"), compose=True,
    ),
    Incident(
        "auth-down", "Auth is stopped", BY_NAME["ServiceDown"], "none", ERRORS,
        _done("stop", "auth", "start"),
    ),
    Incident(
        "gateway-hung", "The gateway takes connections and answers nothing",
        BY_NAME["ServiceDown"], "none", (), _done("pause", "gateway", "resume"), compose=True,
    ),
    Incident(
        "target-absent", "Prometheus finds no auth any more", BY_NAME["TargetAbsent"], "none",
        (), _done("hide", "auth", "unhide"), compose=True,
    ),
    Incident(
        "stream-overwritten", "Somebody wrote over the stream of announcements",
        BY_NAME["BackgroundJobStale"], "none", (),
        Fault(_write_over_the_stream, _put_the_stream_back),
    ),
    Incident(
        "sold-out", "A reward of a running event is sold out", BY_NAME["StockExhausted"], "none",
        (),
        Fault(
            lambda place, details: place.claim(**details),
            lambda place, details: place.close_event(details["event_id"]),
        ),
        prepare=lambda place: place.new_reward(1, []),
        work=(), compose=True, own_series=True,
    ),
    Incident(
        "books-wrong", "Somebody changed a stock in the database", BY_NAME["ClaimInvariant"],
        "none", (),
        Fault(
            lambda demo, details: demo.set_stock_left(details["reward_id"], 4),
            _put_back,
        ),
        # Nobody meets this condition, so no claim changes the stock meanwhile.
        prepare=lambda place: place.new_reward(5, [{"type": "account_age", "days": 3650}]),
        work=(),
    ),
    Incident(
        "crash-loop", "Event is killed four times in a minute", BY_NAME["RestartLoop"], "15 min",
        (*ERRORS, "ServiceDown", "NotReady"), work=(browse, crash("event", 4, 12.0)),
        own_series=True,
    ),
)  # fmt: skip
BY_SLUG = {incident.slug: incident for incident in INCIDENTS}
