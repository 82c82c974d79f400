// The client's half of the lesson: a WebSocket from new to onclose, and back again.
//
// Read it from top to bottom: constants, state, view, socket, watch, forms. A WebSocket has four events,
// onopen, onmessage, onerror and onclose. All four are in connect(), and all else serves them. A fifth is
// missing: a connection whose other end has silently gone stays open, and no event tells. watch() does.
// A module's names are private; connect() puts the socket where the browser's console finds it: try
// socket.send("hi"). clock-view.js draws.

import { $, attempt, isolated, keepFocus } from "./base.js";
import { PLOT_INTERVALS, bytesText, drawSoon, log, showMessage, showPlot, showTime, startView } from "./clock-view.js";

// ---------------------------------------------------------------------------- constants

const RETRY_MIN_MS = 500; // the shortest wait before a new try
const RETRY_MAX_MS = 15_000; // the longest; the waits grow towards it and stay there
const RESTART_MAX_MS = 3_000; // the longest after a restart, at random: a server is there, and not all come at once
const COUNTDOWN_STEP_MS = 250; // how often the countdown is redrawn; must divide a second

// A server that chooses this subprotocol says its interval first: {"hello":{"interval_ms":1000}}. Without that
// nobody could tell a dead connection from a slow clock. Published messages come as
// {"topic":"all","text":"hi"}, and all else is the time. (If a server chooses none of what was offered, the
// browser ends the connection.)
const SUBPROTOCOL = "threadcast.1";
const MISSED_PUSHES = 3; // after this many in a row the page takes the connection for dead,
const SILENT_MIN_MS = 5_000; // but not before this: a busy machine may be late
const ANSWER_MAX_MS = 10_000; // the longest wait for the 101 and the hello, or for the answer to a Close
const WATCH_MS = 1_000; // from one look at the silence to the next
const ASLEEP_MS = 4_000; // a look that comes so late has been held up: the tab, or the machine, was asleep
const AWAKE_MS = 2_000; // then messages that have arrived are delivered first

const ID_BYTES = 256; // the server refuses a longer one
const ID_SHOWN = 100; // characters of an Id in a sentence

const CLOSE_REASON_BYTES = 123; // a control frame carries 125 bytes, and the code takes two
const CLOSE_RESTART = 1012; // sent by a server that another one follows
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
  [CLOSE_RESTART]: "Restart: another server is there, or soon will be.",
  [CLOSE_REPLACED]: "Replaced: a newer client has this Id.",
};

// The format of a push: Python's str(datetime.now()), without a fraction when it is zero.
const PUSH = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d{6})?$/;

const SEND_IN_THE_LAB = "The clock logs it. With its lab open it obeys, too: sleep 3000, spin 3000 (in ms), panic.";
const TIME_LIVE = "The server’s local time, as pushed.";
const STATES = ["connecting", "open", "closing", "closed"]; // indexed by WebSocket.readyState

// ---------------------------------------------------------------------------- state

let socket = null; // the one WebSocket; a new one is made when the last one is closed, or was let go
let id = idFromUrl() || randomId(); // the name under which the server knows this tab
const topics = new URLSearchParams(location.search).getAll("topic"); // in addition to the topics that all get

// The next step of onclose: "retry" (nobody wanted this), "stay" (the user did), "replaced" (a newer
// client did), or "connect" (the user wants a new connection at once, such as under a new Id).
let afterwards = "retry";
let tries = 0; // tries that failed in a row; the first message to arrive sets it back to 0
let retryTimer = 0; // of the countdown

let intervalMs = null; // from push to push, from the server's hello; null until it has come
let heardAt = 0; // ms; when the connection last gave a sign of life, or when one was asked for
let lookedAt = performance.now(); // ms; when watch() looked last
let silence = ""; // since when nothing comes: from the moment that a connection was let go until the next push

let pushes = 0; // received since the page was loaded
let messages = 0; // that others have published, as many of them as came here
let lastPushAt = null; // ms; null after a new connection, since a gap is not an interval
let intervals = []; // ms, the newest last, at most PLOT_INTERVALS

// When this file has run to its end, or has failed: the page connects all the same.
addEventListener("DOMContentLoaded", () => [startView, showId, () => showPlot(intervals), connect].forEach(attempt));

