"""Bounds of time on a machine that others use as well.

A busy machine makes some of three calls late, what is slow by itself makes all of them late.
"""

from collections.abc import Awaitable, Callable

CALLS = 3


async def in_time(measure: Callable[[], Awaitable[float]], bound_s: float) -> None:
    """The seconds that `measure()` gives are below `bound_s`, in the best of three calls."""
    took: list[float] = []
    while len(took) < CALLS:
        took.append(await measure())
        if took[-1] < bound_s:
            return
    raise AssertionError(f"not once in less than {bound_s} s: {took}")


def in_time_blocking(measure: Callable[[], float], bound_s: float) -> float:
    """`in_time` where nothing is awaited; the seconds that were below the bound."""
    took: list[float] = []
    while len(took) < CALLS:
        took.append(measure())
        if took[-1] < bound_s:
            return took[-1]
    raise AssertionError(f"not once in less than {bound_s} s: {took}")
