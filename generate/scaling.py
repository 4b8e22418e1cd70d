"""The arithmetic of docs/scaling.md: what so many daily users need, from what one request leaves.

generate/pods.py makes what a pod asks for of the same figures. Change the inputs and run
`make generate`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Need:
    """What a number of daily users needs; rates are a second's, at the peak unless named."""

    users: int
    requests_a_day: float
    mean: float
    peak: float
    cores: Mapping[str, float]
    pods: Mapping[str, int]
    claims: float
    scripts: float
    redis_cores: float
    spans: float
    log_gb_a_day: float
    series: int

    @property
    def spans_kept(self) -> float:
        """Spans a second that are stored."""
        return self.spans * KEPT

    def stored_gb(self, days: int) -> float:
        """What so many days of logs take in object storage."""
        return self.log_gb_a_day / COMPRESSED * days


def a_day(what: str, users: int = 1) -> float:
    """The sum of a measured value over what users do in a day."""
    return users * sum(A_DAY[kind] * MEASURED[kind][what] for kind in A_DAY)


def need(users: int) -> Need:
    """The arithmetic; pods are at least two, so that one may be away."""
    requests = users * sum(A_DAY.values())

    def at_peak(what: str) -> float:
        return a_day(what, users) / DAY_S * PEAK

    cores = {name: at_peak(f"{name}_cpu_us") / 1e6 for name in SERIES}
    pods = {name: max(2, math.ceil(cores[name] / BUSY)) for name in SERIES}
    return Need(
        users,
        requests,
        requests / DAY_S,
        requests / DAY_S * PEAK,
        cores,
        pods,
        users * A_DAY["claim"] / DAY_S * PEAK,
        at_peak("scripts"),
        at_peak("redis_cpu_us") / 1e6,
        at_peak("spans"),
        a_day("log_bytes", users) / 1e9,
        sum(pods[name] * SERIES[name] for name in SERIES),
    )


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
    """The needs, as a table."""
    needs = [need(users) for users in USERS]
    days = retention.log_days()
    rows = {
        "requests a day": [_number(each.requests_a_day) for each in needs],
        "requests a second, mean and peak": [
            f"{_number(n.mean)}, {_number(n.peak)}" for n in needs
        ],
        **{
            f"{name}: cores at the peak, pods": [
                f"{_number(each.cores[name])}, **{each.pods[name]}**" for each in needs
            ]
            for name in SERIES
        },
        "claims a second at the peak": [_number(each.claims) for each in needs],
        "Redis: scripts a second, of its one core": [
            f"{_number(each.scripts)}, {each.redis_cores:.1%}" for each in needs
        ],
        "spans a second, made and kept": [
            f"{_number(each.spans)}, {_number(each.spans_kept)}" for each in needs
        ],
        "logs a day, GB": [_number(each.log_gb_a_day) for each in needs],
        **{
            f"in object storage for {n} days (`{kind}`): GB, dollars a month": [
                f"{_number(each.stored_gb(n))}, {_number(each.stored_gb(n) * DOLLARS)}"
                for each in needs
            ]
            for kind, n in days.items()
        },
        "series of the three services": [f"{each.series:,}" for each in needs],
    }
    head = ["daily users", *(f"{users:,}" for users in USERS)]
    return table(head, ([name, *cells] for name, cells in rows.items()))


def redis() -> str:
    """How far one Redis goes."""
    scripts, users = one_redis()
    return (
        f"At {REDIS_BUSY:.0%} of its core one Redis does {scripts:,.0f} scripts a second in this "
        f"mix, which {users:,} daily users make at their peak."
    )


def blocks() -> dict[str, str]:
    """What is written into the page, by the name of its block."""
    return {"one request": inputs(), "needs": need_table(), "one redis": redis()}
