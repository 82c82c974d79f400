"""Posts numbers, with a token and without, while two clients watch."""
import http.client
import json

from websockets.exceptions import ConnectionClosed

from shared import DEADLINE, address, opened, receive, refused

connection = http.client.HTTPConnection(address, timeout=DEADLINE)


def post(body, token="Bearer secret", **headers):
    if token:
        headers["Authorization"] = token
    connection.request("POST", "/metrics", body, {"Content-Type": "application/json"} | headers)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


first = opened("/numbers")
assert receive(first) == {}
status, _, body = post('{"load": 0.5, "<b>": 2}')
assert (status, body) == (204, b"")
assert receive(first) == {"load": 0.5, "<b>": 2}
second = opened("/numbers")
assert receive(second) == {"load": 0.5, "<b>": 2}, "what there is"
assert post('{"load": 0.75}')[0] == 204
for watcher in (first, second):
    assert receive(watcher) == {"load": 0.75}

for token in (None, "Bearer wrong!", "Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret"):
    status, headers, _ = post('{"load": 9}', token)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"'), token
for body, status in [
    ("{", 400),
    ("[1]", 400),
    ('{"load": "high"}', 400),
    ("", 400),
    (json.dumps({str(i): i for i in range(1001)}), 507),
]:
    assert post(body)[0] == status, body
assert post('{"load": 9}', **{"Content-Type": "text/plain"})[0] == 415
assert post('{"load": 9}', Origin="https://evil.example")[0] == 403
assert post('{"x": 1}' + 70_000 * " ")[0] == 413
connection.close()
assert refused("/numbers", origin="https://evil.example") == 403
connection.request("GET", "/metrics")
response = connection.getresponse()
assert (response.status, response.headers["Allow"]) == (405, "POST, OPTIONS"), response.headers["Allow"]
response.read()

# Nothing of the refused posts has arrived.
assert post('{"load": 1}')[0] == 204
assert receive(first) == receive(second) == {"load": 1}
connection.request("GET", "/")
page = connection.getresponse().read().decode()
assert "<tr><th>&lt;b&gt;</th><td>2</td></tr><tr><th>load</th><td>1</td></tr>" in page
assert "<th><b>" not in page

second.send("hello")
try:
    second.recv(DEADLINE)
    raise AssertionError("not closed")
except ConnectionClosed as closed:
    assert closed.rcvd.code == 1008
