"""Visits a guestbook in Tornado and its port in turn, and compares their answers."""
import http.client
import json
import sys
import urllib.parse

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

TORNADO, PORT = sys.argv[1:3]
DEADLINE = 60


class Visitor:
    """A browser: it keeps cookies, and follows no redirect."""

    def __init__(self, address):
        self.address = address
        self.connection = http.client.HTTPConnection(address, timeout=DEADLINE)
        self.cookies = {}
        self.seen = []  # all answers

    def headers(self):
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def ask(self, method, target, form=None, **headers):
        body = form and urllib.parse.urlencode(form)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, target, body, self.headers() | headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        cookies = []
        for line in response.headers.get_all("Set-Cookie") or ():
            name, value = line.split(";")[0].split("=", 1)
            value = value.strip('"')
            cookies.append((name, "set" if value else "cleared"))
            self.cookies[name] = value
        kind = (response.headers["Content-Type"] or "").lower()
        # Tornado answers an error with an HTML page, threadcast with a line of text.
        answer = (text, kind) if response.status < 400 else None
        self.seen.append((method, target, response.status, response.headers["Location"], answer, cookies))
        return response

    def open(self, target):
        try:
            socket = connect(
                f"ws://{self.address}{target}", additional_headers=self.headers(), proxy=None, open_timeout=DEADLINE
            )
        except InvalidStatus as refusal:
            self.seen.append((target, refusal.response.status_code))
            return None
        self.receive(socket)
        return socket

    def receive(self, socket):
        self.seen.append(json.loads(socket.recv(DEADLINE)))


def visit(address):
    visitor = Visitor(address)
    visitor.ask("GET", "/")
    visitor.ask("GET", "/login")
    visitor.ask("POST", "/", {"text": "too early"})
    visitor.open("/feed/Zo%C3%AB")
    visitor.ask("POST", "/login")
    visitor.ask("POST", "/login", {"name": 41 * "x"})
    visitor.ask("POST", "/login", {"name": " Zoë <3 "})
    visitor.ask("GET", "/")
    mine, other = visitor.open("/feed/Zo%C3%AB%20%3C3"), visitor.open("/feed/Anna")
    visitor.open("/feed/" + 41 * "x")
    visitor.ask("POST", "/", {"text": "first & <b>best</b>"})
    visitor.receive(mine)
    visitor.ask("POST", "/", {"text": "second"})
    visitor.receive(mine)
    for socket in (mine, other):
        socket.send("how many?")
        visitor.receive(socket)
        socket.close()
    visitor.ask("POST", "/", {"other": "no text"})
    for target in ("/", "/entry/0", "/entry/1", "/entry/2", "/entry/x", "/entry", "/nothing", "/?a=b"):
        visitor.ask("GET", target)
    etag = visitor.ask("GET", "/entry/0").headers["ETag"]
    visitor.ask("GET", "/entry/0", **{"If-None-Match": etag})
    visitor.ask("DELETE", "/entry/0")
    genuine = dict(visitor.cookies)
    visitor.cookies["user"] = genuine["user"][:-1] + ("0" if genuine["user"][-1] != "0" else "1")
    visitor.ask("GET", "/")
    visitor.ask("POST", "/", {"text": "forged"})
    visitor.cookies = dict(genuine)
    visitor.ask("GET", "/logout")
    visitor.ask("GET", "/")
    return visitor.seen, genuine


(theirs, their_cookies), (ours, our_cookies) = visit(TORNADO), visit(PORT)
for number, (one, other) in enumerate(zip(theirs, ours)):
    assert one == other, f"answer {number}: Tornado {one}, the port {other}"
assert len(theirs) == len(ours)

# The visit covered each status, the escaped text, and the feeds.
assert {seen[2] for seen in ours if len(seen) == 6} == {200, 302, 304, 400, 403, 404, 405}
page = next(seen for seen in ours if isinstance(seen, tuple) and seen[:2] == ("GET", "/entry/0"))
assert page[4] == ("<h1>Zoë &lt;3</h1><p>first &amp; &lt;b&gt;best&lt;/b&gt;</p>", "text/html; charset=utf-8")
assert {"number": 1, "text": "second"} in ours and {"re": "how many?", "count": 2} in ours
assert ("/feed/Zo%C3%AB", 403) in ours

# A login at one counts at the other.
for address, cookies in ((PORT, their_cookies), (TORNADO, our_cookies)):
    visitor = Visitor(address)
    visitor.cookies = cookies
    visitor.ask("GET", "/")
    assert visitor.seen[0][2] == 200 and "Hello Zoë &lt;3" in visitor.seen[0][4][0], visitor.seen
