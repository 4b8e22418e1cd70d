"""Metrics of the gateway, and the functions by which its code reports what happened."""

from typing import Literal, get_args

from plainview import Catalogue

CATALOGUE = Catalogue("gateway")
UPSTREAMS = ("auth", "event")
Verified = Literal["accepted", "rejected", "forbidden", "keys_unavailable"]

_decisions = CATALOGUE.counter(
    "rate_limit_decisions_total",
    "Requests by limit and what the limit said.",
    labels={"limit": ("user", "address", "sign_in"), "outcome": ("allowed", "limited")},
)
_degraded = CATALOGUE.gauge(
    "rate_limit_degraded", "1 while requests are limited by this process alone, without Redis."
)
_breaker = CATALOGUE.gauge(
    "upstream_breaker_open", "1 while calls of the upstream are refused.",
    labels={"upstream": UPSTREAMS},
)  # fmt: skip
_retries = CATALOGUE.counter(
    "upstream_retries_total",
    "Retries made, and those the budget did not pay for.",
    labels={"upstream": UPSTREAMS, "outcome": ("retried", "budget_exhausted")},
)
_fast_failures = CATALOGUE.counter(
    "upstream_fast_failures_total",
    "Requests refused because the breaker was open.",
    labels={"upstream": UPSTREAMS},
)
_verifications = CATALOGUE.counter(
    "token_verifications_total",
    "Access tokens presented, by outcome.",
    labels={"outcome": get_args(Verified)},
)


class UpstreamSignals:
    """Receives what UpstreamClient reports (`shared.web.client.Hooks`)."""

    def breaker_open(self, upstream: str, is_open: bool) -> None:
        """The breaker of an upstream opened or closed."""
        _breaker.set(is_open, upstream=upstream)

    def retry(self, upstream: str, outcome: str) -> None:
        """A call was repeated ("retried"), or not for want of budget ("budget_exhausted")."""
        _retries.inc(upstream=upstream, outcome=outcome)

    def fast_failure(self, upstream: str) -> None:
        """A call was refused without being made, as the breaker is open."""
        _fast_failures.inc(upstream=upstream)


def limit_decision(limit: str, allowed: bool) -> None:
    """A limit let a request through, or did not."""
    _decisions.inc(limit=limit, outcome="allowed" if allowed else "limited")


def limits_degraded(value: bool) -> None:
    """Whether each process counts limits by itself, as Redis is away."""
    _degraded.set(value)


def verification(outcome: Verified) -> None:
    """A token was `accepted`, `rejected`, its roles `forbidden`, or there were no keys for it."""
    _verifications.inc(outcome=outcome)
