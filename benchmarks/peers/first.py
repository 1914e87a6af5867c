"""Process start to first result with a peer.

Each leaves the quickest way, in the peer's favour: its time ends with the result.
"""

import os
import sys


def hypha(url: str, service: str) -> None:
    import asyncio

    from hypha_rpc import connect_to_server

    async def call() -> None:
        server = await connect_to_server({"server_url": url})
        leave(await (await server.get_service(service)).add(1, 2))

    asyncio.run(call())


def pyro5(uri: str) -> None:
    import Pyro5.api

    leave(Pyro5.api.Proxy(uri).add(1, 2))


def dasf(folder: str) -> None:
    sys.path.append(folder)
    import bench_api

    leave(bench_api.add(1, 2))


def leave(answer: int) -> None:
    os._exit(0 if answer == 3 else 1)


{"hypha": hypha, "pyro5": pyro5, "dasf": dasf}[sys.argv[1]](*sys.argv[2:])
