"""What a load test finds when its clock starts: members with sessions, events with rewards."""

import contextlib
import json
import math
import os
import secrets
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from lab.load.plan import address_of
from seed.client import Client
from seed.seeder import save_state

AT_ONCE = 8  # accounts that are made in parallel; auth computes two password hashes at a time
CLAIM_EVERY_S = 4.0  # seconds between claims of one user: about every third step is a claim
EVENT_COUNTS = range(1, 9)  # each with ten rewards
PLENTY = 1_000_000
START = "start it with `make demo` or `docker compose up -d --wait`"
Document = dict[str, Any]


class NotReadyError(Exception):
    """What the test needs is not there; the text says what."""


class Stage:
    """Sets up a test at one gateway, and puts things away; what it keeps is in `local`."""

    def __init__(self, host: str, local: Path) -> None:
        self._host, self._local, self._api = host, local, Client(host)

    def prepare(self, plan: Document, members: int) -> Document:
        """`members`, `operator` (or None) and `events` of the plan; httpx.HTTPError if refused."""
        self._check()
        accounts = self._members(members)
        known = self._known_operator()
        operator = self._session(*known) if known else None
        if operator is None:
            print("  no operator is known (LOAD_OPERATOR_EMAIL, LOAD_OPERATOR_PASSWORD): nothing")
            print("  is approved, and claimed is what there is")
            events = self._found_events(accounts[0]["access"])
        else:
            claims = plan["duration_s"] / CLAIM_EVERY_S * plan["users"] / len(accounts)
            count = min(EVENT_COUNTS[-1], max(EVENT_COUNTS[0], math.ceil(claims / 10)))
            events = self._make_events(count, len(accounts), plan["run"], operator["access"])
        return {"members": accounts, "operator": operator, "events": events}

    def close_events(self, made: Document) -> None:
        """Close the events of the test; a platform that is gone by now is not complained about."""
        self._api.patience_s = 0
        if known := made["operator"]:
            with contextlib.suppress(httpx.HTTPError):
                operator = self._session(known["email"], known["password"]) or known
                for event in made["events"]:
                    self._api.close_event(operator["access"], event["id"])

    def _check(self) -> None:
        """Whether our gateway answers: it asks for a token, in a problem document."""
        try:
            reply = httpx.get(f"{self._host}/api/v1/events", timeout=15)
        except httpx.HTTPError as exc:
            what = f"{self._host} does not answer ({type(exc).__name__})"
            raise NotReadyError(f"{what}: {START}") from exc
        if reply.status_code != 401 or "X-Request-ID" not in reply.headers:
            raise NotReadyError(f"what answers at {self._host} is not this platform: {START}")

    def _session(self, email: str, password: str, number: int = 0) -> Document | None:
        """An account with its tokens; None if it does not exist."""
        tokens = self._api.sign_in(email, password, address_of(number))
        if tokens is None:
            return None
        return {
            "email": email,
            "password": password,
            "access": tokens["access_token"],
            "refresh": tokens["refresh_token"],
            "until": time.time() + tokens["expires_in"] - 20,
        }

    def _members(self, count: int) -> list[Document]:
        """Accounts of this test and of those before it, each signed in."""
        path = self._local / "load.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        own = kept.setdefault(self._host, {"tag": secrets.token_hex(4), "made": 0})
        password = own.setdefault("password", secrets.token_urlsafe(12))
        print(f"  {count} members: one that is new costs auth two argon2 hashes, others one")

        def make(number: int) -> Document:
            email = f"load-{own['tag']}-{number}@example.com"
            known = number < own["made"] and self._session(email, password, number)
            if known:
                return known
            body = {"email": email, "password": password, "display_name": f"Load {number}"}
            address = address_of(number)
            reply = self._api.send("POST", "/auth/register", address=address, json=body)
            if reply.status_code not in (201, 409):
                raise NotReadyError(f"register: {reply.status_code} {reply.text[:200]}")
            account = self._session(email, password, number)
            if account is None:
                raise NotReadyError(f"{email} has another password: delete {path}")
            return account

        accounts = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for account in pool.map(make, range(count)):
                accounts.append(account)
                if len(accounts) % max(1, count // 4) == 0 or len(accounts) == count:
                    print(f"  {len(accounts)}/{count} are signed in", flush=True)
        own["made"] = max(own["made"], count)
        save_state(path, kept)
        return accounts

    def _known_operator(self) -> tuple[str, str] | None:
        """E-mail and password of an operator: told, or of the seed of the demo or of compose."""
        if email := os.environ.get("LOAD_OPERATOR_EMAIL"):
            return email, os.environ.get("LOAD_OPERATOR_PASSWORD", "")
        demo = self._local / "demo.json"
        text = demo.read_text() if demo.exists() else ""
        if self._host not in text:
            command = shlex.split(os.environ.get("COMPOSE", "docker compose"))
            command += ["exec", "-T", "seeder", "cat", "/state/seed.json"]
            try:
                run = subprocess.run(command, capture_output=True, timeout=20, check=True)
            except (OSError, subprocess.SubprocessError):
                return None
            text = run.stdout.decode()
        account = json.loads(text)["accounts"]["OPERATOR"]
        return account["email"], account["password"]

    def _make_events(self, count: int, members: int, run: str, token: str) -> list[Document]:
        """Events of the test's own: eight rewards of plenty, a scarce one, one with approval."""
        shapes = [("automatic", PLENTY)] * 8
        shapes += [("automatic", max(1, members // 4)), ("manual", PLENTY)]
        events = []
        for number in range(1, count + 1):
            event = self._api.new_event(token, f"Load test {run}, event {number}")
            rewards = [
                self._api.new_reward(
                    token, event, name=f"Reward {place}", kind="points",
                    approval=approval, stock=stock,
                )
                for place, (approval, stock) in enumerate(shapes, 1)
            ]  # fmt: skip
            events.append({"id": event, "rewards": rewards})
        return events

    def _found_events(self, token: str) -> list[Document]:
        """What members may claim of what there is."""

        def ids(path: str) -> list[str]:
            return [each["id"] for each in self._api.call("GET", path, token)["items"]]

        found = ids("/events?status=active&limit=8")
        return [{"id": each, "rewards": ids(f"/events/{each}/rewards")} for each in found]
