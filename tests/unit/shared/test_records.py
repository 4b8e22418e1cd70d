"""Records are written in the form that their indexes need, and read again as they were."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import pytest

from shared.storage.records import DateTime, Record, Stored, TextTime
from shared.times import whole_ms

AT = datetime(2026, 11, 23, 4, 19, 51, 557_000, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing(Record):
    id: str
    made_at: TextTime
    ends_at: DateTime
    done_at: TextTime | None = None
    public: Annotated[str, Stored("public_id")] = "p"
    size: Annotated[int | None, Stored(dump=str, load=int)] = None


STORED = {
    "_id": "a",
    "made_at": "2026-11-23T04:19:51.557Z",
    "ends_at": AT,
    "public_id": "p",
    "size": "3",
}


def test_each_field_is_stored_as_its_annotation_says_and_unset_ones_are_not() -> None:
    thing = Thing(id="a", made_at=AT, ends_at=AT, size=3)
    assert thing.document() == STORED
    assert Thing.read(STORED) == thing


def test_documents_of_other_versions_are_read() -> None:
    """With fields that are not known here, without newer ones, with None for what is not set."""
    more = {name: value for name, value in STORED.items() if name != "public_id"}
    thing = Thing.read({**more, "of_later": 1, "done_at": None})
    assert thing == Thing.read(STORED)
    assert Thing.found(None) is None


def test_fields_to_change_are_stored_alike_and_may_be_none() -> None:
    seoul = AT.astimezone(timezone(timedelta(hours=9)))
    assert Thing.stored(id="a", done_at=seoul) == {"_id": "a", "done_at": STORED["made_at"]}
    assert Thing.stored(done_at=None) == {"done_at": None}
    with pytest.raises(KeyError):
        Thing.stored(unknown=1)


def test_a_time_cut_to_milliseconds_is_the_time_that_is_read_again() -> None:
    exact = AT.astimezone(timezone(timedelta(hours=9))) + timedelta(microseconds=999)
    thing = Thing(id="a", made_at=whole_ms(exact), ends_at=AT)
    assert Thing.read(thing.document()).made_at == thing.made_at == AT
