"""The arithmetic of docs/scaling.md: what so many daily users need, from what one request leaves.

generate/pods.py makes what a pod asks for of the same figures. Change the inputs and run
`make generate`.
"""

import math
from collections.abc import Callable
from pathlib import Path

from monitoring import retention
from plainview.kit.documents import table

PAGE = Path("docs/scaling.md")

#: Printed by `python -m lab.scaling` on 2026-11-26, two cores that did other work as well.
#: us of CPU, bytes of logs, spans and scripts of one request.
MEASURED: dict[str, dict[str, float]] = {
    "read": {
        "gateway_cpu_us": 575, "auth_cpu_us": 0, "event_cpu_us": 775, "redis_cpu_us": 43.8,
        "log_bytes": 468.9 + 466.9, "spans": 4.4, "scripts": 1,
    },
    "claim": {
        "gateway_cpu_us": 1000, "auth_cpu_us": 100, "event_cpu_us": 3125, "redis_cpu_us": 81.2,
        "log_bytes": 479.9 + 947.9, "spans": 9.6, "scripts": 1,
    },
    "sign-in": {
        "gateway_cpu_us": 2500, "auth_cpu_us": 26000, "event_cpu_us": 3250, "redis_cpu_us": 572.5,
        "log_bytes": 439.9 + 852.8, "spans": 15.8, "scripts": 5,
    },
}  # fmt: skip
SERIES = {"gateway": 325, "auth": 484, "event": 506}  # of one process
PEAK_MIB = {"gateway": 100.2, "auth": 147.9, "event": 113.0}  # of memory, of one process, at most
COMPRESSED = 10.9  # bytes of logs in one of zstd, Loki's own encoding

#: Assumed: change it to what your users do.
A_DAY = {"read": 20.0, "claim": 0.5, "sign-in": 0.2}  # requests of a daily user
PEAK = 5.0  # the busiest minute over the day's mean
KEPT = 0.11  # of spans, after sampling: a tenth, and what failed or was slow
BUSY = 0.6  # of a core: what a pod works at when another one is added (components/autoscaling)
REDIS_BUSY = 0.7  # of its one core
DOLLARS = 0.023  # for a GB of object storage and month
DAY_S = 86_400
USERS = (1_000, 100_000, 10_000_000)


def a_day(what: str, users: int = 1) -> float:
    """The sum of a measured value over what users do in a day."""
    return users * sum(A_DAY[kind] * MEASURED[kind][what] for kind in A_DAY)


def at_peak(what: str, users: int) -> float:
    """The same, a second in the busiest minute."""
    return a_day(what, users) / DAY_S * PEAK


def cores(name: str, users: int) -> float:
    """Of CPU that a service, or Redis, uses at the peak."""
    return at_peak(f"{name}_cpu_us", users) / 1e6


def pods(name: str, users: int) -> int:
    """Of a service; at least two, so that one may be away."""
    return max(2, math.ceil(cores(name, users) / BUSY))


def log_gb(users: int) -> float:
    """Of logs that are written in a day."""
    return a_day("log_bytes", users) / 1e9


def stored_gb(users: int, days: int) -> float:
    """What so many days of logs take in object storage."""
    return log_gb(users) / COMPRESSED * days


def one_redis() -> tuple[float, int]:
    """Scripts a second that one Redis does at REDIS_BUSY, and the daily users who make them."""
    us = a_day("redis_cpu_us") / a_day("scripts")
    scripts = REDIS_BUSY * 1e6 / us
    return scripts, int(scripts / (a_day("scripts") / DAY_S * PEAK))


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:,.3g} million"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def inputs() -> str:
    """What one request leaves, as a table."""
    words = {
        **{f"{name}_cpu_us": f"{name}, us of CPU" for name in (*SERIES, "redis")},
        "scripts": "scripts in Redis",
        "log_bytes": "bytes of logs",
        "spans": "spans",
    }
    head = ["request", "of a user, a day", *words.values()]
    rows = [
        [kind, f"{A_DAY[kind]:g}", *(f"{MEASURED[kind][name]:,.0f}" for name in words)]
        for kind in MEASURED
    ]
    return table(head, rows)


def need_table() -> str:
    """What so many daily users need, as a table; rates are a second's."""

    def requests(users: int) -> float:
        return users * sum(A_DAY.values())

    def rates(users: int) -> str:
        mean = requests(users) / DAY_S
        return f"{_number(mean)}, {_number(mean * PEAK)}"

    def service(name: str) -> Callable[[int], str]:
        return lambda users: f"{_number(cores(name, users))}, **{pods(name, users)}**"

    def scripts(users: int) -> str:
        return f"{_number(at_peak('scripts', users))}, {cores('redis', users):.1%}"

    def spans(users: int) -> str:
        made = at_peak("spans", users)
        return f"{_number(made)}, {_number(made * KEPT)}"

    def kept(days: int) -> Callable[[int], str]:
        def cells(users: int) -> str:
            gb = stored_gb(users, days)
            return f"{_number(gb)}, {_number(gb * DOLLARS)}"

        return cells

    rows: dict[str, Callable[[int], str]] = {
        "requests a day": lambda users: _number(requests(users)),
        "requests a second, mean and peak": rates,
        **{f"{name}: cores at the peak, pods": service(name) for name in SERIES},
        "claims a second at the peak": lambda n: _number(n * A_DAY["claim"] / DAY_S * PEAK),
        "Redis: scripts a second, of its one core": scripts,
        "spans a second, made and kept": spans,
        "logs a day, GB": lambda users: _number(log_gb(users)),
        **{
            f"in object storage for {days} days (`{kind}`): GB, dollars a month": kept(days)
            for kind, days in retention.log_days().items()
        },
        "series of the three services": lambda users: (
            f"{sum(pods(name, users) * SERIES[name] for name in SERIES):,}"
        ),
    }
    head = ["daily users", *(f"{users:,}" for users in USERS)]
    return table(head, ([name, *(show(n) for n in USERS)] for name, show in rows.items()))


def blocks() -> dict[str, str]:
    """What is written into the page, by the name of its block."""
    scripts, users = one_redis()
    redis = (
        f"At {REDIS_BUSY:.0%} of its core one Redis does {scripts:,.0f} scripts a second in this "
        f"mix, which {users:,} daily users make at their peak."
    )
    return {"one request": inputs(), "needs": need_table(), "one redis": redis}
