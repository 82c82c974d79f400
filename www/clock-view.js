// Shows the pushes on the clock's page: the time, the plot of the intervals, the log. It only draws, and knows
// of no socket; clock.js, which calls it, is the lesson.

import { $, attempt } from "./base.js";

// A peer's message becomes text, never HTML, with its own direction: its neighbours keep theirs.
function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.dir = "auto";
  span.textContent = text;
  return span;
}

// ---------------------------------------------------------------------------- frames

const due = new Map(); // what the next frame draws, by its name

// Draws at most once a frame, the newest only: pushes may come a thousand times a second, and a screen shows sixty.
export function drawSoon(name, draw) {
  if (due.size === 0) requestAnimationFrame(drawDue);
  due.set(name, draw);
}

function drawDue() {
  const draws = [...due.values()];
  due.clear();
  draws.forEach(attempt);
}

// ---------------------------------------------------------------------------- the time

// The element's text is the payload itself; only its parts are dressed differently.
export function showTime([payload, date, clock, fraction = ""]) {
  $("time").replaceChildren(part("date", date), " ", part("clock", clock), part("fraction", fraction));
  $("time").dateTime = payload.slice(0, 23); // HTML knows milliseconds, not microseconds
}

// ---------------------------------------------------------------------------- the plot

export const PLOT_INTERVALS = 60; // intervals drawn, and counted in minimum, median and maximum
const EXPECTED_DEFAULT_MS = 1_000; // until the server has said its interval
// How far the plot reaches to either side of the expected interval: the first that holds them all.
const PLOT_REACH_MS = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000];

// A dot for each interval, hung on the line of the expected one. Positions are percentages, so that
// the drawing needs no size, and colours are the style sheet's.
export function showPlot(intervals, expected = EXPECTED_DEFAULT_MS) {
  const sorted = [...intervals].sort((a, b) => a - b);
  const median = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;

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
  $("stat-max").textContent = text(sorted[sorted.length - 1]);
  $("stat-expected").textContent = `${expected.toLocaleString("en")} ms`;
}

// ---------------------------------------------------------------------------- messages

const MESSAGES_LIMIT = 20; // the newest are shown

let published = []; // and not drawn yet: topics and texts, the newest last

// One line on top of the others, and how many there were.
export function showMessage(topic, text, count) {
  published = [...published, [topic, shortened(text)]].slice(-MESSAGES_LIMIT);
  drawSoon("messages", () => drawMessages(count));
}

function drawMessages(count) {
  for (const [topic, text] of published) {
    const line = document.createElement("li");
    line.append(part("topic", topic), " ", part("text", text));
    $("messages").prepend(line);
    $("messages").children[MESSAGES_LIMIT]?.remove();
  }
  published = [];
  $("message-count").textContent = count;
  document.querySelector(".messages").hidden = false;
}

// ---------------------------------------------------------------------------- the log

const LOG_LIMIT = 100; // lines kept of pushes, and as many of everything else: 200 in all
const LOG_WAITING = 1_000; // lines that may wait to be drawn; a tab in the background draws nothing
const LOG_TEXT_LIMIT = 2_000; // characters (or bytes) shown of one message, which may be 10 MiB
const LOG_END_PX = 8; // scrolled this near to its end, the log follows what comes

let follows = true; // whether the log keeps its end in view: set by scrolling it, read by each line
let waiting = []; // lines that are not drawn yet, the newest last
const eventCounts = { onopen: 0, onmessage: 0, onerror: 0, onclose: 0 };

function shortened(text) {
  return text.length > LOG_TEXT_LIMIT
    ? `${text.slice(0, LOG_TEXT_LIMIT)} … (${text.length} characters)` : text;
}

// One line of the log. Messages may come by the thousand, so theirs wait for the next frame.
export function log(event, text, isPush = false) {
  if (event in eventCounts) eventCounts[event] += 1;
  waiting.push({ at: new Date(), event, text: shortened(text), isPush });
  if (waiting.length > LOG_WAITING) waiting = newest(waiting);
  if (event === "onmessage") drawSoon("log", drawLog);
  else attempt(drawLog);
}

// Pushes and the rest are bounded apart, so that a minute of pushes does not wash away an onclose.
function newest(lines) {
  const kept = new Set([true, false].flatMap((kind) => lines.filter(({ isPush }) => isPush === kind).slice(-LOG_LIMIT)));
  return lines.filter((line) => kept.has(line));
}

function drawLog() {
  const lines = newest(waiting);
  waiting = [];
  $("log").append(...lines.map(logLine));
  for (const kin of [".push", "li:not(.push)"]) {
    const drawn = [...$("log").querySelectorAll(kin)];
    drawn.slice(0, Math.max(0, drawn.length - LOG_LIMIT)).forEach((line) => line.remove());
  }
  followLog();
  for (const [event, count] of Object.entries(eventCounts)) $(`count-${event}`).textContent = count;
}

function logLine({ at, event, text, isPush }) {
  const time = `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  const line = document.createElement("li");
  line.dataset.event = event;
  line.classList.toggle("push", isPush);
  for (const [name, value] of Object.entries({ at: time, event, text })) line.append(part(name, value), " ");
  return line;
}

// Shows the log if it has a line, with the last one in sight. Does not move a reader who has scrolled up.
function followLog() {
  const shown = $("log").classList.contains("no-pushes") ? "li:not(.push)" : "li";
  $("log").classList.toggle("nothing", !$("log").querySelector(shown));
  if (follows) $("log").scrollTop = $("log").scrollHeight;
}

// Bytes as Python writes them: b'\x00ab\n', and in double quotes where that saves a backslash.
export function bytesText(buffer) {
  const bytes = new Uint8Array(buffer, 0, Math.min(buffer.byteLength, LOG_TEXT_LIMIT / 4));
  const quote = bytes.includes(39) && !bytes.includes(34) ? '"' : "'";
  const short = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\", [quote.charCodeAt()]: `\\${quote}` };
  const shown = Array.from(bytes, (byte) => short[byte]
    ?? (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`));
  const more = buffer.byteLength > bytes.length ? ` … (${buffer.byteLength} bytes)` : "";
  return `b${quote}${shown.join("")}${quote}${more}`;
}

export function startView() {
  $("show-pushes").onchange = () => {
    $("log").classList.toggle("no-pushes", !$("show-pushes").checked);
    followLog();
  };
  $("clear").onclick = () => {
    $("log").replaceChildren();
    followLog();
  };
  $("log").onscroll = ({ target }) => {
    follows = target.scrollHeight - target.scrollTop - target.clientHeight <= LOG_END_PX;
  };
  new ResizeObserver(followLog).observe($("log"));
}
