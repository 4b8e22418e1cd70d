"""Half an hour of scrapes as promtool reads them: a cold start at minute 0, a rolling restart
from minute 10 on, twice the load from minute 20 on.

The platform of compose with two replicas of event, every 5 s. Rates are those of a small
installation; what is broken on purpose is a field of `HalfHour`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from event.states import Reason
from plainview.settings import LATENCY_BUCKETS

STEP_S, LENGTH_S, DOUBLED_S = 5, 1800, 1200
DOWN_S = 15  # of a process that is replaced
EPOCH = 1_700_000_000
MIB = 2**20
TASKS = {
    "gateway": ("active_users",),
    "auth": ("relay", "population", "active_days"),
    "event": ("consumer", "reconciler", "gauges"),
}
SPANS, LINES = 8.0, 1.5  # by request
# of the answers those within a bound; the rest of a second's are slow
WITHIN = {0.005: 0.2, 0.01: 0.5, 0.025: 0.75, 0.05: 0.87, 0.1: 0.94, 0.25: 0.98, 0.5: 0.997}
COMMANDS = {0.001: 0.4, 0.0025: 0.8, 0.005: 0.93, 0.01: 0.98, 0.025: 0.995, 0.1: 0.9995}
PARTS = ("execution", "http_client", "logs", "metrics", "mongo", "redis", "traces")
LOSSES = (
    "receiver_refused", "receiver_failed", "exporter_send_failed", "exporter_enqueue_failed",
)  # fmt: skip
REFUSALS = (Reason.SOLD_OUT, Reason.CONDITION_UNMET, Reason.ALREADY_REQUESTED)

Labels = dict[str, str]
Value = Callable[[float, float], float]  # of the time of the start of a life, and of now
Told = Iterator[tuple[str, Labels, Value]]


def load(seconds: float) -> float:
    """Seconds of simple load until then: from DOUBLED_S on each counts twice."""
    return seconds + max(0.0, seconds - DOUBLED_S)


def steady(value: float) -> Value:
    return lambda *_: value


def counter(per_second: float) -> Value:
    return lambda begin, now: int(per_second * (load(now) - load(begin)))


@dataclass(frozen=True)
class Process:
    """A replica: when it is there, by (begin, end); its requests a second."""

    service: str
    instance: str
    lives: tuple[tuple[float, float], ...]
    per_second: float

    def life(self, at: float) -> float | None:
        """The begin of its life at that time; None while it is away."""
        return next((begin for begin, end in self.lives if begin <= at < end), None)

    def written(self, value: Value) -> str:
        words, was = [], False
        for at in range(0, LENGTH_S + 1, STEP_S):
            begin = self.life(at)
            gone = "stale" if was else "_"
            words.append(gone if begin is None else f"{float(value(begin, at)):.10g}")
            was = begin is not None
        return " ".join(words)


@dataclass(frozen=True)
class HalfHour:
    """What happens; the defaults are a good half hour."""

    errors: float = 0.0002  # share of 5xx
    comes_back: bool = True  # whether processes do that were replaced
    lost_exports: float = 0.0  # a second

    def _process(self, instance: str, first: float, down: float, per_second: float) -> Process:
        lives = ((first, down), (down + DOWN_S, LENGTH_S + STEP_S))
        service = instance.partition(":")[0].partition("-")[0]
        return Process(service, instance, lives[: 1 + self.comes_back], per_second)

    def series(self) -> dict[str, str]:
        """Series to their values, as promtool's `input_series` have them."""
        found: dict[str, str] = {}
        for process in (
            self._process("auth:8001", 10, 600, 2),
            self._process("event-1:8002", 15, 630, 7),
            self._process("event-2:8002", 15, 660, 7),
            self._process("gateway:8000", 20, 690, 20),
        ):
            own = {"service": process.service, "job": process.service, "environment": "local"}
            own["instance"] = process.instance
            found[_name("up", own)] = _always(lambda at, p=process: p.life(at) is not None)
            for name, labels, value in self._of(process):
                found[_name(name, {**own, **labels})] = process.written(value)
        for job, name, labels, always in _others():
            own = {"job": job, "instance": f"{job}:1", **labels}
            found[_name(name, own)] = _always(always)
        return found

    def _of(self, process: Process) -> Told:
        rate = process.per_second
        yield from self._requests(process)
        yield from _databases(process)
        yield from self._telemetry(rate)
        for task in TASKS[process.service]:  # promtool's clock begins at 0
            labels = {"task": task}
            yield "background_job_last_success_timestamp_seconds", labels, lambda _, now: now
        samples = "scrape_samples_post_metric_relabeling"
        yield "service_ready", {}, lambda begin, now: now - begin >= 2 * STEP_S
        yield "process_start_time_seconds", {}, lambda begin, _: EPOCH + begin
        yield "process_cpu_seconds_total", {}, counter(0.02 * rate)
        yield "container_cpu_limit_cores", {}, steady(1)
        memory: Value = lambda _, now: (90 + 30 * load(now) / 2400) * MIB  # noqa: E731
        yield "process_resident_memory_bytes", {}, memory
        yield "container_memory_limit_bytes", {}, steady(192 * MIB)
        yield samples, {}, lambda begin, now: min(now - begin + 900, 1000 + 40 * rate)
        if process.service == "gateway":
            yield "rate_limit_degraded", {}, steady(0)
        if process.service == "auth":
            yield from _auth()
        if process.service == "event":
            yield from _event()

    def _requests(self, process: Process) -> Told:
        rate, auth_away = process.per_second, (600, 600 + DOWN_S + 10)  # and the breaker's 10 s

        def failed(begin: float, now: float) -> float:
            felt = 0.0
            if process.service == "gateway" and begin < auth_away[0]:
                felt = 2 * min(max(0.0, now - auth_away[0]), auth_away[1] - auth_away[0])
            return rate * self.errors * (load(now) - load(begin)) + felt

        path = {"method": "GET", "app_name": process.service, "path": "/api/v1/events"}
        good = {**path, "status_code": "200"}
        yield "http_requests_total", good, counter(rate * (0.97 - self.errors))
        yield "http_requests_total", {**path, "status_code": "404"}, counter(rate * 0.03)
        yield "http_requests_total", {**path, "status_code": "503"}, failed
        duration = "http_request_duration_seconds"
        for bound in LATENCY_BUCKETS:
            share = WITHIN.get(bound, 0.997 if bound < 0.5 else 1.0)
            yield f"{duration}_bucket", {**good, "le": str(float(bound))}, counter(rate * share)
        yield f"{duration}_bucket", {**good, "le": "+Inf"}, counter(rate)
        yield f"{duration}_count", good, counter(rate)

    def _telemetry(self, rate: float) -> Told:
        def failed(begin: float, now: float) -> float:
            # the Collector is up after the services: one export is lost
            cold = begin < 60 and now - begin >= 2 * STEP_S
            return 100 * cold + self.lost_exports * (now - begin)

        depth: Value = lambda _, now: rate * SPANS * (1 + (now >= DOUBLED_S))  # noqa: E731
        lines = {"level": "info", "log_type": "general"}
        yield "telemetry_log_lines_total", lines, counter(rate * LINES)
        yield "telemetry_log_lines_dropped_total", {"log_type": "general"}, steady(0)
        yield "telemetry_spans_dropped_total", {}, steady(0)
        yield "telemetry_spans_exported_total", {"outcome": "success"}, counter(rate * SPANS)
        yield "telemetry_spans_exported_total", {"outcome": "failure"}, failed
        yield "telemetry_span_queue_depth", {}, depth
        for part in PARTS:
            yield "telemetry_errors_total", {"part": part}, steady(0)


