"""The clock on `websockets`, threading: one handler for each client, in a thread of its own.

The library adds a second thread for each connection, which reads. It has no broadcast for threads,
so one thread sends to one connection after the other. A send blocks when a client does not read:
SO_SNDTIMEO ends such a client. Compression is off, whatever the options say, and so is the ping, which would add a third
thread for each connection. Stacks are small, so that as many threads as possible fit; what runs out
first is descriptors, of which the library takes four for each connection. At the limit accept() fails,
and the library's accept loop takes that for its end: it returns, and with it the server ends, which
closes everybody.
"""

import logging
import socket
import struct
import threading
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

import clock

BACKLOG = 4096
STACK_BYTES = 256 * 1024
# Time that a client has to take a push, as a struct timeval.
SEND_TIMEOUT = struct.pack("ll", 1, 0)

clients = {}
lock = threading.Lock()


def handler(connection):
    path, name = clock.route(connection.request.path)
    if path == "/echo":
        for message in connection:
            connection.send(message)
    else:
        tell_time(connection, name)


def tell_time(connection, name):
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_TIMEOUT)
    with lock:
        clients[name] = connection
    try:
        for message in connection:
            clock.obey(message)
    finally:
        with lock:
            if clients.get(name) is connection:
                del clients[name]


def push_for_ever(options):
    for pause in clock.rounds(options.interval):
        time.sleep(pause)
        text = clock.payload(options.pad)
        with lock:
            connections = list(clients.values())
        for connection in connections:
            try:
                connection.send(text)
            except ConnectionClosed:
                pass


def main():
    options = clock.options()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    threading.stack_size(STACK_BYTES)
    listener = socket.create_server(("127.0.0.1", options.port), backlog=BACKLOG)
    with serve(
        handler,
        sock=listener,
        compression=None,
        server_header=None,
        open_timeout=None,
        ping_interval=None,
    ) as server:
        threading.Thread(target=push_for_ever, args=[options], name="send", daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
