"""What deploy/kubernetes/ takes over from compose's configuration, in Kubernetes' form.

Monitors and Prometheus' targets come from prometheus/prometheus.yml, rules from the same objects as
prometheus/rules/, Alloy's pipeline from telemetry/alloy.alloy, Loki's limits from
telemetry/loki.yaml. Network policies come from the list of calls below, as does the table of them
in docs/kubernetes.md.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from generate.tables import filled
from monitoring import rules
from plainview.kit.documents import table

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path("deploy/kubernetes")
PAGE = Path("docs/kubernetes.md")
NAME = "app.kubernetes.io/name"
OPS_PORT = int(
    re.findall(r"^OPS_PORT=(\d+)", (ROOT / FOLDER / "base/platform.env").read_text(), re.M)[0]
)
SERVICES = ("gateway", "auth", "event")
ANYWHERE = "outside"  # of the cluster, or anybody inside
API = (443, 6443)  # the API server's Service, and the server behind it: a policy may see either

Call = tuple[str, str, int]  # from, to, port


def _calls(sources: str, *doors: tuple[str, int]) -> list[Call]:
    return [(source, name, port) for source in sources.split() for name, port in doors]


#: Who opens connections to whom, by the part of deploy/kubernetes that brings both. Nothing else is
#: let through.
CALLS: dict[str, list[Call]] = {
    "base": [
        *_calls(ANYWHERE, ("gateway", 8000)),
        *_calls("gateway", ("auth", 8001), ("event", 8002)),
        *_calls("event", ("auth", 8001)),  # the keys that verify tokens
        *_calls("console", *((service, OPS_PORT) for service in SERVICES)),
    ],
    "components/telemetry": [
        *_calls("gateway auth event", ("collector-agent", 4318)),
        *_calls("collector-agent", ("collector", 4317)),
        *_calls("collector", ("jaeger", 4317), ("console", 4318)),
        *_calls("alloy", ("loki", 3100), *((ANYWHERE, port) for port in API)),
        *_calls("console", ("loki", 3100)),
        *_calls("jaeger", ("prometheus", 9090)),
        *_calls("grafana", ("prometheus", 9090), ("loki", 3100), ("jaeger", 16686)),
        *_calls(
            "prometheus",
            *((service, OPS_PORT) for service in SERVICES),
            ("collector-agent", 8888), ("collector", 8888), ("collector", 8889), ("jaeger", 8888),
            ("loki", 3100), ("alloy", 12345), ("grafana", 3000),
            ("mongodb-exporter", 9216), ("redis-exporter", 9121),
        ),
    ],
    "overlays/single": [
        *_calls("auth event seeder mongodb-exporter", ("mongo", 27017)),
        *_calls("gateway auth event seeder redis-exporter", ("redis", 6379)),
        *_calls("seeder", ("gateway", 8000)),
        *_calls("grafana", ("mailpit", 1025), ("notify-sink", 8090)),
    ],
    "overlays/production": [
        *_calls("auth event mongodb-exporter", (ANYWHERE, 27017)),
        *_calls("gateway auth event redis-exporter", (ANYWHERE, 6379)),
        *_calls("loki", (ANYWHERE, 443)),  # object storage
        *_calls("prometheus", *((ANYWHERE, port) for port in API)),  # and remote write
        *_calls("grafana", (ANYWHERE, 443), (ANYWHERE, 587)),  # messages
    ],
}  # fmt: skip

_NAMES = [  # who answers questions of names: the cluster's own pods, and a cache on each node
    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
    {"ipBlock": {"cidr": "169.254.20.10/32"}},
]


def _object(version: str, kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


DENIED = _object(
    "networking.k8s.io/v1",
    "NetworkPolicy",
    "nothing-but-names",
    {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {"to": _NAMES, "ports": [{"port": 53, "protocol": word} for word in ("UDP", "TCP")]}
        ],
    },
)


def _documents(objects: list[Json], source: str) -> str:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    head = f"# Written by `make generate` from {source}: change that, not this.\n"
    return head + "---\n".join(
        yaml.dump(each, Dumper=Plain, sort_keys=False, width=1000, allow_unicode=True)
        for each in objects
    )


def policies(part: str) -> list[Json]:
    """The policies of one part: of each workload, whom it hears and whom it calls."""
    heard: dict[str, dict[str, list[int]]] = {}
    called: dict[str, dict[str, list[int]]] = {}
    for source, target, port in CALLS[part]:
        heard.setdefault(target, {}).setdefault(source, []).append(port)
        called.setdefault(source, {}).setdefault(target, []).append(port)

    def rule(side: str, name: str, ports: list[int]) -> Json:
        opened: Json = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
        peer = [{"podSelector": {"matchLabels": {NAME: name}}}]
        return opened if name == ANYWHERE else {**opened, side: peer}

    made = [DENIED] if part == "base" else []
    for name in sorted({*heard, *called} - {ANYWHERE}):
        spec: Json = {"podSelector": {"matchLabels": {NAME: name}}, "policyTypes": []}
        for way, side, all_ends in (("Ingress", "from", heard), ("Egress", "to", called)):
            if ends := all_ends.get(name):
                spec["policyTypes"].append(way)
                spec[way.lower()] = [rule(side, *end) for end in ends.items()]
        title = f"{name}-{part.rpartition('/')[2]}"
        made.append(_object("networking.k8s.io/v1", "NetworkPolicy", title, spec))
    return made


def _scrape() -> Json:
    config: Json = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    agent = {
        "job_name": "collector-agent",
        "static_configs": [{"targets": ["collector-agent:8888"]}],
    }
    config["scrape_configs"].append(agent)  # compose has one tier
    return config


def _targets() -> Iterator[tuple[Json, str, int, bool]]:
    """Each job, the workload it scrapes, its port, and whether that is a service of ours."""
    for job in _scrape()["scrape_configs"]:
        if found := job.get("dns_sd_configs"):
            yield job, found[0]["names"][0], OPS_PORT, True
        else:
            host, _, port = job["static_configs"][0]["targets"][0].partition(":")
            yield job, host.replace("localhost", "prometheus"), int(port), False


#: Workloads with several pods, and the name that has an address for each of them.
EACH = {"collector": "collector", "alloy": "alloy", "collector-agent": "collector-agents"}


def prometheus() -> str:
    """prometheus.yml with Kubernetes' names: a headless Service's has an address for each pod."""
    config = _scrape()
    jobs = []
    for job, name, port, ours in deepcopy(list(_targets())):
        if ours or name in EACH:
            job.pop("static_configs", None)
            found = {"names": [f"{name}-ops" if ours else EACH[name]], "type": "A", "port": port}
            job["dns_sd_configs"] = [{**found, "refresh_interval": "5s"}]
        jobs.append(job)
    return _documents([{**config, "scrape_configs": jobs}], "prometheus/prometheus.yml")


def monitors() -> list[Json]:
    """A ServiceMonitor for each service of ours, a PodMonitor for each program around."""
    defaults = _scrape()["global"]
    made = []
    for job, name, port, ours in _targets():
        relabelings: list[Json] = [{"targetLabel": "job", "replacement": job["job_name"]}]
        if ours:
            relabelings += [
                {"targetLabel": "service", "replacement": name},
                {"targetLabel": "environment", "replacement": "production"},
            ]
        endpoint: Json = {"port": "ops"} if ours else {"portNumber": port}
        endpoint |= {
            "interval": job.get("scrape_interval", defaults["scrape_interval"]),
            "scrapeTimeout": defaults["scrape_timeout"],
            "relabelings": relabelings,
        }
        if job.get("honor_labels"):
            endpoint["honorLabels"] = True
        spec: Json = {"selector": {"matchLabels": {NAME: name}}}
        if ours:
            spec["selector"]["matchLabels"]["app.kubernetes.io/component"] = "ops"
            spec["sampleLimit"] = job["sample_limit"]
        spec["endpoints" if ours else "podMetricsEndpoints"] = [endpoint]
        kind = "ServiceMonitor" if ours else "PodMonitor"
        made.append(_object("monitoring.coreos.com/v1", kind, job["job_name"], spec))
    return made


def prometheus_rule() -> Json:
    """Recording and alert rules as one object."""
    spec = {"groups": rules.groups()}
    return _object("monitoring.coreos.com/v1", "PrometheusRule", "event-rewards", spec)


def alloy() -> str:
    """Discovery of Kubernetes, then compose's pipeline from where it looks into a line."""
    discovery, text = (
        (ROOT / file).read_text() for file in ("generate/discovery.alloy", "telemetry/alloy.alloy")
    )
    return discovery + "\n" + text[text.index('loki.process "lines"') :]


