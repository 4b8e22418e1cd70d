"""The console in real Chromium beside a real demo: what a person sees, and how soon."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from lab.incidents.places import Demo
from lab.processes import demo as running
from lab.processes import demo_environment
from monitoring import alerts, rules
from monitoring.settings import KIT
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(500)  # the first test starts the demo and the browser
PATIENCE_S = 60  # for what is only waited for; what is promised has a bound of its own
expect.set_options(timeout=PATIENCE_S * 1000)
EVIL = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("demo") / "local"
    with running(demo_environment(folder, SEED_USERS="80", SEED_RPS="2")) as (_, info):
        yield SimpleNamespace(**info, place=Demo(folder))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "Debian's chromium is needed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=120_000
        )
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, demo: SimpleNamespace, **options: Any) -> Iterator[Page]:
    """A page of the console in a context of its own; no script on it failed in the end."""
    context = browser.new_context(base_url=demo.services["console"], **options)
    context.set_default_timeout(PATIENCE_S * 1000)
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
    context.close()


@pytest.fixture
def page(browser: Browser, demo: SimpleNamespace) -> Iterator[Page]:
    with opened(browser, demo, locale="en-US") as page:
        yield page


def ask(demo: SimpleNamespace, path: str, role: str = "", **more: Any) -> httpx.Response:
    """A POST to the gateway as the demo's account of that role, or as nobody."""
    token, key = demo.place.token(role) if role else "", {"Idempotency-Key": uuid4().hex}
    reply: httpx.Response = demo.place.api.send("POST", path, token, headers=key, **more)
    return reply


def shown_in_time(do: Callable[[], Locator], bound_s: float) -> Locator:
    """What `do()` should make visible, visible soon after it in the best of three.

    A busy machine makes some of them late, what is slow by itself makes all of them late.
    """
    for left in (2, 1, 0):
        what = do()
        try:
            expect(what).to_be_visible(timeout=bound_s * 1000)
        except AssertionError:
            if not left:
                raise
        else:
            return what
    raise AssertionError


def test_the_first_paint_takes_less_than_a_second(page: Page) -> None:
    times: list[float] = []
    paints = "performance.getEntriesByType('paint').map(e => e.startTime)"
    # the best of them: other programs share this machine
    while len(times) < 10 and min(times, default=1000) >= 1000:
        page.goto("/")
        page.wait_for_selector(".verdict")
        page.wait_for_function(f"{paints}.length >= 2")  # told after what was painted is there
        times.append(max(page.evaluate(paints)))
    assert min(times) < 1000, times


def test_status_turns_within_5_s_of_a_kill_and_back(page: Page, demo: SimpleNamespace) -> None:
    page.goto("/")
    card = page.get_by_role("article", name="auth")
    ready = card.get_by_text("ready", exact=True)
    place = demo.place

    def kill() -> Locator:
        place.do("resume", "supervisor")  # it was paused for the time before, if there was one
        expect(ready).to_be_visible()
        pid = place.pid("auth")
        assert pid
        place.do("pause", "supervisor")  # else auth may be back before anybody looks
        os.kill(pid, signal.SIGKILL)
        return card.locator(".chip.gone")

    try:
        shown_in_time(kill, 5)
        expect(page.locator(".verdict.fail")).to_contain_text("auth does not answer")
    finally:
        place.do("resume", "supervisor")
    expect(ready).to_be_visible()
    expect(page.locator("section[aria-label='What changed lately']")).to_contain_text(
        "auth is ready"
    )
    place.token("USER")  # waits as the gateway tells it to, which is careful for 10 s


def test_a_claim_appears_within_3_s_and_leads_to_its_request(
    page: Page, demo: SimpleNamespace
) -> None:
    page.goto("/")
    page.wait_for_selector(".verdict")
    request_id = ""

    def claim() -> Locator:
        nonlocal request_id
        reply = ask(demo, f"/rewards/{demo.example['reward_id']}/requests", "USER")
        assert reply.status_code in (201, 409), reply.text
        request_id = reply.headers["X-Request-ID"]
        return page.locator(f".live a[href='/follow?id={request_id}']")

    line = shown_in_time(claim, 3)
    line.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/follow?id={request_id}")
    expect(page.locator(".facts h1")).to_contain_text("POST /api/v1/rewards/{id}/requests")
    for service in ("gateway", "event"):
        expect(page.locator(f".waterfall .svc.{service}").first).to_be_visible()
        expect(page.locator(f".loglines .svc.{service}").first).to_be_visible()
    page.locator(".waterfall summary").first.click()
    expect(page.locator(".waterfall table.fields").first).to_contain_text("http.request.method")


def test_a_sign_in_is_told_to_event_within_one_trace(page: Page, demo: SimpleNamespace) -> None:
    login = ask(demo, "/auth/login", json=demo.accounts["AUDITOR"])
    page.goto(f"/follow?id={login.headers['X-Request-ID']}")
    for service in ("gateway", "auth", "event"):
        expect(page.locator(f".waterfall .svc.{service}").first).to_be_visible()
    expect(page.locator(".loglines")).to_contain_text("sign_in.succeeded")


