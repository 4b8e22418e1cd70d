"""Patterns of secrets and personal data in texts, each with an example that tests check.

Every regex takes linear time: its quantifiers are possessive or bounded.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

MASK = "***"


class Pattern(NamedTuple):
    """`replacement` is a template or a function of the match; `regex` alone matches `example`."""

    name: str
    regex: re.Pattern[str]
    example: str
    replacement: str | Callable[[re.Match[str]], str] = MASK


def _card(match: re.Match[str]) -> str:
    digits = [int(c) for c in reversed(match[0]) if c.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return match[0] if (sum(digits[::2]) + sum(doubled)) % 10 else MASK


# Only numbers that stand alone: not in hex IDs, groups of a UUID or decimals.
_START = r"(?<![0-9a-fA-F])(?<![0-9a-fA-F]{4}-)(?<![0-9]\.)"
_END = r"(?![0-9a-fA-F])(?!-[0-9a-fA-F]{4}-)"
_LOCAL = r"[^\s@%*\"'<>()\[\]{},;:\\/=&?|]"
_BRANDS = r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|35[0-9]{2}|6[0-9]{3}|9[0-9]{3})"

PATTERNS = (
    Pattern(
        "private key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
            r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----",
    ),
    Pattern(
        "JWT",
        re.compile(r"eyJ[\w-]{10,}+(?:\.[\w-]*+){0,4}", re.ASCII),
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl",
    ),
    Pattern(
        "authorization scheme",
        # "basic" before a lower-case word or a key=value is prose, not a credential
        re.compile(
            r"\b((?i:bearer|basic)\s{1,8})(?=\S*?(?:[0-9+/~]|[a-z][A-Z]|==?$)|\S{20})"
            r"[\w.~+/-]{6,}+={0,2}(?![\w=])"
        ),
        "Basic dXNlcjpwYXNz",
        r"\1" + MASK,
    ),
    Pattern(
        "URL credentials",
        re.compile(r"(://[^\s/:@\"'<>]{0,256}+:)[^\s/\"'<>]{1,512}@"),
        "mongodb://root:hunter2@db:27017/x",
        r"\1" + MASK + "@",
    ),
    Pattern(
        "API key",
        re.compile(
            r"(?:[srp]k_(?:live|test)_\w{8,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|xox[a-z]-[\w-]{8,}"
            r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|glpat-[\w-]{16,}|(?<!\w)sk-[\w-]{20,}"
            r"|npm_\w{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|hooks\.slack\.com/services/[\w/]{8,})",
            re.ASCII,
        ),
        "AKIAIOSFODNN7EXAMPLE",
    ),
    Pattern(
        "password hash",
        re.compile(r"\$(?:argon2\w{1,2}|2[aby]|scrypt|[56])\$[\w$=,./+-]{8,}+"),
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
    ),
    Pattern(
        "e-mail",
        re.compile(rf"(?<!{_LOCAL}){_LOCAL}++(?:@|%40)(?:[\w-]+\.)+(?:xn--[\w-]+|[^\W\d_]{{2,}})"),
        "kim.minsu+test@example.co.kr",
    ),
    Pattern(
        "Korean resident number",
        # without the hyphen it must not be a Unix time in ms, which starts with 1 until 2033
        re.compile(
            _START + r"(?:(?!1[0-9]{12})[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[1-8]"
            r"|[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]) ?- ?[0-9])[0-9]{6}" + _END
        ),
        "900101-1234567",
    ),
    Pattern(
        "card number",
        # brand prefixes leave out numbers that start with 1, as Unix times in ms to ns do
        re.compile(
            _START + rf"(?:{_BRANDS}([ -]?)[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?"
            r"|3[47][0-9]{2}([ -]?)[0-9]{6}\2[0-9]{5}|3[0689][0-9]{12}|4[0-9]{12})" + _END
        ),
        "4111 1111 1111 1111",
        _card,
    ),
    Pattern(
        "international phone number",
        re.compile(r"\+[1-9](?:[-. ()]{0,2}[0-9]){7,14}+(?![0-9])"),
        "+82 10-1234-5678",
    ),
    Pattern(
        "Korean phone number",
        re.compile(
            _START + r"(?:01[016-9][-. ]?[0-9]{3,4}[-. ]?[0-9]{4}"
            r"|\(?0(?:2|[3-6][1-5]|70|50[0-9]?)(?:[-.] ?|\) ?)[0-9]{3,4}[-. ][0-9]{4})" + _END
        ),
        "010-1234-5678",
    ),
)
