"""Metrics of the gateway, and the functions by which its code reports what happened."""

from typing import Literal, get_args

from plainview import Catalogue

CATALOGUE = Catalogue("gateway")
Upstream = Literal["auth", "event"]
Retry = Literal["retried", "budget_exhausted"]  # repeated once, or not for want of budget
Limit = Literal["user", "address", "sign_in"]
Verified = Literal["accepted", "rejected", "forbidden", "keys_unavailable"]

DECISIONS = CATALOGUE.counter(
    "rate_limit_decisions_total",
    "Requests by limit and what the limit said.",
    labels={"limit": get_args(Limit), "outcome": ("allowed", "limited")},
)
DEGRADED = CATALOGUE.gauge(
    "rate_limit_degraded", "1 while requests are limited by this process alone, without Redis."
)
BREAKER = CATALOGUE.gauge(
    "upstream_breaker_open", "1 while calls of the upstream are refused.",
    labels={"upstream": get_args(Upstream)},
)  # fmt: skip
RETRIES = CATALOGUE.counter(
    "upstream_retries_total",
    "Retries made, and those the budget did not pay for.",
    labels={"upstream": get_args(Upstream), "outcome": get_args(Retry)},
)
FAST_FAILURES = CATALOGUE.counter(
    "upstream_fast_failures_total",
    "Requests refused because the breaker was open.",
    labels={"upstream": get_args(Upstream)},
)
VERIFICATIONS = CATALOGUE.counter(
    "token_verifications_total",
    "Access tokens presented, by outcome.",
    labels={"outcome": get_args(Verified)},
)


def breaker_open(upstream: Upstream, is_open: bool) -> None:
    """Calls of the upstream are refused from now on, or made again."""
    BREAKER.set(is_open, upstream=upstream)


def retry(upstream: Upstream, outcome: Retry) -> None:
    """A call that failed is repeated, or is not."""
    RETRIES.inc(upstream=upstream, outcome=outcome)


def fast_failure(upstream: Upstream) -> None:
    """A call was refused without being made, as the breaker is open."""
    FAST_FAILURES.inc(upstream=upstream)


def limit_decision(limit: Limit, allowed: bool) -> None:
    """A limit let a request through, or did not."""
    DECISIONS.inc(limit=limit, outcome="allowed" if allowed else "limited")


def limits_degraded(value: bool) -> None:
    """Whether each process counts limits by itself, as Redis is away."""
    DEGRADED.set(value)


def verification(outcome: Verified) -> None:
    """A token was `accepted`, `rejected`, its roles `forbidden`, or there were no keys for it."""
    VERIFICATIONS.inc(outcome=outcome)