def _auth() -> Told:
    yield "auth_limiter_degraded", {}, steady(0)
    for outcome, rate in {"success": 0.8, "bad_credentials": 0.1, "limited": 0.0}.items():
        yield "auth_sign_ins_total", {"outcome": outcome}, counter(rate)
    for outcome, rate in {"rotated": 0.3, "repeated": 0.01, "reused": 0.0}.items():
        yield "auth_token_refreshes_total", {"outcome": outcome}, counter(rate)


def _event() -> Told:
    made = {("approved", "none"): 0.6, ("pending", "none"): 0.1, ("rejected", "operator"): 0.02}
    refused = {("refused", str(reason)): 0.1 for reason in REFUSALS}
    technical = {("refused", "technical"): 0.0}
    for (status, reason), rate in {**made, **refused, **technical}.items():
        yield "reward_requests_total", {"status": status, "reason": reason}, counter(rate)
    which = {"event_id": "e1", "reward_id": "r1"}
    yield "reward_requests_pending", {}, lambda _, now: now % 30 < STEP_S
    yield "reward_requests_oldest_pending_seconds", {}, lambda _, now: 2 * (now % 30 < STEP_S)
    yield "claim_invariant_violations", {}, steady(0)
    yield "event_info", {"event_id": "e1", "title": "Autumn"}, steady(1)
    yield "reward_info", {**which, "title": "Gold badge"}, steady(1)
    yield "reward_stock_left", which, lambda _, now: 5000 - int(1.2 * load(now))


