"""MongoDB and Redis as they see themselves, by their exporters."""

from monitoring.settings import (
    MONGO_CONNECTION_RATIO,
    MONGO_CONNECTIONS,
    REDIS_MEMORY,
    REDIS_MEMORY_RATIO,
)
from plainview.kit import Row
from plainview.kit.panels import WARN, Query, lines, steps


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
            unit="percentunit",
            thresholds=steps((REDIS_MEMORY_RATIO, WARN)),
        ),
        lines(
            "Connections of the databases, of their limit",
            "All that are open, by whomever. Above the line MongoConnections.",
            Query(MONGO_CONNECTIONS, "MongoDB"),
            Query("max(redis_connected_clients / redis_config_maxclients)", "Redis"),
            unit="percentunit",
            thresholds=steps((MONGO_CONNECTION_RATIO, WARN)),
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
            Query(
                "sum by (op_type) (rate(mongodb_ss_opLatencies_latency[5m]))"
                " / sum by (op_type) (rate(mongodb_ss_opLatencies_ops[5m])) / 1e6",
                "{{op_type}}",
            ),
            unit="s",
        ),
        lines(
            "Slow commands of Redis",
            "In a minute, longer than 10 ms each: redis-cli slowlog get 5 shows them.",
            Query("sum(rate(redis_slowlog_last_id[5m])) * 60", "slow commands"),
        ),
    ]
    return Row("MongoDB and Redis by themselves", panels)