def loki() -> str:
    """loki.yaml with its chunks in object storage."""
    config: Json = yaml.safe_load((ROOT / "telemetry/loki.yaml").read_text())
    config["common"]["storage"] = {
        "s3": {
            "endpoint": "${LOKI_S3_ENDPOINT}",
            "bucketnames": "${LOKI_S3_BUCKET}",
            "region": "${LOKI_S3_REGION}",
            "access_key_id": "${LOKI_S3_ACCESS_KEY}",
            "secret_access_key": "${LOKI_S3_SECRET_KEY}",
        }
    }
    for period in config["schema_config"]["configs"]:
        period["object_store"] = "s3"
    config["compactor"]["delete_request_store"] = "s3"
    return _documents([config], "telemetry/loki.yaml")


def call_table() -> str:
    """The calls as a table of docs/kubernetes.md."""
    rows = [
        (source, ", ".join(f"{to} {at}" for by, to, at in calls if by == source), f"`{part}`")
        for part, calls in CALLS.items()
        for source in dict.fromkeys(source for source, _, _ in calls)
    ]
    return table(["who", "calls", "in"], rows)


def generated() -> dict[Path, str]:
    """File and text of all."""
    operator = FOLDER / "components/prometheus-operator"
    here = "generate/kubernetes.py"
    return {
        **{FOLDER / part / "network.yaml": _documents(policies(part), here) for part in CALLS},
        operator / "monitors.yaml": _documents(monitors(), "prometheus/prometheus.yml"),
        operator / "rules.yaml": _documents([prometheus_rule()], "monitoring/alerts.py"),
        FOLDER / "overlays/single/prometheus.yml": prometheus(),
        FOLDER / "components/object-storage/loki.yaml": loki(),
        FOLDER / "components/telemetry/alloy.alloy": alloy(),
        PAGE: filled(PAGE, {"calls": call_table()}),
    }
