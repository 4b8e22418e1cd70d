"""`plainview kit`: dashboards, rules, alerts and runbooks of a service, as files."""

import argparse
import importlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from fastapi import FastAPI

from plainview import kit
from plainview.catalogue import Alert, Catalogue, Slo
from plainview.kit.config import Part
from plainview.kit.folder import NotOurs, Outcome
from plainview.kit.writing import USUAL_PARTS
from plainview.observe import Observability
from plainview.signals import LIBRARY_METRICS

DESCRIPTION = """\
Writes Grafana dashboards, Prometheus recording and alert rules, Grafana alert rules and runbooks
for a service that plainview observes, or for several. DIR/README.md says where each file goes.
Run again it changes only what differs; it overwrites nothing that others wrote or changed.
"""
EXAMPLES = """\
examples:
  plainview kit --out kit --service shop
  plainview kit --out kit --app shop.main:app --parts loki,redis --runbooks https://git/shop/kit
  plainview kit --out kit --service shop --check      # in CI: is the committed kit of today?
"""


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    parser = commands.add_parser(
        "kit", help="write dashboards, rules, alerts and runbooks of a service",
        description=DESCRIPTION, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    option = parser.add_argument
    option("--out", metavar="DIR", type=Path, required=True, help="the folder to write")
    option(
        "--service", metavar="NAME", action="append", default=[],
        help="the service_name of its settings, which is its job in Prometheus too; may come again",
    )  # fmt: skip
    option(
        "--app", metavar="MODULE[:NAME]", action="append", default=[],
        help="read what a service declares (Catalogue, Slo, Alert, an observed app); imports it",
    )  # fmt: skip
    option(
        "--parts", metavar="PART,...", default=",".join(USUAL_PARTS),
        help=f"what there is besides the service, of {', '.join(sorted(get_args(Part)))}"
        " (default: %(default)s)",
    )  # fmt: skip
    option(
        "--without", metavar="ALERT,...", default="",
        help="usual alerts to leave out, such as those of process metrics, which a page of several"
        " workers does not have: HighCpu,HighMemory,RestartLoop",
    )  # fmt: skip
    option("--runbooks", metavar="URL", default="", help="where DIR will be read, for links to it")
    option("--grafana", metavar="URL", default="http://localhost:3000", help="(%(default)s)")
    option(
        "--datasource", metavar="UID", default="prometheus",
        help="UID of Prometheus in Grafana, for alert rules (%(default)s)",
    )  # fmt: skip
    option("--force", action="store_true", help="overwrite also what others wrote or changed")
    option("--check", action="store_true", help="write nothing; exit status 1 if anything differs")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Write the kit, or say what would be written."""
    found = Declared()
    for place in chosen.app:
        found.read(place)
    if not (services := chosen.service or found.services):
        raise ValueError("--service NAME is missing, or --app with an observed app")
    in_catalogues = {id(each) for c in found.catalogues for each in (*c.slos, *c.alerts)}
    try:
        outcome = kit.write(
            chosen.out,
            service=services,
            slos=[slo for slo in found.slos if id(slo) not in in_catalogues],
            alerts=[alert for alert in found.alerts if id(alert) not in in_catalogues],
            catalogues=found.catalogues,
            parts=_listed(chosen.parts),
            without=_listed(chosen.without),
            runbooks=chosen.runbooks,
            grafana=chosen.grafana,
            datasource=chosen.datasource,
            force=chosen.force,
            dry=chosen.check,
        )
    except NotOurs as error:
        sys.stderr.write(f"plainview: {error}\n")
        return 1
    _report(chosen.out, outcome, dry=chosen.check)
    return 1 if chosen.check and (outcome.written or outcome.removed) else 0


def _listed(text: str) -> list[Any]:
    return [word for word in text.replace(" ", "").split(",") if word]


@dataclass
class Declared:
    """What services declare about themselves, each once."""

    services: list[str] = field(default_factory=list)
    catalogues: list[Catalogue] = field(default_factory=list)
    slos: list[Slo] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)

    def read(self, place: str) -> None:
        """Add what `module` or `module:name` declares; ValueError that says what is wrong with it.

        The module is imported, from the current folder too. `name` is an observed app, a Catalogue,
        an Slo, an Alert or a list of these; without a name everything of the module counts.
        """
        module_name, _, name = place.partition(":")
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever the service's own code raises
            why = f"{type(error).__name__}: {error}"
            raise ValueError(f"cannot import {module_name}: {why}") from error
        if not name:
            self.add([*vars(module).values()])
        elif not hasattr(module, name):
            raise ValueError(f"{module_name} has no {name}")
        elif not self.add(getattr(module, name)):
            raise ValueError(
                f"{place} is neither an app after observe() nor a Catalogue, Slo or Alert: for an"
                " app that a function makes, name the module with its Catalogue"
            )

    def add(self, found: Any) -> bool:
        """Take over what this object declares; False if it declares nothing."""
        if isinstance(found, FastAPI):
            found = getattr(found.state, "observability", None)
        if isinstance(found, Observability):
            if found.settings.service_name not in self.services:
                self.services.append(found.settings.service_name)
            found = found.catalogue or LIBRARY_METRICS
        if isinstance(found, list | tuple):
            return bool([each for each in found if self.add(each)])
        kinds: dict[type, list[Any]] = {
            Catalogue: self.catalogues, Slo: self.slos, Alert: self.alerts,
        }  # fmt: skip
        for kind, kept in kinds.items():
            if isinstance(found, kind):
                if found is not LIBRARY_METRICS and not any(each is found for each in kept):
                    kept.append(found)
                return True
        return False


def _report(directory: Path, outcome: Outcome, *, dry: bool) -> None:
    say = sys.stdout.write
    for word, paths in (
        ("differs" if dry else "written", outcome.written),
        ("is no part any more" if dry else "removed", outcome.removed),
        ("kept, as it was changed by hand", outcome.kept),
    ):
        for path in paths:
            say(f"{word}: {directory / path}\n")
    for note in outcome.notes:
        say(f"note: {note}\n")
    if not (outcome.written or outcome.removed):
        say(f"{directory} is as it should be\n")
    elif not dry:
        say(f"{directory / 'README.md'} says where each file goes\n")
