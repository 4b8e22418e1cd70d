"""The seeder ends when it is told to, whatever the gateway does."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@pytest.mark.parametrize("hangs", [False, True], ids=["busy", "hanging"])
def test_it_ends_soon_while_the_gateway_answers_nobody(hangs, tmp_path):
    asked, over = threading.Event(), threading.Event()

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            passing = b'[{"status": "pass"}]'
            self.wfile.write(b'{"checks": {"auth": %b, "event": %b}}' % (passing, passing))

        def do_POST(self):
            asked.set()
            if hangs:
                over.wait(30)
            self.send_response(503)
            self.send_header("Retry-After", "30")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        environment = {
            "PATH": os.environ["PATH"],
            "GATEWAY_URL": f"http://127.0.0.1:{server.server_port}",
            "AUTH_MONGO_URL": "mongodb://127.0.0.1:1",
            "EVENT_MONGO_URL": "mongodb://127.0.0.1:1",
            "REDIS_URL": "redis://127.0.0.1:1",
            "USER_HASH_KEY": "k" * 32,
            "SEED_FILE": str(tmp_path / "seed.json"),
        }
        with subprocess.Popen([sys.executable, "-m", "seed"], env=environment) as seeder:
            try:
                assert asked.wait(30)
                seeder.terminate()
                assert seeder.wait(5) == 0
            finally:
                over.set()
                seeder.kill()
        server.shutdown()
