"""Talks to programs behind the bridge: the test starts it with a shell that knows some words."""
import os
import time

from websockets.exceptions import ConnectionClosed

from shared import DEADLINE, opened, refused


def gone(pid):
    """Waits until no such process exists, not even a zombie."""
    deadline = time.monotonic() + DEADLINE
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, f"the process {pid} is still there"
        time.sleep(0.01)


def ask(socket, word):
    socket.send(word)
    return socket.recv(DEADLINE)


# One process for each client, both at work.
one, other = opened("/"), opened("/")
one_pid, other_pid = ask(one, "pid"), ask(other, "pid")
assert one_pid != other_pid
assert ask(one, "hello") == "you said hello"
assert ask(one, "Zoë") == "you said Zoë"

# The process ends when its client leaves: with a Close, and without one.
one.close()
gone(one_pid)
other.socket.shutdown(2)
gone(other_pid)

# The client gets a Close when its process ends.
client = opened("/")
pid = ask(client, "pid")
client.send("end")
try:
    client.recv(DEADLINE)
    raise AssertionError("not closed")
except ConnectionClosed as closed:
    assert (closed.rcvd.code, closed.rcvd.reason) == (1000, "the program has ended")
gone(pid)

# 100 MB at full speed. At the same time another client gets answers, and a third leaves halfway.
flooded, beside, leaving = opened("/"), opened("/"), opened("/")
pid = ask(leaving, "pid")
flooded.send("flood")
leaving.send("flood")
assert len(leaving.recv(DEADLINE)) == 10_000
leaving.socket.shutdown(2)
gone(pid)
assert ask(beside, "hello") == "you said hello"
for _ in range(10_000):
    assert len(flooded.recv(DEADLINE)) == 10_000
assert flooded.recv(DEADLINE) == "flooded"
assert ask(flooded, "hello") == "you said hello"

# A line that is too long for one message comes in pieces.
beside.send("long")
pieces = [beside.recv(DEADLINE) for _ in range(4)]
assert [len(piece) for piece in pieces] == [65536, 65536, 65536, 3392]

# A program that sleeps and does not read: its client may still leave.
pid = ask(beside, "pid")
beside.send("sleep")
beside.close()
gone(pid)
assert refused("/", origin="https://evil.example") == 403
