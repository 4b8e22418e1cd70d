"""Every alert, declared once: what any observed service has first, event rewards' own after it.

An expression gives only what is wrong: no data is good, and an absence rule stands beside it.
Names of metrics are checked against the catalogues when the files are written (`rules.py`).
"""

from __future__ import annotations

from typing import Literal

from plainview import Alert, Slo

# --- settings: every threshold -----------------------------------------------------------------
HANDBOOK = "http://localhost:8080"  # docs/ in the console; a forge that shows Markdown does as well
GRAFANA = "http://localhost:3000"
SERVICES = ("gateway", "auth", "event")  # jobs that have to be there
OPTIONAL_EXPORTER = "otlp_http/console"  # a view: it may lose spans
ERROR_RATIO = 0.05
LATENCY_S = 0.5  # has to be a bucket of http_request_duration_seconds
FLOOR_RPS = 0.2  # below it a share of requests says nothing
RESTARTS = 2  # per replica in 15 minutes
MEMORY_RATIO, CPU_RATIO = 0.85, 0.8
DB_FAILURE_RATIO, DB_SLOW_S, POOL_RATIO = 0.05, 0.25, 0.8
CONNECTION_FAILURES = 0.05  # per second: PyMongo's heartbeats, 10 s apart, all fail
SIGN_IN_FAILURES, SIGN_IN_FAILURE_RATIO = 1, 0.5
TECHNICAL_RATIO, CLAIM_FLOOR_RPS = 0.1, 0.05
PENDING_S, PENDING = 60, 100
QUEUE_RATIO, SPAN_QUEUE = 0.8, 2048  # the size of the SDK's queue
SAMPLE_LIMIT = 20_000  # of a scrape, as sample_limit in prometheus.yml
SERIES_GROWTH, SERIES_BASE = 3, 3000  # a small service may grow to SERIES_BASE * SERIES_GROWTH
# Window pairs of the SRE workbook, chapter 5: (long, short, burn rate, for).
PAGE = (("1h", "5m", 14.4, "2m"), ("6h", "30m", 6, "15m"))
TICKET = (("1d", "2h", 3, "1h"), ("3d", "6h", 1, "3h"))

SLOS = (
    Slo(
        "availability",
        0.999,
        good='http_requests_total{service!="",status_code!~"5.."}',
        total='http_requests_total{service!=""}',
        summary="answered without a server error",
    ),
    Slo(
        "latency",
        0.99,
        good=f'http_request_duration_seconds_bucket{{service!="",le="{LATENCY_S}"}}',
        total='http_request_duration_seconds_count{service!=""}',
        summary=f"answered within {LATENCY_S} s",
    ),
)


def _burning(
    name: str, severity: Literal["critical", "ticket"], windows: tuple[str, str, float, str]
) -> Alert:
    long, short, factor, for_ = windows
    return Alert(
        name,
        f"service:slo_burn:rate{long} > {factor} and service:slo_burn:rate{short} > {factor}"
        f" and service:slo_requests:rate{long} > {FLOOR_RPS}",
        "{{ $labels.service }} spends the error budget of {{ $labels.slo }} {value:humanize} "
        f"times too fast, over {long} and {short}",
        for_,
        severity,
        ("slos",),
        f"Burn rate over {long} and {short}",
        {"window": long},
    )


def _either(name: str, selector: str = "") -> str:
    """The Collector's counters: version and exporter decide whether names end in `_total`."""
    return " or ".join(
        f"sum by (job) (rate({full}{selector}[5m])) > 0" for full in (f"{name}_total", name)
    )


def _failing(system: str) -> str:
    """By service: the share of commands that fail, or that none can even be sent."""
    # answers of the database are no failures of it: duplicate_key, rejected
    kinds = 'error_type=~"timeout|unavailable|other"'
    which = f'db_system_name="{system}"'
    every = f"sum by (service) (rate(db_client_operation_duration_seconds_count{{{which}}}[1m]))"
    return (
        f"sum by (service) (rate(db_client_operation_failures_total{{{which},{kinds}}}[1m]))"
        f" / ({every} > {FLOOR_RPS}) > {DB_FAILURE_RATIO}"
        f" or sum by (service) (rate(db_client_connection_failures_total{{{which}}}[30s]))"
        f" > {CONNECTION_FAILURES}"
    )


_P95_MONGO = (
    "histogram_quantile(0.95, sum by (le, service) (rate("
    'db_client_operation_duration_seconds_bucket{db_system_name="mongodb",db_operation_name!~".*_BLOCK"}[5m])))'
)
_POOL = (
    'max by (service) (db_client_connections{db_system_name="mongodb",state="used"}'
    ' / ignoring (state) (db_client_connections_max{db_system_name="mongodb"} > 0))'
)
_STARTED = 'process_start_time_seconds{service!=""}'
_ABSENT = " or ".join(f'absent(up{{job="{service}"}})' for service in SERVICES)
_SAMPLES = 'scrape_samples_post_metric_relabeling{service!=""}'
_SINK = f'{{exporter!="{OPTIONAL_EXPORTER}"}}'