function idFromUrl() {
  return new URLSearchParams(location.search).getAll("Id").pop()?.trim(); // the last, as the server
}

function state() {
  return socket ? STATES[socket.readyState] : "closed";
}

function shownId() {
  return isolated(id.length > ID_SHOWN ? `${id.slice(0, ID_SHOWN)}…` : id);
}

function randomId() {
  return `tab-${Math.random().toString(36).slice(2, 7)}`;
}

// ---------------------------------------------------------------------------- view

// Updates everything that depends on the connection's state and on the next step.
function showState(detail) {
  attempt(() => drawState(detail));
}

function drawState(detail) {
  const now = state();
  const word = now[0].toUpperCase() + now.slice(1);
  document.documentElement.dataset.state = now;
  document.title = `${word} · ${shownId()} · threadcast`;
  $("state").textContent = word;
  $("detail").textContent = detail;
  $("countdown").hidden = !(now === "closed" && afterwards === "retry");
  $("time-note").textContent = pushes === 0
    ? "The server’s local time comes with the first push."
    : now === "open" ? TIME_LIVE : "The last push. Nothing moves until the next.";

  // A message may be written while nothing is open, but not sent: without its button, Enter is dead too.
  keepFocus(() => {
    $("send").disabled = now !== "open";
    $("close").disabled = now === "closing" || now === "closed";
  });

  const connect = $("connect");
  connect.textContent = { retry: "Connect now", replaced: "Take the Id back" }[afterwards] ?? "Connect";
  if (now !== "closed" && document.activeElement === connect) $("status").focus(); // not lost with it
  connect.hidden = now !== "closed";
}

// Shows a notice beside the state, since the state alone would be half the truth.
function showNotice() {
  const network = navigator.onLine ? "" : "The browser says that this machine is offline.";
  const notice = [silence, network].filter(Boolean).join(" ");
  if ($("notice").textContent !== notice) $("notice").textContent = notice; // or it would be read aloud again
}

function showEnd(code, reason, wasClean, meaning) {
  $("closed-code").textContent = code;
  $("closed-reason").textContent = reason;
  $("closed-clean").textContent = wasClean;
  $("closed-meaning").textContent = meaning;
}

// The Id lives in the page's URL: it survives a reload, and a bookmark is a name. A relative one, since a browser takes
// no other address of a page at http://user:password@host/.
function showId() {
  $("id").value = id;
  const query = new URLSearchParams(location.search);
  query.set("Id", id);
  $("same-id").href = `?${query}`;
  history.replaceState(null, "", `?${query}${location.hash}`);
}

function closeText(code, reason) {
  return [code ?? "no code", reason && `“${isolated(reason)}”`].filter(Boolean).join(" ");
}

// ---------------------------------------------------------------------------- socket

function connect() {
  clearTimeout(retryTimer);
  afterwards = "retry";
  const error = idError(id); // of one that came with the page's address
  if (error) return refuse(error);

  const url = new URL("websocket", location); // beside the page, which a proxy may show as /clock/
  url.protocol = url.protocol.replace("http", "ws"); // a page from https: may only speak wss:
  url.searchParams.set("Id", id);
  for (const topic of topics) url.searchParams.append("topic", topic);
  window.socket = socket = new WebSocket(url, SUBPROTOCOL);
  intervalMs = null;
  heardAt = performance.now();
  socket.binaryType = "arraybuffer"; // or binary messages arrive as Blobs, to be read asynchronously
  showState(`Asking ${url.host} to change from HTTP to WebSocket.`);

  // The server has answered 101 Switching Protocols. From here on either side may send at any time.
  socket.onopen = () => {
    heardAt = performance.now();
    lastPushAt = null;
    log("onopen", `as ${isolated(id)}`);
    showState("A thread of the server is blocked in a read, waiting for this tab to speak.");
  };

  // A whole message, however many frames it came in: a string for text, an ArrayBuffer for binary.
  socket.onmessage = ({ data }) => {
    heardAt = performance.now();
    const push = typeof data === "string" && data.match(PUSH);
    const other = push ? {} : parsed(data);
    if (push) onPush(push);
    if (other.hello) onHello(other.hello);
    if (other.topic) onPublished(other);
    log("onmessage", typeof data === "string" ? data : bytesText(data), Boolean(push || other.topic));
  };

  // The connection failed. So that pages cannot scan networks, scripts are not told why: a refusal
  // (such as 400 for a missing Id) looks the same as no server at all. onclose always follows.
  socket.onerror = () => {
    log("onerror", "the connection failed; the browser keeps the cause to itself");
  };

  // The end, once, however it came: by a close frame from either side, or (1006) without one.
  socket.onclose = ({ code, reason, wasClean }) => {
    log("onclose", `${closeText(code, reason)}, ${wasClean ? "clean" : "not clean"}`);
    showEnd(code, reason || "(none)", wasClean, CLOSE_MEANING[code] ?? "A code of the application’s own.");

    if (afterwards === "retry" && code === CLOSE_REPLACED) afterwards = "replaced";
    goOn(CLOSE_MEANING[code] ?? `The server closed it with ${code}.`, code === CLOSE_RESTART);
  };
}

