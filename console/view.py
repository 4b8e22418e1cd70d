"""What the pages show, from what the console knows; pieces are made once for all browsers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from console.render import percent, piece, span
from console.scrape import Watcher
from console.store import Line, Store
from console.titles import Titles
from plainview.decode import Metrics, SpanRecord
from shared.thresholds import PENDING_S, SERVICE

Rows = list[tuple[str, str]]  # key, markup
Reasons = list[tuple[str, str, str]]  # word, of, what
OWN = {"timestamp", "service", "environment", "event", "level", "log_type", "component"}
OWN |= {"request_id", "trace_id", "span_id", "user_id", "logger", "message"}
LISTED = 12
MAX_LINES = 500  # of one request


class View:
    """Everything that pages and commands read."""

    def __init__(self, store: Store, watcher: Watcher) -> None:
        self.store, self.watcher, self.titles = store, watcher, Titles()
        self._made: dict[str, tuple[tuple[int, ...], dict[str, Rows]]] = {}

    def now(self, lang: str) -> dict[str, Rows]:
        """The panels of the page Now."""
        return self._once(f"now {lang}", lambda: self._now(lang))

    def picks(self, lang: str) -> dict[str, Rows]:
        """The lists of requests to pick from."""
        kinds = ("recent", "slow", "failed")
        return self._once(f"picks {lang}", lambda: {k: self._picks(lang, k) for k in kinds})

    def _once(self, key: str, make: Callable[[], dict[str, Rows]]) -> dict[str, Rows]:
        """Made once for all browsers, until there is something new."""
        stamp = (self.watcher.rounds, self.store.line_count, self.store.spans_seen)
        if key not in self._made or self._made[key][0] != stamp:
            self._made[key] = (stamp, make())
        return self._made[key][1]

    def _now(self, lang: str) -> dict[str, Rows]:
        self.titles.hear(self._page("event"))
        status, reasons = self.verdict()
        users = self._page("auth").by("active_users", "window")
        recent = self._page("event").by("activity_recent", "kind")
        services = self.watcher.services.values()
        newest = islice(reversed(self.store.feed), LISTED)
        return {
            "verdict": [("verdict", piece(lang, "verdict", status=status, reasons=reasons))],
            "services": [(s.name, piece(lang, "service", s=s)) for s in services],
            "people": [("people", piece(lang, "people", users=users, recent=recent))],
            "events": list(self._events(lang)),
            "feed": [(f"{line.at}{line.request_id}", self._fed(lang, line)) for line in newest],
            "trouble": self._picks(lang, "trouble")[:8],
            "changes": self._changes(lang),
        }

    def _fed(self, lang: str, line: Line) -> str:
        return piece(lang, "feed", line=line, doc=line.fields(), titles=self.titles)

    def verdict(self) -> tuple[str, Reasons]:
        """`pass`, `warn`, `fail` or `unknown`, and why."""
        bad: Reasons = []
        odd: Reasons = []
        for s in self.watcher.services.values():
            lost = [name for name, status in s.checks.items() if status != "pass"]
            if s.status in ("gone", "fail"):
                bad.append((f"why_{s.status}", s.name, ""))
                bad += [("why_dependency", s.name, name) for name in lost]
            elif s.status == "warn":
                without = [("why_without", s.name, name) for name in lost]
                odd += without or [("why_warn", s.name, "")]
            if s.now.errors > SERVICE.error_ratio:
                bad.append(("why_errors", s.name, percent(s.now.errors)))
            if s.now.p95 > SERVICE.latency_s:
                odd.append(("why_slow", s.name, span(s.now.p95)))
        event = self._page("event")
        if (age := event.value("reward_requests_oldest_pending_seconds")) > PENDING_S:
            bad.append(("why_backlog", "", span(age)))
        if wrong := event.value("claim_invariant_violations"):
            bad.append(("why_violation", "", f"{wrong:.0f}"))
        if not bad and any(s.status == "unknown" for s in self.watcher.services.values()):
            return "unknown", []
        return ("fail" if bad else "warn" if odd else "pass"), bad + odd

    def _page(self, service: str) -> Metrics:
        found = self.watcher.services.get(service)
        return found.page if found else Metrics()

    def _events(self, lang: str) -> Iterator[tuple[str, str]]:
        page = self._page("event")
        rates = page.by("event_participation_rate", "event_id")
        for event_id, count in islice(page.by("event_participants", "event_id").items(), 10):
            rewards = [
                (sample.labels["reward_id"], sample.value)
                for sample in page.all("reward_stock_left")
                if sample.labels["event_id"] == event_id
            ]
            about = {"id": event_id, "participants": count, "rate": rates.get(event_id, 0.0)}
            shown = piece(lang, "event", **about, rewards=rewards[:6], titles=self.titles)
            yield event_id, shown

    def _changes(self, lang: str) -> Rows:
        found: list[tuple[float, str, str, bool]] = list(self.watcher.changes)
        for line in islice(reversed(self.store.changes), LISTED):
            doc = line.fields()
            about = str(doc.get("reward_id") or doc.get("event_id", ""))
            found.append((line.at, line.event, self.titles.name(about), False))
        return [
            (f"{at}{word}{of}", piece(lang, "change", at=at, word=word, of=of, bad=bad))
            for at, word, of, bad in sorted(found, reverse=True)[:8]
        ]

    def _picks(self, lang: str, kind: str) -> Rows:
        known = islice(self.store.requests(kind), LISTED)
        return [(r.span_id, piece(lang, "request", r=r)) for r in known]

    def names_in(self, lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """The names of events and rewards that these lines have IDs of, by ID."""
        self.titles.hear(self._page("event"))
        ids = {str(line[key]) for line in lines for key in ("event_id", "reward_id") if key in line}
        return {any_id: name for any_id in ids if (name := self.titles.name(any_id)) != any_id}

    def _named(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A line's fields for people: names instead of IDs, no reason where there is none."""
        named = {}
        for key, value in fields.items():
            if key in ("event_id", "reward_id"):
                named[key.removesuffix("_id")] = self.titles.name(str(value))
            elif key not in OWN and (key, value) != ("reason", "none"):
                named[key] = value
        return named

    def follow(self, lang: str, wanted: str, links: Mapping[str, str]) -> dict[str, Rows]:
        """The panels of one request; empty ones if nothing is known of it."""
        found = self.store.find(wanted)
        if found is None:
            return {"facts": [], "spans": [], "lines": []}
        known: list[SpanRecord | Line] = [*found.spans, *found.lines]
        trace = next((x.trace_id for x in known if x.trace_id), "")
        of_it = (r for r in self.store.requests() if wanted in (r.request_id, r.trace_id))
        ids = (x.request_id for x in found.lines if x.request_id)
        facts = piece(
            lang, "facts", r=next(of_it, None), trace_id=trace, request_id=next(ids, ""),
            services={x.service for x in known}, links=links,
        )  # fmt: skip
        self.titles.hear(self._page("event"))
        lines = []
        for number, line in enumerate(found.lines[:MAX_LINES]):
            fields = line.fields()
            told = {"line": line, "fields": fields, "named": self._named(fields)}
            lines.append((f"{number}{line.at}", piece(lang, "line", **told)))
        spans = list(_waterfall(lang, found.spans))
        return {"facts": [("facts", facts)], "spans": spans, "lines": lines}


