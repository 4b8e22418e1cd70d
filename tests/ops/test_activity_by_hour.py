"""Activity by hour of day: every count once, in its hour, over restarts and between scrapes."""

from collections import Counter
from itertools import accumulate
from pathlib import Path

from monitoring.dashboards.events import events
from tests.ops.checks import gives
from tests.stack.panels import fill

SCRAPE_S, SAMPLES = 5, 960  # 80 minutes
HOUR = 3600 // SCRAPE_S  # in samples


def counter(counts: Counter[int], restart: int = SAMPLES) -> str:
    """A counter that goes up so much at each scrape; one process ends, the next begins at zero."""
    parts = (range(restart), range(restart, SAMPLES))
    return " ".join(str(n) for part in parts for n in accumulate(counts[i] for i in part))


def test_every_count_stands_in_its_hour(tmp_path: Path) -> None:
    steady = Counter(range(7, SAMPLES - 20, 7))
    kinds = {
        "sign_in": (steady, SAMPLES),
        "participation": (steady, 300),  # a restart in the middle of them
        # at a minute's end and after
        "decision": (Counter({48: 40, 49: 2, HOUR + 12: 7}), SAMPLES),
        "sign_up": (Counter({100: 5, HOUR + 30: 9}), 300),  # a restart long after them
    }
    series = {
        f'activity_total{{environment="e",service="event",kind="{kind}"}}': counter(*how)
        for kind, how in kinds.items()
    }
    expected = {
        # what comes at the stroke of an hour belongs to the one that ends
        f'{{hour="{hour:02}", kind="{kind}"}}': sum(
            n for i, n in counts.items() if -(-i // HOUR) - 1 == hour % 24
        )
        for kind, (counts, _) in kinds.items()
        for hour in (0, 1, 23)  # at 0:00 the minute before counts, with nothing
    }
    (panel,) = [each for each in events().panels() if "by hour" in each.title]
    query = fill(panel.queries[0].expr).replace("[30m:", "[2h:")
    gives(tmp_path, f"{SCRAPE_S}s", series, [(query, "80m", expected)], fuzzy_compare=True)
