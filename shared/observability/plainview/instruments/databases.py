"""What the instruments of databases share."""

from ..signals import DB_CONNECTION_FAILURES, DB_ERRORS, DB_OPERATION_FAILURES


def start_at_zero(system: str) -> None:
    """Make the series of failures exist, so that the first failure is seen as a growth."""
    for kind in DB_ERRORS:
        DB_OPERATION_FAILURES.inc(0, db_system_name=system, error_type=kind)
    DB_CONNECTION_FAILURES.inc(0, db_system_name=system)
