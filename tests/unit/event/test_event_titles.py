"""What a title becomes as the value of a label."""

import pytest

from event import signals
from event.signals import TITLE_LENGTH, title_labels
from plainview import GaugeSpec

OTHERS = ("_other",)


@pytest.mark.parametrize(
    ("title", "value"),
    [
        ("Autumn", "Autumn"),
        ("  two\n lines\tand\u2028a third ", "two lines and a third"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("turned \u202eround", "turned round"),
        ("half \ud83d of a pair", "half of a pair"),
        ("\u200b", "untitled"),
        ("", "untitled"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
        ("한" * 200, "한" * 79 + "…"),
    ],
)
def test_one_title(title: str, value: str) -> None:
    assert title_labels({("e",): title}, 1, OTHERS) == {("e",): value}
    value.encode()  # as the page of metrics has to


def test_an_address_in_a_title_is_masked() -> None:
    (value,) = title_labels({("e",): "Ask ann@example.org"}, 1, OTHERS).values()
    assert value.startswith("Ask ")
    assert "ann@" not in value


def test_equal_titles_of_an_event_are_numbered_by_age() -> None:
    long = "y" * 100
    names = {("e3",): "A", ("e1",): "A", ("e2",): "A (2)", ("e5",): long, ("e4",): long}
    found = title_labels(names, 10, OTHERS)
    assert found == {
        ("e1",): "A",
        ("e2",): "A (2)",
        ("e3",): "A (3)",
        ("e4",): "y" * 79 + "…",
        ("e5",): "y" * 75 + "… (2)",
    }
    assert max(map(len, found.values())) == TITLE_LENGTH
    rewards = {("r1", "e1"): "Coupon", ("r2", "e2"): "Coupon", ("r3", "e2"): "Coupon"}
    assert [*title_labels(rewards, 10, OTHERS).values()] == ["Coupon", "Coupon", "Coupon (2)"]


def test_the_first_ones_are_named_and_the_rest_is_others() -> None:
    found = title_labels({(f"e{n}",): f"Event {n}" for n in range(5)}, 3, OTHERS)
    assert found == {("e0",): "Event 0", ("e1",): "Event 1", ("e2",): "Event 2", OTHERS: "others"}


def test_the_events_and_rewards_with_series_of_their_own_are_those_with_a_title() -> None:
    ids = [f"e{n:03}" for n in range(150, 0, -1)]
    signals.events(dict.fromkeys(ids, 1), members=1)
    signals.stock({(id_, f"r{id_}"): 1 for id_ in ids}, violations=0)
    signals.titles(dict.fromkeys(ids, "A"), {(f"r{id_}", id_): "B" for id_ in ids})

    def having(gauge: GaugeSpec, label: str) -> set[str]:
        (family,) = gauge.collector.collect()
        return {sample.labels[label] for sample in family.samples}

    assert having(signals.EVENT_INFO, "event_id") == having(signals.PARTICIPANTS, "event_id")
    assert having(signals.REWARD_INFO, "reward_id") == having(signals.STOCK_LEFT, "reward_id")
    assert len(having(signals.REWARD_INFO, "reward_id")) == 101
    assert {"A", "A (100)", "others"} <= having(signals.EVENT_INFO, "title")