// Says what is wrong with the Id. The page connects only with another one.
function refuse(error) {
  afterwards = "stay";
  window.socket = socket = null;
  showError("id-error", error, $("id"));
  showState(error);
}

// Returns the server's hello or a published message as an object, and an empty one for any other text.
function parsed(data) {
  try {
    return typeof data === "string" && data.startsWith("{") ? JSON.parse(data) : {};
  } catch (_) {
    return {};
  }
}

// After a connection, which ended for this cause.
function goOn(cause, isRestart = false) {
  if (afterwards === "connect") connect();
  else if (afterwards === "retry") retryLater(cause, isRestart);
  else if (afterwards === "stay") showState("You closed it, so it stays closed until you connect.");
  else showState(`Replaced: another tab or client took the Id “${shownId()}”. This page does not take it back by `
    + "itself, or the two would do so in turn, for ever. Take it back, or go on under a new Id.");
}

// Closes for good or for a new connection. It is over at onclose, when the server has answered.
function hangUp(next, code, reason) {
  afterwards = next;
  log("close", closeText(code, reason));
  socket.close(code, reason);
  heardAt = performance.now();
  showState("A close frame is on its way, and the server answers with its own. It is over at onclose.");
}

// Connects now, in any state of the old connection.
function reconnect() {
  tries = 0;
  if (state() === "closed") connect();
  else if (state() === "closing") afterwards = "connect";
  else hangUp("connect", 1000, "new Id");
}

// Waits longer each time, so that a server in trouble is left alone; and at random, so that clients
// that lost it together do not come back together.
function retryLater(cause, isRestart) {
  tries += 1;
  const longest = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** tries);
  const backOff = RETRY_MIN_MS + Math.random() * (longest - RETRY_MIN_MS);
  const retryAt = performance.now() + (isRestart ? Math.random() * RESTART_MAX_MS : backOff);
  showState(`${cause} The page tries again automatically.`);
  (function countDown() {
    const left = retryAt - performance.now();
    if (left <= 0) return connect();
    $("countdown").textContent = `Try ${tries} in ${Math.ceil(left / 1000)} s`;
    retryTimer = setTimeout(countDown, Math.min(left, COUNTDOWN_STEP_MS));
  })();
}

// First, and again when the number of machines has changed.
function onHello(hello) {
  intervalMs = hello.interval_ms;
  keepFocus(() => ($("lab").hidden = !hello.lab));
  if (hello.lab) $("send-help").textContent = SEND_IN_THE_LAB;
  showMachines(hello.machines);
  showPlot(intervals, intervalMs);
}

function showMachines(machines) {
  $("machines").hidden = !machines;
  $("machines").textContent = machines === 1
    ? "The fleet has one machine, which serves this tab."
    : `The fleet has ${machines} machines, and one of them serves this tab.`;
}

// Shows a published message: a text, or bytes in base64, since JSON has no bytes.
function onPublished({ topic, text, base64 }) {
  messages += 1;
  const bytes = () => Uint8Array.from(atob(base64), (character) => character.charCodeAt()).buffer;
  showMessage(topic, text ?? bytesText(bytes()), messages);
}

