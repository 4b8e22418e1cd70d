"""How much of the suite runs: all of it with FAULTS=all (`make test-faults`), else CI's part."""

import os

ALL = os.environ.get("FAULTS") == "all"


def many(all_of_them: int, some: int) -> int:
    """A count: the first for the whole suite, the second in CI."""
    return all_of_them if ALL else some


RPS = many(50, 20)  # requests a second beside a fault; CI's machine is busy with other tests
