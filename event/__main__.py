"""`python -m event`: the service as it is shipped."""

from event.main import create_app
from event.settings import Settings
from shared.serve import run
from shared.settings import load

if __name__ == "__main__":
    settings = load(Settings)
    run(lambda: create_app(settings), settings)
