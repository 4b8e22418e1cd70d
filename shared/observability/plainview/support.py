"""Checks at import that the platform is supported, instead of failing oddly later."""

import sys


def check(version: tuple[int, int], platform: str) -> None:
    """ImportError with a plain reason outside of Python 3.11 to 3.14 on Linux or macOS."""
    if not (3, 11) <= version < (3, 15):
        raise ImportError(
            f"plainview runs on Python 3.11 to 3.14; this is {version[0]}.{version[1]}"
        )
    if platform not in ("linux", "darwin"):
        raise ImportError(f"plainview runs on Linux and macOS; this is {platform}")


check(sys.version_info[:2], sys.platform)
