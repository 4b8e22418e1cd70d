"""Secrets in every place where a client can put one; telemetry must hold none of them."""

import httpx

from shared.tokens import Role
from tests.support.trio import Trio

CANARY = "Canary7Secret9Value"
EMAIL = f"{CANARY.lower()}@example.com"
JWT = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ{CANARY}In0.{CANARY}"


def plant(trio: Trio) -> list[str]:
    """Send secrets everywhere a client can; the request IDs."""
    http = httpx.Client(base_url=trio.url)
    sent = [
        http.post("/api/v1/auth/login", json={"email": EMAIL, "password": CANARY}),
        http.post("/api/v1/auth/register", json={"email": EMAIL, "password": CANARY, "x": JWT}),
        http.post("/api/v1/auth/login", content=f'{{"password": "{CANARY}", broken'.encode()),
        http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {JWT}"}),
        http.get("/api/v1/auth/me", headers={"Cookie": f"session={CANARY}", "X-Api-Key": CANARY}),
        http.get("/api/v1/events", params={"token": CANARY, "cursor": CANARY, "email": EMAIL}),
        http.get(f"/api/v1/events/{CANARY}", headers=trio.headers("someone")),
        http.get(f"/reset/{CANARY}/{EMAIL}"),
        http.post("/api/v1/auth/refresh", json={"refresh_token": CANARY}),
    ]
    # error text: what Mongo or a validator says about the input must not carry it either
    sent.append(
        http.post(
            "/api/v1/events",
            headers=trio.headers("operator", Role.OPERATOR),
            json={"title": CANARY, "starts_at": f"password={CANARY}", "conditions": [CANARY]},
        )
    )
    for reply in sent:
        assert reply.status_code < 500, reply.text
    return [reply.headers["X-Request-ID"] for reply in sent]
