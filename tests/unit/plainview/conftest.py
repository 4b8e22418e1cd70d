"""A process has one tracer provider and one log, made by whichever test came first."""

from collections.abc import Iterator

import pytest

from plainview import ObservabilitySettings, configure_logging, tracing


@pytest.fixture(autouse=True)
def _own_defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sampling is that of default settings; the gateway's, say, would trust no decision of others.

    The SDK keeps the tracers it has made, each with the sampler of then, so it forgets them too.
    """
    settings = ObservabilitySettings(service_name="test")
    provider = tracing.install(settings)
    monkeypatch.setattr(provider, "sampler", tracing._sampler(settings))
    monkeypatch.setattr(provider, "_tracers", {}, raising=False)
    yield
    monkeypatch.undo()  # of variables that a test has set
    configure_logging(settings)
