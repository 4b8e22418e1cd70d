"""The gateway beside a proxy that does nothing else: requests a second through each."""

import shutil
from pathlib import Path

from lab.bench.processes import Process, free_port
from lab.bench.rig import MANY, Ratio, Rig, median_ratio, table
from shared.tokens import Role

PATH = "/api/v1/events"
_NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {directory}/nginx-body; proxy_temp_path {directory}/nginx-proxy;
  fastcgi_temp_path {directory}/nginx-f; uwsgi_temp_path {directory}/nginx-u;
  scgi_temp_path {directory}/nginx-s;
  upstream it {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://it; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def bench(rig: Rig) -> list[Ratio]:
    """Everything on, limits too high to be reached, 10 % and 100 % of traces sampled."""
    upstream, receiver = rig.stand_in("upstream"), rig.stand_in("receiver")
    ways = [rig.stand_in(proxy, upstream.url) for proxy in ("aiohttp", "aiohttp_uvloop", "httpx")]
    if shutil.which("nginx"):
        ways.append(_nginx(rig, upstream.port))
    environment = {
        "EVENT_URL": upstream.url,
        "AUTH_URL": upstream.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        **{f"RATE_LIMIT_{name}": MANY for name in ("USER", "ADDRESS", "SIGN_IN")},
    }
    redis = rig.valkey()
    for ratio in ("0.1", "1.0"):
        own = {"TRACE_SAMPLE_RATIO": ratio, "REDIS_URL": redis}
        name = f"gateway, {float(ratio):.0%} of traces"
        ways.append(rig.service("gateway", name, {**environment, **own}))
    found = rig.in_turn(ways, PATH, lambda: rig.bearer("bench", Role.USER))
    table("proxy", found)

    def over_raw(name: str) -> float:
        return median_ratio(found[name], found["aiohttp"], lambda each: each.rate)

    return [
        Ratio("gateway_10pct_over_raw", over_raw("gateway, 10% of traces"), 0.35, least=True),
        Ratio("gateway_100pct_over_raw", over_raw("gateway, 100% of traces"), 0.28, least=True),
    ]


def _nginx(rig: Rig, upstream: int) -> Process:
    port = free_port()
    path = Path(rig.directory, "nginx.conf").resolve()
    text = _NGINX.format(directory=path.parent, upstream=upstream, port=port)
    path.write_text(text)
    command = [str(shutil.which("nginx")), "-c", str(path), "-e", str(path.with_suffix(".err"))]
    return Process("nginx", command, port, rig.directory).start(rig.stack)
