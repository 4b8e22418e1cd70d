"""Names of metrics: those that exist, and those that a query uses."""

import re
from collections.abc import Iterable

from plainview.catalogue import Catalogue

from .config import Kit
from .recording import recorded

# Metrics of other programs that rules or panels read.
EXTERNAL = {
    "up",
    "ALERTS",
    "ALERTS_FOR_STATE",
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "prometheus_rule_group_last_duration_seconds",
    "prometheus_tsdb_head_series",
    "prometheus_rule_evaluation_failures_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "grafana_alerting_rule_evaluation_failures_total",
    "loki_discarded_samples_total",
    "loki_distributor_bytes_received_total",
    "loki_distributor_lines_received_total",
    "loki_ingester_wal_disk_full_failures_total",
    "otelcol_exporter_queue_capacity",
    "otelcol_exporter_queue_size",
    "traces_service_graph_request_total",
    *(
        f"otelcol_{name}_spans{end}"
        for name in (
            "receiver_accepted", "receiver_refused", "receiver_failed",
            "exporter_sent", "exporter_send_failed", "exporter_enqueue_failed",
        )
        for end in ("", "_total")
    ),
}  # fmt: skip


def declared(catalogues: Iterable[Catalogue]) -> set[str]:
    """All metrics of the catalogues, with the parts of histograms (`_bucket` and others)."""
    names = set()
    for catalogue in catalogues:
        for metric in catalogue.specs:
            names.add(metric.name)
            if metric.kind == "histogram":
                names |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def known(kit: Kit, catalogues: Iterable[Catalogue]) -> set[str]:
    """All metrics of the services, the other programs and the recording rules."""
    return declared(catalogues) | EXTERNAL | recorded(kit)


def metrics_in(expr: str) -> set[str]:
    """The names of metrics in a PromQL expression."""
    for noise in (
        r'"[^"]*"', r"\{[^}]*\}", r"\[[^\]]*\]",
        r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
    ):  # fmt: skip
        expr = re.sub(noise, " ", expr)
    words = set(re.findall(r"(?<![\w:.])[a-z_][\w:]*\b(?!\s*\()", expr))
    return words - {"and", "or", "unless", "offset", "bool", "inf"}
