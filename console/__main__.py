"""`python -m console`."""

import asyncio

from console.main import serve
from console.settings import ConsoleSettings
from shared.settings import load

if __name__ == "__main__":
    asyncio.run(serve(load(ConsoleSettings)))
