"""Stand-in for Slack, PagerDuty and other ways to people: keeps what arrives, shows it on a page.

POST /<channel> takes a message (also /pagerduty/v2/enqueue); GET / shows the last 500,
GET /messages gives them as JSON. Nothing leaves the machine, nothing is stored.
"""

import html
import json
import os
from collections import deque
from datetime import UTC, datetime
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

KEPT = 500
BODY_LIMIT = 256 * 1024  # bytes
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">
<title>Notifications</title><style>
:root{color-scheme:light dark} body{font:15px/1.5 system-ui;margin:2rem auto;max-width:60rem;
padding:0 1rem} article{border-left:4px solid #888;padding:.2rem 1rem;margin:1rem 0}
article.firing{border-color:#d33} article.resolved{border-color:#2a2}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:13px} small{opacity:.7}
</style></head><body><h1>Notifications</h1>
<p>What would have gone to people and to the dead man's switch. Newest first.</p>
%s</body></html>"""
Channel = Annotated[str, Path(pattern=r"^[a-z-]{1,30}$")]


def state_of(message: dict[str, Any]) -> str:
    """`firing` or `resolved`, as far as the message says."""
    over = (
        message.get("event_action") == "resolve"  # PagerDuty
        or message.get("status") == "resolved"  # a webhook
        or '"RESOLVED' in json.dumps(message)  # our title, wherever a channel has it
    )
    return "resolved" if over else "firing"


def message_of(body: bytes) -> dict[str, Any]:
    """The message, or its text if it is no JSON object."""
    try:
        message = json.loads(body)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {"text": body.decode("utf-8", "replace")}


def create_app() -> FastAPI:
    """Build the sink with an empty memory of at most KEPT messages."""
    app = FastAPI(title="notification sink", openapi_url=None, max_body_size=BODY_LIMIT)
    kept: deque[dict[str, Any]] = deque(maxlen=KEPT)

    @app.post("/pagerduty/v2/enqueue")
    async def pagerduty(request: Request) -> Response:
        return await take("pagerduty", request)

    @app.post("/{channel}")
    async def take(channel: Channel, request: Request) -> Response:
        message = message_of(await request.body())
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept.append({"at": at, "channel": channel, "state": state_of(message), "message": message})
        if channel == "pagerduty":
            reply = {"status": "success", "message": "Event processed", "dedup_key": "local"}
            return JSONResponse(reply, status_code=202)
        # Slack's webhooks answer the two letters, and Grafana looks for them.
        return PlainTextResponse("ok")

    @app.get("/messages")
    async def messages(channel: str | None = None) -> list[dict[str, Any]]:
        return [entry for entry in kept if channel in (None, entry["channel"])]

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "pass"}

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        articles = "".join(
            f'<article class="{entry["state"]}"><h2>{html.escape(entry["channel"])}: '
            f"{entry['state']}</h2><small>{entry['at']}</small>"
            f"<pre>{html.escape(json.dumps(entry['message'], indent=1, ensure_ascii=False))}</pre>"
            "</article>"
            for entry in reversed(kept)
        )
        return PAGE % (articles or "<p>Nothing has come yet.</p>")

    return app


if __name__ == "__main__":
    uvicorn.run(
        create_app(),
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8090")),
        log_level="warning",
    )
