"""Talks to the chat: members, arrivals and departures, and rooms that do not hear each other."""
import json
import urllib.error
import urllib.request

from shared import address, opened, receive, refused

anna = opened("/room/tea%20%26%20cake?name=Anna")
assert receive(anna) == {"here": ["Anna"]}
assert receive(anna) == {"joined": "Anna"}
ben = opened("/room/tea%20%26%20cake?name=Ben")
assert receive(ben) == {"here": ["Anna", "Ben"]}
for member in (anna, ben):
    assert receive(member) == {"joined": "Ben"}

# Anna has the name in this room; it is free in another one.
assert refused("/room/tea%20%26%20cake?name=Anna") == 409
carl = opened("/room/coffee?name=Anna")
assert [receive(carl), receive(carl)] == [{"here": ["Anna"]}, {"joined": "Anna"}]

anna.send("hello")
ben.send("<b>hi</b>")
said = [receive(anna), receive(anna)]
assert sorted(said, key=str) == [{"name": "Anna", "says": "hello"}, {"name": "Ben", "says": "<b>hi</b>"}]
assert [receive(ben), receive(ben)] == said, "all read one order"
carl.send("anybody?")
assert receive(carl) == {"name": "Anna", "says": "anybody?"}, "nothing of the other room"

# The chat also announces a departure without a Close, and frees the name.
ben.socket.shutdown(2)
assert receive(anna) == {"left": "Ben"}
ben = opened("/room/tea%20%26%20cake?name=Ben")
assert receive(ben) == {"here": ["Anna", "Ben"]}
ben.close()
assert [receive(anna), receive(anna)] == [{"joined": "Ben"}, {"left": "Ben"}]

for target, status in [
    ("/room/tea", 400),
    ("/room/tea?name=", 400),
    ("/room/tea?name=" + 41 * "x", 400),
    ("/room/" + 41 * "x" + "?name=Anna", 400),
    ("/room/a%0Ab?name=Anna", 400),
    ("/room?name=Anna", 404),
    ("/room/a/b?name=Anna", 404),
]:
    assert refused(target) == status, target
with urllib.request.urlopen(f"http://{address}/room/%3Cscript%3E") as page:
    text = page.read().decode()
assert "<h1>&lt;script&gt;</h1>" in text and "<h1><script>" not in text