function onPush(push) {
  tries = 0; // a connection proves itself here: onopen alone could be followed by a close, for ever
  silence = "";
  const now = performance.now(); // steady, unlike the time of day, which can be set
  if (lastPushAt !== null) intervals = [...intervals, now - lastPushAt].slice(-PLOT_INTERVALS);
  lastPushAt = now;
  pushes += 1;
  drawSoon("push", () => showPush(push));
}

function showPush(push) {
  showNotice();
  showTime(push);
  $("count").textContent = pushes;
  showPlot(intervals, intervalMs ?? undefined);
  if (state() === "open" && $("time-note").textContent !== TIME_LIVE) $("time-note").textContent = TIME_LIVE;
}

// ---------------------------------------------------------------------------- watch

// A page that only listens needs its own clock: if a cable is cut, TCP does not notify the side that waits.
// This one looks once a second, and drops a silent connection.
function watch() {
  const now = performance.now();
  const wasAsleep = now - lookedAt > ASLEEP_MS;
  lookedAt = now;
  if (wasAsleep) setTimeout(judge, AWAKE_MS);
  else judge();
}

function judge() {
  const silent = performance.now() - heardAt;
  const isTicking = state() === "open" && intervalMs !== null;
  const most = isTicking ? Math.max(SILENT_MIN_MS, (MISSED_PUSHES + 0.5) * intervalMs) : ANSWER_MAX_MS;
  if (state() === "closed" || silent < most) return;
  if (isTicking) {
    const since = new Date(Date.now() - silent).toTimeString().slice(0, 8);
    silence = `Silent since ${since}: no push came, though one is due every ${intervalMs.toLocaleString("en")} ms.`;
  }
  letGo(isTicking ? "No push came." : "No answer came.");
}

// Ends a connection without its onclose, for which a browser may wait a minute if the other end is gone.
function letGo(cause) {
  log("let go", cause);
  for (const event of ["onopen", "onmessage", "onerror", "onclose"]) socket[event] = null;
  socket.close();
  window.socket = socket = null;
  showEnd("–", "–", "–", `${cause} The page did not wait for the end.`);
  showNotice();
  goOn(cause);
}

// Something has changed for the better, so nobody sits out a countdown.
function hurry() {
  watch();
  if (state() === "closed" && afterwards === "retry") reconnect();
}

setInterval(watch, WATCH_MS);

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") hurry(); // in the background timers are late
});

// Only shown, not believed: the loopback works offline, and a server can be gone while the network is up.
addEventListener("offline", () => {
  log("offline", "says the browser");
  showNotice();
});

addEventListener("online", () => {
  log("online", "says the browser");
  showNotice();
  hurry();
});

// ---------------------------------------------------------------------------- forms

function showError(name, text, ...inputs) {
  $(name).textContent = text;
  for (const input of inputs) input.setAttribute("aria-invalid", Boolean(text));
  if (text) inputs[0].focus();
}

// Returns the error of an Id, or "".
function idError(name) {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0) return "An Id needs at least one character.";
  return bytes > ID_BYTES ? `An Id has at most ${ID_BYTES} bytes in UTF-8; this one has ${bytes}.` : "";
}

function useId(name) {
  const error = idError(name);
  showError("id-error", error, $("id"));
  if (error) return;
  const same = name === id;
  id = name;
  showId();
  if (!(same && ["connecting", "open"].includes(state()))) reconnect();
}

$("id-form").onsubmit = (event) => {
  event.preventDefault();
  useId($("id").value.trim());
};

$("new-id").onclick = () => useId(randomId());

$("connect").onclick = reconnect;

$("send-form").onsubmit = (event) => {
  event.preventDefault();
  if (state() !== "open") return; // send() would drop it without a word
  const text = $("message").value;
  socket.send(text);
  log("send", text);
  $("message").value = "";
};

// Returns the error of a code and a reason, or "". The browser's close() throws for the same causes.
function closeError(code, reason) {
  const bytes = new TextEncoder().encode(reason).length;
  if (code === "") return reason ? "A reason needs a code before it." : ""; // close() needs neither
  if (!/^\d+$/.test(code)) return `“${isolated(code)}” is not a number.`;
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
