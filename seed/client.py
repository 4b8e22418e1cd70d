"""The platform's API as a patient client uses it: it waits for rate limits and for restarts."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

PATIENCE_S = 90.0  # that one request waits in all for limits, overload and restarts


class Client:
    """Asks a gateway. What cannot be had is an `httpx.HTTPError` that says what it was."""

    def __init__(self, gateway: str) -> None:
        # No connection is kept: what is asked may have been restarted since.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.patience_s = PATIENCE_S
        base = f"{gateway}/api/v1"
        self._http = httpx.Client(base_url=base, timeout=30, limits=limits, trust_env=False)

    def send(
        self, method: str, path: str, token: str = "", address: str = "", **more: Any
    ) -> httpx.Response:
        """One request, sent again as Retry-After says, or while the gateway is being started.

        `address` is the client's, which counts where the sender is a trusted proxy.
        """
        headers = dict(more.pop("headers", {}))
        if address:
            headers["X-Forwarded-For"] = address
        if token:
            headers["Authorization"] = f"Bearer {token}"
        end = time.monotonic() + self.patience_s
        while True:
            try:
                reply = self._http.request(method, path, headers=headers, **more)
            except httpx.ConnectError:  # nothing was sent
                if time.monotonic() > end:
                    raise
                time.sleep(1)
                continue
            busy = reply.status_code in (429, 503)
            wait_s = float(reply.headers.get("Retry-After", 1 if busy else 0))
            if not wait_s or time.monotonic() + wait_s > end:
                return reply
            time.sleep(wait_s)

    def call(self, method: str, path: str, token: str = "", **more: Any) -> Any:
        """The JSON of a request that must succeed."""
        reply = self.send(method, path, token, **more)
        if reply.is_error:
            told = f"{method} {path}: {reply.status_code} {reply.text[:200]}"
            raise httpx.HTTPStatusError(told, request=reply.request, response=reply)
        return reply.json()

    def sign_in(self, email: str, password: str, address: str = "") -> dict[str, Any] | None:
        """The tokens of an account, as auth gives them; None if there is no such account."""
        body = {"email": email, "password": password}
        try:
            tokens: dict[str, Any] = self.call("POST", "/auth/login", address=address, json=body)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 401:
                return None
            raise
        return tokens

    def token(self, account: dict[str, str]) -> str:
        """An access token; empty if there is no such account."""
        return str((self.sign_in(**account) or {}).get("access_token", ""))

    def new_event(self, operator: str, title: str, days: int = 1, **more: Any) -> str:
        """The ID of a new event, active from a minute ago on for so many days."""
        now = datetime.now(UTC)
        times = {"starts_at": now - timedelta(minutes=1), "ends_at": now + timedelta(days=days)}
        body = {"title": title, "status": "active", **more}
        body |= {name: at.isoformat() for name, at in times.items()}
        return str(self.call("POST", "/events", operator, json=body)["id"])

    def new_reward(self, operator: str, event_id: str, **body: Any) -> str:
        """The ID of a new reward."""
        path = f"/events/{event_id}/rewards"
        return str(self.call("POST", path, operator, json=body)["id"])

    def close_event(self, operator: str, event_id: str) -> None:
        """Close the event; one that is closed stays so."""
        if self.call("GET", f"/events/{event_id}", operator)["status"] != "closed":
            self.call("PATCH", f"/events/{event_id}", operator, json={"status": "closed"})
