"""Every alert: those that the kit has for any observed service, then event rewards' own.

An expression gives only what is wrong: no data is good. Names of metrics are checked against the
catalogues when the files are written (`rules.py`).
"""

from monitoring.settings import (
    CLAIM_FLOOR_RPS,
    JOB_STALE_S,
    KIT,
    MONGO_CONNECTION_RATIO,
    MONGO_CONNECTIONS,
    PENDING,
    REDIS_MEMORY,
    REDIS_MEMORY_RATIO,
    SIGN_IN_FAILURE_RATIO,
    SIGN_IN_FAILURES,
    TECHNICAL_RATIO,
)
from monitoring.titles import titled
from plainview import Alert
from plainview.kit import generic_alerts
from plainview.kit.databases import REDIS, failing_commands
from plainview.kit.promql import either
from shared.thresholds import PENDING_S

GENERIC = generic_alerts(KIT)

_DEGRADED = " or ".join(
    f"max by (service) ({name}) == 1" for name in ("rate_limit_degraded", "auth_limiter_degraded")
)
_REDIS = " or ".join(expr for expr, _ in failing_commands(KIT.thresholds, REDIS))
_TRIED = "sum(rate(auth_sign_ins_total[5m]))"
_REFUSED = 'sum(rate(auth_sign_ins_total{outcome=~"bad_credentials|limited"}[5m]))'
_SOLD_OUT = titled(
    titled("max by (event_id, reward_id) (reward_stock_left) == 0", by="reward_id", into="reward"),
    by="event_id",
    into="event",
)
_CLAIMS = "sum(rate(reward_requests_total[5m]))"

REWARDS = [
    Alert(
        "RedisDown", f"{_REDIS} or {_DEGRADED}",
        "{{ $labels.service }} cannot use Redis: limits are local, messages and caches wait",
        for_="1m", severity="critical", dashboards=("system",), panel="Limits",
    ),
    Alert(
        "RedisMemory", f"{REDIS_MEMORY} > {REDIS_MEMORY_RATIO}",
        "Redis has {value:humanizePercentage} of its memory in use and refuses writes at 100 %",
        dashboards=("system",), panel="Memory of the databases, of their limit",
    ),
    Alert(
        "MongoConnections", f"{MONGO_CONNECTIONS} > {MONGO_CONNECTION_RATIO}",
        "MongoDB has {value:humanizePercentage} of its connections open, then it refuses new ones",
        dashboards=("system",), panel="Connections of the databases, of their limit",
    ),
    Alert(
        "LoginBruteForce",
        f"{_REFUSED} > {SIGN_IN_FAILURES} and {_REFUSED} / {_TRIED} > {SIGN_IN_FAILURE_RATIO}",
        "{value:humanize} sign-ins a second fail, more than half of all",
        for_="2m", dashboards=("users",), panel="Failed share of sign-ins",
    ),
    Alert(
        "RefreshTokenReuse",
        'sum(increase(auth_token_refreshes_total{outcome="reused"}[10m])) > 0',
        "a refresh token that was used up came again ({value:humanize} in 10 minutes)",
        for_="0s", dashboards=("users",), panel="Session refreshes by outcome",
    ),
    Alert(
        # sold out, or a condition that is unmet, is no fault
        "ClaimRejections",
        f'sum(rate(reward_requests_total{{reason="technical"}}[5m])) / ({_CLAIMS}'
        f" > {CLAIM_FLOOR_RPS}) > {TECHNICAL_RATIO}",
        "{value:humanizePercentage} of claims fail for technical reasons",
        for_="10m", dashboards=("events",), panel="Rejections by reason",
    ),
    Alert(
        # max: every replica tells the same number
        "ClaimBacklog",
        either(
            [
                (
                    f"max(reward_requests_oldest_pending_seconds) > {PENDING_S}",
                    "seconds ago the oldest began",
                ),
                (f"max(reward_requests_pending) > {PENDING}", "claims wait"),
            ]
        ),
        "stock work of claims is left undone: {value:humanize} {{ $labels.cause }}",
        severity="critical", dashboards=("events",), panel="Oldest stock work",
    ),
    Alert(
        # each replica by itself: that the others work is no excuse
        "BackgroundJobStale",
        f"time() - background_job_last_success_timestamp_seconds > {JOB_STALE_S}",
        "{{ $labels.task }} of {{ $labels.service }} at {{ $labels.instance }} has not ended well "
        "for {value:humanizeDuration}",
        for_="1m", dashboards=("system",), panel="Background jobs",
    ),
    Alert(
        # a decision of an operator, at leisure; by names, since nobody knows IDs
        "StockExhausted", f"max by (event, reward) ({_SOLD_OUT})",
        "{{ $labels.reward }} of the running event {{ $labels.event }} is sold out",
        for_="0s", severity="ticket", dashboards=("events",), panel="Stock",
    ),
    Alert(
        "ClaimInvariant", "max(claim_invariant_violations) > 0",
        "{value:humanize} rewards do not add up: granted, pending and left are not the stock",
        for_="0s", severity="critical", dashboards=("events",), panel="Rewards gone wrong",
    ),
]  # fmt: skip

ALERTS = [*GENERIC, *REWARDS]
