r"""Secrets and personal data out of anything that is logged, traced or shown in an error.

By key (`password`, `access_token`, `X-Api-Key`, ...) and by pattern in any text. Every regex is
linear and the input is cut. What an ordinary field costs:
`python -m timeit -s 'from plainview import mask' 'mask({"event_id": "0190-ab", "n": 3})'`.
"""

import re
from collections.abc import Callable, Mapping, Set
from datetime import date, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from .database_texts import without_values
from .mask_patterns import MASK, PATTERNS

MAX_TEXT = 4096  # characters of a text; with four such, a line is still below Docker's 16 KB
_MAX_INPUT = 2 * MAX_TEXT
_MARGIN = 256  # characters; longer than any secret that is recognised by its end
_NODES, _ITEMS, _DEPTH = 500, 50, 8  # see mask()

# Anywhere in a key (separators removed), as one of its words, or at its end.
_PARTS = (
    *("password", "passwd", "passphrase", "secret", "authorization", "cookie", "credential"),
    *("apikey", "privatekey", "accesskey", "signingkey", "encryptionkey", "hashkey", "authkey"),
    *("sessionid", "creditcard", "cardnumber", "residentnumber"),
    *("비밀번호", "주민번호", "등록번호"),
)  # fmt: skip
_WORDS = {"pwd", "otp", "totp", "pin", "cvv", "cvc", "rrn", "ssn", "jwt", "pem", "passcode"}
_ENDS = ("token", "tokens", "email", "emailaddress", "phone", "phonenumber", "mobile", "tokenhash")
_ABOUT = {  # last words of keys that are about a secret, such as token_type
    *("type", "ttl", "count", "total", "length", "policy", "at", "in", "seconds", "s", "expires"),
    *("enabled", "required", "url", "endpoint", "verified", "valid", "status", "name", "attempts"),
    *("field", "outcome", "reason", "version", "error", "errors", "min", "max", "changed", "bytes"),
}  # fmt: skip
_BOUNDARY = re.compile(r"[^0-9a-zA-Z가-힣]+|(?<=[a-z0-9])(?=[A-Z])")
_KEY = re.compile(r"(?<![\w.-])([\w.-]++)\\*+[\"']?\s{0,4}(?:=>?|:)\s{0,4}[bru]{0,2}(?![/=])")
_VALUE = re.compile(
    r"""(?:(\\++)(["'])(?:(?!\2)[^\\]|(?!\1\2)\\++["']?)*+(?:\1\2)?"""
    r"""|"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?"""
    r"""|[\[{](?:[^\[\]{}]|[\[{][^\[\]{}]*+[\]}])*+[\]}]?|[^\s,;&"'<>)\]}]++)""",
    re.DOTALL,
)
_REST = re.compile(r"[^\r\n\"']++")
_HINTS = (  # every secret key contains one of these, so other keys are told apart fast
    *("pass", "secret", "auth", "cookie", "cred", "key", "session", "card", "number", "pwd", "otp"),
    *("pin", "cvv", "cvc", "rrn", "ssn", "jwt", "pem", "token", "mail", "phone", "mobile", "번호"),
)  # fmt: skip
# Fast checks: texts that certainly hold no secret, and what any text has that PATTERNS change.
_PLAIN = re.compile(
    r"(?![srpg][kh]|xox|npm|hooks)[a-z_.]++|[0-9a-f]{24}|[0-9a-f]{32}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
_TRIGGER = re.compile(
    r"[0-9](?:[ .()-]{0,3}[0-9]){7}|@|%40|eyJ|AKIA|ASIA|AIza|-----BEGIN|\$[a256]|SG\.|xox|sk[-_]"
    r"|[pr]k_|gh[a-z]_|glpat-|npm_|_pat_|hooks\.|[Bb][Ee][Aa][Rr][Ee][Rr]\s|[Bb][Aa][Ss][Ii][Cc]\s"
)


def is_secret_key(key: str) -> bool:
    """Whether the value of this key is masked as a whole: `X-Api-Key` yes, `token_type` no."""
    words = [word.lower() for word in _BOUNDARY.split(key[-256:]) if word]
    joined = "".join(words)
    return (
        bool(words)
        and words[-1] not in _ABOUT
        and (
            joined == "auth"
            or joined.endswith(_ENDS)
            or any(part in joined for part in _PARTS)
            or not _WORDS.isdisjoint(words)
        )
    )


def _mask_pairs(text: str) -> str:
    """Mask values of `key=value`, `"key": "value"` and `Header: value` with a secret key."""
    done, parts = 0, []
    for match in _KEY.finditer(text):
        key, start = match[1], match.end()
        if start < done or not is_secret_key(key):
            continue
        header = key.lower().endswith(("authorization", "cookie", "cookies"))
        found = (header and _REST.match(text, start)) or _VALUE.match(text, start)
        if found:
            value = found[0]
            quote = value[: len(value) - len(value.lstrip("\\")) + 1] if value[0] in "\\\"'" else ""
            closed = quote and len(value) >= 2 * len(quote) and value.endswith(quote)
            parts += [text[done:start], quote, MASK, quote if closed else ""]
            done = found.end()
    return "".join([*parts, text[done:]]) if parts else text


def bound_text(text: str) -> str:
    """At most 4,096 characters of the text, valid in UTF-8; it ends with how many are left out."""
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT - 24]}...[+{len(text) - MAX_TEXT + 24}]"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def mask_text(text: str) -> str:
    """The text with `***` for every secret in it; at most 4,096 characters of it."""
    if type(text) is not str:
        text = str(mask(text))
    if len(text) < 5 or _PLAIN.fullmatch(text):  # shorter ones hold no secret: "pin:1"
        return bound_text(text)
    if len(text) > _MAX_INPUT:  # a cut secret is not recognised, so keep a margin
        return bound_text(_masked(text[:_MAX_INPUT])[: MAX_TEXT - _MARGIN] + "...[cut]")
    return bound_text(_masked(text))


