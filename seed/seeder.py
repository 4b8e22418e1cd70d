"""Demo data: accounts, an example to claim, a history of 30 days, then about 2 requests a second.

Starting again keeps what is there. With SEED=0 it does nothing and ends when it is told to.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, cast

import httpx
from pydantic import AliasChoices, Field, SecretStr
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from ops.files import write_private
from ops.secrets import new_signing_key
from plainview import ObservabilitySettings, configure_logging, get_logger
from seed.client import Client
from seed.history import History
from seed.traffic import Traffic
from shared import background
from shared.settings import ApiSettings, load

ROLES = ("USER", "OPERATOR", "AUDITOR", "ADMIN")
State = dict[str, Any]
log = get_logger("job")


class SeedSettings(ApiSettings):
    """Addresses of the platform, and how many users and requests to make."""

    # Not called `seed`: SEED_FILE is another setting, and NAME_FILE holds the value of NAME.
    number: int = Field(1, validation_alias=AliasChoices("number", "SEED"))
    seed_users: int = Field(500, ge=1, le=5_000)
    seed_rps: float = Field(2.0, ge=0, le=50)
    seed_file: Path = Path(".local/seed.json")
    gateway_url: str = "http://127.0.0.1:8000"
    auth_mongo_url: SecretStr
    event_mongo_url: SecretStr
    auth_database: str = "event_rewards_auth"
    event_database: str = "event_rewards_event"


def make_accounts(api: Client, settings: SeedSettings, accounts: dict[str, Any]) -> None:
    """Create the accounts that are missing, one per role, and give each its role."""
    if not api.token(accounts["ADMIN"]):
        _create_admin(settings, accounts["ADMIN"])
    admin = api.token(accounts["ADMIN"])
    if not admin:
        raise SystemExit("seed: the accounts have other passwords than known here: make clean")
    for role in ("USER", "OPERATOR", "AUDITOR"):
        if not api.token(accounts[role]):
            name = {"display_name": f"Demo {role.lower()}"}
            api.call("POST", "/auth/register", json={**accounts[role], **name})
        user = api.call("GET", "/auth/me", api.token(accounts[role]))
        if user["roles"] != [role]:
            path = f"/auth/users/{user['id']}/roles"
            api.call("PUT", path, admin, json={"roles": [role]})


def _create_admin(settings: SeedSettings, account: dict[str, str]) -> None:
    """`python -m auth create-admin`, as an operator of a real installation does it."""
    environment = {
        **os.environ,
        "AUTH_SIGNING_KEY": new_signing_key(),  # needed to start; it signs nothing
        "AUTH_ADMIN_PASSWORD": account["password"],
        "MONGO_URL": settings.auth_mongo_url.get_secret_value(),
        "MONGO_DATABASE": settings.auth_database,
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "USER_HASH_KEY": settings.user_hash_key.get_secret_value(),
    }
    command = [sys.executable, "-m", "auth", "create-admin", "--email", account["email"]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    log.info("seed.admin", ok=done.returncode == 0, said=done.stderr[-200:])


def make_example(api: Client, state: State) -> None:
    """An event that USER takes part in, with a reward that USER has not requested yet."""
    user, operator = (api.token(state["accounts"][role]) for role in ("USER", "OPERATOR"))
    if known := state.get("example"):
        # Where the databases are new, the known one is not found, and another is made.
        with contextlib.suppress(httpx.HTTPStatusError):
            path = f"/reward-requests?reward_id={known['reward_id']}"
            claimed = api.call("GET", path, user)["items"]
            event = api.call("GET", f"/events/{known['event_id']}", user)
            if not claimed and event["status"] == "active":
                return
            api.close_event(operator, known["event_id"])
    event_id = api.new_event(
        operator,
        "환영 이벤트 / Welcome",
        days=365,
        description="Take part and claim your welcome points.",
        conditions=[{"type": "participations", "count": 1}],
    )
    reward = {"name": "Welcome points", "kind": "points", "amount": 1000, "stock": 10_000}
    reward_id = api.new_reward(operator, event_id, **reward)
    api.call("POST", f"/events/{event_id}/participations", user)
    state["example"] = {"event_id": event_id, "reward_id": reward_id}


async def make_history(settings: SeedSettings, state: State) -> None:
    """Write the history once per database, which keeps a mark that it has been written."""
    urls = settings.auth_mongo_url, settings.event_mongo_url
    clients: list[AsyncMongoClient[State]] = [
        AsyncMongoClient(url.get_secret_value(), timeoutMS=5_000) for url in urls
    ]
    cache = Redis.from_url(settings.redis_url.get_secret_value())
    auth, event = clients[0][settings.auth_database], clients[1][settings.event_database]
    try:
        mark: State = {"_id": "history", "until": datetime.now(UTC).isoformat(), "done": False}
        kept = await event["seed"].find_one({"_id": "history"})
        if kept is None:
            await event["seed"].insert_one(kept := mark)
        if kept["done"]:
            return
        history = await asyncio.to_thread(
            History,
            settings.number,
            datetime.fromisoformat(kept["until"]),
            settings.seed_users,
            password=state["traffic_password"],
            zone=settings.business_timezone,
        )
        await history.write(auth, event, cache)
        await event["seed"].update_one({"_id": "history"}, {"$set": {"done": True}})
        log.info("seed.history_done", users=settings.seed_users)
    finally:
        await asyncio.gather(cache.aclose(), *(client.close() for client in clients))


def load_state(path: Path) -> State:
    """The state of the last start, also of one that was cut off; else new passwords."""
    for known in (path, path.with_suffix(".draft")):
        if known.exists():
            return cast(State, json.loads(known.read_text()))
    accounts = {
        role: {"email": f"{role.lower()}@example.com", "password": secrets.token_urlsafe(12)}
        for role in ROLES
    }
    return {"accounts": accounts, "traffic_password": secrets.token_urlsafe(12)}


def save_state(path: Path, state: State) -> None:
    """Write it for the next start; it holds passwords."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps(state, indent=2))


