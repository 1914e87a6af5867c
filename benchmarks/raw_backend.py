"""The limit to compare with: a backend on bare nats-py that answers the bytes it is sent."""

import asyncio
import sys

import nats


async def main(url: str) -> None:
    connection = await nats.connect(url)

    async def answer(message) -> None:
        await connection.publish(message.reply, message.data)

    await connection.subscribe("echo", cb=answer)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
