"""Labels of one's own on HTTP metrics, their bound, and sizes; each a process, as its registry."""

import json
from typing import Any

import pytest

from plainview.decode import Sample, parse_metrics
from plainview.http_metrics import HttpLabels
from tests.support.processes import python

PROGRAM = """
import json, sys
from fastapi import FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from plainview import ObservabilitySettings, observe
from plainview.testing import captured_logs

app = FastAPI()

@app.post("/items/{item}")
async def item(item: str, request: Request):
    request.state.plan = item
    return len(await request.body())

arguments = json.loads(sys.argv[1])
labels = arguments.pop("labels")
if labels is not None:
    labels["kind"] = lambda scope: scope["path"][:2]
with captured_logs() as lines:
    observe(app, ObservabilitySettings(service_name="own", **arguments), http_labels=labels)
with TestClient(app) as client:
    for number in range(6):
        client.post(f"/items/{number % 2}", headers={"X-Tenant": f"t{number}"}, content=b"x" * 500)
    client.get("/nowhere")
    page = client.get("/metrics").text
print(json.dumps([page, [line["reason"] for line in lines if "reason" in line]]))
"""


def kind(scope: Any) -> str:
    return scope["path"][:2] + chr(0xD800)  # half a character


def page(labels: dict[str, str] | None, **arguments: Any) -> tuple[list[Sample], list[str]]:
    """What the metrics page has of HTTP that is not zero, and what was told at the start."""
    done = python(PROGRAM, json.dumps({"labels": labels, "traces": False, **arguments}))
    assert done.returncode == 0, done.stdout + done.stderr
    text, told = json.loads(done.stdout.splitlines()[-1])
    return [s for s in parse_metrics(text) if s.name.startswith("http_") and s.value], told


def requests(samples: list[Sample], *names: str) -> dict[tuple[str, ...], float]:
    """`http_requests_total` by these labels."""
    found = [s for s in samples if s.name == "http_requests_total"]
    return {tuple(s.labels[name] for name in names): s.value for s in found}


def test_values_come_from_headers_state_and_functions(monkeypatch):
    def fails(scope):
        raise LookupError("none")

    monkeypatch.setenv("PLAINVIEW_STRICT", "0")
    sources = {"tenant": "header:X-Tenant", "plan": "state:plan", "kind": kind, "fails": fails}
    labels = HttpLabels(sources, 10)
    scope = {"path": "/items", "headers": [(b"x-tenant", b"t1")], "state": {"plan": 7}}
    assert labels.of(scope) == ("t1", "7", "/i?", "")
    assert labels.of({"path": "/", "headers": []}) == ("", "", "/?", "")


def test_further_values_are_other_and_sizes_are_there_by_setting():
    asked = {"tenant": "header:X-Tenant", "plan": "state:plan"}
    samples, told = page(asked, http_labels_limit=2, http_sizes=True)
    assert told == []
    assert requests(samples, "path", "tenant", "plan", "kind") == {
        ("/items/{item}", "t0", "0", "/i"): 1,
        ("/items/{item}", "t1", "1", "/i"): 1,
        ("/items/{item}", "_other", "_other", "_other"): 4,
        ("__unknown__", "_other", "_other", "_other"): 1,
    }
    sums = {(s.name, s.labels["tenant"]): s.value for s in samples if s.name.endswith("bytes_sum")}
    assert sums["http_request_size_bytes_sum", "t1"] == 500
    assert sums["http_response_size_bytes_sum", "t1"] == 3


def test_the_stock_way_has_neither_and_says_so():
    samples, told = page({"tenant": "header:X-Tenant"}, http_sizes=True, metrics_by="stock")
    assert len(requests(samples, "path")) == 2
    assert {len(s.labels) for s in samples if s.name == "http_requests_total"} == {4}
    assert not [s for s in samples if "size_bytes" in s.name]
    assert told == ["http_labels and http_sizes are not used with metrics_by=stock"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("path", "header:x"), ("le", "state:x"), ("__a", "header:x"), ("a-b", "header:x"),
        ("", "header:x"), ("a", "cookie:x"), ("a", "header:"), ("a", ""), ("a", 7), ("a", None),
    ],
)  # fmt: skip
def test_a_label_that_cannot_be_is_an_error_at_once(name, source):
    with pytest.raises(ValueError, match="http_labels"):
        HttpLabels({name: source}, 10)