async def gateway_ready(http: httpx.AsyncClient) -> None:
    """Wait until the gateway answers and finds both services."""
    while True:
        with contextlib.suppress(httpx.HTTPError, ValueError, LookupError, TypeError):
            checks = (await http.get("/health/ready")).json()["checks"]
            if all(checks[name][0]["status"] == "pass" for name in ("auth", "event")):
                return
        await asyncio.sleep(0.25)


async def _in_daemon(work: Callable[[], None]) -> None:
    """Await it in a thread that ends with the process, which `asyncio.to_thread` would wait for."""
    done = Future[None]()
    done.set_running_or_notify_cancel()

    def call() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    Thread(target=call, daemon=True).start()
    await asyncio.wrap_future(done)


async def run(settings: SeedSettings) -> None:
    """Seed, then send traffic until cancelled."""
    state = load_state(settings.seed_file)
    if not settings.seed_file.exists():
        save_state(settings.seed_file.with_suffix(".draft"), state)
    async with httpx.AsyncClient(
        base_url=settings.gateway_url, timeout=10, trust_env=False
    ) as http:
        await gateway_ready(http)
        api = Client(settings.gateway_url)
        await _in_daemon(lambda: make_accounts(api, settings, state["accounts"]))
        await _in_daemon(lambda: make_example(api, state))
        save_state(settings.seed_file, state)
        settings.seed_file.with_suffix(".draft").unlink(missing_ok=True)
        log.info("seed.ready", **state["example"])
        await make_history(settings, state)
        traffic = Traffic(
            http,
            random.Random(settings.number),
            settings.seed_users,
            password=state["traffic_password"],
            operator=state["accounts"]["OPERATOR"],
        )
        if settings.seed_rps:
            await traffic.run(settings.seed_rps)


async def main() -> None:
    """Run until SIGINT or SIGTERM."""
    settings = load(SeedSettings)
    configure_logging(
        ObservabilitySettings(service_name="seeder", environment=settings.environment)
    )
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    stopping = asyncio.create_task(stop.wait())
    working = asyncio.create_task(run(settings) if settings.number else stop.wait())
    await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()  # raises what went wrong
        await stopping  # no traffic was wanted: wait for the signal
    await background.stop(working)
