// The client's half of the lesson: a WebSocket from new to onclose, and back again.
//
// Read it from top to bottom: constants, state, view, socket, forms. A WebSocket has four events,
// onopen, onmessage, onerror and onclose. All four are in connect(), and all else serves them.
// The names of a module are its own; connect() puts the socket where the browser's console finds it: try
// socket.send("hi"). How things are drawn is in clock-view.js.

import { $, PLOT_INTERVALS, bytesText, log, showPlot, showTime } from "./clock-view.js";

// ---------------------------------------------------------------------------- constants

const RETRY_MIN_MS = 500; // the shortest wait before a new try
const RETRY_MAX_MS = 15_000; // the longest; the waits grow towards it and stay there
const COUNTDOWN_STEP_MS = 250; // how often the countdown is redrawn; must divide a second

const CLOSE_REASON_BYTES = 123; // a control frame carries 125 bytes, and the code takes two
const CLOSE_REPLACED = 4001; // sent by this server when a newer client takes the same Id
const CLOSE_MEANING = {
  1000: "Normal: the work is done.",
  1001: "Going away: the server is shutting down.",
  1002: "One side broke the protocol.",
  1005: "A close frame came, without a code.",
  1006: "No close frame came: the connection broke, or never opened.",
  1007: "A text was not valid UTF-8.",
  1008: "Refused as a matter of policy.",
  1009: "A message was too big.",
  1011: "The server failed, or pings went unanswered.",
  [CLOSE_REPLACED]: "Replaced: a newer client has this Id.",
};

// What a push looks like: Python's str(datetime.now()), without a fraction when it is zero.
const PUSH = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d{6})?$/;

const TIME_LIVE = "The server’s local time, as pushed.";
const STATES = ["connecting", "open", "closing", "closed"]; // indexed by WebSocket.readyState

// ---------------------------------------------------------------------------- state

let socket = null; // the one WebSocket; a new one is made only when the last one is closed
let id = idFromUrl() || randomId(); // the name under which the server knows this tab

// What onclose does next: "retry" (nobody wanted this), "stay" (the user did), "replaced" (a newer
// client did), or "connect" (the user wants a new connection at once, such as under a new Id).
let afterwards = "retry";
let tries = 0; // tries that failed in a row; the first message to arrive sets it back to 0
let retryTimer = 0; // of the countdown

let pushes = 0; // received since the page was loaded
let lastPushAt = null; // ms; null after a new connection, since a gap is not an interval
let intervals = []; // ms, the newest last, at most PLOT_INTERVALS

function idFromUrl() {
  return new URLSearchParams(location.search).getAll("Id").at(-1)?.trim(); // the last, as the server
}

function randomId() {
  return `tab-${Math.random().toString(36).slice(2, 7)}`;
}

// ---------------------------------------------------------------------------- view

// Everything that depends on the connection's state, and on what is to happen next.
function showState(detail) {
  const state = STATES[socket.readyState];
  const word = state[0].toUpperCase() + state.slice(1);
  document.documentElement.dataset.state = state;
  document.title = `${word} · ${id} · threadcast`;
  $("state").textContent = word;
  $("detail").textContent = detail;
  $("countdown").hidden = !(state === "closed" && afterwards === "retry");
  $("time-note").textContent = pushes === 0
    ? "The server’s local time comes with the first push."
    : state === "open" ? TIME_LIVE : "The last push. Nothing moves until the next.";

  // A message may be written while nothing is open, but not sent: without its button, Enter is dead too.
  $("send").disabled = state !== "open";
  $("close").disabled = state === "closing" || state === "closed";

  const connect = $("connect");
  connect.textContent = { retry: "Connect now", replaced: "Take the Id back" }[afterwards] ?? "Connect";
  if (state !== "closed" && document.activeElement === connect) $("status").focus(); // not lost with it
  connect.hidden = state !== "closed";
}

// The Id lives in the page's URL: it survives a reload, and a bookmark is a name.
function showId() {
  const url = new URL(location);
  url.searchParams.set("Id", id);
  history.replaceState(null, "", url);
  $("id").value = id;
  $("same-id").href = url;
}

function closeText(code, reason) {
  return [code ?? "no code", reason && `“${reason}”`].filter(Boolean).join(" ");
}

// ---------------------------------------------------------------------------- socket

