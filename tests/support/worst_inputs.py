"""Requests made to cost a server as much as possible, all without a token that is valid."""

import json
import random
from collections.abc import Iterator
from typing import NamedTuple

SIZES = (300, 900, 3_900, 7_900, 31_900, 1_000_000)  # bytes of a body, most below a bound
HEAD = 15_000  # bytes of a head, below the 16 KiB that the server takes
FIELDS = 90  # of a head, below the 100 that it takes


class WorstInput(NamedTuple):
    """What follows method and path: a query, header lines and a body."""

    name: str
    query: bytes = b""
    headers: tuple[bytes, ...] = ()
    body: bytes = b""

    def request(self, method: str, path: str) -> bytes:
        """The whole request as it is sent."""
        target = path.encode() + (b"?" + self.query if self.query else b"")
        lines = [b"%s %s HTTP/1.1" % (method.encode(), target), b"Host: x", b"Connection: close"]
        if self.body:
            lines.append(b"Content-Length: %d" % len(self.body))
        named = {line.partition(b":")[0].lower() for line in self.headers}
        if b"content-type" not in named:
            lines.append(b"Content-Type: application/json")
        return b"\r\n".join([*lines, *self.headers, b"", b""]) + self.body


def _fill(size: int, part: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + part * max(1, (size - len(before) - len(after)) // len(part)) + after


def _members(size: int, value: str, prefix: str = "") -> bytes:
    names = (f'"{prefix}{number:x}":{value}' for number in range(size // (len(value) + 5)))
    return ("{" + ",".join(names) + "}").encode()[: size - 1]


def _bodies(size: int, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    yield "many unknown keys", _members(size, "0") + b"}"
    keys = b",".join(b'"%x":0' % number for number in range(size // 9))
    yield "many unknown keys, whole", b"{" + keys + b"}"
    yield "one key many times", _fill(size, b'"email":0,', b"{", b'"email":0}')
    yield "long keys", b"{" + b",".join(b'"%s%d":0' % (b"k" * 200, i) for i in range(size // 210))
    yield "list of numbers", _fill(size, b"0,", b"[", b"0]")
    yield "list of objects", _fill(size, b"{},", b'{"email":[', b"{}]}")
    yield "conditions", _fill(size, b'{"type":"x"},', b'{"conditions":[', b"{}]}")
    known = b'{"type":"login_streak","days":"x","a":1,"b":2},'
    yield "wrong conditions", _fill(size, known, b'{"conditions":[', b"{}]}")
    yield "roles", _fill(size, b'"ADMIN",', b'{"roles":[', b'"x"]}')
    yield "open lists", b"[" * size
    yield "nested lists", b"[" * (size // 2) + b"]" * (size // 2)
    yield "nested objects", _fill(size // 2, b'{"a":') + b"1" + b"}" * (size // 12)
    deep = min(size // 2, 990)
    yield "nested in a field", b'{"email":' + b"[" * deep + b"]" * deep + b"}"
    yield "one big number", _fill(size, b"9", b'{"stock":', b"}")
    yield "big numbers", _fill(size, b"9" * 4200 + b",", b'{"stock":[', b"1]}")
    yield "long fractions", _fill(size, b"1" * 800 + b"e-999,", b'{"stock":[', b"1]}")
    for name in (b"email", b"password", b"refresh_token", b"title", b"reason", b"starts_at"):
        start = b'{"%s":"' % name
        yield f"long {name.decode()}", _fill(size, b"a", start, b'"}')
        yield f"escapes in {name.decode()}", _fill(size, rb"\u00e9", start, b'"}')
    yield "signs in an address", _fill(size, b"a@", b'{"email":"', b'","password":"x"}')
    yield "dots in an address", _fill(size, b"a.", b'{"email":"x@', b'b","password":"x"}')
    yield "quotes in an address", _fill(size, rb"\"", b'{"email":"\\"', b'"}')
    wide = "ﷺ".encode()  # one code point that NFKC makes eighteen of
    yield "an address that grows", _fill(size, wide, b'{"email":"a@', b'","password":"x"}')
    accents = "a" + "\u0316\u0300" * 20
    yield "accents without end", _fill(size, accents.encode(), b'{"email":"a@', b'.de"}')
    yield "puny code", _fill(size, b"xn--a.", b'{"email":"a@', b'de","password":"x"}')
    yield "password that grows", b'{"email":"a@example.com","password":"%s"}' % (wide * 128)
    yield "half characters", _fill(size, rb"\ud800", b'{"refresh_token":"', b'"}')
    yield "spaces in a title", _fill(size, b" ", b'{"title":"', b'x"}')
    yield "digits and dashes", _fill(size, b"4111-1111 ", b'{"reason":"', b'"}')
    yield "tokens", _fill(size, b"eyJhbGciOiJub25lIn0.", b'{"reason":"Bearer ', b'"}')
    yield "dates", _fill(size, b"0", b'{"starts_at":"2026-01-01T00:00:00.', b'Z"}')
    yield "white space", _fill(size, b" \n", b"", b"{")
    yield "noise", chance.randbytes(size)
    text = "".join(chance.choices('{}[]:,"\\0123456789abtrue ', k=size))
    yield "hostile text", text.encode()
    yield "no UTF-8", b'{"email":"' + b"\xff\xfe" * (size // 2) + b'"}'


def _heads(size: int, chance: random.Random) -> Iterator[tuple[str, bytes, tuple[bytes, ...]]]:
    yield "many parameters", _fill(size, b"a&"), ()
    pairs = b"&".join(b"%x=1" % number for number in range(size // 6))
    yield "many names in the query", pairs[:size], ()
    yield "one parameter many times", _fill(size, b"limit=x&"), ()
    yield "encoded query", _fill(size, b"%e9", b"cursor="), ()
    yield "long cursor", _fill(size, b"A", b"cursor="), ()
    yield "hostile query", _fill(size, b"a@a.password=4111-1111&", b"event_id="), ()
    yield "dates in the query", _fill(size, b"0", b"created_from=2026-01-01T00:00:00."), ()
    yield "too many headers", b"", (b"a:",) * (size // 5)
    yield "many headers", b"", (_fill(size // FIELDS, b"a", b"a:"),) * FIELDS
    names = tuple(_fill(size // FIELDS, b"x", b"x%d" % n, b":1") for n in range(FIELDS))
    yield "many names of headers", b"", names
    yield "cookie crumbs", b"", (_fill(size, b"a=b; ", b"Cookie: "),)
    yield "many cookie lines", b"", (_fill(size // FIELDS, b"a=b; ", b"Cookie: "),) * FIELDS
    hops = b"198.51.100.7, "
    yield "long way", b"", (_fill(size, hops, b"X-Forwarded-For: ", b"127.0.0.1"),)
    yield "way of nonsense", b"", (_fill(size, b",", b"X-Forwarded-For: "),)
    yield "long token", b"", (_fill(size, b"a", b"Authorization: Bearer "),)
    yield "token of dots", b"", (_fill(size, b".", b"Authorization: Bearer "),)
    header = b"eyJhbGciOiJFZERTQSIsImtpZCI6IngifQ."
    yield "token of a key", b"", (_fill(size, b"W1tb", b"Authorization: Bearer " + header, b".x"),)
    yield "content type", b"", (_fill(size, b";a=b", b"Content-Type: application/json"),)
    yield "content type of quotes", b"", (_fill(size, b'="', b"Content-Type: a/b; c"),)
    yield "accept", b"", (_fill(size, b"text/plain;q=0.1,", b"Accept: "),)
    yield "encodings", b"", (_fill(size, b"gzip;q=0.1,", b"Accept-Encoding: "),)
    yield (
        "trace state",
        b"",
        (
            b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            _fill(size // 2, b"a=1,", b"tracestate: "),
            _fill(size // 2, b"a=1,", b"baggage: "),
        ),
    )
    yield "request ID", b"", (_fill(size, b"4111-1111-", b"X-Request-ID: "),)
    yield "key", b"", (_fill(size, b"a", b"Idempotency-Key: "),)
    text = bytes(chance.choices(b"@.:/-=aA0%&;, \"'", k=size // 2))
    yield "hostile header", b"", (b"User-Agent: " + text.strip(), b"Referer: " + text.strip())
    yield "agent", b"", (_fill(size, b"Mozilla/5.0 (", b"User-Agent: "),)


def worst_inputs() -> list[WorstInput]:
    """More than two hundred, the same ones every time."""
    chance = random.Random(11)
    found = [
        WorstInput(f"{name}, {size} B", body=body)
        for size in SIZES
        for name, body in _bodies(size, chance)
    ]
    for size in (2_000, HEAD):
        heads = _heads(size, chance)
        found += [WorstInput(f"{name}, {size} B", query, lines) for name, query, lines in heads]
    sample = json.dumps({"email": "ann@example.com", "password": "x" * 12}).encode()
    return [*found, WorstInput("nothing wrong", body=sample)]
