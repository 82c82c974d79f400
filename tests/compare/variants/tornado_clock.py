"""The clock on Tornado: the design of the original program, ported to the present version.

A dict of clients, a handler that registers itself, a thread that sleeps between two pushes. The
port: write_message may only be called on the event loop's thread, so the SendThread hands each
round over with add_callback. The payload is formatted once a round, and nothing is printed.
With --compression it has the fastest level and little memory. Tornado's own ping is off.
"""

import asyncio
import logging
import threading
import time

import tornado.web
import tornado.websocket
from tornado.ioloop import IOLoop

import clock

BACKLOG = 4096
COMPRESSION = {"compression_level": 1, "mem_level": 5}

clients = {}


class ClockHandler(tornado.websocket.WebSocketHandler):
    def initialize(self, compression):
        self.compression = compression

    def get_compression_options(self):
        return COMPRESSION if self.compression else None

    def check_origin(self, origin):
        return True

    def open(self):
        self.set_nodelay(True)
        self.id = self.get_argument("Id")
        clients[self.id] = self

    def on_message(self, message):
        clock.obey(message)

    def on_close(self):
        if clients.get(self.id) is self:
            del clients[self.id]


class EchoHandler(tornado.websocket.WebSocketHandler):
    def check_origin(self, origin):
        return True

    def open(self):
        self.set_nodelay(True)

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


class SendThread(threading.Thread):
    """Sleeps between two pushes, and submits the next one when the last one is done."""

    def __init__(self, loop, options):
        super().__init__(name="send", daemon=True)
        self.loop = loop
        self.options = options

    def run(self):
        pushed = threading.Event()
        for pause in clock.rounds(self.options.interval):
            time.sleep(pause)
            pushed.clear()
            self.loop.add_callback(push, clock.payload(self.options.pad), pushed)
            pushed.wait()


def push(text, pushed):
    """Runs on the event loop: one message to every client."""
    for client in list(clients.values()):
        try:
            client.write_message(text)
        except tornado.websocket.WebSocketClosedError:
            pass
    pushed.set()


async def main():
    options = clock.options()
    # A client that has gone is not an error.
    logging.disable(logging.CRITICAL)
    application = tornado.web.Application(
        [("/websocket", ClockHandler, {"compression": options.compression}), ("/echo", EchoHandler)],
        log_function=lambda handler: None,
    )
    application.listen(options.port, address="127.0.0.1", backlog=BACKLOG)
    SendThread(IOLoop.current(), options).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