function connect() {
  clearTimeout(retryTimer);
  afterwards = "retry";

  const url = new URL("websocket", location); // beside the page, which a proxy may show as /clock/
  url.protocol = url.protocol.replace("http", "ws"); // a page from https: may only speak wss:
  url.searchParams.set("Id", id);
  window.socket = socket = new WebSocket(url);
  socket.binaryType = "arraybuffer"; // or binary messages arrive as Blobs, to be read asynchronously
  showState(`Asking ${url.host} to change from HTTP to WebSocket.`);

  // The server has answered 101 Switching Protocols. From here on either side may send at any time.
  socket.onopen = () => {
    lastPushAt = null;
    log("onopen", `as ${id}`);
    showState("A thread of the server is blocked in a read, waiting for this tab to speak.");
  };

  // A whole message, however many frames it came in: a string for text, an ArrayBuffer for binary.
  socket.onmessage = ({ data }) => {
    tries = 0; // a connection proves itself here: onopen alone could be followed by a close, for ever
    const push = typeof data === "string" && data.match(PUSH);
    if (push) onPush(push);
    log("onmessage", typeof data === "string" ? data : bytesText(data), Boolean(push));
  };

  // The connection failed. So that pages cannot scan networks, scripts are not told why: a refusal
  // (such as 400 for a missing Id) looks the same as no server at all. onclose always follows.
  socket.onerror = () => {
    log("onerror", "the connection failed; the browser keeps the cause to itself");
  };

  // The end, once, however it came: by a close frame from either side, or (1006) without one.
  socket.onclose = ({ code, reason, wasClean }) => {
    log("onclose", `${closeText(code, reason)}, ${wasClean ? "clean" : "not clean"}`);
    $("closed-code").textContent = code;
    $("closed-reason").textContent = reason || "(none)";
    $("closed-clean").textContent = wasClean;
    $("closed-meaning").textContent = CLOSE_MEANING[code] ?? "A code of the application’s own.";

    if (afterwards === "retry" && code === CLOSE_REPLACED) afterwards = "replaced";
    if (afterwards === "connect") connect();
    else if (afterwards === "retry") retryLater(code);
    else if (afterwards === "stay") showState("You closed it, so it stays closed until you connect.");
    else showState(`Replaced: another tab or client took the Id “${id}”. This page does not take it back by `
      + "itself, or the two would do so in turn, for ever. Take it back, or go on under a new Id.");
  };
}

// Closes for good or for a new connection. It is over at onclose, when the server has answered.
function hangUp(next, code, reason) {
  afterwards = next;
  log("close", closeText(code, reason));
  socket.close(code, reason);
  showState("A close frame is on its way, and the server answers with its own. It is over at onclose.");
}

// A new connection now, whatever the old one is doing.
function reconnect() {
  tries = 0;
  if (socket.readyState === WebSocket.CLOSED) connect();
  else if (socket.readyState === WebSocket.CLOSING) afterwards = "connect";
  else hangUp("connect", 1000, "new Id");
}

// Waits longer each time, so that a server in trouble is left alone; and at random, so that clients
// who lost it together do not come back together.
function retryLater(code) {
  tries += 1;
  const longest = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** tries);
  const retryAt = performance.now() + RETRY_MIN_MS + Math.random() * (longest - RETRY_MIN_MS);
  showState(`${CLOSE_MEANING[code] ?? `The server closed it with ${code}.`} The page tries again by itself.`);
  (function countDown() {
    const left = retryAt - performance.now();
    if (left <= 0) return connect();
    $("countdown").textContent = `Try ${tries} in ${Math.ceil(left / 1000)} s`;
    retryTimer = setTimeout(countDown, Math.min(left, COUNTDOWN_STEP_MS));
  })();
}

function onPush(push) {
  const now = performance.now(); // steady, unlike the time of day, which can be set
  if (lastPushAt !== null) intervals = [...intervals, now - lastPushAt].slice(-PLOT_INTERVALS);
  lastPushAt = now;
  pushes += 1;
  showTime(push);
  $("count").textContent = pushes;
  showPlot(intervals);
  if (pushes === 1) $("time-note").textContent = TIME_LIVE;
}

// ---------------------------------------------------------------------------- forms

function showError(name, text, ...inputs) {
  $(name).textContent = text;
  for (const input of inputs) input.setAttribute("aria-invalid", Boolean(text));
  if (text) inputs[0].focus();
}

function useId(name) {
  showError("id-error", name ? "" : "An Id needs at least one character.", $("id"));
  if (!name) return;
  const same = name === id;
  id = name;
  showId();
  if (!(same && socket.readyState <= WebSocket.OPEN)) reconnect();
}

$("id-form").onsubmit = (event) => {
  event.preventDefault();
  useId($("id").value.trim());
};

$("new-id").onclick = () => useId(randomId());

$("connect").onclick = reconnect;

$("send-form").onsubmit = (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return; // send() would drop it without a word
  const text = $("message").value;
  socket.send(text);
  log("send", text);
  $("message").value = "";
};

// What is wrong with a code and a reason, or "". The browser's close() throws for the same causes.
function closeError(code, reason) {
  const bytes = new TextEncoder().encode(reason).length;
  if (code === "") return reason ? "A reason needs a code before it." : ""; // close() needs neither
  if (!/^\d+$/.test(code)) return `“${code}” is not a number.`;
  if (code !== "1000" && !(code >= 3000 && code <= 4999)) {
    return `${code} is not for pages to send: use 1000, or 3000 to 4999.`;
  }
  if (bytes > CLOSE_REASON_BYTES) {
    return `The reason is ${bytes} bytes long in UTF-8; a close frame has room for ${CLOSE_REASON_BYTES}.`;
  }
  return "";
}

$("close-form").onsubmit = (event) => {
  event.preventDefault();
  const code = $("close-code").value.trim();
  const reason = $("close-reason").value;
  const error = closeError(code, reason);
  const wrong = error.startsWith("The reason") ? $("close-reason") : $("close-code");
  showError("close-error", "", $("close-code"), $("close-reason"));
  if (error) showError("close-error", error, wrong);
  else if (code) hangUp("stay", Number(code), reason);
  else hangUp("stay");
};

$("close-reason").oninput = () => {
  $("close-bytes").textContent = new TextEncoder().encode($("close-reason").value).length;
};

showId();
showPlot(intervals);
connect();
