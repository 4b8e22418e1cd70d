"""What this installation tells the kit, and the thresholds of its own alerts."""

from auth.signals import CATALOGUE as AUTH
from event.signals import CATALOGUE as EVENT
from gateway.signals import CATALOGUE as GATEWAY
from monitoring import retention
from plainview import LIBRARY_METRICS
from plainview.kit import Kit
from plainview.kit.config import PARTS
from shared import thresholds
from shared.background import CATALOGUE as BACKGROUND

KIT = Kit(
    services=("gateway", "auth", "event"),
    parts=PARTS - {"sqlalchemy"},
    prefix="er",
    tag="event-rewards",
    handbook="http://localhost:8080/docs",  # the console
    optional_exporter="otlp_http/console",  # a view: it may lose spans
    log_days=retention.log_days(),
    thresholds=thresholds.SERVICE,
    without=frozenset({"RedisFailures", "RedisSlow"}),  # RedisDown tells of local limits too
)
CATALOGUES = (LIBRARY_METRICS, BACKGROUND, GATEWAY, AUTH, EVENT)  # the library's first

# What the exporters of MongoDB and Redis expose and panels or alerts read.
EXPORTED = {
    "mongodb_ss_connections",
    "mongodb_ss_opLatencies_latency",
    "mongodb_ss_opLatencies_ops",
    "mongodb_ss_wt_cache_bytes_currently_in_the_cache",
    "mongodb_ss_wt_cache_maximum_bytes_configured",
    "redis_config_maxclients",
    "redis_connected_clients",
    "redis_evicted_keys_total",
    "redis_memory_max_bytes",
    "redis_memory_used_bytes",
    "redis_rejected_connections_total",
    "redis_slowlog_last_id",
}
REDIS_MEMORY = "max(redis_memory_used_bytes / (redis_memory_max_bytes > 0))"
MONGO_CONNECTIONS = (
    'max(mongodb_ss_connections{conn_type="current"} / ignoring (conn_type)'
    ' (mongodb_ss_connections{conn_type="current"} + ignoring (conn_type)'
    ' mongodb_ss_connections{conn_type="available"}))'
)
REDIS_MEMORY_RATIO, MONGO_CONNECTION_RATIO = 0.85, 0.8

SIGN_IN_FAILURES, SIGN_IN_FAILURE_RATIO = 1, 0.5  # per second, and of all sign-ins
TECHNICAL_RATIO, CLAIM_FLOOR_RPS = 0.1, 0.05  # claims that fail by our fault, of at least so many
PENDING = 100  # claims whose stock work is left undone
JOB_STALE_S = 120  # without a turn of a background job that ended well; the longest pause is 15 s
