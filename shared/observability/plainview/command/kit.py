"""`plainview kit`: dashboards, rules, alerts and runbooks of a service, as files."""

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from plainview import kit
from plainview.kit.config import Part
from plainview.kit.declared import Declared, declared
from plainview.kit.folder import NotOurs, Outcome
from plainview.kit.writing import USUAL_PARTS

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
    found = _declared(chosen.app)
    services = [*chosen.service, *(name for name in found.services if not chosen.service)]
    if not services:
        raise ValueError("--service NAME is missing, or --app with an observed app")
    try:
        outcome = kit.write(
            chosen.out,
            service=services,
            slos=found.slos,
            alerts=found.alerts,
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


def _declared(places: list[str]) -> Declared:
    every = Declared()
    for place in places:
        found = declared(place)
        for value in (*found.catalogues, *found.slos, *found.alerts):
            every.add(value)
        every.services += [name for name in found.services if name not in every.services]
    return every.without_doubles()


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
