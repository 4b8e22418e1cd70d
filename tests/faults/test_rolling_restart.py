"""A rollout as Kubernetes does it, with the manifests' own numbers, under load: nothing is lost.

Real processes take the place of pods. A kubelet of ours probes them, and their endpoints are
forgotten as late as `preStop` allows for. The load's client (aiohttp) asks a GET once more when its
connection breaks, so refused connections are counted where they are refused.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from shared.web.transport import LOOK_S
from tests.faults.chaos import Figure, Platform
from tests.faults.load import Ask, Load, browsing, statuses
from tests.faults.size import RPS, many
from tests.stack.programs import ROOT
from tests.support.servers import free_port
from tests.support.trio import Balancer, Service, Trio, pipe
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(400)
PATCH = yaml.safe_load((ROOT / "deploy/kubernetes/base/service-patch.yaml").read_text())
SAID: dict[str, Any] = {step["path"].rpartition("/")[2]: step["value"] for step in PATCH}
PRE_STOP: float = SAID["lifecycle"]["preStop"]["sleep"]["seconds"]
GRACE: float = SAID["terminationGracePeriodSeconds"]
FORGOTTEN_S = LOOK_S + 4  # when callers have dropped a pod that goes; before `preStop` ends


class Pod(Service):
    """One process of a service, with a port of its own for probes, as in the manifests."""

    def __init__(self, like: Service, log: Path, **environment: str) -> None:
        super().__init__(like.name, log, **{**like.environment, **environment})
        self.ops = free_port()
        del self.environment["DRAIN_SECONDS"]  # the default, as there
        self.environment |= {"PORT": str(self.port), "OPS_PORT": str(self.ops)}
        self.going = False

    def probe(self, kind: str) -> bool:
        said = SAID[f"{kind}Probe"]
        url = f"http://127.0.0.1:{self.ops}{said['httpGet']['path']}"
        try:
            return httpx.get(url, timeout=said["timeoutSeconds"]).is_success
        except httpx.HTTPError:
            return False

    def started(self) -> float:
        """Seconds until the startup probe passes; AssertionError where Kubernetes gives up."""
        said, began = SAID["startupProbe"], time.monotonic()
        for _ in range(said["failureThreshold"]):
            if self.probe("startup"):
                return time.monotonic() - began
            time.sleep(said["periodSeconds"])
        raise AssertionError(f"{self.name} did not start: {self.log.read_text()[-2000:]}")


class Endpoints(Balancer):
    """The address of a Service: a connection goes to the next ready pod, or fails."""

    def __init__(self, pods: list[Pod]) -> None:
        super().__init__([])
        self.pods = pods
        self._failed = dict.fromkeys(pods, SAID["readinessProbe"]["failureThreshold"])
        self._stop = threading.Event()
        self.refused = 0  # connections to a pod that was listed and is not there
        self._kubelet = threading.Thread(target=self._probe)
        self.choose()

    def __enter__(self) -> Self:
        self._kubelet.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._kubelet.join(30)
        self.close()

    def ready(self, pod: Pod) -> bool:
        return self._failed.get(pod, 99) < SAID["readinessProbe"]["failureThreshold"]

    def choose(self) -> None:
        ports = [pod.port for pod in self.pods if self.ready(pod)]
        self._ports = itertools.cycle(ports or [free_port()])

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", next(self._ports))
        except OSError:
            self.refused += 1  # a client that asks again would hide it
            writer.close()
            return
        await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

    def _probe(self) -> None:
        while not self._stop.wait(SAID["readinessProbe"]["periodSeconds"]):
            for pod in [*self.pods]:
                self._failed[pod] = 0 if pod.probe("readiness") else self._failed.get(pod, 99) + 1
            self.choose()


def half_anew(trio: Trio) -> Callable[[int], Ask]:
    """Every second request comes on a connection of its own, so it meets whoever is listed."""
    browse = browsing(trio)

    def ask(number: int) -> Ask:
        one = browse(number)
        return replace(one, headers={**one.headers, "Connection": "close"}) if number % 2 else one

    return ask


@contextmanager
def service(pods: list[Pod]) -> Iterator[Endpoints]:
    try:
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.started()
        with Endpoints(pods) as endpoints:
            until(lambda: all(map(endpoints.ready, pods)), 60, "ready pods")
            yield endpoints
    finally:
        for pod in pods:
            pod.kill()


def replaced(endpoints: Endpoints, make: Callable[[], Pod]) -> tuple[float, float]:
    """A pod more, then one less; seconds to start, and from SIGTERM to the end."""
    new = make().start()
    endpoints.pods.append(new)
    start = new.started()
    until(lambda: endpoints.ready(new), 60, "the new pod is ready")
    old = endpoints.pods[0]
    time.sleep(FORGOTTEN_S)  # it is told to go, and still called
    endpoints.pods.remove(old)
    endpoints.choose()
    time.sleep(PRE_STOP - FORGOTTEN_S)
    began = time.monotonic()
    assert old.terminate(GRACE - PRE_STOP) == 0  # else it would be killed
    return start, time.monotonic() - began


def test_a_rollout_loses_no_request(platform: Platform, figure: Figure, tmp_path: Path) -> None:
    trio, numbers = platform.trio, itertools.count()

    def event() -> Pod:
        return Pod(trio.events[0], tmp_path / f"event{next(numbers)}.log")

    with service([event(), event()]) as events:

        def gateway() -> Pod:
            log = tmp_path / f"gateway{next(numbers)}.log"
            return Pod(trio.gateway, log, EVENT_URL=events.url)

        with (
            service([gateway(), gateway()]) as gateways,
            Load(gateways.url, half_anew(trio), RPS) as load,
            ThreadPoolExecutor(2) as both,
        ):
            until(lambda: len(load.samples) > RPS)
            for _ in range(many(2, 1)):
                rollouts = [
                    both.submit(replaced, events, event), both.submit(replaced, gateways, gateway)
                ]  # fmt: skip
                for name, rollout in zip(("event", "gateway"), rollouts, strict=True):
                    start, end = rollout.result()
                    figure(f"rollout of {name}: startup probe, SIGTERM to exit",
                           f"{start:.1f} s, {end:.1f} s ({GRACE - PRE_STOP:.0f})")  # fmt: skip
            answered = len(load.samples)
            until(lambda: len(load.samples) > answered + RPS)
    figure("rollout under load: replies", str(statuses(load.samples)))
    assert statuses(load.samples) == {200: len(load.samples)}
    assert (events.refused, gateways.refused) == (0, 0)
