"""Pictures of the running demo's console for the README, by Chromium: `make screenshots`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDE, PHONE = (1440, 1120), (390, 844)


def main() -> None:
    """Write one PNG per view; exit 2 without a demo or a Chromium."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    demo = Path(os.environ.get("LOCAL_DIR") or ROOT / ".local") / "demo.json"
    if not chromium or not demo.exists():
        print("screenshots: needs the running demo (make demo) and chromium", file=sys.stderr)
        raise SystemExit(2)
    url = json.loads(demo.read_text())["services"]["console"]
    known = httpx.get(f"{url}/api/requests?limit=500", trust_env=False).json()["items"]
    # a sign-in goes through all three services
    sign_ins = [r for r in known if r["route"].endswith("/login") and r["status"] == 200]
    follow = f"/follow?id={(sign_ins or known)[0]['request_id']}"
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
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
        browser.close()


if __name__ == "__main__":
    main()
