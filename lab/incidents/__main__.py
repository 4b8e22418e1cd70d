"""The break-it lab: `make break SCENARIO=...`, `make fix`, `make incidents`.

Exit code 1: the alert did not do what it should. 2: there is nothing that could be done.
"""

import signal
import sys
import threading
from typing import Annotated

import typer

from lab.incidents import lab as lab_
from lab.incidents.catalogue import BY_SLUG, INCIDENTS, Incident
from lab.incidents.lab import Lab
from lab.incidents.places import LabError, find
from lab.incidents.work import perform

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def listing() -> str:
    """All scenarios, one line each."""
    return "\n".join(f"  {one.slug:<15} {one.title} ({one.alert.name})" for one in INCIDENTS)


def known(slug: str) -> Incident:
    """LabError with all scenarios if there is none of this name."""
    if slug not in BY_SLUG:
        raise LabError(f"there is no scenario {slug!r}; there are:\n{listing()}")
    return BY_SLUG[slug]


def say(text: str) -> None:
    """At once, also into a pipe."""
    print(text, flush=True)


@app.command("list")
def list_() -> None:
    """All scenarios."""
    say(listing())


@app.command("break")
def break_(scenario: str) -> None:
    """Break something of what runs, watch its alert become true, leave it broken."""
    incident = known(scenario)
    if not lab_.break_one(Lab(find(), say), incident):
        raise SystemExit(1)


@app.command()
def fix() -> None:
    """Repair what is broken and watch its alert become false."""
    if not lab_.fix(Lab(find(), say)):
        raise SystemExit(1)


@app.command()
def run(scenarios: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Break and repair one after another (all, if none is named), print a table."""
    chosen = [known(slug) for slug in scenarios] if scenarios else INCIDENTS
    trials = lab_.run(Lab(find(), say), chosen)
    say(f"\n{lab_.table(trials)}")
    if any(trial.true_s is None or trial.false_s is None or trial.others for trial in trials):
        raise SystemExit(1)


@app.command(hidden=True)
def work(scenario: str) -> None:
    """What goes on while a scenario is broken; started by `break`."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    place = find()
    if trial := Lab(place).load():
        perform(known(scenario).work, place, trial.details, stop)


if __name__ == "__main__":
    try:
        app()
    except LabError as exc:
        print(f"incidents: {exc}", file=sys.stderr)
        raise SystemExit(2) from None
