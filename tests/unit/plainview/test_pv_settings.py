"""Settings from arguments and from the environment."""

from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from plainview import ObservabilitySettings, support


def test_arguments_win_over_own_and_standard_variables(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "standard")
    assert ObservabilitySettings().service_name == "standard"
    monkeypatch.setenv("PLAINVIEW_SERVICE_NAME", "own")
    assert ObservabilitySettings().service_name == "own"
    assert ObservabilitySettings(service_name="argument").service_name == "argument"


def test_disabled_sdk_switches_traces_off(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert ObservabilitySettings().traces is False


def test_networks_from_text_and_from_objects(monkeypatch):
    monkeypatch.setenv("METRICS_ALLOW", "127.0.0.0/8, ::1,10.1.2.3/8")
    wanted = tuple(map(ip_network, ("127.0.0.0/8", "::1/128", "10.0.0.0/8")))
    assert ObservabilitySettings().allow == wanted
    assert ObservabilitySettings(allow=wanted[:1]).allow == wanted[:1]
    assert ObservabilitySettings(allow=None).allow is None
    with pytest.raises(ValidationError):
        ObservabilitySettings(allow="everyone")


@pytest.mark.parametrize(
    ("version", "platform", "words"),
    [
        ((3, 10), "linux", "Python 3.11 to 3.14; this is 3.10"),
        ((3, 15), "darwin", "this is 3.15"),
        ((3, 12), "win32", "Linux and macOS; this is win32"),
    ],
)
def test_other_pythons_and_platforms_are_told(version, platform, words):
    with pytest.raises(ImportError, match=words):
        support.check(version, platform)
