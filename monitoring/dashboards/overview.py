"""The kit's overview with what is of event rewards: people, and the business right now."""

from monitoring.alerts import ALERTS
from monitoring.dashboards.right_now import activity, last_requests, running_events
from monitoring.settings import KIT
from plainview.kit import Dashboard, Row
from plainview.kit import overview as kit_overview
from plainview.kit.panels import Query, stat
from plainview.kit.promql import anywhere, highest


def overview() -> Dashboard:
    """What a person wants to know first: does it work, and what is going on."""
    users = stat(
        "Active users today",
        "Users with an authenticated request today in the business time zone; counted "
        "with a HyperLogLog, standard error 0.81 %.",
        Query(highest("active_users", labels=anywhere('window="day"')), "today"),
        no_data="nothing from auth",
        size=(4, 4),
    )
    business = Row("Business, right now", [activity(), last_requests()])
    return kit_overview(KIT, ALERTS, tiles=[users], beside=[running_events()], more=[business])
