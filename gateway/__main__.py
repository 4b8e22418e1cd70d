"""`python -m gateway`: the service as it is shipped."""

from gateway.main import create_app
from gateway.settings import Settings
from shared.serve import run
from shared.settings import load

if __name__ == "__main__":
    settings = load(Settings)
    run(lambda: create_app(settings), settings)
