"""Recording rules: RED by service, and objectives over the windows of the burn-rate alerts."""

from typing import Any

from .config import Kit

Json = dict[str, Any]

INTERVAL = "15s"
DIRECT = ("5m", "30m", "1h")  # windows computed from the counters
DERIVED = {"2h": 24, "6h": 72, "1d": 288, "3d": 864, "30d": 8640}  # windows of this many 5 minutes


def groups(kit: Kit) -> list[Json]:
    """RED and resources by service, objectives over all windows of the burn-rate alerts."""
    every = f"http_requests_total{{{kit.selector}}}"
    failed = f'http_requests_total{{{kit.selector},status_code=~"5.."}}'
    duration = f"http_request_duration_seconds_bucket{{{kit.selector}}}"
    red = {
        "service:http_requests:rate5m": f"sum by (environment, service) (rate({every}[5m]))",
        "service:http_request_errors:ratio_rate5m": (
            f"(sum by (environment, service) (rate({failed}[5m]))"
            " or service:http_requests:rate5m * 0)"
            " / (service:http_requests:rate5m > 0)"
        ),
        **{
            f"service:http_request_duration_seconds:p{percent}_5m": (
                f"histogram_quantile({percent / 100}, sum by (environment, le, service)"
                f" (rate({duration}[5m]))) >= 0"  # drops the NaN of no traffic
            )
            for percent in (50, 95, 99)
        },
    }
    fast: list[Json] = []
    for slo in kit.slos:
        for window in DIRECT:
            total = f"sum by (environment, service) (rate({slo.total}[{window}]))"
            good = f"sum by (environment, service) (rate({slo.good}[{window}]))"
            labels = {"slo": slo.name}
            fast += [
                _record(f"service:slo_requests:rate{window}", total, labels),
                _record(
                    f"service:slo_bad:rate{window}", f"{total} - ({good} or {total} * 0)", labels
                ),
            ]
    # Long windows add up the rates of 5 minutes, as reading days of raw samples at each evaluation
    # is slow. Missing data counts as no traffic, so a new installation stays below `floor_rps`.
    slow = [
        _record(
            f"service:slo_{part}:rate{window}",
            f"sum_over_time(service:slo_{part}:rate5m[{window}:5m]) / {count}",
        )
        for window, count in DERIVED.items()
        for part in ("requests", "bad")
    ]
    slow.append(
        # of 30 days, the share in which there was traffic
        _record(
            "service:slo_seen:ratio30d",
            f"count_over_time(service:slo_requests:rate5m[30d:5m]) / {DERIVED['30d']}",
        )
    )
    burn = [
        _record(
            f"service:slo_burn:rate{window}",
            f'service:slo_bad:rate{window}{{slo="{slo.name}"}}'
            f' / (service:slo_requests:rate{window}{{slo="{slo.name}"}} > 0)'
            f" / {round(1 - slo.objective, 6)}",
            {"slo": slo.name},
        )
        for slo in kit.slos
        for window in (*DIRECT, *DERIVED)
    ]
    objectives = [
        _record("slo:objective:ratio", f"vector({slo.objective})", {"slo": slo.name})
        for slo in kit.slos
    ]
    return [
        group("red", [_record(name, expr) for name, expr in red.items()]),
        group("slo", [*objectives, *fast]),
        group("slo-long", slow, "1m"),
        group("slo-burn", burn),
    ]


def _record(name: str, expr: str, labels: dict[str, str] | None = None) -> Json:
    return {"record": name, "expr": expr, **({"labels": labels} if labels else {})}


def group(name: str, rules: list[Json], interval: str = INTERVAL) -> Json:
    """A group of rules as Prometheus reads it."""
    return {"name": name, "interval": interval, "rules": rules}


def recorded(kit: Kit) -> set[str]:
    """The names of the recorded series."""
    return {rule["record"] for group in groups(kit) for rule in group["rules"]}
