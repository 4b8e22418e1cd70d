"""Event rewards' own protections: breakers, retries and rate limits of the gateway and auth."""

from __future__ import annotations

from monitoring.dashboards.board import SERVICES
from monitoring.dashboards.panels import BAD, GOOD, WARN, Panel, Query, lines, stat, steps, timed

SERVICE = f"{{{SERVICES}}}"
RATE = "[$__rate_interval]"


def protection() -> list[Panel]:
    """A row of panels."""
    degraded = " or ".join(
        f"max by (service) ({name}{SERVICE})"
        for name in ("rate_limit_degraded", "auth_limiter_degraded")
    )
    return [
        stat(
            "Breakers",
            "Open: calls of that upstream are refused at once, and tried again after a while. "
            "Look at the upstream's own panels.",
            Query(f"max by (upstream) (upstream_breaker_open{SERVICE})", "{{upstream}}"),
            mappings=[timed("0", "closed", GOOD), timed("1", "open", BAD)],
            thresholds=steps((1, BAD)),
            size=(6, 8),
        ),
        stat(
            "Limits",
            "On their own: Redis is away, so each process limits by itself; a limit is then as "
            "many times higher as there are replicas.",
            Query(degraded, "{{service}}"),
            mappings=[timed("0", "shared", GOOD), timed("1", "on their own", WARN)],
            thresholds=steps((1, WARN)),
            size=(6, 8),
        ),
        lines(
            "Retries and refusals of the gateway",
            "Calls repeated, calls that the retry budget did not pay for, and requests refused "
            "because the breaker was open.",
            Query(
                f"sum by (upstream, outcome) (rate(upstream_retries_total{SERVICE}{RATE}))",
                "{{upstream}} {{outcome}}",
            ),
            Query(
                f"sum by (upstream) (rate(upstream_fast_failures_total{SERVICE}{RATE}))",
                "{{upstream}} refused",
            ),
            unit="reqps",
            size=(12, 8),
        ),
        lines(
            "Requests beyond a limit",
            "Requests that a limit refused with 429, by limit. A steady line is one client too "
            "eager, or a limit too low.",
            Query(
                "sum by (limit) (rate(rate_limit_decisions_total"
                f'{{{SERVICES},outcome="limited"}}{RATE}))',
                "{{limit}}",
            ),
            unit="reqps",
            size=(24, 7),
        ),
    ]
