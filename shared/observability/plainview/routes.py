"""Finds the route that handled a request, from what the routers left in its scope.

No path is matched again, so the cost does not grow with the number of routes. Only the mounts are
searched, as a router does not tell which mounted app it chose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import fastapi.routing
from starlette.routing import BaseRoute, Host, Mount
from starlette.types import Scope


def path_below(path: str, root_path: str) -> str:
    """The path as seen by an app that is mounted at `root_path`."""
    root = root_path.rstrip("/")
    return path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path


class RouteFinder:
    """Finds route templates of one application and of all apps mounted in it."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._indexes: dict[int, _Index] = {}

    def template(self, scope: Scope, root_path: str) -> str | None:
        """Full template of the route that took the request, such as `/api/v1/events/{id}`.

        `root_path` is that of the scope when the request came in. A route of a mounted app has
        the mount's path in front; a mount of something without routes, such as static files, is
        `/static/{path}`. None if no route took the request.
        """
        route = scope.get("route")
        if route is not None and scope.get("root_path", "") == root_path:
            return _template_of(scope, route)  # by far the most frequent case
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return None
        prefix, owner, path = self._behind_mounts(scope, root_path)
        if owner is None:
            return None
        if route is not None and (own := _template_of(scope, route)) is not None:
            return prefix + own
        index = self._index(owner)
        if not index.has_routes:
            return f"{prefix}/{{path}}"
        found = index.path(endpoint, path)
        return None if found is None else prefix + found

    def _behind_mounts(self, scope: Scope, root_path: str) -> tuple[str, Any, str]:
        """Templates of the mounts that were passed, the last one, and the path that is left."""
        wanted = str(scope.get("root_path", ""))
        prefix, root, owner = "", root_path, self._app
        path = path_below(scope["path"], root_path)
        while root != wanted:
            for mount in self._index(owner).mounts:
                match = mount.path_regex.match(path)
                if match:
                    rest = "/" + match["path"]
                    root += path[: len(path) - len(rest)]
                    prefix, path, owner = prefix + mount.path, rest, mount.original_route
                    break
            else:  # something other than a mount set the root path
                return prefix, None, path
        return prefix, owner, path

    def _index(self, owner: Any) -> _Index:
        index = self._indexes.get(id(owner))
        routes = getattr(owner, "routes", None) or ()
        if index is None or index.count != len(routes):
            index = self._indexes[id(owner)] = _Index(owner, routes)
        return index


def _template_of(scope: Scope, route: Any) -> str | None:
    if isinstance(route, (Mount, Host)):
        return None
    # FastAPI keeps the prefixes of included routers only here, `scope["route"].path` lacks them
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        route = context
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else None


class _Index:
    """The routes of an app by endpoint, and its mounts."""

    def __init__(self, owner: object, routes: Sequence[BaseRoute]) -> None:
        self.owner = owner  # keeps the owner alive, as indexes are found by its id()
        self.count = len(routes)
        self.has_routes = bool(routes)
        self.mounts: list[Any] = []
        self._routes = routes
        self._by_endpoint: dict[int, list[Any]] = {}
        self._unknown: set[int] = set()
        self._read()

    def _read(self) -> None:
        self.mounts.clear()
        self._by_endpoint.clear()
        for route in _flat(self._routes):
            if isinstance(route.original_route, Mount):
                self.mounts.append(route)
            else:
                endpoint = getattr(route, "endpoint", None)
                self._by_endpoint.setdefault(id(endpoint), []).append(route)

    def path(self, endpoint: object, path: str) -> str | None:
        """Template of an endpoint's route; of several the one that fits the path."""
        key = id(endpoint)
        if key not in self._by_endpoint and key not in self._unknown:
            self._read()  # the route may have been added since
            if key not in self._by_endpoint:
                self._unknown.add(key)  # bounded by the number of endpoints
        routes = self._by_endpoint.get(key, [])
        if len(routes) > 1:
            routes = [route for route in routes if route.path_regex.match(path)]
        return str(routes[0].path) if routes else None


def _copied(routes: Sequence[BaseRoute]) -> Iterator[SimpleNamespace]:
    """The same for FastAPI that copies the routes of included routers, prefixes and all."""
    for route in routes:
        about = {name: getattr(route, name, None) for name in ("path", "path_regex", "endpoint")}
        yield SimpleNamespace(original_route=route, **about)


_contexts: Any = getattr(fastapi.routing, "iter_route_contexts", _copied)


def _flat(routes: Sequence[BaseRoute]) -> Iterator[Any]:
    for route in _contexts(routes):
        yield route
        if isinstance(route.original_route, Host):  # a Host route changes no path
            yield from _flat(route.original_route.routes)
