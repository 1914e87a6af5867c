"""Process start to first result on bare nats-py."""

import asyncio
import sys

import nats


async def main(url: str) -> None:
    connection = await nats.connect(url)
    await connection.request("echo", b"x" * 60)
    await connection.close()


asyncio.run(main(sys.argv[1]))
