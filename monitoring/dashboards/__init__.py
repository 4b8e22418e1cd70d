"""The dashboards, as code: `make generate` writes them to grafana/dashboards/.

Every metric named in a query has to be known (`rules.known`), else writing fails: a typo is an
error here and not an empty panel there.
"""

from monitoring.dashboards.databases import databases, protection
from monitoring.dashboards.events import events
from monitoring.dashboards.overview import overview
from monitoring.dashboards.users import users
from monitoring.settings import KIT
from plainview.kit import Dashboard, logs_and_traces, slos, system, telemetry


def boards() -> dict[str, Dashboard]:
    """All of them by name; the last four show any service that plainview observes."""
    made = (
        overview(),
        users(),
        events(),
        system(KIT, more=[databases(), protection()]),
        slos(KIT),
        logs_and_traces(KIT),
        telemetry(KIT),
    )
    return {board.name: board for board in made}
