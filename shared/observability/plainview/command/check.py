"""`plainview check`: asks a running service and says in plain words what is missing or wrong."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from .asking import NoReply, Service
from .findings import SKIPPABLE, look
from .metric_findings import ADVICE, OK, WRONG, Finding

DESCRIPTION = """\
Asks a running service: its metrics and health pages, one traced request, one of an unknown path.
Says what is missing or wrong and what to do. Ask the service itself: a proxy before it may hide
its pages, and that is meant so.

exit status: 0 all is well (there may be advice), 1 something is wrong, 2 it could not be asked
"""
EXAMPLES = """\
examples:
  plainview check http://127.0.0.1:8000
  plainview check http://shop:8000 --ops http://shop:9000 --path /api/items   # ops_port is set
  plainview check http://127.0.0.1:8000 --json --skip traces                  # in CI
"""
SIGNS = {OK: "ok    ", ADVICE: "advice", WRONG: "WRONG "}


def add_to(commands: Any) -> None:
    """Declare the command and its options."""
    parser = commands.add_parser(
        "check", help="ask a running service what of its observability is missing or wrong",
        description=DESCRIPTION, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    option = parser.add_argument
    option("url", metavar="URL", help="the service's address")
    option("--ops", metavar="URL", help="the address of metrics and health, if they have another")
    option(
        "--path", default="/",
        help="the path of the traced request; it should answer below 500 (default: %(default)s)",
    )  # fmt: skip
    option(
        "--skip", metavar="WHAT,...", default="",
        help=f"leave out what is switched off on purpose, of {', '.join(SKIPPABLE)}",
    )  # fmt: skip
    option(
        "--max-series", metavar="N", type=int, default=10_000,
        help="more than so many series of one process are wrong (default: %(default)s)",
    )  # fmt: skip
    option(
        "--timeout", metavar="SECONDS", type=float, default=15,
        help="for all requests together (default: %(default)s)",
    )  # fmt: skip
    option("--strict", action="store_true", help="exit status 1 for advice too")
    option("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Ask, print what was found."""
    skip = {part for part in chosen.skip.replace(" ", "").split(",") if part}
    if unknown := skip - set(SKIPPABLE):
        raise ValueError(f"--skip {', '.join(sorted(unknown))}: known are {', '.join(SKIPPABLE)}")
    if chosen.timeout <= 0:
        raise ValueError("--timeout: seconds, more than 0")
    if not chosen.path.startswith("/") or not chosen.path.isprintable() or " " in chosen.path:
        raise ValueError(f"--path {chosen.path!r}: a path such as /api/items")
    service = Service(chosen.url, chosen.timeout)
    ops = Service(chosen.ops, chosen.timeout, service.deadline) if chosen.ops else service
    try:
        findings = look(service, ops, chosen.path, skip, chosen.max_series)
    except NoReply as error:
        if chosen.json:
            _print_json(chosen.url, "unreachable", [], error=str(error))
        else:
            sys.stderr.write(f"plainview: cannot ask {chosen.url}: {error}\n")
        return 2
    levels = {finding.level for finding in findings}
    wrong = WRONG in levels or (chosen.strict and ADVICE in levels)
    if chosen.json:
        _print_json(chosen.url, "wrong" if wrong else "ok", findings)
    else:
        _print(findings)
    return 1 if wrong else 0


def _print(findings: list[Finding]) -> None:
    say = sys.stdout.write
    for finding in findings:
        say(f"{SIGNS[finding.level]}  {finding.what}: {finding.says}\n")
        if finding.do:
            say(f"        {finding.do}\n")
    counts = [
        f"{sum(each.level == level for each in findings)} {word}"
        for level, word in ((WRONG, "wrong"), (ADVICE, "advice"), (OK, "ok"))
    ]
    say(f"{', '.join(counts)}\n")


def _print_json(url: str, verdict: str, findings: list[Finding], **more: str) -> None:
    listed = [asdict(finding) for finding in findings]
    document = {"url": url, "verdict": verdict, **more, "findings": listed}
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
