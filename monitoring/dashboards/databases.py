"""Event rewards' rows of the dashboard System performance: its databases, and what protects it."""

from monitoring.settings import (
    JOB_STALE_S,
    MONGO_CONNECTION_RATIO,
    MONGO_CONNECTIONS,
    REDIS_MEMORY,
    REDIS_MEMORY_RATIO,
)
from plainview.kit import Row
from plainview.kit.panels import BAD, GOOD, WARN, Query, by, lines, stat, timed
from plainview.kit.promql import anywhere, highest, rate


def databases() -> Row:
    """What a service cannot see: memory, connections, evictions, slow operations."""
    cache = "mongodb_ss_wt_cache"
    panels = [
        lines(
            "Memory of the databases, of their limit",
            "Redis refuses writes at 100 %: above the line RedisMemory. MongoDB's cache is full "
            "on purpose, at about 80 %, and drops what was not used lately.",
            Query(REDIS_MEMORY, "Redis"),
            Query(
                f"max({cache}_bytes_currently_in_the_cache / {cache}_maximum_bytes_configured)",
                "MongoDB's cache",
            ),
            unit="percentunit", warn=REDIS_MEMORY_RATIO,
        ),
        lines(
            "Connections of the databases, of their limit",
            "All that are open, by whomever. Above the line MongoConnections.",
            Query(MONGO_CONNECTIONS, "MongoDB"),
            Query("max(redis_connected_clients / redis_config_maxclients)", "Redis"),
            unit="percentunit", warn=MONGO_CONNECTION_RATIO,
        ),
        lines(
            "Thrown out by Redis",
            "Keys evicted for want of memory, and connections refused for want of places: both "
            "ought to be none.",
            Query("sum(rate(redis_evicted_keys_total[5m]))", "keys evicted"),
            Query("sum(rate(redis_rejected_connections_total[5m]))", "connections refused"),
            unit="ops",
        ),
        lines(
            "Time of an operation inside MongoDB",
            "The mean, by kind. Beyond 100 ms MongoDB writes `Slow query` into its log.",
            by(
                "op_type",
                "sum by (op_type) (rate(mongodb_ss_opLatencies_latency[5m]))"
                " / sum by (op_type) (rate(mongodb_ss_opLatencies_ops[5m])) / 1e6",
            ),
            unit="s",
        ),
        lines(
            "Slow commands of Redis",
            "In a minute, longer than 10 ms each: redis-cli slowlog get 5 shows them.",
            Query("sum(rate(redis_slowlog_last_id[5m])) * 60", "slow commands"),
        ),
    ]  # fmt: skip
    return Row("MongoDB and Redis by themselves", panels)


def protection() -> Row:
    """What the gateway does so that one slow part does not take the others with it."""
    degraded = " or ".join(
        highest(name, "service", anywhere())
        for name in ("rate_limit_degraded", "auth_limiter_degraded")
    )
    retried, limited = "upstream, outcome", anywhere('outcome="limited"')
    last_success = f"background_job_last_success_timestamp_seconds{anywhere()}"
    panels = [
        stat(
            "Breakers",
            "Open: calls of that upstream are refused at once, and tried again after a while. "
            "Look at the upstream's own panels.",
            by("upstream", highest("upstream_breaker_open", "upstream", anywhere())),
            mappings=[timed("0", "closed", GOOD), timed("1", "open", BAD)], bad=1, size=(6, 8),
        ),
        stat(
            "Limits",
            "On their own: Redis is away, so each process limits by itself; a limit is then as "
            "many times higher as there are replicas.",
            by("service", degraded),
            mappings=[timed("0", "shared", GOOD), timed("1", "on their own", WARN)],
            warn=1, size=(6, 8),
        ),
        lines(
            "Retries and refusals of the gateway",
            "Calls repeated, calls that the retry budget did not pay for, and requests refused "
            "because the breaker was open.",
            by(retried, rate("upstream_retries_total", retried, anywhere())),
            by("upstream", rate("upstream_fast_failures_total", "upstream", anywhere()), "refused"),
            unit="reqps",
        ),
        lines(
            "Requests beyond a limit",
            "Requests that a limit refused with 429, by limit. A steady line is one client too "
            "eager, or a limit too low.",
            by("limit", rate("rate_limit_decisions_total", "limit", limited)), unit="reqps",
        ),
        lines(
            "Background jobs",
            "Time since a turn of the job ended well, of the slowest replica. Some seconds are "
            f"normal; beyond {JOB_STALE_S} s there is a message, and the log has the exception.",
            by("service, task", f"max by (service, task) (time() - {last_success})"),
            unit="s", warn=JOB_STALE_S,
        ),
    ]  # fmt: skip
    return Row("Event rewards: what protects the platform", panels)
