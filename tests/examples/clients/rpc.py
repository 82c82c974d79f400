"""Sends JSON-RPC by a WebSocket and by POST: the cases of the specification, section 7, and the store's."""
import http.client
import json

from shared import DEADLINE, address, opened

socket = opened("/rpc")
connection = http.client.HTTPConnection(address, timeout=DEADLINE)


def post(text):
    connection.request("POST", "/rpc", text, {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    assert (response.status, body) == (204, b"") or response.status == 200, response.status
    return json.loads(body) if body else None


def send(text):
    socket.send(text)
    # A call without an answer is followed by one with an answer.
    socket.send('{"jsonrpc": "2.0", "id": "last", "method": "keys"}')
    first = json.loads(socket.recv(DEADLINE))
    if isinstance(first, dict) and first.get("id") == "last":
        return None
    assert json.loads(socket.recv(DEADLINE))["id"] == "last"
    return first


def request(method, *params, **call):
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params} | call)


def result(value, id=1):
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(code, id=1):
    return {"jsonrpc": "2.0", "id": id, "error": code}


def without_text(answer):
    """An answer, with its error reduced to the code."""
    if isinstance(answer, list):
        return [without_text(one) for one in answer]
    if answer and "error" in answer:
        assert answer["error"]["message"]
        return answer | {"error": answer["error"]["code"]}
    return answer


invalid = error(-32600, None)
# It leaves the store as empty as it was.
TABLE = [
    (request("set", "tea", "green", id=1), result(None)),
    (request("get", "tea", id="a"), result("green", "a")),
    (request("set", id=1, params={"key": "tea", "value": [1, None]}), result("green")),
    (request("get", id=1, params={"key": "tea"}), result([1, None])),
    (request("get", "tea", id=None), result([1, None], None)),
    (request("keys", id=1.5), result(["tea"], 1.5)),
    (request("set", "milk", 1), None),
    (request("no_such"), None),
    (request("keys", id=1), result(["milk", "tea"])),
    (request("delete", "milk", id=1), result(1)),
    (request("delete", "milk", id=1), error(-32001)),
    (request("get", "milk", id=1), error(-32001)),
    (request("get", 1, id=1), error(-32602)),
    (request("get", id=1), error(-32602)),
    (request("no_such", id=1), error(-32601)),
    ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', error(-32700, None)),
    ("", error(-32700, None)),
    ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', invalid),
    ('{"jsonrpc": "2.0", "method": "keys", "params": "bar", "id": 1}', error(-32600)),
    ('{"jsonrpc": "1.0", "method": "keys", "id": 1}', error(-32600)),
    ('{"jsonrpc": "2.0", "method": "keys", "id": [1]}', invalid),
    ("1", invalid),
    ("[]", invalid),
    ("[1, 2]", [invalid, invalid]),
    (f"[{request('set', 'a', 1)}, {request('set', 'b', 2)}]", None),
    (
        f"[{request('get', 'a', id=1)}, {request('set', 'c', 3)}, 7, {request('no_such', id='x')}]",
        [result(1), invalid, error(-32601, "x")],
    ),
    (request("delete", "a", id=1), result(1)),
    (f"[{request('delete', 'b')}, {request('delete', 'c')}, {request('delete', 'tea')}]", None),
]
for way in (send, post):
    for text, expected in TABLE:
        answer = without_text(way(text))
        assert answer == expected, (way.__name__, text, answer, expected)
