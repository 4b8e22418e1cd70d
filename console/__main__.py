"""`python -m console`."""

import asyncio

from shared.settings import load

from console.main import serve
from console.settings import ConsoleSettings

if __name__ == "__main__":
    asyncio.run(serve(load(ConsoleSettings)))
