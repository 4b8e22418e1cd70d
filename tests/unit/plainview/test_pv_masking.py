import json
import time
import uuid
from collections import namedtuple
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from plainview.mask_patterns import PATTERNS
from plainview.masking import MASK, MAX_TEXT, bounded, is_secret_key, mask, mask_text, mask_trace
from tests.support.timing import in_time_blocking

SECRET = "hUnter2-Correct.horse"
# what a pattern leaves on purpose, since it is no secret
KEPT = {"authorization scheme": "Basic", "URL credentials": "mongodb://root:"}


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.name)
@pytest.mark.parametrize(
    "around", ["{}", "say {} now", "({})", "값은 {}입니다", "a\n{}\nb", "<{}>"]
)
def test_each_pattern_masks_its_example(pattern, around):
    assert pattern.regex.search(pattern.example)
    masked = mask_text(around.format(pattern.example))
    assert pattern.example not in masked
    assert MASK in masked
    assert around.split("{}", maxsplit=1)[0] in masked
    assert KEPT.get(pattern.name, "") in masked


@pytest.mark.parametrize(
    "text",
    [
        *("Bearer abcDEF123._-x", "+1 (415) 555-2671", "+821012345678", "01012345678"),
        *("02-123-4567", "(031) 123-4567", "9001011234567", "900101 - 1234567"),
        *("5500-0000-0000-0004", "378282246310005", "3782 822463 10005"),
        # put together here, or scanners of repositories report them
        *("ghp_" + "a1" * 18, "xoxb-" + "a1" * 9, "sk_live_" + "a1" * 12),
        *("user%40example.com", "한글.사용자@예시.한국", "redis://:hunter2@cache:6379"),
        *("$2b$12$abcdefghijklmnopqrstuv", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow and no end"),
    ],
)
def test_other_forms_are_masked(text):
    masked = mask_text(f"x {text} y")
    for part in text.replace("Bearer ", "").split():
        assert part == "-" or part not in masked or part in {"-----BEGIN", "and", "no", "end"}


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-23T04:15:02.123456Z", "2026-11-23 04:15:02+09:00", "took 12.345678901234567 s"),
        *("1732334400", "1732334400123", "1732334400123456", "1732334400123456789"),
        *("0.4111111111111111", "4111 1111 1111 1112", "12345678-1234-4111-8111-111111111111"),
        *("ba7556262b352179b96702e17f13d03d", "12345678123456781234567812345678"),
        "00-ba7556262b352179b96702e17f13d03d-85e80e0cfa085d3c-01",
        *("bearer token missing", "Bearer expires_in=300", "token_type=Bearer expires_in=300"),
        *("basic authentication failed", "tokens_total: 5", "idempotency_key=4f5e-77"),
        "http://127.0.0.1:8000/api/v1/events?limit=20&cursor=abc",
        *("mongodb://db:27017/event_rewards", 'File "/srv/app/main.py", line 42, in claim'),
        *("key: value", "password_changed: true", "npm install left@1.2.3", "reward.claimed"),
        "열 번째 이벤트",
    ],
)
def test_ordinary_texts_survive(text):
    assert mask_text(text) == text
    assert mask({"value": [text]}) == {"value": [text]}


@given(st.uuids(), st.datetimes(), st.floats(0, 1e9), st.binary(min_size=12, max_size=32))
@example(
    uuid.UUID("41111111-1111-1111-1111-111111111111"), None, 0.4, bytes.fromhex("01012345678f" * 2)
)
def test_ids_times_and_durations_survive(key, when, seconds, raw):
    sizes = {12, 16, 32}  # ObjectId, trace ID, digest
    texts = [str(key), key.hex, str(when), repr(seconds)]
    texts += [raw.hex()] if len(raw) in sizes else []
    for text in texts:
        assert mask_text(text) == text
        assert mask_text(f"id={text}, done") == f"id={text}, done"


@pytest.mark.parametrize(
    "key",
    [
        *("password", "PASSWORD", "userPassword", "new-password", "current_password", "passwd"),
        *("pwd", "secret", "client_secret", "token", "access_token", "refreshToken"),
        *("X-Auth-Token", "Authorization", "proxy-authorization", "cookie", "Set-Cookie"),
        *("api_key", "X-Api-Key", "apikey", "private_key", "AUTH_SIGNING_KEY", "otp", "otp_code"),
        *("pin", "card_number", "creditCard", "cvv", "rrn", "resident_number", "email"),
        *("user_email", "phoneNumber", "password_hash", "credentials", "session_id"),
        *("user_hash_key", "비밀번호"),
    ],
)
def test_secret_keys(key):
    assert is_secret_key(key)
    assert mask({key: "x"}) == {key: MASK}
    assert mask([(key, "x")]) == [(key, MASK)]
    assert mask({key: ["a", {"b": 1}]}) == {key: MASK}


@pytest.mark.parametrize(
    "key",
    [
        *("token_type", "expires_in", "tokens_total", "idempotency_key", "key", "keys", "author"),
        *("password_changed", "token_ttl", "has", "spinner", "shopping", "passed", "compass"),
        *("event_id", "trace_id", "status", "path", "http_route", "secret_name", "token_count"),
        *("authenticated", "options", "mobile_app", "cardinality", "discard", "phonetic"),
    ],
)
def test_other_keys(key):
    assert mask({key: "x"}) == {key: "x"}