GENERIC = [
    Alert(
        "ApiErrorRate",
        f"service:http_request_errors:ratio_rate5m > {ERROR_RATIO}"
        f" and service:http_requests:rate5m > {FLOOR_RPS}",
        "{{ $labels.service }}: {value:humanizePercentage} of requests end in a server error",
        for_="1m", severity="critical", dashboards=("system",), panel="Error ratio by service",
    ),
    Alert(
        "ApiLatencyP95",
        f"service:http_request_duration_seconds:p95_5m > {LATENCY_S}"
        f" and service:http_requests:rate5m > {FLOOR_RPS}",
        "{{ $labels.service }}: 5 % of requests take longer than {value:humanizeDuration}",
        dashboards=("system",), panel="Latency by service, 95 of 100",
    ),
    *(_burning("SloBurnPage", "critical", windows) for windows in PAGE),
    *(_burning("SloBurnTicket", "ticket", windows) for windows in TICKET),
    Alert(
        "ServiceDown", 'up{service!=""} == 0',
        "{{ $labels.service }} at {{ $labels.instance }} does not answer Prometheus",
        for_="1m", severity="critical", dashboards=("telemetry",), panel="Targets",
    ),
    Alert(
        # a stopped container's name leaves the DNS: its target is then gone, not down
        "TargetAbsent", _ABSENT, "nothing of {{ $labels.job }} is to be found",
        for_="1m", severity="critical", dashboards=("telemetry",), panel="Targets",
    ),
    Alert(
        # what never ran in six hours is not installed (make up-core)
        "TelemetryTargetDown",
        'up{service=""} == 0 and max_over_time(up{service=""}[6h]) == 1',
        "{{ $labels.job }} at {{ $labels.instance }} does not answer Prometheus any more",
        dashboards=("telemetry",), panel="Targets",
    ),
    Alert(
        "NotReady", "service_ready == 0",  # 2 minutes: draining takes seconds
        "{{ $labels.service }} at {{ $labels.instance }} takes no requests",
        for_="2m", severity="critical", dashboards=("overview",), panel="Dependencies",
    ),
    Alert(
        # a new container is a new instance: those that vanished count as restarts too
        "RestartLoop",
        f"(sum by (service) (changes({_STARTED}[15m]))"
        f" + count by (service) (count_over_time({_STARTED}[15m]))"
        f" - count by (service) ({_STARTED}))"
        f" / max_over_time(count by (service) ({_STARTED})[15m:15s]) > {RESTARTS}",
        "{{ $labels.service }}: {value:humanize} restarts per replica in 15 minutes",
        for_="0s", dashboards=("overview",), panel="Restarts, last hour",
    ),
    Alert(
        "HighMemory",
        'process_resident_memory_bytes{service!=""} / (container_memory_limit_bytes > 0)'
        f" > {MEMORY_RATIO}",
        "{{ $labels.service }} at {{ $labels.instance }} uses {value:humanizePercentage} "
        "of its memory",
        dashboards=("system",), panel="Memory of each replica, of its limit",
    ),
    Alert(
        "HighCpu",
        'rate(process_cpu_seconds_total{service!=""}[5m]) / (container_cpu_limit_cores > 0)'
        f" > {CPU_RATIO}",
        "{{ $labels.service }} at {{ $labels.instance }} uses {value:humanizePercentage} "
        "of its CPU",
        for_="10m", dashboards=("system",), panel="CPU of each replica, of its limit",
    ),
    Alert(
        # by what services see: an exporter that is down is not a database that is down
        "MongoFailures", _failing("mongodb"),
        "{{ $labels.service }} cannot use MongoDB ({value:%.3g} of all commands fail, "
        "or connections a second)",
        for_="1m", severity="critical", dashboards=("system",), panel="Failed connections",
    ),
    Alert(
        "MongoSlow",
        f"{_P95_MONGO} > {DB_SLOW_S} or {_POOL} > {POOL_RATIO}",
        "{{ $labels.service }}: MongoDB is slow ({value:%.3g}: P95 in seconds, "
        "or the used share of the pool)",
        dashboards=("system",), panel="MongoDB, 95 of 100",
    ),
    Alert(
        "TelemetryDrops",
        " or ".join(
            (
                "sum by (service) (rate(telemetry_spans_dropped_total[5m])) > 0",
                "sum by (service) (rate(telemetry_spans_exported_total"
                '{outcome="failure"}[5m])) > 0',
                "sum by (service) (rate(telemetry_errors_total[5m])) > 0",
                "max by (service) (telemetry_span_queue_depth)"
                f" / {SPAN_QUEUE} > {QUEUE_RATIO}",
                _either("otelcol_receiver_refused_spans"),
                _either("otelcol_receiver_failed_spans"),
                _either("otelcol_exporter_send_failed_spans", _SINK),
                _either("otelcol_exporter_enqueue_failed_spans", _SINK),
                f"max by (job) (otelcol_exporter_queue_size{_SINK}"
                f" / otelcol_exporter_queue_capacity) > {QUEUE_RATIO}",
            )
        ),
        "{{ $labels.service }}{{ $labels.job }} loses telemetry, or its queue is nearly full "
        "({value:%.3g} a second, or the full share)",
        dashboards=("telemetry",), panel="Lost in the services",
    ),
    Alert(
        "LogIngestion",
        "sum by (job) (rate(loki_discarded_samples_total[5m])) > 0"
        " or sum by (job) (rate(loki_ingester_wal_disk_full_failures_total[5m])) > 0"
        " or sum by (service) (rate(telemetry_log_lines_dropped_total[5m])) > 0",
        "{{ $labels.service }}{{ $labels.job }} drops {value:humanize} log lines a second",
        dashboards=("telemetry",), panel="Lines refused by Loki",
    ),
    Alert(
        # an idle platform may be silent; only lines written and not received are an error
        "LogsSilent",
        "sum(rate(telemetry_log_lines_total[10m])) > 0"
        ' and on () max_over_time(up{job="loki"}[6h]) == 1'
        " unless on () sum(rate(loki_distributor_lines_received_total[10m])) > 0",
        "services write {value:humanize} log lines a second, Loki got none for 10 minutes",
        dashboards=("telemetry",), panel="Lines received by Loki",
    ),
    Alert(
        "SeriesExplosion",
        f"max by (service) ({_SAMPLES}) > {SERIES_GROWTH} * clamp_min("
        f"max by (service) (avg_over_time({_SAMPLES}[6h] offset 30m)), {SERIES_BASE})"
        " or sum by (job) (increase(prometheus_target_scrapes_exceeded_sample_limit_total[10m]))"
        " > 0",
        "{{ $labels.service }}{{ $labels.job }} has too many series ({value:humanize} of a scrape, "
        "or scrapes refused at the limit)",
        for_="10m", dashboards=("telemetry",), panel="Series of a service, of its budget",
    ),
    Alert(
        "RuleFailures",
        "sum by (job) (rate(prometheus_rule_evaluation_failures_total[5m])) > 0"
        " or sum by (job) (rate(grafana_alerting_rule_evaluation_failures_total[5m])) > 0",
        "{{ $labels.job }} cannot evaluate rules: alerts may be missing",
        severity="critical", dashboards=("telemetry",), panel="Rules that fail",
    ),
    Alert(
        "Watchdog", "vector(1)",
        "always fires: when it stops arriving, alerts do not arrive either",
        for_="0s", severity="none",
    ),
]  # fmt: skip

