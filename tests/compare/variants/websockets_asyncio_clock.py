"""The clock on `websockets`, asyncio: broadcast() to the set of connections, as its guide advises.

With --compression it has the library's own settings, a window of 12 bits for each client, which its guide
measures. The ping stays at its default of 20 seconds: it is what the guide relies on to
get rid of clients that do not read, since broadcast() has no back-pressure.
"""

import asyncio
import logging

from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

import clock

BACKLOG = 4096

clients = {}


async def handler(connection):
    path, name = clock.route(connection.request.path)
    try:
        if path == "/echo":
            async for message in connection:
                await connection.send(message)
        else:
            await tell_time(connection, name)
    except ConnectionClosed:
        pass


async def tell_time(connection, name):
    clients[name] = connection
    try:
        async for message in connection:
            clock.obey(message)
    finally:
        if clients.get(name) is connection:
            del clients[name]


async def main():
    options = clock.options()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    async with serve(
        handler,
        "127.0.0.1",
        options.port,
        compression="deflate" if options.compression else None,
        server_header=None,
        open_timeout=None,
        backlog=BACKLOG,
    ):
        for pause in clock.rounds(options.interval):
            await asyncio.sleep(pause)
            broadcast(clients.values(), clock.payload(options.pad))


if __name__ == "__main__":
    asyncio.run(main())
