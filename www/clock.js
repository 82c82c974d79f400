// The client's half of the lesson: a WebSocket from new to onclose, and back again.
//
// Read it from top to bottom: constants, state, view, socket, forms. A WebSocket has four events,
// onopen, onmessage, onerror and onclose. All four are in connect(), and all else serves them.
// It is a classic script, so `socket` is yours in the browser's console: try socket.send("hi").

"use strict";

// ---------------------------------------------------------------------------- constants

const RETRY_MIN_MS = 500; // the shortest wait before a new try
const RETRY_MAX_MS = 15_000; // the longest; the waits grow towards it and stay there
const COUNTDOWN_STEP_MS = 250; // how often the countdown is redrawn; must divide a second

const LOG_LIMIT = 100; // lines kept of pushes, and as many of everything else: 200 in all
const LOG_TEXT_LIMIT = 2_000; // characters (or bytes) shown of one message, which may be 10 MiB
const LOG_END_PX = 8; // scrolled this near to its end, the log follows what comes

const PLOT_INTERVALS = 60; // intervals drawn, and counted in minimum, median and maximum
// The server does not tell its interval. The one of these nearest to the median is taken for it.
const EXPECTED_MS = [50, 100, 200, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];
const EXPECTED_DEFAULT_MS = 1_000; // until there is a median
// How far the plot reaches to either side of the expected interval: the first that holds them all.
const PLOT_REACH_MS = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000];

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
let logFollows = true; // whether the log keeps its end in view: set by scrolling it, read by each line
const eventCounts = { onopen: 0, onmessage: 0, onerror: 0, onclose: 0 };

function idFromUrl() {
  return new URLSearchParams(location.search).getAll("Id").at(-1)?.trim(); // the last, as the server
}

function randomId() {
  return `tab-${Math.random().toString(36).slice(2, 7)}`;
}

// ---------------------------------------------------------------------------- view

const $ = (name) => document.getElementById(name);

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

// The element's text is the payload itself; only its parts are dressed differently.
function showTime([payload, date, clock, fraction = ""]) {
  const part = (name, text) => {
    const span = document.createElement("span");
    span.className = name;
    span.textContent = text;
    return span;
  };
  $("time").replaceChildren(part("date", date), " ", part("clock", clock), part("fraction", fraction));
  $("time").dateTime = payload.slice(0, 23); // HTML knows milliseconds, not microseconds
  $("count").textContent = pushes;
}

// A dot for each interval, hung on the line of the expected one. Positions are percentages, so that
// the drawing needs no size, and colours are the style sheet's.
function showPlot() {
  const sorted = intervals.toSorted((a, b) => a - b);
  const median = sorted.length
    ? (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
    : EXPECTED_DEFAULT_MS;
  const far = (ms) => Math.abs(Math.log(ms / median)); // by ratio: 400 is nearer to 500 than to 250
  const expected = EXPECTED_MS.reduce((best, ms) => (far(ms) < far(best) ? ms : best));

  const worst = Math.max(0, ...intervals.map((ms) => Math.abs(ms - expected)));
  const reach = PLOT_REACH_MS.find((ms) => ms >= worst) ?? Math.ceil(worst);
  const top = expected + reach;
  const bottom = Math.max(0, expected - reach);
  const y = (ms) => (100 * (top - ms)) / (top - bottom);

  const shapes = [];
  const draw = (name, className, attributes, text = "") => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
    shape.setAttribute("class", className);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    shape.textContent = text;
    shapes.push(shape);
  };
  const scale = (ms, className) => {
    const at = `${y(ms)}%`;
    draw("line", className, { x1: 0, x2: "100%", y1: at, y2: at });
    draw("text", className, { x: -10, y: at, dy: "0.35em" }, ms);
  };
  scale(top, "grid");
  if (y(expected) < 85) scale(bottom, "grid"); // or its label would touch the expected one's
  scale(expected, "expected");
  intervals.forEach((ms, i) => {
    const x = `${(100 * (PLOT_INTERVALS - intervals.length + i + 0.5)) / PLOT_INTERVALS}%`;
    draw("line", "stem", { x1: x, x2: x, y1: `${y(expected)}%`, y2: `${y(ms)}%` });
    draw("circle", "dot", { cx: x, cy: `${y(ms)}%`, r: 2.5 });
  });
  $("plot").replaceChildren(...shapes);

  const text = (ms) => (ms === undefined ? "–" : `${ms.toFixed(1)} ms`);
  $("stat-min").textContent = text(sorted[0]);
  $("stat-median").textContent = text(sorted.length ? median : undefined);
  $("stat-max").textContent = text(sorted.at(-1));
  $("stat-expected").textContent = `${expected} ms`;
}

// One line of the log. What a peer sent becomes text nodes, never HTML.
function log(event, text, isPush = false) {
  const now = new Date();
  const parts = {
    at: `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`,
    event,
    text: text.length > LOG_TEXT_LIMIT
      ? `${text.slice(0, LOG_TEXT_LIMIT)} … (${text.length} characters)` : text,
  };
  const line = document.createElement("li");
  line.dataset.event = event;
  line.classList.toggle("push", isPush);
  for (const [name, value] of Object.entries(parts)) {
    const span = document.createElement("span");
    span.className = name;
    span.textContent = value;
    line.append(span, " ");
  }
  $("log").append(line);

  // Pushes and the rest are bounded apart, so that a minute of pushes does not wash away an onclose.
  const kin = $("log").querySelectorAll(isPush ? ".push" : "li:not(.push)");
  if (kin.length > LOG_LIMIT) kin[0].remove();
  followLog();

  if (event in eventCounts) $(`count-${event}`).textContent = ++eventCounts[event];
}

// Whoever scrolled up to read is left in peace.
function followLog() {
  if (logFollows) $("log").scrollTop = $("log").scrollHeight;
}

// Bytes as Python writes them: b'\x00ab\n', and in double quotes where that saves a backslash.
function bytesText(buffer) {
  const bytes = new Uint8Array(buffer, 0, Math.min(buffer.byteLength, LOG_TEXT_LIMIT / 4));
  const quote = bytes.includes(39) && !bytes.includes(34) ? '"' : "'";
  const short = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\", [quote.charCodeAt()]: `\\${quote}` };
  const shown = Array.from(bytes, (byte) => short[byte]
    ?? (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`));
  const more = buffer.byteLength > bytes.length ? ` … (${buffer.byteLength} bytes)` : "";
  return `b${quote}${shown.join("")}${quote}${more}`;
}

function closeText(code, reason) {
  return [code ?? "no code", reason && `“${reason}”`].filter(Boolean).join(" ");
}

// ---------------------------------------------------------------------------- socket

function connect() {
  clearTimeout(retryTimer);
  afterwards = "retry";

  const url = new URL("/websocket", location);
  url.protocol = url.protocol.replace("http", "ws"); // a page from https: may only speak wss:
  url.searchParams.set("Id", id);
  socket = new WebSocket(url);
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
  showPlot();
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

$("show-pushes").onchange = () => {
  $("log").classList.toggle("no-pushes", !$("show-pushes").checked);
  followLog();
};

$("clear").onclick = () => $("log").replaceChildren();

$("log").onscroll = ({ target }) => {
  logFollows = target.scrollHeight - target.scrollTop - target.clientHeight <= LOG_END_PX;
};
new ResizeObserver(followLog).observe($("log"));

showId();
showPlot();
connect();
