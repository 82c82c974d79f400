"""Shared by the Python variants: their options, the payload, the two commands of the clock route."""

import argparse
import datetime
import time
from urllib.parse import parse_qs, urlsplit

# The number of values of a reading, a prime.
READINGS = 99_991
SHORTEST_ROW = len('{"id":1,"value":0}')
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def interval(text):
    """250ms, 1s, 2m or 1h, in seconds."""
    number = text.rstrip("hms")
    return int(number) * SECONDS[text[len(number) :]]


def options():
    """The command line that every variant understands."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval", type=interval, default=1.0)
    parser.add_argument("--pad", type=int, default=0)
    parser.add_argument("--compression", action="store_true")
    return parser.parse_args()


def payload(pad):
    """The local time, padded to this number of bytes with JSON that differs each time."""
    now = datetime.datetime.now()
    text = str(now)
    if pad <= len(text):
        return text
    rows = []
    for id in range(1, pad // SHORTEST_ROW + 2):
        value = now.microsecond * id % READINGS * id % READINGS
        rows.append('{"id":%d,"value":%d}' % (id, value))
    return (text.ljust(26) + "".join(rows))[:pad]


def rounds(seconds):
    """How long to sleep until each push: pushes are at multiples of the interval."""
    due = time.monotonic()
    while True:
        now = time.monotonic()
        due = max(due + seconds, now)
        yield due - now


def obey(message):
    """Blocks the caller for `sleep N` and `spin N` milliseconds, as a naive handler would."""
    verb, _, number = str(message).partition(" ")
    if verb not in ("sleep", "spin") or not number.isdecimal():
        return
    seconds = int(number) / 1000
    if verb == "sleep":
        time.sleep(seconds)
        return
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def route(target):
    """The path of a request, and the name of the client."""
    parts = urlsplit(target)
    return parts.path, parse_qs(parts.query).get("Id", [""])[-1]
