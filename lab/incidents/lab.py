"""Break, watch, repair. What is broken stands in a file, so that another shell can repair it."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Self

import httpx

from lab.incidents import messages
from lab.incidents.catalogue import BY_NAME, BY_SLUG, Incident
from lab.incidents.places import Compose, Details, LabError, Place
from lab.incidents.watch import Found, Watch
from lab.processes import end, spawn
from ops.files import write_private

PAGES = "docs/incidents"
TRUE_S = 180.0  # seconds until the expression has to be true; its `for` is not waited for
HOLD_S = 10.0  # seconds to look on, since other alerts may follow
# On a busy machine one late answer makes an expression true for a scrape or two. Alerts that have
# to hold for minutes before they notify count as unexpected only after so many seconds.
LASTING_S = 10.0
STEP_S = 1.0
TELL_S = 15.0
WORKER = [sys.executable, "-m", "lab.incidents", "work"]
NO_PROMETHEUS = (
    "Prometheus is not to be had here, so the alert is not watched: put it on your PATH, or build "
    "it with `tests/stack/build prometheus` (needs Go)"
)
GRACE_S = 150.0  # on top of an expression's window, on a busy machine


@dataclass
class Trial:
    """One incident under way; times are seconds since the epoch, durations seconds."""

    slug: str
    place: str
    details: Details = field(default_factory=dict)
    before: dict[str, list[str]] = field(default_factory=dict)
    broken_at: float = 0
    true_s: float | None = None
    repaired_at: float = 0
    false_s: float | None = None
    others: dict[str, list[str]] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)  # unexpected alerts that are true now
    decaying: list[str] = field(default_factory=list)
    worker: int = 0
    prometheus: int = 0
    url: str = ""

    @property
    def incident(self) -> Incident:
        return BY_SLUG[self.slug]

    def new(self, found: Found, alert: str) -> set[str]:
        """Series of the alert that were not there before the fault."""
        return found[alert] - set(self.before.get(alert, ()))

    def note(self, found: Found, now: float) -> bool:
        """Remember unexpected alerts; whether there are some that have yet to last LASTING_S."""
        expected = {self.incident.alert.name, *self.incident.consequences, *self.decaying}
        others = {name: new for name in found.keys() - expected if (new := self.new(found, name))}
        self.since = {name: self.since.get(name, now) for name in others}
        for name, series in others.items():
            if BY_NAME[name].for_ == "0s" or now - self.since[name] >= LASTING_S:
                self.others[name] = sorted(series | set(self.others.get(name, ())))
        return bool(self.since.keys() - self.others.keys())


class Lab:
    """Acts on a place; `say` tells the progress."""

    def __init__(self, place: Place, say: Callable[[str], None] = print) -> None:
        self.place, self.say = place, say
        self.file = place.directory.parent / "incident.json"
        self.watch: Watch | None = None
        self.trials: list[Trial] = []

    # --- state

    def load(self) -> Trial | None:
        """What is broken now, by this command or another."""
        return Trial(**json.loads(self.file.read_text())) if self.file.exists() else None

    def _save(self, trial: Trial) -> None:
        write_private(self.file, json.dumps(asdict(trial), indent=2) + "\n")

    def resume(self, trial: Trial) -> Self:
        """Take up what another command began."""
        self.trials, self.watch = [trial], Watch(trial.url) if trial.url else None
        return self

    # --- steps

    def begin(self, incident: Incident) -> Trial:
        """Record the incident in the file and start a Prometheus; nothing is broken yet."""
        if broken := self.load():
            raise LabError(f"{broken.slug} is broken already: `make fix` first")
        if isinstance(self.place, Compose) and not incident.compose:
            raise LabError(f"{incident.slug} is for the demo: it needs its processes at hand")
        trial = Trial(incident.slug, self.place.name)
        if self.trials:  # one Prometheus for all of a run
            trial.prometheus, trial.url = self.trials[-1].prometheus, self.trials[-1].url
        else:
            trial.prometheus, trial.url = self.place.watched_by()
        self.trials.append(trial)
        self._save(trial)
        if trial.url and not self.watch:
            self.say(f"Prometheus: {trial.url}")
            self.watch = Watch(trial.url)
        return trial

    def inject(self, trial: Trial) -> None:
        """Break it, once the alert's expression is false."""
        incident, own = trial.incident, trial.incident.alert.name
        if self.watch:
            self.watch.settle()
            if incident.own_series:
                self._look()
            elif not self._wait(
                lambda found: not found[own], TRUE_S + GRACE_S, f"{own} is true already, not by us"
            ):
                raise LabError(f"{own} stays true: something is wrong without the lab")
            already = ", ".join(sorted(self._look()[own]))
            self.say(f"{own} is false" + (f", but of these: {already}" if already else ""))
        try:
            trial.details = incident.prepare(self.place)
        except httpx.HTTPError as exc:
            raise LabError(f"{incident.slug} cannot be prepared: {exc}") from exc
        if self.watch:
            found = self._look()
            trial.before = {alert: sorted(series) for alert, series in found.items() if series}
            # Alerts of the incidents before may still come and go while their windows pass.
            trial.decaying = sorted(
                {
                    name
                    for before in self.trials[:-1]
                    if not before.incident.own_series
                    for name in (before.incident.alert.name, *before.incident.consequences)
                    if name in trial.before or before is self.trials[-2]
                }
                - {own}
            )
        trial.broken_at = time.time()
        self._save(trial)
        self.say(f"breaking: {incident.title}")
        incident.fault.inject(self.place, trial.details)
        if incident.work:
            trial.worker = spawn([*WORKER, incident.slug], self.place.directory / "work.log")
        self._save(trial)

    def await_true(self, trial: Trial) -> bool:
        """Whether the alert's own expression became true in time; notes others that did."""
        alert = trial.incident.alert.name
        if not self.watch:
            self.say(NO_PROMETHEUS)
            return True

        def look(found: Found) -> bool:
            trial.note(found, time.monotonic())
            return bool(trial.new(found, alert))

        if not self._wait(look, TRUE_S, f"{alert} is not true yet"):
            self.say(f"{alert} did not become true within {TRUE_S:.0f} s")
            return False
        trial.true_s = round(time.time() - trial.broken_at, 1)
        series = ", ".join(sorted(trial.new(self._look(), alert)))
        self.say(f"{alert} is true after {trial.true_s:.0f} s: {series}")
        held = time.monotonic() + HOLD_S
        while trial.note(self._look(), now := time.monotonic()) or now < held:
            if now > held + 3 * LASTING_S:  # an alert that keeps changing would hold us for ever
                break
            time.sleep(STEP_S)
        self._save(trial)
        for other, found in trial.others.items():
            self.say(f"UNEXPECTED: {other} became true as well: {', '.join(found)}")
        return not trial.others

    def repair(self, trial: Trial) -> None:
        """Undo the fault and end its work; may be repeated, also after half of an injection."""
        if trial.broken_at:
            self.say(f"repairing: {trial.incident.title}")
            trial.incident.fault.repair(self.place, trial.details)
        end(trial.worker, "lab.incidents")
        trial.repaired_at = trial.repaired_at or time.time()
        self._save(trial)

    def await_false(self, trial: Trial) -> bool:
        """Whether the expression became false again."""
        if not self.watch or trial.true_s is None:
            return True
        incident, window = trial.incident, trial.incident.window
        if window != "none" and trial.false_s is None:
            self.say(f"the expression looks back {window}, so it takes up to that to be false")
        window_s = 0 if window == "none" else 60 * float(window.split()[0])
        self._wait(
            lambda _: trial.false_s is not None,
            window_s + GRACE_S,
            f"{incident.alert.name} is true",
        )
        if trial.false_s is None:
            self.say(f"{incident.alert.name} is still true")
            return False
        self.say(f"{incident.alert.name} is false {trial.false_s:.0f} s after the repair")
        return True

    def end(self) -> None:
        """End the lab's Prometheus and forget the incident."""
        if self.trials:
            end(self.trials[-1].prometheus, str(self.place.directory))
        self.file.unlink(missing_ok=True)

    # --- looking

    def _look(self) -> Found:
        assert self.watch  # noqa: S101 - for mypy: callers have asked
        found = self.watch.look()
        for trial in self.trials:
            awaited = trial.repaired_at and trial.true_s is not None and trial.false_s is None
            if awaited and not trial.new(found, trial.incident.alert.name):
                trial.false_s = round(time.time() - trial.repaired_at, 1)
        return found

    def _wait(self, look: Callable[[Found], bool], within_s: float, progress: str = "") -> bool:
        began = told = time.monotonic()
        while not look(self._look()):
            now = time.monotonic()
            if now - began > within_s:
                return False
            if progress and now - told > TELL_S:
                told = now
                self.say(f"{now - began:4.0f} s  {progress}")
            time.sleep(STEP_S)
        return True