def mask_trace(text: str, *, masking: bool = True) -> str:
    """Like `mask_text`, for stack traces: a long one loses its middle, not its end."""
    text = _masked(text[: 2 * _MAX_INPUT]) if masking else text
    if len(text) > MAX_TEXT:
        text = f"{text[:800]}\n  ...\n{text[-(MAX_TEXT - 900) :]}"
    return bound_text(text)


def _masked(text: str) -> str:
    text = without_values(text)
    for _ in range(3):  # a mask can make another pattern match
        before = text
        if "=" in text or ":" in text:
            lower = text.lower()
            if any(hint in lower for hint in _HINTS):
                text = _mask_pairs(text)
        if _TRIGGER.search(text):
            for _, regex, _, replacement in PATTERNS:
                text = regex.sub(replacement, text)
        if text == before:
            break
    return text


def mask(value: Any) -> Any:
    """A copy without secrets; lists, tuples and dicts keep their type, models become dicts.

    Bounded to 500 objects and texts (of 256 characters; longer ones count more), 50 per
    container, 8 levels. Never raises, changes no argument.
    """
    return _Walk(mask_text).value(value, 0) if type(value) is not str else mask_text(value)


def bounded(value: Any) -> Any:
    """Like `mask`, without masking."""
    return _Walk(bound_text).value(value, 0)


@lru_cache(maxsize=2048)
def masked_key(key: str) -> tuple[str, bool]:
    """What is shown of a key, and whether its value is a secret."""
    return mask_text(key), is_secret_key(key)


class _Walk:
    def __init__(self, text: Callable[[str], str]) -> None:
        self.text = text
        self.masking = text is mask_text
        self.left = _NODES

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            self.left -= 1 + min(len(value), MAX_TEXT) // 256
            return self.text(value) if self.left > 0 else "..."
        if value is None or kind is bool or kind is float:
            return value
        if kind is int and -(10**11) < value < 10**11:
            return value
        self.left -= 1
        if depth >= _DEPTH or self.left < 0:
            return "..."
        try:
            return self._object(value, depth + 1)
        except Exception:  # a broken __repr__ or property: keep the rest
            return f"<{kind.__name__}>"

    def _object(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 - one line per kind
        if isinstance(value, (dict, Mapping)):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple, Set)) and not hasattr(value, "_fields"):
            return self._sequence(value, depth)
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, (bytes, bytearray)):
            return self.text(bytes(value[: _MAX_INPUT + 1]).decode("utf-8", "backslashreplace"))
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        if hasattr(type(value), "model_dump"):
            return self._mapping(value.model_dump(), depth)
        if isinstance(value, (date, time)):
            return value.isoformat()
        plain = isinstance(value, (str, int, float, Decimal, PurePath, UUID))
        text = str(value) if plain else repr(value)
        masked = self.text(text)
        fits = type(value) is int and masked == text and -(2**63) <= value < 2**63
        return value if fits else masked

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, item in islice(value.items(), _ITEMS):
            name = key if type(key) is str else str(self.value(key, depth))
            shown, secret = masked_key(name) if self.masking else (self.text(name), False)
            # max_tokens=5 is an amount, has_password=True a fact
            if secret and not (
                item is None
                or item is True
                or item is False
                or (type(item) in (int, float) and name.lower().endswith("tokens"))
            ):
                result[shown] = MASK
            else:
                result[shown] = self.value(item, depth)
        if len(value) > _ITEMS:
            result["..."] = len(value) - _ITEMS
        return result

    def _sequence(self, value: Any, depth: int) -> Any:
        items = [self.value(item, depth) for item in islice(value, _ITEMS)]
        if self.masking and len(items) == 2 and type(items[0]) is str and items[1] is not None:
            if is_secret_key(items[0]):  # a (name, value) pair, as of headers
                items[1] = MASK
        elif len(value) > _ITEMS:
            items.append(f"... +{len(value) - _ITEMS}")
        return tuple(items) if isinstance(value, tuple) else items
