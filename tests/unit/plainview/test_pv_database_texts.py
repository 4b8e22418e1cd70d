"""Texts of database drivers lose the values that they quote, and keep what went wrong."""

import time

import pytest

from plainview import mask
from plainview.masking import mask_text, mask_trace
from tests.support.timing import in_time_blocking

WHERE = "(Background on this error at: https://sqlalche.me/e/20/e3q8)"
SAID = {  # what a driver says, and what is left of it
    "sqlalchemy": (
        "(sqlite3.OperationalError) no such table: nowhere\n[SQL: insert into nowhere\nvalues (?)"
        f" -- c4n4ry]\n[parameters: (1, 'c4n4ry [x]\\n')]\n{WHERE}",
        f"(sqlite3.OperationalError) no such table: nowhere\n***\n{WHERE}",
    ),
    "sqlalchemy without a page": (
        "(builtins.ValueError) odd\n[SQL: insert]\n[parameters: [{'n': 'c4n4ry'}]]",
        "(builtins.ValueError) odd\n***",
    ),
    "its end alone": (f"...\n[parameters: ('c4n4ry',)]\n{WHERE}", f"...\n***\n{WHERE}"),
    "text around": (
        f"no luck: x\n[SQL: c4n4ry]\n{WHERE}; again",
        f"no luck: x\n***\n{WHERE}; again",
    ),
    "a chain": (
        "E: x\n[SQL: c4n4ry]\n\nThe above exception was the direct cause of the following"
        ' exception:\n\n  File "a.py"\nF: y\n[SQL: c4n4ry]\n\nDuring handling of the above'
        " exception, another exception occurred:\n\nG: z",
        "E: x\n***\n\nThe above exception was the direct cause of the following"
        ' exception:\n\n  File "a.py"\nF: y\n***\n\nDuring handling of the above'
        " exception, another exception occurred:\n\nG: z",
    ),
    "a group": (
        "  | E: x\n  | [SQL: c4n4ry]\n  +---------------- 2 ----------------\n  | F: y",
        "  | E: x\n  | ***\n  +---------------- 2 ----------------\n  | F: y",
    ),
    "PostgreSQL: key": (
        'duplicate key value violates unique constraint "people_name_key"\n'
        "DETAIL:  Key (name, lower(city))=(c4n4ry (a), b) already exists.\nand on",
        'duplicate key value violates unique constraint "people_name_key"\n'
        "DETAIL:  Key (name, lower(city))=(***",
    ),
    "PostgreSQL: row": (
        "violates not-null\nDETAIL:  Failing row contains (1, of two\nlines c4n4ry, null)."
        f"\n[SQL: x]\n{WHERE}",
        f"violates not-null\nDETAIL:  Failing row contains (***\n{WHERE}",
    ),
    "PostgreSQL: input": (
        'invalid input syntax for type integer: "c4n4ry"',
        "invalid input syntax for type integer: ***",
    ),
    "asyncpg": (
        "DataError: invalid input for query argument $1: 'c4n4ry' (an integer is required)",
        "DataError: invalid input for query argument $1: ***",
    ),
    "MySQL: key": (
        "(1062, \"Duplicate entry 'c4n4ry' for key 'people.name'\")",
        "(1062, \"Duplicate entry '***",
    ),
    "MySQL: value": (
        "(1366, \"Incorrect integer value: 'c4n4ry' for column 'id' at row 1\")",
        "(1366, \"Incorrect integer value: '***",
    ),
    "MongoDB": (
        'E11000 duplicate key error collection: shop.people index: name_1 dup key: { name: "c4n4ry"'
        " }, full error: {'keyValue': {'name': 'c4n4ry'}}",
        "E11000 duplicate key error collection: shop.people index: name_1 dup key: {***",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_values_are_left_out_of_what_a_driver_says(name):
    said, left = SAID[name]
    assert mask_text(said) == left
    assert mask_trace(said) == left
    assert mask({"error": said, "raised": ValueError(said)}) == {
        "error": left,
        "raised": f"ValueError: {left}",
    }
    assert mask_text(left) == left


@pytest.mark.parametrize(
    "text", ["SQL: a", "Key (a) is new", "parameters: 3", "an argument", "Duplicate entry", "[SQL]"]
)
def test_other_texts_stay(text):
    assert mask_text(text) == text


@pytest.mark.parametrize(
    "part", ["[SQL: ", "[parameters: ", "[SQL: x\n\n", "Key (", "dup key: ", "Incorrect ", "\n" * 9]
)
def test_it_takes_linear_time(part):
    def cpu_s() -> float:
        start = time.thread_time()
        mask_text("[SQL: " + part * 10_000)
        return time.thread_time() - start

    in_time_blocking(cpu_s, 0.5)
