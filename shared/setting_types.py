"""Types of settings that are written as text, with error messages that say what is expected.

The messages never quote the value, as it can be a secret.
"""

import json
import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated
from urllib.parse import urlsplit

from limits import parse
from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from plainview.client_address import parse_networks

_LEVELS = ("debug", "info", "warning", "error", "critical")
_ALIASES = {
    "trace": "debug", "warn": "warning", "err": "error", "fatal": "critical",
    "10": "debug", "20": "info", "30": "warning", "40": "error", "50": "critical",
}  # fmt: skip


class Misread(ValueError):
    """The value has the wrong form; the text says which form is expected."""


def items(value: object) -> object:
    """The items of a list that is written with commas, or as JSON, pydantic's own form."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            raise Misread("is a list, its items separated by commas") from None
        return [str(item).strip() for item in found]
    return [item.strip() for item in value.split(",") if item.strip()]


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_networks(",".join(map(str, items(value))))  # type: ignore[call-overload]
    except ValueError:
        raise Misread("is a list of networks such as 10.0.0.0/8, ::1") from None


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]


def _url(text: str, schemes: Sequence[str]) -> str:
    """The checked URL; the first of `schemes` is put before one that has no scheme."""
    text = text.strip()
    if "://" not in text:
        text = f"{schemes[0]}://{text}"
    try:
        parts = urlsplit(text)
        known = parts.scheme.lower() in schemes and (parts.hostname or parts.scheme == "unix")
        known = known and (parts.port or 1) > 0  # urlsplit checks the port only when it is read
    except ValueError:
        known = False
    if not known or re.search(r"\s", text):
        raise Misread(f"is not an address such as {schemes[0]}://host:port")
    return text


def _http(text: str) -> str:
    return _url(text, ("http", "https")) if text else text


def _http_host(text: str) -> str:
    url = _http(text).rstrip("/")
    parts = urlsplit(url)
    if parts.path or parts.query or parts.fragment:
        raise Misread("is an address without a path, such as http://host:port")
    return url


def _origin(text: str) -> str:
    if text == "*":
        return text
    if "://" not in text:
        raise Misread("is a list of origins such as https://app.example.com")
    return _http_host(text)


def _level(value: object) -> object:
    text = str(value).strip().lower()
    if (level := _ALIASES.get(text, text)) not in _LEVELS:
        raise Misread(f"is one of {', '.join(_LEVELS)}")
    return level


def _secret(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))


def _redis(text: str) -> str:
    return _url(text, ("redis", "rediss", "unix"))


def _mongo(text: str) -> str:
    from pymongo import errors, uri_parser  # noqa: PLC0415 - the gateway can do without it

    text = text.strip()
    if "://" not in text:
        text = f"mongodb://{text}"
    if not text.startswith("mongodb+srv://"):  # parsing this one needs DNS, which may be away
        try:
            uri_parser.parse_uri(text)
        except (errors.PyMongoError, ValueError):
            raise Misread("is not an address such as mongodb://user:password@host:27017") from None
    return text


def _rate(text: str) -> str:
    try:
        parse(text)
    except ValueError:
        raise Misread("is a limit such as 300/minute or 10/5 minutes") from None
    return text


#: URL of a service, without a path
HttpHost = Annotated[str, AfterValidator(_http_host)]
HttpUrl = Annotated[str, AfterValidator(_http)]
RedisUrl = Annotated[SecretStr, _secret(_redis)]
MongoUrl = Annotated[SecretStr, _secret(_mongo)]
#: such as "10/5 minutes", the notation of the `limits` library
RateLimit = Annotated[str, AfterValidator(_rate)]
#: origins that may send cross-origin requests; "*" is any
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(items)
]
LogLevel = Annotated[str, BeforeValidator(_level)]
