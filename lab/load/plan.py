"""What a load test is made of besides traffic: shapes over time, counts, thresholds, the report."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAX_USERS = 500
MAX_SECONDS = 30 * 60
THIRDS = 3  # a soak compares its last third with its first
KINDS = {  # step of a journey: kind, the unit of thresholds
    "list events": "read",
    "event": "read",
    "rewards": "read",
    "own requests": "read",
    "pending requests": "read",
    "join": "write",
    "decide": "write",
    "refresh": "write",
    "claim": "claim",
    "sign in": "sign-in",
    "failing sign-in": "sign-in",
}
MUST_HAPPEN = ("read", "claim")  # without any of these the test measured nothing and fails


def address_of(number: int) -> str:
    """An address of one's own for each member, of the range of RFC 2544 for such tests."""
    return f"198.18.{number >> 8 & 255}.{number & 255}"


class Shape(StrEnum):
    """How many users there are over time."""

    STEADY = "steady"
    SPIKE = "spike"
    SOAK = "soak"


def users_at(shape: Shape, elapsed_s: float, users: int, duration_s: float) -> int | None:
    """How many users there should be, at least 1; None after the end.

    `steady` and `soak` rise over the first tenth (at most 30 s) and stay. `spike` has a fifth of
    the users, and all of them at once from 40 to 60 percent of the time.
    """
    if elapsed_s >= duration_s:
        return None
    if shape is Shape.SPIKE:
        part = 1.0 if 0.4 <= elapsed_s / duration_s < 0.6 else 0.2
    else:
        part = min(1.0, elapsed_s / min(30.0, duration_s / 10))
    return max(1, math.ceil(users * part))


def percentile(histogram: Mapping[int, int], share: float) -> float:
    """The value in seconds that `share` of a histogram {ms: count} does not exceed; 0 if empty."""
    wanted, seen = share * sum(histogram.values()), 0
    for ms in sorted(histogram):
        seen += histogram[ms]
        if seen >= wanted:
            return ms / 1000
    return 0.0


@dataclass
class Record:
    """Counts of one test. Refusals are answers a client has to expect: not failures."""

    times: Counter[tuple[str, int, int]] = field(default_factory=Counter)  # step, third, ms
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)  # step, what it was
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)  # step, code

    def add(self, step: str, ms: float, third: int) -> None:
        """One request; of its time two digits, so that half an hour stays a small table."""
        unit = 1 if ms < 100 else 10 if ms < 1000 else 100
        self.times[step, min(THIRDS - 1, third), round(ms / unit) * unit] += 1

    def histogram(self, steps: Collection[str], third: int | None = None) -> Counter[int]:
        """The times of all these steps, {ms: count}."""
        total: Counter[int] = Counter()
        for (step, of, ms), count in self.times.items():
            if step in steps and third in (None, of):
                total[ms] += count
        return total

    def json(self) -> str:
        """For another process, where `read` takes it."""
        return json.dumps([[*counts.items()] for counts in vars(self).values()])

    @classmethod
    def read(cls, text: str) -> Record:
        """What `json` wrote."""
        found = json.loads(text)
        return cls(*(Counter({tuple(key): n for key, n in counts}) for counts in found))


@dataclass(frozen=True)
class Thresholds:
    """What a test must keep; times in seconds, `drift` is for soaks only."""

    error_ratio: float = 0.01
    p95_s: Mapping[str, float] = field(
        default_factory=lambda: {"read": 0.5, "write": 0.8, "claim": 1.0, "sign-in": 2.0}
    )
    drift: float = 2.0  # how many times the P95 of the first third that of the last may be
    drift_free_s: float = 0.1  # seconds; a P95 below this is not judged by its growth


@dataclass(frozen=True)
class Verdict:
    """One check: what was asked, what was measured."""

    what: str
    limit: str
    measured: str
    ok: bool


def judge(record: Record, thresholds: Thresholds, shape: Shape) -> list[Verdict]:
    """All checks that a test is passed or failed by."""
    ratio = record.failures.total() / max(1, record.times.total())
    limit = thresholds.error_ratio
    verdicts = [Verdict("error ratio", f"{limit:.4f}", f"{ratio:.4f}", ratio <= limit)]
    for kind, limit in thresholds.p95_s.items():
        steps = [step for step, of in KINDS.items() if of == kind]
        if not record.histogram(steps):
            verdicts.append(Verdict(f"P95 {kind}", "", "no request", kind not in MUST_HAPPEN))
            continue
        p95 = percentile(record.histogram(steps), 0.95)
        verdicts.append(Verdict(f"P95 {kind}", f"{limit:.3f} s", f"{p95:.3f} s", p95 <= limit))
        if shape is Shape.SOAK:
            first, last = (percentile(record.histogram(steps, n), 0.95) for n in (0, THIRDS - 1))
            allowed = max(thresholds.drift_free_s, first * thresholds.drift)
            text = f"{allowed:.3f} s", f"{last:.3f} s"
            verdicts.append(Verdict(f"P95 {kind}, last third", *text, last <= allowed))
    return verdicts


def report(record: Record, verdicts: Iterable[Verdict]) -> str:
    """The tables that a person reads."""
    lines = [f"{'step':18}{'requests':>10}{'failed':>8}{'refused':>9}{'P50 s':>9}{'P95 s':>9}"]
    for step in KINDS:
        if times := record.histogram([step]):
            failed, refused = (
                sum(n for (of, _), n in counts.items() if of == step)
                for counts in (record.failures, record.refusals)
            )
            p50, p95 = percentile(times, 0.5), percentile(times, 0.95)
            counted = f"{times.total():>10}{failed:>8}{refused:>9}{p50:>9.3f}{p95:>9.3f}"
            lines.append(f"{step:18}{counted}")
    for title, counts in (("refused, as expected", record.refusals), ("failed", record.failures)):
        lines += ["", f"{title}:"] if counts else []
        lines += [f"  {step}: {text}  {n}" for (step, text), n in sorted(counts.items())]
    lines += ["", f"{'check':26}{'limit':>10}{'measured':>12}"]
    for verdict in verdicts:
        mark = "ok" if verdict.ok else "FAILED"
        lines.append(f"{verdict.what:26}{verdict.limit:>10}{verdict.measured:>12}  {mark}")
    return "\n".join(lines)
