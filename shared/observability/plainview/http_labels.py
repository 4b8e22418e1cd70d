"""Labels of the application's own on the HTTP metrics, within a bound."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import Scope

from .catalogue import OTHER, label_text
from .guarded import guarded

#: `header:X-Tenant`, `state:plan` (of `request.state`), or a function of the ASGI scope
LabelSource = str | Callable[[Scope], object]

OWN = ("method", "path", "status_code", "app_name")
_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST = 100  # characters of a value
_GUARD = guarded("metrics")


class HttpLabels:
    """Finds the values of these labels at the end of a request.

    What is missing, or fails, is "", which Prometheus takes for no label. The first `limit`
    combinations of values have series of their own, all others are `_other`. ValueError for a
    name that is taken or no label's, and for a source that is none.
    """

    def __init__(self, sources: Mapping[str, LabelSource], limit: int) -> None:
        for name in sources:
            if name in (*OWN, "le") or not _NAME.fullmatch(name):
                raise ValueError(f"http_labels: {name!r} cannot be the name of a label of yours")
        self.names = tuple(sources)
        self.none = ("",) * len(self.names)
        self._sources = [_reader(name, source) for name, source in sources.items()]
        self._limit = limit
        self._known = {self.none}

    def of(self, scope: Scope) -> tuple[str, ...]:
        """The values for this request."""
        found = tuple([_text(source, scope) for source in self._sources])
        if found not in self._known:
            if len(self._known) > self._limit:
                return (OTHER,) * len(found)
            self._known.add(found)
        return found


def _reader(name: str, source: object) -> Callable[[Scope], object]:
    if callable(source):
        return source
    kind, _, key = source.partition(":") if isinstance(source, str) else ("", "", "")
    if not key or kind not in ("header", "state"):
        raise ValueError(
            f"http_labels: {name} is {source!r}, not 'header:NAME', 'state:NAME' or a function"
        )
    if kind == "state":
        return lambda scope: _of_state(scope.get("state"), key)
    header = key.lower().encode("latin-1")
    return lambda scope: next((v.decode("latin-1") for n, v in scope["headers"] if n == header), "")


def _of_state(state: Any, key: str) -> object:
    return state.get(key, "") if isinstance(state, Mapping) else getattr(state, key, "")


def _text(source: Callable[[Scope], object], scope: Scope) -> str:
    with _GUARD:
        value = source(scope)
        return "" if value is None else label_text(value)[:_LONGEST]
    return ""
