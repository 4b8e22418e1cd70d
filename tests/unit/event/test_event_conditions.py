from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event.conditions import Facts, account_age, evaluate, login_streak

TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)

offsets = st.frozensets(st.integers(-1, 60))  # -1: a clock ahead of ours gives no days


def facts(days_ago: frozenset[int] = frozenset(), **more: object) -> Facts:
    days = {TODAY - timedelta(days=ago) for ago in days_ago}
    return Facts(now=NOW, today=TODAY, login_days=days, **more)


@given(offsets)
def test_a_streak_is_a_run_of_days_that_ends_today_or_yesterday(days_ago):
    streak = login_streak(facts(days_ago))
    start = 0 if 0 in days_ago else 1
    assert all(ago in days_ago for ago in range(start, start + streak))
    assert start + streak not in days_ago


@given(st.integers(0, 4000), st.integers(0, 86_399))
def test_account_age_is_in_whole_days(days, seconds):
    registered = NOW - timedelta(days=days, seconds=seconds)
    assert account_age(facts(registered_at=registered)) == days


def test_account_age_is_0_for_an_unknown_or_future_registration():
    assert account_age(facts()) == 0
    assert account_age(facts(registered_at=NOW + timedelta(days=2))) == 0


@given(st.integers(1, 100), st.integers(0, 100))
def test_a_verdict_tells_progress_and_whether_it_is_enough(needed, done):
    (verdict,) = evaluate([{"type": "participations", "count": needed}], facts(participations=done))
    wanted = {"type": "participations", "needed": needed, "progress": done, "met": done >= needed}
    assert verdict == wanted


def test_an_unknown_condition_is_an_error_and_not_met_by_default():
    with pytest.raises(LookupError, match="horoscope"):
        evaluate([{"type": "horoscope", "days": 1}], facts())
