"""The local catcher takes a message of any channel, and no more than it may."""

import pytest
from fastapi.testclient import TestClient

from ops.notify_sink import BODY_LIMIT, KEPT, create_app

CARD = {"content": {"body": [{"text": "RESOLVED x is over after 2m"}, {"text": "x is over"}]}}


@pytest.fixture
def sink():
    with TestClient(create_app()) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/slack", {"attachments": [{"title": "RESOLVED: x"}]}, ("slack", "resolved", 200)),
        ("/pagerduty/v2/enqueue", {"event_action": "trigger"}, ("pagerduty", "firing", 202)),
        ("/pagerduty", {"event_action": "resolve"}, ("pagerduty", "resolved", 202)),
        ("/deadman", {"status": "firing"}, ("deadman", "firing", 200)),
        ("/teams", ["no object"], ("teams", "firing", 200)),
        ("/teams", {"attachments": [CARD]}, ("teams", "resolved", 200)),
    ],
)
def test_a_message_is_kept(sink, path, body, expected):
    channel, state, status = expected
    assert sink.post(path, json=body).status_code == status
    (entry,) = sink.get("/messages", params={"channel": channel}).json()
    assert (entry["channel"], entry["state"]) == (channel, state)
    assert f"{channel}: {state}" in sink.get("/").text


def test_what_is_too_long_or_no_channel_is_refused(sink):
    assert sink.post("/slack", content=b"x" * (BODY_LIMIT + 1)).status_code == 413
    assert sink.post("/No%20Channel", json={}).status_code == 422
    assert sink.get("/messages").json() == []


def test_only_the_newest_are_kept(sink):
    for number in range(KEPT + 1):
        sink.post("/slack", json={"text": str(number)})
    kept = sink.get("/messages").json()
    assert (len(kept), kept[0]["message"]["text"]) == (KEPT, "1")
