"""A finding of `plainview check`, and what it says of the metrics of a service."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from plainview.decode import Metrics, parse_metrics
from plainview.workers import VARIABLE

from .asking import Asked, NoReply, Service

Level = Literal["ok", "advice", "wrong"]
OK: Level = "ok"
ADVICE: Level = "advice"
WRONG: Level = "wrong"
OBSERVE = "Call observe(app, ObservabilitySettings(service_name=...)) before the first request."
PLAIN, OPENMETRICS = "text/plain", "application/openmetrics-text"
# Another request may take the exemplar's place before it is read, so the trace is tried again.
TRIES = 3


@dataclass(frozen=True)
class Finding:
    """One sentence on one thing; `do` is what to do about it, "" if nothing."""

    what: str
    level: Level
    says: str
    do: str = ""


def missing(part: str) -> str:
    """What to do about a page that is not there."""
    return (
        f"{OBSERVE} If it is called: {part} is switched off, or on another port (--ops URL), or a"
        " proxy handed this request on, and then the page is hidden on purpose."
    )


def read(ops: Service, accept: str) -> tuple[Metrics | None, Finding]:
    """The page in one of its two forms, and what there is to say of it."""
    what = "/metrics"
    try:
        reply = ops.get(what, Accept=accept)
    except NoReply as error:
        return None, Finding(what, WRONG, str(error))
    if reply.status != 200:
        do = missing("metrics") if reply.status == 404 else "Prometheus gets the same."
        return None, Finding(what, WRONG, str(reply.status), do)
    if reply.content_type not in (PLAIN, OPENMETRICS):
        do = "A route of the application answers in place of plainview."
        says = f"is {reply.content_type or 'without a type'}, which Prometheus does not read"
        return None, Finding(what, WRONG, says, do)
    try:
        page = Metrics(parse_metrics(reply.body.decode("utf-8")))
    except Exception as error:  # the parsers raise more than ValueError for what is no page
        do = "Prometheus drops the whole page: a collector of the application writes it wrongly."
        return None, Finding(what, WRONG, f"cannot be parsed: {error}"[:300], do)
    if reply.content_type != accept:
        do = "Without it there are no exemplars: another exporter has taken the path /metrics."
        return page, Finding(what, WRONG, "is not given as OpenMetrics to who asks for it", do)
    names = len({sample.name for sample in page.samples})
    return page, Finding(what, OK, f"{len(page.samples)} series of {names} names")


def names(page: Metrics) -> Iterator[Finding]:
    """What dashboards and alerts need of the library's metrics."""
    for name, part in (
        ("http_requests_total", "http_metrics"),
        ("http_request_duration_seconds_count", "http_metrics"),
        ("service_ready", "health"),
    ):
        if not page.all(name):
            do = (
                f"{OBSERVE} If it is called: {part} is switched off, or another library has taken"
                " the name; then a line telemetry.degraded says so at the start."
            )
            yield Finding("metrics", WRONG, f"there is no {name}", do)
    if {s.labels.get("app_name") for s in page.samples} >= {"service"}:
        do = "Set service_name, or OTEL_SERVICE_NAME."
        yield Finding("service name", ADVICE, "is the default, 'service'", do)


def series(page: Metrics, unknown: str, most: int) -> Iterator[Finding]:
    """Whether `unknown`, a stranger's path, made series, and whether there are more than `most`."""
    token = unknown.strip("/")
    if named := {s.name for s in page.samples if any(token in v for v in s.labels.values())}:
        do = "Anybody can fill Prometheus with series: label by route, never by path."
        says = f"an unknown path became a label of {', '.join(sorted(named)[:3])}"
        yield Finding("series", WRONG, says, do)
    count = len(page.samples)
    if count > most:
        largest = Counter(sample.name for sample in page.samples).most_common(3)
        top = ", ".join(f"{name} has {n:,}" for name, n in largest)
        do = "Labels are closed sets or Bounded; an ID in a label is a series per ID."
        yield Finding("series", WRONG, f"{count:,}, more than {most:,}: {top}", do)


