"""Run the seeder: `python -m seed`."""

import asyncio

from seed.seeder import main

asyncio.run(main())
