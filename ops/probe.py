"""Exit 0 when every URL answers 2xx within 2 s: a health check for images without curl.

Usage: python -m ops.probe URL [URL ...]
"""

import sys
import urllib.request

# without the proxy variables, which Docker's client may write into every container
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(urls: list[str]) -> int:
    """Ask each URL once; 1 and the reason on standard error at the first that fails."""
    for url in urls:
        try:
            with _DIRECT.open(url, timeout=2):
                pass
        except OSError as error:
            print(f"{url}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