def apart(*pages: Metrics | None) -> Finding | None:
    """That one of the pages shows the counts of one of several workers, as it says itself."""
    if not any(page and page.value("telemetry_workers_apart") for page in pages):
        return None
    do = f"Set {VARIABLE} to a directory of the server's own, or run one worker per container."
    says = "several workers share this address and each has counts of its own"
    return Finding("workers", WRONG, says, do)


def counted(before: Metrics, after: Metrics) -> Iterator[Finding]:
    """Whether the page counts the two requests that were made between its two readings."""
    name = "http_requests_total"
    if not before.all(name) or not after.all(name):
        return
    if after.value(name) - before.value(name) < 2:
        do = (
            "Another process answered: several workers share this address without"
            f" {VARIABLE}, or there are replicas behind it. Prometheus has to ask"
            " each process, or all of them have to share their counts."
        )
        yield Finding("requests", WRONG, "the two requests are not counted in /metrics", do)
    else:
        yield Finding("requests", OK, "are counted in /metrics")


def _traces(page: Metrics) -> set[str]:
    """The trace IDs of all exemplars."""
    exemplars = [sample.exemplar or {} for sample in page.samples]
    return {each["trace_id"] for each in exemplars if "trace_id" in each}


def trace(service: Service, ops: Service, asked: Asked, page: Metrics) -> Finding:
    """Whether an exemplar names the trace of the request, or of one that is made anew."""
    tried = {asked.trace_id}
    newest: Metrics | None = page
    for _ in range(TRIES - 1):
        if newest is None or _traces(newest) & tried:
            break
        tried.add(Asked.of(service, asked.reply.path).trace_id)
        newest, _complaint = read(ops, OPENMETRICS)
    if newest is not None and _traces(newest) & tried:
        return Finding("trace", OK, "the request's traceparent is taken over, an exemplar names it")
    if newest is not None and _traces(newest):
        do = (
            "Something before the service replaces traceparent, or trust_remote_sampling is off"
            " and this request was not sampled."
        )
        return Finding("trace", WRONG, "exemplars name other traces than the request's", do)
    if not page.all("process_start_time_seconds"):
        do = "Such a page has neither exemplars nor process metrics: look for the trace in a line."
        return Finding("trace", ADVICE, "several workers share this page, it names no trace", do)
    do = "traces or exemplars are switched off (then --skip traces), or spans are sampled out."
    return Finding("trace", WRONG, "no exemplar names a trace", do)


def telemetry(page: Metrics) -> Iterator[Finding]:
    """Whether spans and lines get away; counts are since the process started."""
    sent, lost = (
        page.value("telemetry_spans_exported_total", outcome=outcome)
        for outcome in ("success", "failure")
    )
    if lost:
        do = "Does OTEL_EXPORTER_OTLP_ENDPOINT listen, and is it http/protobuf (port 4318)?"
        yield Finding("spans", ADVICE, f"{lost:.0f} could not be exported so far", do)
    elif not sent:
        do = "Set OTEL_EXPORTER_OTLP_ENDPOINT; a service that has just started sends within 5 s."
        yield Finding("spans", ADVICE, "none was exported so far", do)
    else:
        yield Finding("spans", OK, f"{sent:.0f} exported so far")
    for name, what, do in (
        ("telemetry_spans_dropped_total", "spans were dropped", "Their queue was full."),
        (
            "telemetry_log_lines_dropped_total", "log lines were dropped",
            "Whoever reads the service's standard output is too slow.",
        ),
        (
            "telemetry_errors_total", "errors inside of the telemetry",
            "The label `part` names it; PLAINVIEW_STRICT=1 raises them in tests.",
        ),
    ):  # fmt: skip
        if count := page.value(name):
            yield Finding("telemetry", ADVICE, f"{count:.0f} {what} so far", do)
