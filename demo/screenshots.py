"""Pictures into docs/images, by Chromium: of the demo's console, or of Grafana's dashboards.

make screenshots                                                console-*.png
make screenshots GRAFANA=http://admin:PASSWORD@localhost:3000   dashboard-*.png
"""

import base64
import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDE, PHONE = (1440, 1120), (390, 844)
DASHBOARDS = ("overview", "users", "events", "system")
SCREEN = (1440, 900)
DRAWN_MS = 9_000  # until every panel of a dashboard has its data, on a slow machine


def console(browser: Browser, url: str) -> None:
    """One picture per view of the console at this address."""
    known = httpx.get(f"{url}/api/requests?limit=500", trust_env=False).json()["items"]
    # a sign-in goes through all three services
    sign_ins = [r for r in known if r["route"].endswith("/login") and r["status"] == 200]
    follow = f"/follow?id={(sign_ins or known)[0]['request_id']}"
    for name, path, size, scheme, language in (
        ("console-now", "/", WIDE, "light", "en-US"),
        ("console-now-dark-ko", "/", WIDE, "dark", "ko-KR"),
        ("console-follow", follow, WIDE, "light", "en-US"),
        ("console-phone", "/", PHONE, "dark", "en-US"),
    ):
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,  # type: ignore[arg-type]
            locale=language,
            timezone_id="Asia/Seoul",
        )
        page.goto(url + path)
        page.wait_for_selector(".board .panel")
        page.wait_for_timeout(2_500)  # new rows have faded in, spans have come
        page.screenshot(path=IMAGES / f"{name}.png")
        print(f"docs/images/{name}.png")


def dashboards(browser: Browser, address: str) -> None:
    """The first screen of some dashboards; `address` may have a user and a password."""
    parts = urlsplit(address)
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    headers = {}
    if parts.username:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
    for name in DASHBOARDS:
        page = browser.new_page(
            viewport={"width": SCREEN[0], "height": SCREEN[1]}, extra_http_headers=headers
        )
        reply = page.goto(f"{url}/d/er-{name}?theme=light&refresh=")
        if not reply or not reply.ok or "/login" in page.url:
            raise SystemExit(f"screenshots: {url} shows no dashboard er-{name}: user and password?")
        page.wait_for_timeout(DRAWN_MS)
        page.screenshot(path=IMAGES / f"dashboard-{name}.png")
        print(f"docs/images/dashboard-{name}.png")


def main(grafana: str = "") -> None:
    """Write one PNG per view; exit 2 without a Chromium, or without demo or Grafana."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    demo = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local") / "demo.json"
    if not chromium or not (grafana or demo.exists()):
        print("screenshots: needs chromium, and the running demo or GRAFANA=...", file=sys.stderr)
        raise SystemExit(2)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if grafana:
            dashboards(browser, grafana)
        else:
            console(browser, json.loads(demo.read_text())["services"]["console"])
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
