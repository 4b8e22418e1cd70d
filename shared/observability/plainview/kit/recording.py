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
    objectives, fast, burn = [], [], []
    for slo in kit.slos:
        objectives.append(_record("slo:objective:ratio", f"vector({slo.objective})", slo.name))
        for window in DIRECT:
            total = f"sum by (environment, service) (rate({slo.total}[{window}]))"
            good = f"sum by (environment, service) (rate({slo.good}[{window}]))"
            bad = f"{total} - ({good} or {total} * 0)"
            fast.append(_record(f"service:slo_requests:rate{window}", total, slo.name))
            fast.append(_record(f"service:slo_bad:rate{window}", bad, slo.name))
        for window in (*DIRECT, *DERIVED):
            bad, every = (
                f'service:slo_{part}:rate{window}{{slo="{slo.name}"}}'
                for part in ("bad", "requests")
            )
            share = f"{bad} / ({every} > 0) / {round(1 - slo.objective, 6)}"
            burn.append(_record(f"service:slo_burn:rate{window}", share, slo.name))
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
    # of 30 days, the share in which there was traffic
    seen = f"count_over_time(service:slo_requests:rate5m[30d:5m]) / {DERIVED['30d']}"
    return [
        group("red", [_record(name, expr) for name, expr in red.items()]),
        group("slo", [*objectives, *fast]),
        group("slo-long", [*slow, _record("service:slo_seen:ratio30d", seen)], "1m"),
        group("slo-burn", burn),
    ]


def _record(name: str, expr: str, slo: str = "") -> Json:
    return {"record": name, "expr": expr, **({"labels": {"slo": slo}} if slo else {})}


def group(name: str, rules: list[Json], interval: str = INTERVAL) -> Json:
    """A group of rules as Prometheus reads it."""
    return {"name": name, "interval": interval, "rules": rules}


def recorded(kit: Kit) -> set[str]:
    """The names of the recorded series."""
    return {rule["record"] for group in groups(kit) for rule in group["rules"]}
