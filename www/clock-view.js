// What the clock's page shows of the pushes: the time, the plot of the intervals, the log. It draws what it
// is told, and knows of no socket; clock.js, which calls it, is the lesson.

export const $ = (name) => document.getElementById(name);

// What a peer sent becomes text, never HTML.
function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
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
  const sorted = intervals.toSorted((a, b) => a - b);
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
  $("stat-max").textContent = text(sorted.at(-1));
  $("stat-expected").textContent = `${expected.toLocaleString("en")} ms`;
}

// ---------------------------------------------------------------------------- messages

const MESSAGES_LIMIT = 20; // the newest are shown

// One line on top of the others, and how many there were.
export function showMessage(topic, text, count) {
  const line = document.createElement("li");
  line.append(part("topic", topic), " ", part("text", shortened(text)));
  $("messages").prepend(line);
  $("messages").children[MESSAGES_LIMIT]?.remove();
  $("message-count").textContent = count;
  document.querySelector(".messages").hidden = false;
}

// ---------------------------------------------------------------------------- the log

const LOG_LIMIT = 100; // lines kept of pushes, and as many of everything else: 200 in all
const LOG_TEXT_LIMIT = 2_000; // characters (or bytes) shown of one message, which may be 10 MiB
const LOG_END_PX = 8; // scrolled this near to its end, the log follows what comes

let follows = true; // whether the log keeps its end in view: set by scrolling it, read by each line
const eventCounts = { onopen: 0, onmessage: 0, onerror: 0, onclose: 0 };

function shortened(text) {
  return text.length > LOG_TEXT_LIMIT
    ? `${text.slice(0, LOG_TEXT_LIMIT)} … (${text.length} characters)` : text;
}

// One line of the log.
export function log(event, text, isPush = false) {
  const now = new Date();
  const parts = {
    at: `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`,
    event,
    text: shortened(text),
  };
  const line = document.createElement("li");
  line.dataset.event = event;
  line.classList.toggle("push", isPush);
  for (const [name, value] of Object.entries(parts)) line.append(part(name, value), " ");
  $("log").append(line);

  // Pushes and the rest are bounded apart, so that a minute of pushes does not wash away an onclose.
  const kin = $("log").querySelectorAll(isPush ? ".push" : "li:not(.push)");
  if (kin.length > LOG_LIMIT) kin[0].remove();
  followLog();

  if (event in eventCounts) $(`count-${event}`).textContent = ++eventCounts[event];
}

// Whoever scrolled up to read is left in peace.
function followLog() {
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

$("show-pushes").onchange = () => {
  $("log").classList.toggle("no-pushes", !$("show-pushes").checked);
  followLog();
};

$("clear").onclick = () => $("log").replaceChildren();

$("log").onscroll = ({ target }) => {
  follows = target.scrollHeight - target.scrollTop - target.clientHeight <= LOG_END_PX;
};
new ResizeObserver(followLog).observe($("log"));
