"""The limit to compare with: a backend on bare nats-py that answers the bytes it is sent, small ones and large."""

import asyncio
import os
import sys

import nats
from raw_stream import Receiver, Sender, touched


async def main(url: str) -> None:
    connection = await nats.connect(url, pending_size=16 << 20)
    receiver = Receiver(connection, "up.credit")
    sender = Sender(connection, "down.part")
    buffer = bytearray()
    answering: set[asyncio.Task] = set()

    async def answer(message) -> None:
        await connection.publish(message.reply, message.data)

    async def prepare(message) -> None:
        nonlocal buffer
        buffer = touched(int(message.data))
        await connection.publish(message.reply, b"")

    async def begin(message) -> None:
        window = int(message.data)
        receiver.begin(buffer, window)
        sender.begin(window)
        await connection.publish(message.reply, b"")
        # Not here, where it would keep the parts from being taken.
        task = asyncio.create_task(answer_large())
        answering.add(task)
        task.add_done_callback(answering.discard)

    async def answer_large() -> None:
        await receiver.complete.wait()
        await sender.send(memoryview(receiver.buffer))

    await connection.subscribe("echo", cb=answer)
    await connection.subscribe("prepare", cb=prepare)
    await connection.subscribe("begin", cb=begin)
    await connection.subscribe("up.part", cb=receiver.part_arrived)
    await connection.subscribe("down.credit", cb=sender.credit_arrived)
    await connection.flush()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


asyncio.run(main(sys.argv[1]))
