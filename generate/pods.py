"""What a pod of deploy/kubernetes asks for: the measured cost of a request, the measured memory."""

import math
from pathlib import Path
from typing import Any

import yaml

from generate import scaling
from generate.tables import ROOT, filled
from monitoring.settings import KIT
from plainview.kit.documents import table

RESOURCES = Path("deploy/kubernetes/base/resources.yaml")
SERVICES = tuple(scaling.PEAK_MIB)
CPU_STEP, RATE_STEP, MEMORY_STEP = 50, 100, 8  # roundings: thousandths of a core, 1/s, MiB


def cost_us(name: str) -> float:
    """us of CPU of a service for one of the platform's requests, whatever it asks for."""
    return scaling.a_day(f"{name}_cpu_us") / sum(scaling.A_DAY.values())


def sized_for() -> int:
    """Requests a second that a pod is sized for: with them the dearest service is at BUSY."""
    dearest = max(cost_us(name) for name in SERVICES)
    return int(scaling.BUSY * 1e6 / dearest) // RATE_STEP * RATE_STEP


def ask(name: str) -> dict[str, Any]:
    """What a pod of a service asks for, and its limits, which are compose's.

    CPU in thousandths of a core for the rate that a pod is sized for; MiB so that its peak is no
    alarm.
    """
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    limits = compose["services"][name]
    return {
        "cpu": _up(sized_for() * cost_us(name) / 1000, CPU_STEP),
        "memory": _up(scaling.PEAK_MIB[name] / KIT.thresholds.memory_ratio, MEMORY_STEP),
        "cpu_limit": limits["cpus"],
        "memory_limit": int(limits["mem_limit"].removesuffix("m")),
    }


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def resources() -> str:
    """The patch of deploy/kubernetes/base that says what pods ask for, and why."""
    ratio, rate = KIT.thresholds.memory_ratio, sized_for()
    head = f"""\
# Written by `make generate` from generate/pods.py: change that, not this.
# A pod is sized for {rate} requests a second of the mix in docs/scaling.md.
# CPU: that rate times the measured cost of a request, in steps of {CPU_STEP}m.
# Memory: of it the measured peak is {ratio:.0%} at most, where HighMemory warns; in steps of \
{MEMORY_STEP}Mi.
# Limits are those of docker-compose.yml.
"""
    made = []
    for name in SERVICES:
        asked = ask(name)
        made.append(f"""\
# {rate}/s x {cost_us(name):.0f} us = {rate * cost_us(name) / 1000:.0f}m; \
{scaling.PEAK_MIB[name]:.0f} MiB / {ratio:g} = {scaling.PEAK_MIB[name] / ratio:.0f} MiB
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
        - name: {name}
          resources:
            requests: {{cpu: {asked["cpu"]}m, memory: {asked["memory"]}Mi}}
            limits: {{cpu: "{asked["cpu_limit"]:g}", memory: {asked["memory_limit"]}Mi}}
""")
    return head + "---\n".join(made)


def asks() -> str:
    """The same as a table."""
    rate = sized_for()
    rows = []
    for name in SERVICES:
        asked, us, peak = ask(name), cost_us(name), scaling.PEAK_MIB[name]
        cpu = f"{rate * us / 1000:.0f}m, **{asked['cpu']}m**"
        memory = f"{peak:.0f} MiB, **{asked['memory']}Mi**, {asked['memory_limit']}Mi"
        rows.append((name, f"{us:.0f}", cpu, memory))
    head = f"of one pod, at {rate} requests a second", "us of CPU a request"
    return table([*head, "CPU: needs, requests", "memory: peak, requests, limit"], rows)


def generated() -> dict[Path, str]:
    """The patch, and docs/scaling.md with all of its figures."""
    page = scaling.PAGE
    return {page: filled(page, {**scaling.blocks(), "asks": asks()}), RESOURCES: resources()}