def _waterfall(lang: str, spans: list[SpanRecord]) -> Iterator[tuple[str, str]]:
    start = min((s.start_ns for s in spans), default=0)
    whole = max([s.end_ns - start for s in spans] + [1])
    for depth, s in in_order(spans):
        fields = {"span": s.span_id, "kind": s.kind, "status": s.status, **s.attributes}
        fields["status_description"] = s.status_description
        fields |= {f"event: {name}": attributes for name, attributes in s.events}
        place = {"depth": depth, "start": start, "whole": whole}
        yield s.span_id, piece(lang, "span", s=s, fields=fields, **place)


def in_order(spans: list[SpanRecord]) -> Iterator[tuple[int, SpanRecord]]:
    """Spans with their depth: parents before children, siblings by start."""
    known = {s.span_id for s in spans}
    children: dict[str, list[SpanRecord]] = {}
    for s in sorted(spans, key=lambda s: s.start_ns, reverse=True):
        children.setdefault(s.parent_id if s.parent_id in known else "", []).append(s)
    pending = [(0, s) for s in children.get("", [])]
    while pending:  # no recursion: a trace may be deeper than Python's stack
        depth, s = pending.pop()
        yield depth, s
        pending += [(depth + 1, child) for child in children.get(s.span_id, [])]
