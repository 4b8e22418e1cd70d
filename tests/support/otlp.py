"""A receiver of spans on loopback: tests wait for those they expect."""

from collections.abc import Callable

from lab.otlp import Receiver
from plainview.decode import SpanRecord
from tests.support.waiting import until


class OtlpReceiver(Receiver):
    """`with OtlpReceiver() as otlp:`; see `Receiver`."""

    def wait_for(
        self, predicate: Callable[[list[SpanRecord]], object], timeout: float = 10
    ) -> list[SpanRecord]:
        """The spans received once `predicate(spans)` holds; AssertionError after `timeout` s."""
        try:
            return until(lambda: spans if predicate(spans := self.spans) else [], timeout)
        except AssertionError:
            names = sorted({f"{span.service}: {span.name}" for span in self.spans})
            raise AssertionError(f"not received within {timeout} s; received {names}") from None
