"""Event rewards' own protections: breakers, retries, rate limits and background jobs."""

from monitoring.settings import JOB_STALE_S
from plainview.kit import Row
from plainview.kit.panels import BAD, GOOD, WARN, Query, by, lines, stat, steps, timed
from plainview.kit.promql import anywhere, highest, rate


def protection() -> Row:
    """What the gateway does so that one slow part does not take the others with it."""
    degraded = " or ".join(
        highest(name, "service", anywhere())
        for name in ("rate_limit_degraded", "auth_limiter_degraded")
    )
    retried = "upstream, outcome"
    limited = anywhere('outcome="limited"')
    panels = [
        stat(
            "Breakers",
            "Open: calls of that upstream are refused at once, and tried again after a while. "
            "Look at the upstream's own panels.",
            by("upstream", highest("upstream_breaker_open", "upstream", anywhere())),
            mappings=[timed("0", "closed", GOOD), timed("1", "open", BAD)],
            thresholds=steps((1, BAD)),
            size=(6, 8),
        ),
        stat(
            "Limits",
            "On their own: Redis is away, so each process limits by itself; a limit is then as "
            "many times higher as there are replicas.",
            by("service", degraded),
            mappings=[timed("0", "shared", GOOD), timed("1", "on their own", WARN)],
            thresholds=steps((1, WARN)),
            size=(6, 8),
        ),
        lines(
            "Retries and refusals of the gateway",
            "Calls repeated, calls that the retry budget did not pay for, and requests refused "
            "because the breaker was open.",
            by(retried, rate("upstream_retries_total", retried, anywhere())),
            Query(
                rate("upstream_fast_failures_total", "upstream", anywhere()), "{{upstream}} refused"
            ),
            unit="reqps",
        ),
        lines(
            "Requests beyond a limit",
            "Requests that a limit refused with 429, by limit. A steady line is one client too "
            "eager, or a limit too low.",
            by("limit", rate("rate_limit_decisions_total", "limit", limited)),
            unit="reqps",
        ),
        lines(
            "Background jobs",
            "Time since a turn of the job ended well, of the slowest replica. Some seconds are "
            f"normal; beyond {JOB_STALE_S} s there is a message, and the log has the exception.",
            by(
                "service, task",
                "max by (service, task) (time()"
                f" - background_job_last_success_timestamp_seconds{anywhere()})",
            ),
            unit="s",
            thresholds=steps((JOB_STALE_S, WARN)),
        ),
    ]
    return Row("Event rewards: what protects the platform", panels)