_DEGRADED = " or ".join(
    f"max by (service) ({name}) == 1" for name in ("rate_limit_degraded", "auth_limiter_degraded")
)
_TRIED = "sum(rate(auth_sign_ins_total[5m]))"
_REFUSED = 'sum(rate(auth_sign_ins_total{outcome=~"bad_credentials|limited"}[5m]))'
_CLAIMS = "sum(rate(reward_requests_total[5m]))"

REWARDS = [
    Alert(
        "RedisDown", f"{_failing('redis')} or {_DEGRADED}",
        "{{ $labels.service }} cannot use Redis: limits are local, messages and caches wait",
        for_="1m", severity="critical", dashboards=("system",), panel="Limits",
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
        f"max(reward_requests_oldest_pending_seconds) > {PENDING_S}"
        f" or max(reward_requests_pending) > {PENDING}",
        "stock work is left undone: {value:humanize} (seconds of the oldest, or claims)",
        severity="critical", dashboards=("events",), panel="Oldest stock work",
    ),
    Alert(
        "StockExhausted", "max by (event_id, reward_id) (reward_stock_left) == 0",
        "reward {{ $labels.reward_id }} of running event {{ $labels.event_id }} is sold out",
        for_="0s", dashboards=("events",), panel="Stock",
    ),
    Alert(
        "ClaimInvariant", "max(claim_invariant_violations) > 0",
        "{value:humanize} rewards do not add up: granted, pending and left are not the stock",
        for_="0s", severity="critical", dashboards=("events",), panel="Rewards that do not add up",
    ),
]  # fmt: skip

ALERTS = [*GENERIC, *REWARDS]
