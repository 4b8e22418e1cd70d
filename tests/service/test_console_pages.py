"""The pages in NiceGUI's simulation of a user: what is there, how it changes, which language."""

from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User, user_simulation

from console.pages import register
from console.scrape import Change
from tests.support import console_data
from tests.support.console_data import EVIL, add_request, request_of, trace_of

IN_TIME = 300  # looks, 0.1 s apart: pages are brought up to date every second
LINKS = {"in_jaeger": "http://jaeger.example/trace/{trace}"}


@pytest.fixture
def view():
    return console_data.view()


@pytest.fixture
async def user(view):
    async with user_simulation() as user:
        register(view, LINKS)
        yield user


def markup(user: User) -> str:
    with user:
        return "".join(html.content for html in user.find(ui.html).elements)


async def test_now_shows_verdict_services_people_events_and_feed(user):
    await user.open("/")
    for text in (
        *("Everything is working", "gateway", "2,431", "120 take part", "25% of all members"),
        *("40 left", "sold out", "1,000 points", "Sign-ins"),
    ):
        await user.should_see(text)


async def test_values_of_users_are_text(user):
    for path in ("/", f"/follow?id={request_of(0)}", f"/follow?id={EVIL}"):
        await user.open(path)
        shown = markup(user)
        assert "<script>document" not in shown
        assert "<img src=x" not in shown
        assert "&lt;script&gt;document" in shown


async def test_a_claim_appears_in_the_feed_and_links_to_its_request(user, view):
    await user.open("/")
    await user.should_not_see(f"/follow?id={request_of(77)}")
    add_request(view.store, 77)
    await user.should_see(f"/follow?id={request_of(77)}", retries=IN_TIME)


async def test_a_dead_service_turns_the_verdict_and_is_told(user, view):
    await user.open("/")
    view.watcher.services["auth"].status = "gone"
    view.watcher.changes.append(Change(1.0, "became_gone", "auth", bad=True))
    view.watcher.rounds += 1
    await user.should_see("Something is wrong", retries=IN_TIME)
    await user.should_see("auth does not answer")
    await user.should_see("auth stopped answering")
    await user.should_see("no answer")


async def test_an_optional_dependency_is_something_to_watch(user, view):
    view.watcher.services["gateway"].status = "warn"
    view.watcher.services["gateway"].checks = {"redis": "warn"}
    view.watcher.rounds += 1
    await user.open("/")
    await user.should_see("gateway goes on without redis")


@pytest.mark.parametrize("wanted", [request_of(0), trace_of(0)])
async def test_follow_shows_spans_of_three_services_and_the_lines(user, wanted):
    await user.open(f"/follow?id={wanted}")
    shown = markup(user)
    for service in ("gateway", "auth", "event"):
        assert f'class="svc {service}"' in shown
    assert shown.count('class="lane"') == 4
    assert "reward.claimed" in shown
    assert f"http://jaeger.example/trace/{trace_of(0)}" in shown
    assert "Open in Grafana" not in shown


async def test_follow_waits_for_what_is_not_known_yet(user, view):
    await user.open(f"/follow?id={request_of(88)}")
    await user.should_see(f"Nothing is known of {request_of(88)}")
    add_request(view.store, 88)
    await user.should_see("reward.claimed", retries=IN_TIME)
    await user.should_not_see("Nothing is known of")


async def test_slow_and_failed_requests_can_be_picked(user):
    await user.open("/follow")
    await user.should_see("Follow a request")
    await user.should_see(f"/follow?id={request_of(1)}")  # failed
    await user.should_see(f"/follow?id={request_of(2)}")  # slow


@pytest.mark.parametrize(
    ("headers", "cookies", "text"),
    [
        ({"accept-language": "ko-KR,ko;q=0.9,en;q=0.8"}, {}, "모두 정상입니다"),
        ({"accept-language": "de,en;q=0.8"}, {}, "Everything is working"),
        ({"accept-language": "en"}, {"language": "ko"}, "모두 정상입니다"),
        ({"accept-language": "ko"}, {"language": "en"}, "Everything is working"),
        ({"accept-language": "ko"}, {"language": "xx"}, "모두 정상입니다"),
    ],
)
async def test_the_language_follows_the_browser_and_can_be_switched(user, headers, cookies, text):
    user.http_client.headers.update(headers)
    user.http_client.cookies.update(cookies)
    await user.open("/")
    await user.should_see(text)


async def test_focus_survives_because_rows_stay_the_same_elements(user, view):
    await user.open("/")

    def row_ids() -> dict[str, Any]:
        with user:
            rows = user.find(ui.html).elements
        return {r.content: r.id for r in rows if f"id={request_of(3)}" in r.content}

    before = row_ids()
    add_request(view.store, 99)
    await user.should_see(f"/follow?id={request_of(99)}", retries=IN_TIME)
    assert before
    assert row_ids() == before
