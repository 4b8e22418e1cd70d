from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event.ids import ID, decode_cursor, encode_cursor, minted_at, new_id, prefix
from shared.errors import Invalid
from shared.times import from_text, to_text

times = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(times, times)
def test_ids_and_texts_sort_as_their_times(one, other):
    if one + timedelta(milliseconds=1) <= other:
        assert new_id(one) < new_id(other)
        assert to_text(one) < to_text(other)
        assert new_id(one) < prefix(other) <= new_id(other)


@given(times)
def test_an_id_knows_its_time_and_is_hard_to_guess(at):
    ids = {new_id(at) for _ in range(20)}
    assert len(ids) == 20
    assert all(ID.fullmatch(id_) for id_ in ids)
    assert abs(minted_at(ids.pop()) - at) < timedelta(milliseconds=1.1)


@given(times, st.integers(-720, 720))
def test_a_time_survives_being_text(at, minutes):
    local = at.astimezone(timezone(timedelta(minutes=minutes)))
    assert abs(from_text(to_text(local)) - at) < timedelta(milliseconds=1)
    assert len(to_text(local)) == 24


def test_a_time_without_an_offset_is_refused():
    with pytest.raises(ValueError, match="offset"):
        from_text("2026-11-23T00:00:00")


@given(st.text("abcXYZ0189_:-", min_size=1, max_size=128))
def test_a_cursor_is_opaque_url_safe_and_reversible(key):
    cursor = encode_cursor(key)
    assert cursor.replace("-", "a").replace("_", "a").isalnum()
    assert decode_cursor(cursor) == key


@pytest.mark.parametrize("bad", ["", "x", "é", "MQ", "MiQ", encode_cursor("a$b"), "1" * 10_000])
def test_a_forged_cursor_is_invalid(bad):
    with pytest.raises(Invalid):
        decode_cursor(bad)