def _databases(process: Process) -> Told:
    rate, name = process.per_second * 3, "db_client_operation_duration_seconds"
    for system in ("redis",) if process.service == "gateway" else ("mongodb", "redis"):
        own = {"db_system_name": system}
        command = {**own, "db_operation_name": "find" if system == "mongodb" else "PIPELINE"}
        for bound, share in (*COMMANDS.items(), ("+Inf", 1.0)):
            yield f"{name}_bucket", {**command, "le": str(bound)}, counter(rate * share)
        yield f"{name}_count", command, counter(rate)
        for kind, share in {"duplicate_key": 0.02, "timeout": 0.0, "unavailable": 0.0}.items():
            labels = {**own, "error_type": kind}
            yield "db_client_operation_failures_total", labels, counter(rate * share)
        # at a cold start the first connection may come too early
        yield "db_client_connection_failures_total", own, lambda begin, now: begin < 60 <= now
        for state, used in {"used": 4, "idle": 16}.items():
            yield "db_client_connections", {**own, "state": state}, steady(used)
        yield "db_client_connections_max", own, steady(100)


def _others() -> Iterator[tuple[str, str, Labels, Callable[[float], float]]]:
    """The programs around: job, name, labels, value by time."""
    starts = {
        "loki": 20, "collector": 20, "jaeger": 25, "prometheus": 0, "grafana": 30, "mongodb": 35,
        "redis": 20,
    }  # fmt: skip
    for job, first in starts.items():
        yield job, "up", {}, lambda at, first=first: at >= first
    sink = {"exporter": "otlp_grpc/jaeger"}
    for job, name, labels, value in (
        ("loki", "loki_discarded_samples_total", {"reason": "line_too_long"}, 0),
        ("loki", "loki_ingester_wal_disk_full_failures_total", {}, 0),
        ("prometheus", "prometheus_rule_evaluation_failures_total", {}, 0),
        ("grafana", "grafana_alerting_rule_evaluation_failures_total", {}, 0),
        ("prometheus", "prometheus_target_scrapes_exceeded_sample_limit_total", {}, 0),
        *(("collector", f"otelcol_{what}_spans", sink, 0) for what in LOSSES),
        *(("jaeger", f"otelcol_{what}_spans_total", sink, 0) for what in LOSSES),
        ("redis", "redis_memory_max_bytes", {}, 64 * MIB),
        ("mongodb", "mongodb_ss_connections", {"conn_type": "current"}, 60),
        ("mongodb", "mongodb_ss_connections", {"conn_type": "available"}, 900),
        ("collector", "otelcol_exporter_queue_capacity", sink, 5000),
    ):
        yield job, name, labels, lambda _, value=value: value
    yield "loki", "loki_distributor_lines_received_total", {}, lambda at: 30 * load(max(0, at - 20))
    yield "redis", "redis_memory_used_bytes", {}, lambda at: 10e6 + 5_000 * at
    yield "collector", "otelcol_exporter_queue_size", sink, lambda at: 3 if at < DOUBLED_S else 7


def _name(name: str, labels: Mapping[str, str]) -> str:
    pairs = (f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{','.join(pairs)}}}"


def _always(value: Callable[[float], float]) -> str:
    return " ".join(f"{float(value(at)):g}" for at in range(0, LENGTH_S + 1, STEP_S))
