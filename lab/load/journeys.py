"""The journeys of a load test, run by Locust: `python -m lab.load` prepares and starts them.

Importing Locust patches the standard library, so nothing else imports this module.
"""

import json
import math
import os
import random
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from locust import FastHttpUser, LoadTestShape, events, task

from lab.load.plan import THIRDS, Record, Shape, address_of, users_at

PLAN: dict[str, Any] = json.loads(Path(os.environ["LOAD_PLAN"]).read_text())
PATIENCE = 5  # tries of a claim that is in flight or meets an overloaded platform
OK = (200, 201, 204)
LIMITED = "rate_limited"


class Test:
    """What is shared by all users of one run."""

    record = Record()
    began = time.monotonic()
    started = 0  # members


class Account:
    """An account and its tokens, which several simulated users may share."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.email, self.password = given["email"], given["password"]
        self.access, self.refresh = given["access"], given["refresh"]
        self.until = given["until"]  # seconds since the epoch at which the access token is too old
        self.lock = threading.Lock()

    def keep(self, doc: dict[str, Any]) -> None:
        self.access, self.refresh = doc["access_token"], doc["refresh_token"]
        self.until = time.time() + doc["expires_in"] - 20


ACCOUNTS = [Account(given) for given in PLAN["members"]]
OPERATOR = Account(PLAN["operator"]) if PLAN["operator"] else None


class Person(FastHttpUser):
    """Somebody with an account; `rng` decides everything, so a seed gives the same choices."""

    abstract = True
    connection_timeout = network_timeout = 15.0
    insecure = False
    rng: random.Random
    account: Account
    address: str
    pause = (0.5, 2.0)

    def wait_time(self) -> float:
        """Seconds between two steps."""
        return self.rng.uniform(*self.pause)

    def send(
        self,
        step: str,
        method: str,
        path: str,
        *,
        expected: Collection[str] = (),
        signed_in: bool = True,
        **more: Any,
    ) -> tuple[int, dict[str, Any]]:
        """One request: status (0 without an answer) and body. Failures are counted, not raised."""
        headers = {"X-Forwarded-For": self.address, **more.pop("headers", {})}
        if signed_in:
            self._stay_signed_in()
            headers["Authorization"] = f"Bearer {self.account.access}"
        client: Any = self.client
        with client.request(
            method, f"/api/v1{path}", name=step, headers=headers, catch_response=True, **more
        ) as reply:
            status, doc = reply.status_code, _json(reply)
            code, wait = str(doc.get("code", "")), _seconds(reply.headers)
            if status in OK:
                reply.success()
            elif code in expected or (status == 429 and wait):
                Test.record.refusals[step, LIMITED if status == 429 else code] += 1
                reply.success()
            else:
                reply.failure(f"{status} {code}".strip() if status else str(reply.error)[:120])
        if status == 401 and signed_in:
            self.account.until = 0  # the next one starts with new tokens
        if status in (429, 503):
            time.sleep(min(wait or 1, 10))  # as Retry-After says, but a test lasts only minutes
        return status, doc

    def _stay_signed_in(self) -> None:
        account = self.account
        with account.lock:
            if account.until > time.time():
                return
            if account.refresh:
                body = {"refresh_token": account.refresh}
                status, doc = self.send(
                    "refresh", "POST", "/auth/refresh", signed_in=False, json=body
                )
                if status == 200:
                    account.keep(doc)
                    return
            self.sign_in()

    def sign_in(self) -> None:
        """Sign in; the platform computes one argon2 hash for it."""
        body = {"email": self.account.email, "password": self.account.password}
        status, doc = self.send("sign in", "POST", "/auth/login", signed_in=False, json=body)
        if status == 200:
            self.account.keep(doc)


class Member(Person):
    """Looks around, joins, claims, and looks at what became of it."""

    weight = 1
    abstract = False

    def on_start(self) -> None:
        """Take the next account; more users than accounts share them."""
        number, Test.started = Test.started, Test.started + 1
        self.rng = random.Random(f"{PLAN['seed']}:{number}")
        self.account = ACCOUNTS[number % len(ACCOUNTS)]
        self.address = address_of(number)
        self.joined: set[str] = set()
        self.open = [(e["id"], reward) for e in PLAN["events"] for reward in e["rewards"]]
        self.rng.shuffle(self.open)
        self.claimed: list[tuple[str, str]] = []
        self.steps: list[tuple[float, Callable[[], None]]] = [
            (40, self.browse),
            (35, self.claim),
            (15, self.look_at_own),
            (3, self.mistype),
            (8 if PLAN["sign_in"] else 0, self.sign_in),
        ]

    @task
    def step(self) -> None:
        """One step of the journey."""
        weights, steps = zip(*self.steps, strict=True)
        self.rng.choices(steps, weights)[0]()

    def browse(self) -> None:
        self.send("list events", "GET", "/events?status=active&limit=20")
        if PLAN["events"]:
            event = self.rng.choice(PLAN["events"])["id"]
            self.send("event", "GET", f"/events/{event}")
            self.send("rewards", "GET", f"/events/{event}/rewards")

    def claim(self) -> None:
        again = bool(self.claimed) and (not self.open or self.rng.random() < 0.05)
        if again:  # a user who forgot the first claim; the answer is already_requested
            event, reward = self.rng.choice(self.claimed)
        elif self.open:
            event, reward = self.open.pop()
            self.claimed.append((event, reward))
        else:
            return
        if event not in self.joined:
            status, _ = self.send("join", "POST", f"/events/{event}/participations")
            if status not in OK:
                return
            self.joined.add(event)
        key = f"load-{PLAN['run']}-{self.rng.getrandbits(64):016x}"
        first = self._claim(reward, key)
        if first and self.rng.random() < 0.1:  # a client that lost the reply sends the claim again
            second = self._claim(reward, key)
            if second and second != first:
                Test.record.failures["claim", "another answer to the same Idempotency-Key"] += 1

    def _claim(self, reward: str, key: str) -> dict[str, Any] | None:
        for _ in range(PATIENCE):
            status, doc = self.send(
                "claim",
                "POST",
                f"/rewards/{reward}/requests",
                headers={"Idempotency-Key": key},
                expected=("sold_out", "already_requested", "condition_unmet", "in_flight"),
            )
            if status in OK:
                return doc
            if doc.get("code") == "in_flight":
                time.sleep(0.2)
            elif status not in (429, 503):
                return None
        return None

    def look_at_own(self) -> None:
        self.send("own requests", "GET", "/reward-requests?limit=10")

    def mistype(self) -> None:
        body = {"email": f"nobody-{self.rng.getrandbits(40):x}@example.com", "password": "no such"}
        what, expected = ("failing sign-in", "POST", "/auth/login"), ("bad_credentials",)
        self.send(*what, signed_in=False, expected=expected, json=body)


class Operator(Person):
    """Decides on what waits for a decision."""

    abstract = OPERATOR is None
    fixed_count = 1

    def on_start(self) -> None:
        """Take the operator's account; there is one such user."""
        assert OPERATOR is not None  # noqa: S101 - for the type checker
        self.rng = random.Random(f"{PLAN['seed']}:operator")
        self.account, self.address = OPERATOR, address_of(10_000)

    @task
    def decide(self) -> None:
        event = self.rng.choice(PLAN["events"])["id"]
        path = f"/reward-requests?status=pending&limit=10&event_id={event}"
        _, doc = self.send("pending requests", "GET", path)
        for request in doc.get("items", ()):
            status = "approved" if self.rng.random() < 0.85 else "rejected"
            self.send(
                "decide",
                "PATCH",
                f"/reward-requests/{request['id']}",
                expected=("already_decided", "in_flight"),
                json={"status": status},
            )


