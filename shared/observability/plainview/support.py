"""What the library needs around it: a platform that is checked at import, extras upon use."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def check(version: tuple[int, int], platform: str) -> None:
    """ImportError with a plain reason outside of Python 3.11 to 3.14 on Linux or macOS."""
    if not (3, 11) <= version < (3, 15):
        raise ImportError(
            f"plainview runs on Python 3.11 to 3.14; this is {version[0]}.{version[1]}"
        )
    if platform not in ("linux", "darwin"):
        raise ImportError(f"plainview runs on Linux and macOS; this is {platform}")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around an import: an ImportError says which extra of the distribution is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"needs plainview[{name}]: {error}", name=error.name) from error


check(sys.version_info[:2], sys.platform)
