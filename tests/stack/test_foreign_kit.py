"""The kit of another company's service: every panel has data, every rule is evaluated.

The shop runs on the wheel, its kit is written by the command and read by a real Prometheus, as the
kit's README says. Time goes faster: what the rules do in minutes they do here in seconds.
"""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.stack import programs
from tests.stack.asking import has_series, is_of_loki, shows_data
from tests.stack.loki import Shipper
from tests.stack.panels import Target, targets
from tests.stack.stack import Pipeline, pipeline, until
from tests.support import promql
from tests.support.servers import EmbeddedMongo, EmbeddedValkey, free_port, ready
from tests.support.wheel import environment, run

pytestmark = pytest.mark.timeout(300)  # the first test builds the wheel and starts everything
SHOP = Path(__file__).parent / "foreign" / "shop.py"
PARTS = "mongodb,redis,sqlalchemy,http_client,collector,loki"
LOST = r"otelcol_\w+_(refused|failed)_spans|otelcol_exporter_(send|enqueue)_failed_spans"
NOT_HERE = rf"{LOST}|grafana_alerting"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python with the wheel, its extras and a server."""
    extras = ("mongo", "redis", "sqlalchemy", "httpx", "kit")
    return environment(tmp_path_factory.mktemp("wheel"), extras, ["uvicorn"])


@pytest.fixture(scope="module")
def folder(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's own folder, with its kit beside the code."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP.read_text())
    said = run(
        python, "-m", "plainview", "kit", "--out", "kit", "--app", "shop:app", "--parts", PARTS,
        cwd=folder,
    )  # fmt: skip
    assert "no catalogue" not in said
    return folder


@dataclass
class Shop(Pipeline):
    """What runs, and how to ask it."""

    folder: Path
    url: str
    request_id: str = ""  # of the last order

    def buy_until(self, over: threading.Event) -> None:
        with httpx.Client(base_url=self.url, timeout=10) as client:
            while not over.wait(0.1):
                with suppress(httpx.TransportError):
                    for name in ("cheap", "dear"):
                        reply = client.post(f"/orders/{name}")
                        self.request_id = reply.headers["X-Request-ID"]
                    client.get("/items/cheap")
                    client.get("/prices/cheap")

    def show(self, wanted: list[Target]) -> None:
        """All of these have data, at once, within a minute or so."""

        def empty() -> list[str]:
            known = {"request_id": self.request_id}
            return [each.name for each in wanted if not shows_data(self, each, 1, **known)]

        try:
            until(lambda: not empty(), 90)
        except AssertionError:
            raise AssertionError(f"without data: {empty()}") from None


def configured(folder: Path, directory: Path, jobs: dict[str, str]) -> Path:
    """Prometheus' configuration as the kit's README has it; its rules with seconds for minutes."""
    (block, *_) = re.findall(
        r"```yaml\n(scrape_configs:.*?)```", (folder / "kit/README.md").read_text(), re.S
    )
    config: dict[str, Any] = yaml.safe_load(block)
    (shop,) = config["scrape_configs"]
    shop["static_configs"][0]["targets"] = [jobs.pop("shop")]
    config["scrape_configs"] += [
        {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()
    ]
    for job in config["scrape_configs"]:
        job["scrape_interval"] = job["scrape_timeout"] = "1s"
        job["honor_labels"] = job["job_name"] == "span-metrics"
    directory.mkdir()
    for file in (folder / "kit/prometheus/rules").glob("*.yml"):
        text = re.sub(r"(?m)^(\s+interval): \w+$", r"\1: 1s", file.read_text())
        (directory / file.name).write_text(re.sub(r"\[(\w+):5m\]", r"[\1:10s]", text))
    config["rule_files"] = [str(directory / "*.yml")]
    path = directory / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def shop(
    python: Path, folder: Path, mongo: EmbeddedMongo, valkey: EmbeddedValkey
) -> Iterator[Shop]:
    port, dead = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    flush = "--config=yaml:connectors::service_graph::metrics_flush_interval: 1s"
    with ExitStack() as opened:
        telemetry = opened.enter_context(pipeline(folder, flush))
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PLAINVIEW_")},
            "MONGO_URL": mongo.url, "REDIS_URL": valkey.url, "SHOP_URL": url,
            "BANK_URL": f"http://127.0.0.1:{dead}", "LOG_FORMAT": "json", "ENVIRONMENT": "local",
            "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.traces_url, "OTEL_BSP_SCHEDULE_DELAY": "500",
        }  # fmt: skip
        log = folder / "shop.log"
        command = [python, "-m", "uvicorn", "shop:app", "--port", str(port)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=folder, env=variables, stdout=out, stderr=out)
        opened.callback(process.wait, 30)
        opened.callback(process.terminate)
        until(lambda: ready(url), what=f"the shop, see {log}")
        jobs = {job: addresses[0] for job, addresses in telemetry.jobs().items()}
        jobs["shop"] = f"127.0.0.1:{port}"
        config = configured(folder, folder / "prometheus", jobs)
        prometheus = [
            str(programs.binary("prometheus")), f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{telemetry.ports.prometheus}",
            "--enable-feature=exemplar-storage",
        ]  # fmt: skip
        up = f"{telemetry.prometheus_url}/-/ready"
        opened.enter_context(programs.Program("prometheus", prometheus, up, folder))
        if telemetry.loki:
            opened.callback(Shipper(telemetry.loki.url, {log: "shop"}).close)
        shop, over = Shop(**vars(telemetry), folder=folder, url=url), threading.Event()
        buying = threading.Thread(target=shop.buy_until, args=(over,), daemon=True)
        buying.start()
        opened.callback(buying.join, 30)
        opened.callback(over.set)
        yield shop


def test_promtool_accepts_the_rules(folder: Path) -> None:
    rules = (folder / "kit/prometheus/rules").glob("*.yml")
    run(programs.binary("promtool"), "check", "rules", "--lint-fatal", *rules)


def test_the_check_finds_nothing_wrong(shop: Shop, python: Path) -> None:
    said = run(python, "-m", "plainview", "check", shop.url, "--path", "/items/cheap")
    assert "0 wrong" in said


def test_every_rule_is_evaluated(shop: Shop) -> None:
    files = (shop.folder / "kit/prometheus/rules").glob("*.yml")
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]

    def evaluated() -> list[dict[str, Any]]:
        found = shop.rules()
        return found if all(rule["health"] != "unknown" for rule in found) else []

    found = until(evaluated, what="an evaluation of every rule")
    assert [rule for rule in found if rule["health"] != "ok"] == []
    assert len(found) == sum(len(group["rules"]) for group in groups)


def asked(folder: Path) -> list[Target]:
    return targets(folder / "kit/grafana/dashboards")


def test_every_panel_has_data(shop: Shop) -> None:
    """But those of Loki and Grafana, and those of spans that are lost: nothing is lost here."""
    wanted = [
        each for each in asked(shop.folder)
        if each.source == "prometheus" and not is_of_loki(each.expr)
        and not re.search(NOT_HERE, each.expr)
    ]  # fmt: skip
    assert len(wanted) > 50

    shop.show(wanted)


def test_what_is_empty_here_names_metrics_that_exist(shop: Shop) -> None:
    lost = [each for each in asked(shop.folder) if re.search(LOST, each.expr)]
    assert lost
    tree = [promql.parse(shop.prometheus_url, each.filled()) for each in lost]
    read = set().union(*map(promql.selectors, tree))
    assert any(has_series(shop, each) for each in read)


@pytest.mark.usefixtures("loki_binary")
def test_every_panel_of_loki_has_data(shop: Shop) -> None:
    wanted = [each for each in asked(shop.folder) if each.source == "loki"]
    assert wanted

    shop.show(wanted)
