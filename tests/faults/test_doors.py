"""All that a stranger can send to each of the three doors: bytes, tokens, bodies, roles, secrets.

Each is sent to the gateway, and to auth and event as if the gateway were not there.
"""

import json
import select
import socket
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.operations import Operation
from shared.tokens import Role
from tests.faults.chaos import Figure
from tests.faults.surface import (
    OPERATIONS,
    PASSWORD,
    PLACED,
    WITH_BODY,
    behind,
    documented,
    good_body,
    named,
    path_of,
    put_at,
)
from tests.support.forging import Forger
from tests.support.messages import malformed
from tests.support.trio import Service, Trio

pytestmark = pytest.mark.timeout(300)
API = "/api/v1"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def doors(trio: Trio) -> dict[str, Service]:
    return {"gateway": trio.gateway, "auth": trio.auth, "event": trio.events[0]}


def guarded(door: str) -> str:
    """A page of that door for which a token is needed."""
    return f"{API}/auth/me" if door == "auth" else f"{API}/events"


def talk(service: Service, data: bytes, wait_s: float = 12) -> bytes:
    """Send bytes and the end of the stream; all that comes back."""
    got = b""
    with socket.create_connection(("127.0.0.1", service.port), wait_s) as sock:
        with suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while chunk := sock.recv(65536):
                got += chunk
    return got


@pytest.mark.parametrize("door", ["gateway", "auth", "event"])
def test_malformed_requests_are_refused(
    doors: dict[str, Service], door: str, figure: Figure
) -> None:
    """4xx and closed, or closed without a word; never a 5xx, never taken for a request."""
    found: dict[str, str] = {}
    vectors = list(malformed())
    for name, data in vectors:
        reply = talk(doors[door], data)
        head = reply.partition(b"\r\n")[0].decode("latin-1")
        if reply and not head.startswith(("HTTP/1.1 4", "HTTP/1.0 4", "HTTP/1.1 501")):
            found[name] = head
        if reply.count(b"HTTP/1.1 ") > 1:
            found[name] = "more than one answer"
    assert httpx.get(f"{doors[door].url}/health/live", timeout=20).status_code == 200
    figure(f"malformed requests to {door}: refused", f"{len(vectors) - len(found)}/{len(vectors)}")
    assert not found


@pytest.fixture(scope="module")
def forger(trio: Trio) -> Forger:
    key = trio.auth.environment["AUTH_SIGNING_KEY"]
    kid = httpx.get(f"{trio.auth.url}/.well-known/jwks.json").json()["keys"][0]["kid"]
    account = {"email": "forged@example.com", "password": PASSWORD, "display_name": "Ann"}
    with trio.client() as http:
        reply = http.post("/auth/register", json=account).raise_for_status()
    return Forger(key, kid, reply.json()["id"])


@pytest.mark.parametrize("door", ["gateway", "auth", "event"])
def test_every_forged_token_is_401(
    doors: dict[str, Service], forger: Forger, door: str, figure: Figure
) -> None:
    url = doors[door].url + guarded(door)
    found: dict[str, Any] = {}
    tokens = list(forger.invalid())
    with httpx.Client(timeout=20) as http:

        def ask(token: str) -> httpx.Response:
            value = b"Bearer " + token.encode("latin-1", "replace")
            return http.get(url, headers={b"Authorization": value})

        assert ask(forger.token()).status_code == 200, "what is forged below is good otherwise"
        for name, token in tokens:
            reply = ask(token)
            if reply.status_code != 401 or "bearer" not in str(reply.headers).lower():
                found[name] = (reply.status_code, reply.text[:200])
            elif len(token) > 8 and token in reply.text:
                found[name] = "echoed"
        for shift_s in (-30, 30):
            reply = ask(forger.token(claims=forger.claims(shift_s)))
            assert reply.status_code == 200, f"a clock {shift_s} s away is within the leeway"
    figure(f"forged tokens at {door}: 401", f"{len(tokens) - len(found)}/{len(tokens)}")
    assert not found


@pytest.mark.parametrize("door", ["gateway", "auth", "event"])
def test_a_hundred_megabytes(doors: dict[str, Service], door: str, figure: Figure) -> None:
    """413 before a byte of a body that is announced, and soon in one that is not."""
    head = f"POST {API}/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    if door == "event":
        head = head.replace("/auth/login", "/events")
    with socket.create_connection(("127.0.0.1", doors[door].port), 20) as sock:
        sock.sendall(f"{head}Content-Length: 104857600\r\n\r\n".encode())
        assert b" 413 " in sock.recv(65536).partition(b"\r\n")[0]
    chunk, sent = b"10000\r\n" + b" " * 65536 + b"\r\n", 0
    with socket.create_connection(("127.0.0.1", doors[door].port), 20) as sock:
        sock.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        answered = False
        with suppress(OSError):
            while sent < 100 * MIB and not answered:
                sock.sendall(chunk)
                sent += len(chunk)
                answered = bool(select.select([sock], [], [], 0.02)[0])
        assert b" 413 " in sock.recv(65536).partition(b"\r\n")[0]
    figure(f"100 MB in chunks to {door}: 413 after", f"{sent / MIB:.1f} MiB sent (1 and buffers)")
    assert sent < 4 * MIB


