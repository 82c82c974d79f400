"""Shared code of the examples' clients. Each gets the address of its server as its argument."""
import json
import sys

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

address = sys.argv[1]
DEADLINE = 60


def opened(target, **options):
    """An open WebSocket."""
    return connect(f"ws://{address}{target}", proxy=None, open_timeout=DEADLINE, **options)


def receive(socket):
    """The next message, which is JSON."""
    return json.loads(socket.recv(DEADLINE))


def refused(target, **options):
    """The status of a handshake that is refused."""
    try:
        opened(target, **options)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    raise AssertionError(f"{target} is not refused")