def test_what_users_write_is_text(page: Page, demo: SimpleNamespace) -> None:
    new = {"email": "x@example.com", "password": "not-a-common-one", "display_name": EVIL[:80]}
    registered = ask(demo, "/auth/register", json=new)
    assert registered.status_code == 201, registered.text
    begin, end = "2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z"
    event = {"title": EVIL, "starts_at": begin, "ends_at": end, "status": "active"}
    made = ask(demo, "/events", "OPERATOR", json=event)
    assert made.status_code == 201, made.text
    page.goto("/")
    # names come every 20 s, as metrics have them: at most 80 characters
    expect(page.get_by_text(EVIL[:79]).first).to_be_visible()
    page.goto(f"/follow?id={registered.headers['X-Request-ID']}")
    expect(page.locator(".loglines")).to_contain_text("user.registered")
    page.goto(f"/follow?id={EVIL}")
    expect(page.get_by_text("Nothing is known of")).to_be_visible()
    assert page.title() == "Event Rewards: Follow"


@pytest.mark.parametrize(
    ("scheme", "size", "language"),
    [
        ("light", (1440, 900), "en-US"),
        ("dark", (1440, 900), "ko-KR"),
        ("light", (390, 844), "ko-KR"),
        ("dark", (390, 844), "en-US"),
    ],
)
def test_nothing_serious_for_axe_and_nothing_beyond_the_edge(
    browser: Browser, demo: SimpleNamespace, scheme: Any, size: tuple[int, int], language: str
) -> None:
    url = f"{demo.services['console']}/api/requests"
    (known, *_) = until(
        lambda: httpx.get(url, timeout=20).json()["items"], PATIENCE_S, "requests of the traffic"
    )
    view = {"color_scheme": scheme, "viewport": {"width": size[0], "height": size[1]}}
    with opened(browser, demo, locale=language, reduced_motion="reduce", **view) as page:
        for path in ("/", "/follow", f"/follow?id={known['trace_id']}"):
            page.goto(path)
            page.wait_for_selector(".board .panel")
            page.wait_for_timeout(1_500)
            serious = [
                (violation["id"], [node["html"][:200] for node in violation["nodes"]])
                for violation in Axe().run(page).response["violations"]
                if violation["impact"] in ("serious", "critical")
            ]
            assert serious == [], path
            wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wider <= 0, path


def test_language_and_theme_can_be_switched_and_stay(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="한국어").click()
    expect(page.get_by_role("link", name="지금")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    page.reload()
    expect(page.get_by_role("link", name="추적")).to_be_visible()
    theme = page.locator("#theme")
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    theme.click()
    theme.click()
    page.wait_for_function(f"{colour} !== {json.dumps(before)}")
    page.goto("/follow")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto("/")
    page.wait_for_selector(".verdict")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    page.keyboard.type("0123456789")
    page.keyboard.press("Enter")
    page.wait_for_url("**/follow?id=0123456789")


def test_times_are_of_the_browsers_zone(browser: Browser, demo: SimpleNamespace) -> None:
    shown = []
    for zone in ("Asia/Seoul", "America/New_York"):
        with opened(browser, demo, timezone_id=zone) as page:
            page.goto("/follow")
            # a title has what is converted: the newest row may be on its way
            shown.append(page.locator(".rows time[title]").first.inner_text().split(":")[0])
    assert (int(shown[0]) - int(shown[1])) % 24 in (13, 14, 15)


def test_ten_browsers_cost_little(browser: Browser, demo: SimpleNamespace) -> None:
    pid, api = demo.place.pid("console"), f"{demo.services['gateway']}/api/v1/auth/me"
    found: list[tuple[float, bool]] = []  # share of a core, and whether enough was asked
    with ExitStack() as pages, httpx.Client(timeout=PATIENCE_S) as http:
        for _ in range(10):
            pages.enter_context(opened(browser, demo)).goto("/")
        # again, since a busy machine answers fewer requests and takes more time for the same work
        while len(found) < 3 and not any(share < 0.2 and enough for share, enough in found):
            before, began, sent = cpu_seconds(pid), time.monotonic(), 0
            while (spent := time.monotonic() - began) < 20:
                http.get(api, headers={"X-Forwarded-For": f"100.64.0.{sent % 250}"})  # 401: cheap
                sent += 1
                time.sleep(max(0.0, sent / 50 - spent))
            found.append(((cpu_seconds(pid) - before) / (time.monotonic() - began), sent > 500))
    assert any(share < 0.2 and enough for share, enough in found), found


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_alert_leads_to_its_runbook(page: Page) -> None:
    """The addresses in notifications (runbook_url) are pages of the console."""
    texts = rules.documents().texts_of(alerts.GENERIC[0])
    url = texts["runbook_url"].removeprefix(KIT.handbook.removesuffix("/docs"))
    assert page.goto(url).status == 200  # type: ignore[union-attr]
    expect(page.get_by_role("heading", name=alerts.GENERIC[0].name)).to_be_visible()
    page.get_by_role("link", name="Alerts").click()
    page.get_by_role("link", name="StockExhausted").click()
    expect(page.get_by_role("heading", name="Mitigation")).to_be_visible()
    assert page.goto("/docs/images/console-now.png").status == 200  # type: ignore[union-attr]