def test_facts_and_amounts_under_secret_keys_stay():
    value = {"password": None, "email": True, "max_tokens": 5}
    assert mask(value) == value
    assert mask({"pin": 1234, "tokens": ["a"]}) == {"pin": MASK, "tokens": MASK}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=abc next", "password=*** next"),
        ("a?token=abc&b=1", "a?token=***&b=1"),
        ('{"password": "a\\"b", "n": 1}', '{"password": "***", "n": 1}'),
        (r"{\"password\": \"a\\\"b\", \"n\": 1}", r"{\"password\": \"***\", \"n\": 1}"),
        ("{'api_key': 'a b', 'n': 1}", "{'api_key': '***', 'n': 1}"),
        ("Authorization: Bearer a, b\nHost: x", "Authorization: ***\nHost: x"),
        ("Cookie: a=b; c=d\r\nHost: x", "Cookie: ***\r\nHost: x"),
        ("tokens: ['a', 'b'], n=1", "tokens: ***, n=1"),
        ("User(name='kim', password=b'abc')", "User(name='kim', password=b'***')"),
        ("비밀번호: abc 끝", "비밀번호: *** 끝"),
        ("url=https://x/?a=1&refresh_token=xyz", "url=https://x/?a=1&refresh_token=***"),
        ("secret => abc", "secret => ***"),
        ('password: "abc', 'password: "***'),
    ],
)
def test_pairs_in_texts(text, expected):
    assert mask_text(text) == expected


TEXT = st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(TEXT, inner, max_size=4)
        | st.frozensets(TEXT, max_size=3)
    ),
    max_leaves=12,
)
WRAPPED = st.sampled_from(
    [
        f'"password": "{SECRET}"',
        f" password={SECRET}",
        f" access_token={SECRET}&",
        f"\nAuthorization: Bearer {SECRET}",
        f"://u:{SECRET}@db",
        f"'client_secret': '{SECRET}'",
    ]
)


@given(TEXT, WRAPPED, TEXT)
def test_a_secret_in_any_text_never_comes_through(before, secret, after):
    assert SECRET not in mask_text(f"{before} {secret} {after}")


@given(JSON, TEXT, st.lists(st.sampled_from("dltse"), max_size=6))
def test_a_secret_in_any_nesting_never_comes_through(other, key, nest):
    wraps = {
        "d": lambda value: {key: value, "other": other},
        "l": lambda value: [other, value],
        "t": lambda value: (value, other, other),
        "s": lambda value: str({"inner": value}),
        "e": ValueError,
    }
    value: object = {"password": SECRET}
    for kind in nest:
        value = wraps[kind](value)
    assert SECRET not in repr(mask(value))


@given(TEXT | WRAPPED, st.sampled_from(PATTERNS), TEXT)
@example("://:0", PATTERNS[8], "@")
@settings(max_examples=300)
def test_masking_twice_is_masking_once(before, pattern, after):
    once = mask_text(before + pattern.example + after)
    assert mask_text(once) == once


@given(JSON)
def test_any_value_gives_json_and_is_not_changed(value):
    before = repr(value)
    json.dumps(mask(value)).encode()
    json.dumps(bounded(value)).encode()
    assert repr(value) == before


class Colour(StrEnum):
    RED = "red"


class Login(BaseModel):
    user: str
    password: str
    key: SecretStr


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_objects():
    pair = namedtuple("pair", "user password")
    login = Login(user="kim", password=SECRET, key=SecretStr(SECRET))
    masked = mask([login, pair("kim", SECRET), ValueError(f"token={SECRET}")])
    assert SECRET not in repr(masked)
    assert masked[0] == {"user": "kim", "password": MASK, "key": "SecretStr('**********')"}
    assert mask([Colour.RED, Decimal("1.5"), b"abc", {1, 2}, Broken()]) == [
        *("red", "1.5", "abc", [1, 2], "<Broken>")
    ]
    assert mask({"n": 4111111111111111, "ms": 1732334400123, "big": 2**70}) == {
        "n": MASK,
        "ms": 1732334400123,
        "big": str(2**70),
    }


def test_size_is_bounded():
    loop: list[object] = []
    loop.append(loop)
    assert len(json.dumps(mask(loop))) < 100
    wide: object = 1
    for _ in range(10):
        wide = [wide] * 100
    assert len(json.dumps(mask(wide))) < 50_000
    assert len(mask(dict.fromkeys(range(1000)))) == 51
    assert len(mask_text("x" * 10**6)) <= MAX_TEXT
    # the part of a secret that is inside the cut is masked although its end is not there
    cut = mask_text("x" * (2 * MAX_TEXT - 10) + "4111111111111111" + "x" * 100)
    assert "4111" not in cut


def test_traces_keep_their_end():
    text = mask_trace("start\n" + "x\n" * 5000 + "password=abc\nValueError: end")
    assert text.startswith("start")
    assert text.endswith("password=***\nValueError: end")
    assert len(text) <= MAX_TEXT


@pytest.mark.parametrize(
    "evil",
    [
        *("eyJ" * 3000, "-eyJ" * 2000, "a" * 8000, "a@" * 4000, "a@b." + "c." * 3900, "\\" * 8000),
        *("password=" * 900, "1" * 8000, "4111 " * 1600, "://a:" * 1600, "://" + "a:" * 4000),
        *('password="' + '\\"' * 3500, "+1 " * 2600, "-----BEGIN PRIVATE KEY-----" * 300),
        *("password={" + "[x" * 3500, "basic " * 1300, "1-" * 4000, "password" + " " * 7000 + "="),
        *("a%40" * 2000, "bearer\t" + "a" * 8000, "key: " * 1600, "password:" + "\\\\'" * 2600),
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_long(evil):
    def cpu_s() -> float:
        start = time.thread_time()  # of this thread alone, however busy the machine is
        mask_text(evil)
        return time.thread_time() - start

    in_time_blocking(cpu_s, 0.1)  # 8 KB take 1 to 5 ms; a quadratic regex takes seconds
