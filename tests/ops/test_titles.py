"""The join of a number with its title, in Prometheus' own words: two replicas, and a rename."""

import json
from pathlib import Path

from monitoring.titles import five, titled
from tests.ops.checks import program, run


def test_every_number_has_one_title_while_replicas_differ(tmp_path: Path) -> None:
    """Both replicas know "Old"; the first sees the change at 30 s, the second at 45 s."""

    def info(instance: str, title: str) -> str:
        return f'event_info{{instance="{instance}",event_id="e1",title="{title}"}}'

    def reward(instance: str) -> str:
        labels = f'instance="{instance}",reward_id="r1",event_id="e1",title="Coupon"'
        return f"reward_info{{{labels}}}"

    joined = 'event_participants{instance="%s",event_id="%s"}'
    series = {
        info("one", "Old"): "1 1 stale",
        info("one", "New"): "_ _ 1 1 1",
        info("two", "Old"): "1 1 1 stale",
        info("two", "New"): "_ _ _ 1 1",
        reward("one"): "1x4",
        reward("two"): "1x4",
        joined % ("one", "e1"): "7x4",
        joined % ("two", "e1"): "7x4",
        joined % ("one", "e2"): "8x4",
        'reward_stock_left{instance="one",event_id="e1",reward_id="r1"}': "5x4",
        'reward_stock_left{instance="two",event_id="e1",reward_id="r1"}': "5x4",
    }
    participants = titled("max by (event_id) (event_participants)")
    left = titled("max by (event_id, reward_id) (reward_stock_left)", "reward_id", "reward")
    both = titled(left, into="event")

    def expected(at: int, title: str) -> list[tuple[str, int, str, int]]:
        names = f'{{event_id="e1", reward_id="r1", reward="Coupon", event="{title}"}}'
        return [
            (participants, at, f'{{event_id="e1", title="{title}"}}', 7),
            (both, at, names, 5),
        ]

    between = [
        (f"count({participants})", 30, "{}", 1),
        (f"count({both})", 30, "{}", 1),
        ("count(count by (title) (event_info))", 30, "{}", 2),
    ]
    tests = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": f"{at}s",
                "exp_samples": [{"labels": labels, "value": value}],
            }
            for expr, at, labels, value in [*expected(15, "Old"), *between, *expected(60, "New")]
        ],
    }
    path = tmp_path / "titles.yaml"
    path.write_text(json.dumps({"tests": [tests]}))
    run(program("promtool"), "test", "rules", str(path))


def test_five_are_the_five_of_the_end(tmp_path: Path) -> None:
    """Of six the lowest at the end is left out, at whatever time one looks."""
    series = {f'left{{reward_id="r{number}"}}': f"{number}x4" for number in range(6)}
    highest, lowest = five('max by (reward_id) (left{reward_id=~".+"})'), five("left{}", "bottomk")
    tests = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({expr}) * 10 + {end}({expr})",
                "eval_time": "30s",
                "exp_samples": [{"labels": "{}", "value": 50 + value}],
            }
            for expr, end, value in ((highest, "min", 1), (lowest, "max", 4))
        ],
    }
    path = tmp_path / "five.yaml"
    path.write_text(json.dumps({"tests": [tests]}))
    run(program("promtool"), "test", "rules", str(path))
    assert highest.endswith('and topk(5, max by (reward_id) (left{reward_id=~".+"} @ end()))')
