"""docker-proxy: Debian's HAProxy with the committed file before a socket that answers all."""

import http.client
from collections.abc import Iterator

import pytest

from tests.ops.engine import Proxy

ID = "0123456789ab" * 5 + "0123"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with Proxy(tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


def ask(port: int, method: str, target: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, target, skip_accept_encoding=True)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


READ = (
    "/_ping", "/version", "/networks", "/containers/json?all=1&filters=%7B%7D",
    f"/containers/{ID}/json", f"/containers/{ID}/logs?since=0&follow=1&stdout=1",
)  # fmt: skip
REFUSED = [
    ("POST", "/containers/json"), ("POST", f"/containers/{ID}/json"), ("PUT", "/_ping"),
    ("DELETE", f"/containers/{ID}/logs"), ("POST", "/containers/create"),
    *(("GET", target) for target in (
        "/", "/info", "/images/json", "/secrets", "/events", "/system/df", "/volumes",
        "/networks/0123456789ab", f"/containers/{ID}/archive?path=/secrets",
        f"/containers/{ID}/export", f"/containers/{ID}/attach/ws", f"/containers/{ID}/top",
        f"/containers/{ID}/logs/../export", f"/containers/{ID}%2Fexport",
        "/containers/json/../../images/json", "//containers/json/x", "/v1.41/v1.41/images/json",
        "/containers/mongo/json", f"/containers/{ID}/json%0a", f"/v1.41//containers/{ID}/json",
    )),
]  # fmt: skip


def test_what_alloy_and_ready_read(proxy: Proxy) -> None:
    proxy.engine.containers = [{"Id": ID}]
    asked = [f"{version}{target}" for version in ("", "/v1.41", "/v1.55") for target in READ]
    assert {target: ask(proxy.port, "GET", target) for target in asked} == dict.fromkeys(asked, 200)


def test_all_else_is_refused(proxy: Proxy) -> None:
    before = len(proxy.engine.asked)
    assert {each: ask(proxy.port, *each) for each in REFUSED} == dict.fromkeys(REFUSED, 403)
    assert len(proxy.engine.asked) == before


def test_it_says_nothing(proxy: Proxy) -> None:
    proxy.engine.containers = []
    said = proxy.log.read_bytes()
    for _ in range(20):
        ask(proxy.port, "GET", "/containers/json")
        ask(proxy.port, "POST", "/containers/json")
    assert proxy.log.read_bytes() == said
