"""PromQL as Prometheus reads it (/api/v1/parse_query): its selectors, and what it asks for."""

import json
from collections.abc import Iterator
from typing import Any

import httpx

Node = dict[str, Any]
COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}


def parse(prometheus_url: str, expr: str) -> Node:
    """The tree of an expression; an error of PromQL is raised with Prometheus' words."""
    reply = httpx.get(f"{prometheus_url}/api/v1/parse_query", params={"query": expr})
    if reply.is_error:
        raise ValueError(f"{expr}: {reply.json()['error']}")
    tree: Node = reply.json()["data"]
    return tree


def selectors(node: Node) -> set[str]:
    """The series it reads, without ranges and offsets: `up{job="event"}`."""
    return {_series(each) for each in _readers(node)}


def conditions(node: Node) -> list[str]:
    """What an alert looks at: each branch of `or`, without thresholds and offsets.

    `a > 1 and b` is `a and b`, `absent(a)` is `a`, `a unless b` is `a`: while all is well the
    alert gives nothing, but these have to give data, or it could never fire.
    """
    if node["type"] == "parenExpr":
        return conditions(node["expr"])
    if node["type"] == "binaryExpr" and node["op"] == "or":
        return conditions(node["lhs"]) + conditions(node["rhs"])
    return [_loose(node)]


def _readers(node: Any) -> Iterator[Node]:
    """Every selector below a node."""
    if isinstance(node, dict) and "matchers" in node:
        yield node
    elif isinstance(node, list | dict):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _readers(each)


def _series(node: Node) -> str:
    matchers = [
        f"{each['name']}{each['type']}{json.dumps(each['value'], ensure_ascii=False)}"
        for each in node["matchers"]
        if not (each["name"] == "__name__" and node["name"])
    ]
    return node["name"] + (f"{{{','.join(matchers)}}}" if matchers or not node["name"] else "")


def _loose(node: Node) -> str:  # noqa: PLR0911 - one line per kind of node
    match node["type"]:
        case "vectorSelector":
            return _series(node)
        case "matrixSelector":
            return f"{_series(node)}[{node['range']}ms]"
        case "subquery":
            return f"{_loose(node['expr'])}[{node['range']}ms:{node['step']}ms]"
        case "parenExpr":
            return f"({_loose(node['expr'])})"
        case "unaryExpr":
            return f"{node['op']}{_loose(node['expr'])}"
        case "numberLiteral":
            return str(node["val"])
        case "stringLiteral":
            return json.dumps(node["val"], ensure_ascii=False)
        case "call":
            args = ", ".join(map(_loose, node["args"]))
            return args if node["func"]["name"] == "absent" else f"{node['func']['name']}({args})"
        case "aggregation":
            how = "without" if node["without"] else "by"
            inner = [_loose(each) for each in (node["param"], node["expr"]) if each]
            return f"{node['op']} {how} ({', '.join(node['grouping'])}) ({', '.join(inner)})"
        case "binaryExpr":
            return _loose_binary(node)
    raise ValueError(f"unknown kind of node: {node['type']}")


def _loose_binary(node: Node) -> str:
    left = _loose(node["lhs"])
    if node["op"] == "unless" or (node["op"] in COMPARISONS and not node["bool"]):
        return left
    how = "bool " if node["bool"] else ""
    if (matching := node["matching"]) and (matching["on"] or matching["labels"]):
        how += f"{'on' if matching['on'] else 'ignoring'} ({', '.join(matching['labels'])}) "
        if side := {"many-to-one": "left", "one-to-many": "right"}.get(matching["card"]):
            how += f"group_{side} ({', '.join(matching['include'])}) "
    return f"({left} {node['op']} {how}{_loose(node['rhs'])})"
