"""Which kind of failure a database driver's exception is, by SQLSTATE or the driver's own code.

Sources: https://www.postgresql.org/docs/current/errcodes-appendix.html (SQLSTATE, the same classes
in all SQL databases), https://dev.mysql.com/doc/mysql-errors/en/ and
https://www.sqlite.org/rescode.html. Names of exception classes are those of PEP 249.
"""

from collections.abc import Iterator

from sqlalchemy import exc

# Codes and beginnings of codes; the first match counts.
_CODES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "duplicate_key",
        ("23505", "1062", "1586", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"),
    ),
    # a statement that was cancelled by its time-out, and locks that were not had in time
    (
        "timeout",
        ("57014", "55P03", "25P03", "25P04", "1205", "3024", "SQLITE_BUSY", "SQLITE_LOCKED"),
    ),
    # connection lost, no room, shutting down
    (
        "unavailable",
        ("08", "53", "57P", "1040", "1053", "2002", "2003", "2006", "2013", "SQLITE_CANTOPEN"),
    ),
    ("other", ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_NOMEM", "SQLITE_CORRUPT", "58", "XX")),
)
_REJECTED = {"IntegrityError", "DataError", "ProgrammingError", "NotSupportedError"}


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__  # not its context, which may be the application's own


def response_status(error: BaseException) -> str:
    """The database's code of the failure, "" if the driver tells none."""
    for one in _chain(error):
        for name in ("sqlstate", "pgcode", "sqlite_errorname"):
            if isinstance(code := getattr(one, name, None), str) and code:
                return code
    first = error.args[0] if error.args else None
    mysql = isinstance(first, int) and "DatabaseError" in _names(error)
    return str(first) if mysql else ""


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def error_type(
    error: BaseException, *, disconnected: bool = False, connecting: bool = False
) -> str:
    """One of the closed set of kinds.

    `disconnected` is what SQLAlchemy found out; while `connecting` a failure that says nothing
    else means that the database is away.
    """
    if isinstance(error, (TimeoutError, exc.TimeoutError)):
        return "timeout"
    if disconnected or any(isinstance(one, OSError) for one in _chain(error)):
        return "unavailable"
    if code := response_status(error):
        for kind, signs in _CODES:
            if code.startswith(signs):
                return kind
        return "rejected"  # the database answered
    if _REJECTED & _names(error):
        return "rejected"
    return "unavailable" if connecting else "other"
