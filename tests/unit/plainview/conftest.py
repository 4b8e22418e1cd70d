"""A process has one tracer provider, made by whichever test came first, with its sampler."""

import pytest

from plainview import ObservabilitySettings, tracing


@pytest.fixture(autouse=True)
def _own_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sampling is that of default settings; the gateway's, say, would trust no decision of others.

    The SDK keeps the tracers it has made, each with the sampler of then, so it forgets them too.
    """
    settings = ObservabilitySettings(service_name="test")
    provider = tracing.install(settings)
    monkeypatch.setattr(provider, "sampler", tracing._sampler(settings))
    monkeypatch.setattr(provider, "_tracers", {}, raising=False)
