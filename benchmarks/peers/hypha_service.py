"""Serves the benchmarks' methods on a Hypha server; ends when its standard input does."""

import asyncio
import os
import sys
from pathlib import Path

from hypha_rpc import connect_to_server

# At the end of the path: the packages of the environment come first.
sys.path.append(str(Path(__file__).resolve().parents[1]))
import work


async def main(url: str) -> None:
    server = await connect_to_server({"server_url": url})
    methods = {name: getattr(work, name) for name in ("add", "add_async", "echo")}
    service = await server.register_service({"id": "work", "config": {"visibility": "public"}, **methods})
    print("ready", service.id, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


asyncio.run(main(sys.argv[1]))