class Bounded(LoadTestShape):
    """The plan's shape; it ends by itself, with the web page as without."""

    def tick(self) -> tuple[int, float] | None:
        """How many users now, and how many may start in a second."""
        elapsed: float = self.get_run_time()  # type: ignore[no-untyped-call]
        users = users_at(Shape(PLAN["shape"]), elapsed, PLAN["users"], PLAN["duration_s"])
        if users is None:
            return None
        return users + (0 if OPERATOR is None else 1), float(PLAN["users"])


def _json(reply: Any) -> dict[str, Any]:
    try:
        doc = reply.json()
    except (ValueError, TypeError, AttributeError):
        return {}
    return doc if isinstance(doc, dict) else {}


def _seconds(headers: Any) -> int:
    text = (headers or {}).get("Retry-After", "")
    return int(text) if text and text.isdigit() else 0


def _begin(**_: Any) -> None:
    Test.record, Test.began, Test.started = Record(), time.monotonic(), 0


def _count(name: str, response_time: float, exception: Exception | None, **_: Any) -> None:
    third = math.floor(THIRDS * (time.monotonic() - Test.began) / PLAN["duration_s"])
    Test.record.add(name, response_time or 0, third)
    if exception:
        Test.record.failures[name, str(exception)] += 1


def _end(**_: Any) -> None:
    Path(PLAN["results"]).write_text(Test.record.json())


on: Any = events
on.test_start.add_listener(_begin)
on.request.add_listener(_count)
on.test_stop.add_listener(_end)
