"""The join of a number with its title, in Prometheus' own words: two replicas, and a rename."""

from pathlib import Path

from monitoring.titles import five, titled
from tests.ops.checks import gives


def test_every_number_has_one_title_while_replicas_differ(tmp_path: Path) -> None:
    """Both replicas know "Old"; the first sees the change at 30 s, the second at 45 s."""
    info = 'event_info{instance="%s",event_id="e1",title="%s"}'
    reward = 'reward_info{instance="%s",reward_id="r1",event_id="e1",title="Coupon"}'
    joined = 'event_participants{instance="%s",event_id="%s"}'
    left = 'reward_stock_left{instance="%s",event_id="e1",reward_id="r1"}'
    series = {
        info % ("one", "Old"): "1 1 stale",
        info % ("one", "New"): "_ _ 1 1 1",
        info % ("two", "Old"): "1 1 1 stale",
        info % ("two", "New"): "_ _ _ 1 1",
        joined % ("one", "e2"): "8x4",
    }
    for instance in ("one", "two"):
        series |= {reward % instance: "1x4", left % instance: "5x4"}
        series[joined % (instance, "e1")] = "7x4"
    participants = titled("max by (event_id) (event_participants)")
    rewards = titled("max by (event_id, reward_id) (reward_stock_left)", "reward_id", "reward")
    both = titled(rewards, into="event")
    named = [
        case
        for at, title in (("15s", "Old"), ("60s", "New"))
        for case in (
            (participants, at, {f'{{event_id="e1", title="{title}"}}': 7}),
            (both, at, {
                f'{{event_id="e1", reward_id="r1", reward="Coupon", event="{title}"}}': 5
            }),
        )
    ]  # fmt: skip
    between = [
        (f"count({participants})", "30s", {"{}": 1}),
        (f"count({both})", "30s", {"{}": 1}),
        ("count(count by (title) (event_info))", "30s", {"{}": 2}),
    ]
    gives(tmp_path, "15s", series, [*named, *between])


def test_five_are_the_five_of_the_end(tmp_path: Path) -> None:
    """Of six the lowest at the end is left out, at whatever time one looks."""
    series = {f'left{{reward_id="r{number}"}}': f"{number}x4" for number in range(6)}
    series |= {f'done_total{{reward_id="r{number}"}}': f"0+{number}x4" for number in range(6)}
    highest, lowest = five('max by (reward_id) (left{reward_id=~".+"})'), five("left{}", "bottomk")
    cases = [
        (f"count({expr}) * 10 + {end}({expr})", "30s", {"{}": 50 + value})
        for expr, end, value in ((highest, "min", 1), (lowest, "max", 4))
    ]
    grown = five("max by (reward_id) (increase(done_total{}[30s]))")
    cases.append((f"count({grown}) * 10 + min({grown})", "60s", {"{}": 52}))
    gives(tmp_path, "15s", series, cases)
    assert highest.endswith('and topk(5, max by (reward_id) (left{reward_id=~".+"} @ end()))')
