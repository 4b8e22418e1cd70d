"""What is imported only where it is used, since it needs an extra of the distribution."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around an import: an ImportError says which extra is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"needs plainview[{name}]: {error}", name=error.name) from error