BODIES = {
    "malformed": b"{",
    "cut": b'{"email": "a@exam',
    "empty": b"",
    "two documents": b"{}{}",
    "10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "NaN": b'{"email": NaN}',
    "Infinity": b'{"stock": Infinity}',
    "a number of 5,000 digits": b'{"stock": ' + b"9" * 5000 + b"}",
    "1e400": b'{"stock": 1e400}',
    "NUL": b'{"email": "a\\u0000b@example.com"}',
    "a raw NUL": b'{"email": "a\x00b@example.com"}',
    "half a character": b'{"email": "\\ud800@example.com"}',
    "no UTF-8": b'{"email": "\xff\xfe"}',
    "UTF-16": '{"email": "a"}'.encode("utf-16"),
    "a mark of byte order": b'\xef\xbb\xbf{"email": "a"}',
    "a list": b"[]",
    "a string": b'"a"',
    "null": b"null",
    "the same name twice": b'{"email": "a@example.com", "email": "b@example.com"}',
    "many unknown names": json.dumps({f"k{n}": n for n in range(400)}).encode(),
}


@pytest.mark.parametrize("operation", WITH_BODY, ids=named)
def test_bodies_that_are_no_bodies(trio: Trio, operation: Operation) -> None:
    """400, 404 or 422 on every operation that takes one, through the gateway and without it."""
    headers = {
        **trio.headers("u", *(operation.roles or [Role.USER])),
        "Content-Type": "application/json",
        "Idempotency-Key": uuid4().hex,
    }
    path = path_of(operation)
    takes_none = path.endswith(("/participations", "/requests"))
    allowed = {400, 401, 403, 404, 413, 422} | ({409} if takes_none else set())
    found: dict[str, Any] = {}
    with httpx.Client(timeout=20, headers=headers) as http:
        for url in (trio.url, behind(trio, operation).url):
            for name, body in BODIES.items():
                reply = http.request(operation.method, url + path, content=body)
                problem = reply.headers.get("content-type", "")
                if reply.status_code not in allowed or "problem+json" not in problem:
                    found[f"{url} {name}"] = (reply.status_code, reply.text[:200])
    assert not found


# roles


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_each_role_on_each_route_gets_what_the_document_says(
    trio: Trio, operation: Operation
) -> None:
    path = path_of(operation)
    for url in (trio.url, behind(trio, operation).url):
        for role in (*Role, None):
            headers = {
                **(trio.headers("u", role) if role else {}),
                "Idempotency-Key": uuid4().hex,
                "Content-Type": "application/json",
            }
            # a body that is refused: what is asked is who may, nothing is to happen
            body = b"[]" if operation.method != "GET" else None
            reply = httpx.request(
                operation.method, url + path, headers=headers, content=body, timeout=20
            )
            code = reply.status_code
            if not operation.roles:
                assert code == 422, (url, role, code, reply.text)
            elif role is None:
                assert code == 401, (url, code)
                assert reply.headers["www-authenticate"].startswith("Bearer")
            elif role not in operation.roles:
                assert code == 403, (url, role, code)
            else:
                assert code in (200, 404, 422), (url, role, code, reply.text)


# operators of the database


OPERATORS: list[Any] = [
    {"$ne": None}, {"$gt": ""}, {"$regex": ".*"}, {"$where": "sleep(5000)"}, {"$in": []},
    {"$set": {"roles": ["ADMIN"]}}, ["$ne", ""], {"a.b": 1}, {"__proto__": {}},
]  # fmt: skip
TEXTS = ["$where", "$ne", "a.b", "$$ROOT", "{$ne: null}", '{"$ne": null}', "'; return true; //"]


def test_strings_are_found_in_all_bodies() -> None:
    assert len(PLACED) >= 20, PLACED
    assert {path[0] for _, path in PLACED} >= {"email", "password", "title", "status", "reason"}


@pytest.mark.parametrize(
    ("operation", "path"), PLACED, ids=lambda x: x.path if isinstance(x, Operation) else str(x)
)
def test_an_operator_is_no_string(trio: Trio, operation: Operation, path: tuple[Any, ...]) -> None:
    """In the place of every string: 422, as text never understood; nothing fails with a 5xx."""
    headers = {**trio.headers("u", *Role), "Idempotency-Key": uuid4().hex}
    with httpx.Client(base_url=trio.url, timeout=20, headers=headers) as http:

        def send(value: Any) -> httpx.Response:
            body = put_at(good_body(operation), path, value)
            return http.request(operation.method, path_of(operation), json=body)

        for value in OPERATORS:
            reply = send(value)
            assert reply.status_code in (403, 422), (value, reply.status_code, reply.text)
        for text in TEXTS:
            reply = send(text)
            assert reply.status_code < 500, (text, reply.text)
            if operation.path.endswith("/login"):
                assert reply.status_code in (401, 422, 429), (text, reply.text)


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_operators_in_paths_and_queries_find_nothing(trio: Trio, operation: Operation) -> None:
    headers = {**trio.headers("u", Role.OPERATOR), "Idempotency-Key": uuid4().hex}
    parameters = documented(operation).get("parameters", ())
    names = [each["name"] for each in parameters if each["in"] == "query"]
    with httpx.Client(base_url=trio.url, timeout=20, headers=headers) as http:
        for text in TEXTS:
            if "{id}" in operation.path:
                path = path_of(operation, httpx.URL("/" + text).raw_path.decode()[1:])
                assert http.request(operation.method, path).status_code in (400, 403, 404, 422)
            for name in names:
                for query in ({name: text}, {f"{name}[$ne]": text}):
                    reply = http.request(operation.method, path_of(operation), params=query)
                    assert reply.status_code in (200, 404, 422), (query, reply.text)
                    assert reply.status_code != 200 or name not in query, (query, reply.text)
