"""What the pages show, from what the console knows; pieces are made once for all browsers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from console.render import percent, piece, span
from console.scrape import ERRORS_BAD, SLOW_BAD, Point, Service, Watcher
from console.store import Line, Store
from console.titles import Titles
from plainview.decode import SpanRecord

Rows = list[tuple[str, str]]  # key, markup
OWN = {"timestamp", "service", "environment", "event", "level", "log_type", "component"}
OWN |= {"request_id", "trace_id", "span_id", "user_id", "logger"}
POINTS = 60  # of a sparkline
LISTED = 12
LEAST = {"rate": 1, "errors": 0.05, "p95": 0.05, "cpu": 0.1, "memory": 1}  # a chart's least height


class View:
    """Everything that pages and commands read."""

    def __init__(self, store: Store, watcher: Watcher, titles: Titles | None = None) -> None:
        self.store, self.watcher, self.titles = store, watcher, titles or Titles()
        self._pieces: dict[str, tuple[tuple[int, ...], dict[str, Rows]]] = {}

    def now(self, language: str) -> dict[str, Rows]:
        """The panels of the page Now."""
        stamp = (self.watcher.rounds, self.store.line_count, self.store.span_count)
        known = self._pieces.get(language)
        if known is None or known[0] != stamp:
            known = self._pieces[language] = (stamp, self._now(language))
        return known[1]

    def _now(self, lang: str) -> dict[str, Rows]:
        status, reasons = self.verdict()
        services = self.watcher.services.values()
        return {
            "verdict": [("verdict", piece(lang, "verdict", status=status, reasons=reasons))],
            "services": [(s.name, _service(lang, s)) for s in services],
            "people": [("people", self._people(lang))],
            "events": list(self._events(lang)),
            "feed": [self._feed(lang, line) for line in islice(reversed(self.store.feed), LISTED)],
            "trouble": list(islice(self._trouble(lang), 8)),
            "changes": self._changes(lang),
        }

    def verdict(self) -> tuple[str, list[tuple[str, str, str]]]:
        """`pass`, `warn`, `fail` or `unknown`, and why: (word, of, what)."""
        bad: list[tuple[str, str, str]] = []
        odd: list[tuple[str, str, str]] = []
        for service in self.watcher.services.values():
            lost = [name for name, status in service.checks.items() if status != "pass"]
            if service.status in ("gone", "fail"):
                bad.append((f"why_{service.status}", service.name, ""))
                bad += [("why_dependency", service.name, name) for name in lost]
            elif service.status == "warn":
                without = [("why_without", service.name, name) for name in lost]
                odd += without or [("why_warn", service.name, "")]
            if service.now.errors > ERRORS_BAD:
                bad.append(("why_errors", service.name, percent(service.now.errors)))
            if service.now.p95 > SLOW_BAD:
                odd.append(("why_slow", service.name, span(service.now.p95)))
        event = self._page("event")
        if (age := event.value("reward_requests_oldest_pending_seconds")) > 60:
            bad.append(("why_backlog", "", span(age)))
        if wrong := event.value("claim_invariant_violations"):
            bad.append(("why_violation", "", f"{wrong:.0f}"))
        if not self.watcher.rounds:
            return "unknown", []
        return ("fail" if bad else "warn" if odd else "pass"), bad + odd

    def _page(self, service: str) -> Any:
        found = self.watcher.services.get(service)
        return (found or Service(service, "")).page

    def _people(self, lang: str) -> str:
        users = self._page("gateway").by("active_users", "window")
        recent = self._page("event").by("activity_recent", "kind")
        most = max([*recent.values(), 1.0])
        active = [(f"active_{window}", users.get(window, 0)) for window in ("day", "week", "month")]
        activity = [(kind, n, round(100 * n / most)) for kind, n in recent.items()]
        return piece(lang, "people", active=active, activity=activity)

    def _events(self, lang: str) -> Iterator[tuple[str, str]]:
        page = self._page("event")
        rates = page.by("event_participation_rate", "event_id")
        for event_id, count in islice(page.by("event_participants", "event_id").items(), 10):
            rewards = []
            for sample in page.all("reward_stock_left"):
                if sample.labels["event_id"] == event_id:
                    name, stock = self.titles.reward(sample.labels["reward_id"])
                    width = round(100 * sample.value / max(stock, sample.value, 1))
                    rewards.append((name, sample.value, stock, width))
            yield (
                event_id,
                piece(
                    lang,
                    "event",
                    title=self.titles.name(event_id),
                    participants=count,
                    rate=rates.get(event_id, 0.0),
                    rewards=rewards[:6],
                ),
            )

    def _feed(self, lang: str, line: Line) -> tuple[str, str]:
        doc = line.fields()
        status = "refused" if line.event == "reward.refused" else str(doc.get("status", ""))
        what = self.titles.reward(str(doc.get("reward_id", "")))[0]
        if line.event == "reward.decided":
            what = str(doc.get("reward_request_id", ""))
        return f"{line.at}{line.request_id}", piece(
            lang,
            "feed",
            id=line.request_id or line.trace_id,
            at=line.at,
            status=status,
            what=what,
            reason=str(doc.get("reason", "")),
        )

    def _trouble(self, lang: str) -> Iterator[tuple[str, str]]:
        for request in self.store.requests():
            if request.slow or request.failed:
                yield request.trace_id, piece(lang, "request", r=request)

    def _changes(self, lang: str) -> Rows:
        found = [(c.at, c.word, c.of, c.bad) for c in self.watcher.changes]
        for line in islice(reversed(self.store.changes), LISTED):
            doc = line.fields()
            about = str(doc.get("reward_id") or doc.get("event_id", ""))
            found.append((line.at, line.event, self.titles.name(about), False))
        return [
            (f"{at}{word}{of}", piece(lang, "change", at=at, word=word, of=of, bad=bad))
            for at, word, of, bad in sorted(found, reverse=True)[:8]
        ]

    def picks(self, lang: str, kind: str) -> Rows:
        """Requests to pick from: recent, slow or failed."""
        known = islice(self.store.requests(kind), LISTED)
        return [(r.trace_id, piece(lang, "request", r=r)) for r in known]

    def follow(self, lang: str, wanted: str, links: Mapping[str, str]) -> dict[str, Rows] | None:
        """The panels of one request; None if nothing is known of it."""
        found = self.store.find(wanted)
        if found is None:
            return None
        trace = next((s.trace_id for s in found.spans), "") or next(
            (x.trace_id for x in found.lines if x.trace_id), ""
        )
        request = next((r for r in self.store.requests() if r.trace_id == trace), None)
        shown = [
            (word, url.replace("{trace}", trace)) for word, url in links.items() if url and trace
        ]
        facts = piece(
            lang,
            "facts",
            r=request,
            trace_id=trace,
            request_id=next((x.request_id for x in found.lines if x.request_id), ""),
            services=len({s.service for s in found.spans} | {x.service for x in found.lines}),
            links=shown,
        )
        lines = [(f"{n}{line.at}", _line(lang, line)) for n, line in enumerate(found.lines)]
        return {
            "facts": [("facts", facts)],
            "spans": list(_waterfall(lang, found.spans)),
            "lines": lines[:500],
        }


def _service(lang: str, service: Service) -> str:
    now, series = service.now, list(service.series)
    memory = f"{now.memory / 2**20:.0f}"
    cpu_limit, memory_limit = service.cpu_limit, service.memory_limit
    full = (now.memory / memory_limit > 0.85) if memory_limit else False
    busy = (now.cpu / cpu_limit > 0.8) if cpu_limit else False
    numbers = [
        ("rate", f"{now.rate:.1f}", "", False, _spark(series, "rate")),
        ("errors", percent(now.errors), "", now.errors > ERRORS_BAD, _spark(series, "errors")),
        ("p95", *span(now.p95).split(" ", 1), now.p95 > SLOW_BAD, _spark(series, "p95")),
        ("cpu", f"{now.cpu:.0%}", "", busy, _spark(series, "cpu")),
        ("memory", memory, "MiB", full, _spark(series, "memory")),
    ]
    minutes = max(1, round((series[-1].at - series[0].at) / 60)) if series else 1
    uptime = max(0.0, time.time() - service.started) if service.started else 0.0
    return piece(lang, "service", service=service, numbers=numbers, minutes=minutes, uptime=uptime)


def _spark(series: list[Point], name: str) -> str:
    """SVG points in a box of 100 x 30 from zero to the largest value; means of equal parts."""
    size = max(1, -(-len(series) // POINTS))
    values = [
        sum(getattr(p, name) for p in part) / len(part)
        for part in (series[i : i + size] for i in range(0, len(series), size))
    ]
    top, step = max([*values, LEAST[name]]), 100 / max(1, len(values) - 1)
    return " ".join(f"{i * step:.1f},{29 - 27 * value / top:.1f}" for i, value in enumerate(values))


def _fields(doc: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(key), str(value)) for key, value in doc.items() if value not in (None, "")]


def _line(lang: str, line: Line) -> str:
    doc = line.fields()
    brief = "  ".join(f"{k}={v}" for k, v in doc.items() if k not in OWN)
    message = str(doc.get("message", ""))
    return piece(lang, "line", line=line, brief=brief, message=message, fields=_fields(doc))


def _waterfall(lang: str, spans: list[SpanRecord]) -> Iterator[tuple[str, str]]:
    if not spans:
        return
    start = min(s.start_ns for s in spans)
    whole = max(max(s.end_ns for s in spans) - start, 1)
    for depth, s in in_order(spans):
        width = min(100.0, 100 * (s.end_ns - s.start_ns) / whole)
        fields = {"span": s.span_id, "kind": s.kind, "status": s.status, **s.attributes}
        fields["status_description"] = s.status_description
        fields |= {f"event: {name}": attributes for name, attributes in s.events}
        yield (
            s.span_id,
            piece(
                lang,
                "span",
                s=s,
                depth=depth,
                left=round(100 * (s.start_ns - start) / whole, 2),
                width=round(width, 2),
                fields=_fields(fields),
            ),
        )


def in_order(spans: list[SpanRecord]) -> Iterator[tuple[int, SpanRecord]]:
    """Spans with their depth: parents before children, siblings by start."""
    known = {s.span_id for s in spans}
    children: dict[str, list[SpanRecord]] = {}
    for s in sorted(spans, key=lambda s: s.start_ns, reverse=True):
        children.setdefault(s.parent_id if s.parent_id in known else "", []).append(s)
    pending = [(0, s) for s in children.get("", [])]
    while pending:
        depth, s = pending.pop()
        yield depth, s
        pending += [(depth + 1, child) for child in children.get(s.span_id, [])]