def break_one(lab: Lab, incident: Incident) -> bool:
    """`make break`: leave the fault in; whether its alert and no other one saw it."""
    trial = lab.begin(incident)
    lab.inject(trial)
    good = lab.await_true(trial)
    if isinstance(lab.place, Compose) and trial.true_s is not None:
        good &= messages.await_all(incident.alert, "firing", trial.broken_at, lab.say)
    lab.say(
        f"\nLook at {lab.place.console}, and at {trial.url or 'the services'}/alerts\n"
        f"Find it yourself, or read {PAGES}/{incident.slug}.md and "
        f"docs/runbooks/{incident.alert.runbook}.md\nThen: make fix"
    )
    return good


def fix(lab: Lab) -> bool:
    """`make fix`: repair what is broken, wait until its alert is false, leave nothing running."""
    trial = lab.load()
    if not trial:
        raise LabError("nothing is broken")
    try:
        lab.resume(trial).repair(trial)
        good = lab.await_false(trial)
        if isinstance(lab.place, Compose) and trial.true_s is not None:
            alert = trial.incident.alert
            good &= messages.await_all(alert, "resolved", trial.repaired_at, lab.say)
    finally:
        if trial.repaired_at:
            lab.end()
    return good


def run(lab: Lab, incidents: Iterable[Incident]) -> list[Trial]:
    """Break and repair one after another; an alert that looks back for minutes ends meanwhile."""
    try:
        for incident in incidents:
            lab.say(f"\n--- {incident.slug}")
            trial = lab.begin(incident)
            try:
                lab.inject(trial)
                lab.await_true(trial)
            finally:
                lab.repair(trial)
                lab.file.unlink()
        lab.say("\n--- waiting for the last to become false")
        for trial in lab.trials:
            lab.await_false(trial)
    finally:
        lab.end()
    return lab.trials


def table(trials: Iterable[Trial]) -> str:
    """Markdown: what each took."""

    def cell(value: float | None) -> str:
        return "never" if value is None else f"{value:.0f}"

    rows = [
        f"| {trial.slug} | {trial.incident.alert.name} | {cell(trial.true_s)} "
        f"| {cell(trial.false_s)} | {', '.join(trial.others) or 'none'} "
        f"| {', '.join(trial.decaying) or 'none'} |"
        for trial in trials
    ]
    head = (
        "| scenario | alert | s to true | s to false | others true | of before, not counted |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)
