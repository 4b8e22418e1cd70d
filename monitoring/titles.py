"""Titles in the place of IDs: the join of a series with the title that event exposes for its ID."""

import re

_INFO = {"event_id": "event_info", "reward_id": "reward_info"}


def titled(expr: str, by: str = "event_id", into: str = "title", over: str = "") -> str:
    """The series of an expression, each with the title of its event or reward as label `into`.

    `by` is "event_id" or "reward_id" and has to be a label of the expression. Each ID has one
    title here: after a change the replicas show two for some seconds, and PromQL refuses a join
    with two. A series whose ID has no title is left out. Titles are those of running events, with
    `over` (such as "1d") of all that ran in this time.
    """
    info = f"last_over_time({_INFO[by]}[{over}])" if over else _INFO[by]
    titles = f"max by ({by}, title) ({info})"
    if into != "title":
        titles = f'label_replace({titles}, "{into}", "$1", "title", "(.*)")'
    return f"({expr}) * on ({by}) group_left ({into}) topk by ({by}) (1, {titles})"


def five(expr: str, pick: str = "topk") -> str:
    """The five highest (or, by "bottomk", lowest) series at the end of the time range, all along.

    `topk` alone picks anew at each moment, so that a legend has all that were ever among the five.
    """
    at_end = re.sub(r"(\{[^{}]*\}(\[[^]]*\])?)", r"\1 @ end()", expr)
    return f"({expr}) and {pick}(5, {at_end})"
