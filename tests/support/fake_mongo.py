"""A database in memory with the plain operators that the services use, and ways to break it."""

import copy
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

from shared.storage.mongo import DuplicateKey

Document = dict[str, Any]
WRITES = frozenset(["insert_one", "update_one", "find_one_and_update", "delete_one"])
_MISSING = object()
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
}


def _get(document: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(document, dict) or name not in document:
            return _MISSING
        document = document[name]
    return document


def _one(value: Any, condition: Any) -> bool:
    if not (isinstance(condition, dict) and any(key.startswith("$") for key in condition)):
        return bool(value == condition or (isinstance(value, list | tuple) and condition in value))
    for operator, wanted in condition.items():
        if operator == "$ne":
            good = value != wanted
        elif operator == "$exists":
            good = (value is not _MISSING) == wanted
        elif operator == "$in":
            good = value in wanted
        elif operator in _COMPARE:
            good = type(value) is type(wanted) and _COMPARE[operator](value, wanted)
        else:
            raise NotImplementedError(operator)
        if not good:
            return False
    return True


def _matches(document: Document, where: Mapping[str, Any]) -> bool:
    return all(_one(_get(document, path), condition) for path, condition in where.items())


def _update(document: Document, update: Mapping[str, Any]) -> None:
    for operator, changes in update.items():
        for path, value in changes.items():
            *parents, last = path.split(".")
            target = document
            for name in parents:
                target = target.setdefault(name, {})
            old = target.get(last)
            if operator == "$set":
                target[last] = copy.deepcopy(value)
            elif operator == "$unset":
                target.pop(last, None)
            elif operator == "$inc":
                target[last] = (old or 0) + value
            elif operator in ("$min", "$max"):
                pick = min if operator == "$min" else max
                target[last] = value if old is None else pick(old, value)
            else:
                raise NotImplementedError(operator)


class FakeCollection:
    """The calls of `shared.storage.mongo.Collection`; each is atomic."""

    def __init__(self) -> None:
        self.documents: dict[Any, Document] = {}
        self.unique: list[str] = []

    def _matching(self, where: Mapping[str, Any]) -> list[Document]:
        if isinstance(_id := where.get("_id"), str):
            rows = [self.documents[_id]] if _id in self.documents else []
        else:
            rows = list(self.documents.values())
        return [row for row in rows if _matches(row, where)]

    async def create_index(self, keys: Any, **options: Any) -> None:
        if options.get("unique") and (name := keys[0][0]) not in self.unique:
            self.unique.append(name)

    async def insert_one(self, document: Document) -> None:
        taken = any(
            row.get(name) == document.get(name)
            for name in self.unique
            for row in self.documents.values()
        )
        if taken or document["_id"] in self.documents:
            raise DuplicateKey("duplicate key")
        self.documents[document["_id"]] = copy.deepcopy(document)

    async def find(
        self, where: Mapping[str, Any], projection: Any = None, *, sort: Any = (), limit: int = 0
    ) -> list[Document]:
        rows = copy.deepcopy(self._matching(where))
        for path, direction in reversed(sort):
            rows.sort(key=lambda row: _get(row, path), reverse=direction < 0)
        return rows[: limit or None]

    async def find_one(self, where: Mapping[str, Any], projection: Any = None) -> Document | None:
        found = copy.deepcopy(self._matching(where)[:1])
        if not found:
            return None
        hidden = [name for name, shown in (projection or {}).items() if not shown]
        return {name: value for name, value in found[0].items() if name not in hidden}

    async def update_one(
        self, where: Mapping[str, Any], update: Mapping[str, Any], *, upsert: bool = False
    ) -> SimpleNamespace:
        result = SimpleNamespace(matched_count=0, modified_count=0, upserted_id=None)
        found = self._matching(where)[:1]
        if not found and upsert:
            found = [self.documents.setdefault(where["_id"], {"_id": where["_id"]})]
            result.upserted_id = where["_id"]
            _update(found[0], update)
        elif found:
            before = copy.deepcopy(found[0])
            _update(found[0], update)
            result.matched_count, result.modified_count = 1, int(before != found[0])
        return result

    async def find_one_and_update(
        self, where: Mapping[str, Any], update: Mapping[str, Any], *, projection: Any = None
    ) -> Document | None:
        found = self._matching(where)[:1]
        if not found:
            return None
        _update(found[0], update)
        return await self.find_one({"_id": found[0]["_id"]}, projection)

    async def delete_one(self, where: Mapping[str, Any]) -> SimpleNamespace:
        found = self._matching(where)[:1]
        for row in found:
            del self.documents[row["_id"]]
        return SimpleNamespace(deleted_count=len(found))

    async def delete_many(self, where: Mapping[str, Any]) -> None:
        for row in self._matching(where):
            del self.documents[row["_id"]]

    async def count(self, where: Mapping[str, Any]) -> int:
        return len(self._matching(where))

    count_documents = count

    async def aggregate(self, pipeline: list[Mapping[str, Any]], limit: int) -> list[Document]:
        rows = list(self.documents.values())
        for stage in pipeline:
            ((name, body),) = stage.items()
            if name == "$match":
                rows = [row for row in rows if _matches(row, body)]
            elif name == "$group":
                counts: dict[Any, int] = defaultdict(int)
                for row in rows:
                    counts[_get(row, body["_id"].removeprefix("$"))] += 1
                rows = [{"_id": key, "n": n} for key, n in counts.items()]
            else:
                raise NotImplementedError(name)
        return copy.deepcopy(rows[:limit])


class FakeDatabase:
    """Collections by name."""

    def __init__(self) -> None:
        self.collections: dict[str, FakeCollection] = defaultdict(FakeCollection)

    def __getitem__(self, name: str) -> FakeCollection:
        return self.collections[name]


Around = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]


class Wrapped:
    """A database, real or fake, with `around(method, call)` in the place of every call."""

    def __init__(self, database: Any, around: Around) -> None:
        self._database = database
        self._around = around

    def __getitem__(self, name: str) -> Any:
        return _WrappedCollection(self._database[name], self._around)


class _WrappedCollection:
    def __init__(self, collection: Any, around: Around) -> None:
        self._collection = collection
        self._around = around

    def __getattr__(self, method: str) -> Any:
        target = getattr(self._collection, method)
        if method not in WRITES | {"find", "find_one"}:
            return target
        return lambda *args, **more: self._around(method, lambda: target(*args, **more))


class Crash(BaseException):
    """The process is gone; nothing catches this."""


def crash_at(
    database: Any,
    write: int,
    *,
    done: bool,
    error: type[BaseException] = Crash,
    once: bool = False,
) -> Wrapped:
    """Fail at the write of that number (from 1), before it reaches the server or after.

    Unless it is `once`, no later write reaches the server either.
    """
    writes = 0

    async def around(method: str, call: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal writes
        writes += method in WRITES
        if method in WRITES and (writes == write or (writes > write and not once)):
            if done and writes == write:
                await call()
            raise error
        return await call()

    return Wrapped(database, around)
