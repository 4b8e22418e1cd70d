"""Pieces of PromQL that panels share. Lists of labels are written as in PromQL: "le, path"."""

from collections.abc import Iterable

# Every series of a service has both labels; "All" in a dashboard's variable matches all values.
ENVIRONMENT = 'environment=~"$environment"'
SERVICE_MATCHERS = f'{ENVIRONMENT},service=~"$service"'


def where(*matchers: str) -> str:
    """A selector of the chosen services, with further matchers."""
    return "{" + ",".join((SERVICE_MATCHERS, *matchers)) + "}"


def anywhere(*matchers: str) -> str:
    """A selector of all services: for what one of them tells, whichever are chosen."""
    return "{" + ",".join((ENVIRONMENT, *matchers)) + "}"


SERVICE = where()
SERVER_ERRORS = where('status_code=~"5.."')


def total(expr: str, by: str = "") -> str:
    """The sum, by these labels."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def rate(metric: str, by: str = "", labels: str = SERVICE) -> str:
    """The growth of a counter per second."""
    return total(f"rate({metric}{labels}[$__rate_interval])", by)


def growth(metric: str, by: str = "", labels: str = SERVICE) -> str:
    """The growth of a counter in the time range of the dashboard."""
    return total(f"increase({metric}{labels}[$__range])", by)


def highest(metric: str, by: str = "", labels: str = SERVICE) -> str:
    """A gauge that all replicas report alike; `max`, as a sum would count it several times."""
    return f"max by ({by}) ({metric}{labels})" if by else f"max({metric}{labels})"


def quantile(part: float, histogram: str, by: str = "", labels: str = SERVICE) -> str:
    """A quantile of a histogram; no series without observations (NaN is left out)."""
    buckets = rate(f"{histogram}_bucket", f"le, {by}" if by else "le", labels)
    return f"histogram_quantile({part}, {buckets}) >= 0"


def error_ratio(by: str = "service") -> str:
    """The share of requests that ended with a server error; 0 if none did."""
    every = rate("http_requests_total", by)
    failed = rate("http_requests_total", by, SERVER_ERRORS)
    return f"({failed} or {every} * 0) / ({every} > 0)"


Causes = Iterable[tuple[str, str]]  # expression, and what its value counts


def either(causes: Causes) -> str:
    """All series of the expressions, each with its text as the label `cause`."""
    return " or ".join(f'label_replace({expr}, "cause", "{text}", "", "")' for expr, text in causes)
