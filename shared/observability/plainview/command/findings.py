"""What `plainview check` asks a service, and what it says of the replies."""

import json
import secrets
from typing import Any

from plainview.context import REQUEST_ID_HEADER

from . import metric_findings
from .asking import Asked, NoReply, Reply, Service
from .metric_findings import ADVICE, OBSERVE, OK, WRONG, Finding, missing

SKIPPABLE = ("health", "metrics", "traces", "problems", "telemetry")


def look(
    service: Service, ops: Service, path: str, skip: set[str], max_series: int
) -> list[Finding]:
    """Ask everything; NoReply if the service itself does not answer."""
    first = Asked.of(service, path)
    before = None
    if "metrics" not in skip:
        before, _ = metric_findings.read(ops, metric_findings.PLAIN)
    traced = Asked.of(service, path)
    unknown = Asked.of(service, f"/plainview-check-{secrets.token_hex(8)}")
    findings = [_answer(first), _request_id(first, traced, unknown)]
    if "problems" not in skip:
        findings.append(_problem(unknown.reply))
    if "health" not in skip:
        findings += [_health(ops, "live"), _health(ops, "ready")]
    if "metrics" in skip:
        return findings
    page, complaint = metric_findings.read(ops, metric_findings.OPENMETRICS)
    findings.append(complaint)
    if page is None:
        return findings
    path_of_unknown = unknown.reply.path
    findings += metric_findings.names(page)
    findings += metric_findings.series(page, path_of_unknown, max_series)
    apart = metric_findings.apart(before, page)
    if apart:  # then it is chance which of its workers the page counts and names traces of
        findings.append(apart)
    elif before is not None:
        findings += metric_findings.counted(before, page)
    if "traces" not in skip and not apart:
        findings.append(metric_findings.trace(service, ops, traced, page))
    if "telemetry" not in skip:
        findings += metric_findings.telemetry(page)
    return findings


def _answer(asked: Asked) -> Finding:
    reply = asked.reply
    says = f"GET {reply.path} gave {reply.status} in {reply.seconds * 1000:.0f} ms"
    if reply.status < 500:
        return Finding("answer", OK, says)
    do = f"Its line http.request.failed, with request_id {asked.request_id}, has the reason."
    return Finding("answer", WRONG, says, do)


def _request_id(*asked: Asked) -> Finding:
    what = "request ID"
    for each in asked:
        given = each.reply.headers.get_all(REQUEST_ID_HEADER, [])
        where = f"the reply to GET {each.reply.path}"
        if not given:
            return Finding(what, WRONG, f"{where} has no {REQUEST_ID_HEADER}", OBSERVE)
        if len(given) > 1:
            do = "A proxy adds its own: let it hand on the one of the request."
            return Finding(what, WRONG, f"{where} has {len(given)} {REQUEST_ID_HEADER}", do)
        if given[0] != each.request_id:
            do = "Something before the service, or a middleware of it, makes its own."
            says = f"{where} has another {REQUEST_ID_HEADER} than the request"
            return Finding(what, WRONG, says, do)
    return Finding(what, OK, "comes back as it was sent, from an unknown path too")


def _problem(reply: Reply) -> Finding:
    what = "unknown path"
    if reply.status != 404:
        do = "A route that takes every path hides typos of clients; metrics count it as one route."
        return Finding(what, ADVICE, f"gives {reply.status} instead of 404", do)
    if reply.content_type != "application/problem+json":
        do = "Clients can tell errors apart by RFC 9457: answer with application/problem+json."
        says = f"404 as {reply.content_type or 'nothing'}, which is no problem document"
        return Finding(what, ADVICE, says, do)
    document = _json(reply)
    if document is None or document.get("status", 404) != 404 or "title" not in document:
        do = "RFC 9457: an object with `title` and, if there is a `status`, the reply's own."
        return Finding(what, WRONG, "its application/problem+json is no problem document", do)
    return Finding(what, OK, "404 with a problem document")


def _health(ops: Service, probe: str) -> Finding:
    what = f"/health/{probe}"
    try:
        reply = ops.get(what)
    except NoReply as error:
        return Finding(what, WRONG, str(error), "The event loop may be blocked.")
    document = _json(reply)
    if reply.status == 404:
        return Finding(what, WRONG, "404", missing("health"))
    if document is None or reply.content_type != "application/health+json":
        says = f"{reply.status} as {reply.content_type or 'nothing'}, not application/health+json"
        do = "A route of the application, or a proxy, answers in place of plainview."
        return Finding(what, WRONG, says, do)
    failing = _failing(document)
    if reply.status == 200 and probe == "ready" and document.get("status") == "warn":
        do = "It is served all the same; the line dependency.failed has the exception."
        return Finding(what, ADVICE, f"200, but {failing or 'something'} fails", do)
    if reply.status == 200:
        return Finding(what, OK, f"200, {document.get('status')}")
    why = failing or str(document.get("output", "no reason given"))
    do = {
        "starting": "Not every dependency was checked yet; does a check hang?",
        "draining": "It is about to end.",
    }.get(why, "Repair that; the line dependency.failed has the exception.")
    return Finding(what, WRONG, f"{reply.status}, not ready: {why}", do)


def _failing(document: dict[str, Any]) -> str:
    """The dependencies that are not well, each with its reason."""
    checks = document.get("checks")
    return ", ".join(
        f"{name} ({detail['output']})"
        for name, details in (checks.items() if isinstance(checks, dict) else ())
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, dict) and detail.get("status") != "pass" and "output" in detail
    )


def _json(reply: Reply) -> dict[str, Any] | None:
    try:
        found = json.loads(reply.body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
