// The servers beside this one: a column each, and a plot of their gaps.
//
// The page has two WebSockets to each: one that watches, and one whose handler sleeps or spins on command.
// The page measures all pushes itself, at the watching one.

import { $ } from "./base.js";
import { FONT, colors, fit } from "./lab-base.js";
import { MIB, SAMPLES, earlier, rate } from "./lab-numbers.js";
import { duration } from "./lab-words.js";

const GAPS_MS = 30_000; // how much the plot shows, and over which the longest gap is taken
const LATE_FACTOR = 2.5; // a gap of this many usual ones is a late one
const CLOSE_MS = 10; // pushes within this are one in the plot: it has no room for a thousand a second
const COLUMN_MS = 100; // how often the figures in the columns change
const AGAIN_MS = 2_000; // until a connection that was lost is tried again
const PUSH_LINE = /^\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d(\.\d\d)?)/;

const KINDS = { loop: "event loop", green: "green threads" };

export const columns = []; // { name, url, watch, trouble, arrivals, base, head, cells, ... }

export function startBeside(servers) {
  for (const column of columns) [column.watch, column.trouble].forEach((socket) => socket?.close());
  columns.length = 0;
  $("no-beside").hidden = servers.length > 0;
  $("beside-box").hidden = servers.length === 0;
  servers.forEach((server, i) => {
    const column = { ...server, number: i, arrivals: [], numbers: [], base: null, last: "–" };
    columns.push(column);
  });
  makeTable();
  for (const column of columns.filter(({ url }) => url)) {
    watch(column);
    makeTrouble(column);
  }
}

export const isRunning = () => columns.some(({ url }) => url);

// Forgets the numbers that the lab’s server sends of them. This page’s own measurements go on.
export function forgetBesideNumbers() {
  for (const column of columns) {
    column.numbers.length = 0;
    column.crowd = undefined;
  }
}

// A column for each server, a row for each figure.
function makeTable() {
  const add = (parent, tag, text = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    parent.append(element);
    return element;
  };
  $("columns").replaceChildren();
  $("columns").style.minWidth = `${7 + 8.5 * columns.length}rem`;
  const top = add($("columns"), "tr");
  add(top, "td");
  for (const column of columns) {
    column.head = add(top, "th", column.name);
    column.head.scope = "col";
    column.head.dataset.name = column.name;
    column.head.style.setProperty("--own", `var(--column-${column.number % 6})`);
    add(column.head, "span", KINDS[column.kind] ?? "threads");
    column.cells = new Map();
  }
  ROWS.forEach(([name, title], i) => {
    const row = add($("columns"), "tr");
    add(row, "th", title).scope = "row";
    for (const column of columns) {
      if (column.url) {
        const cell = add(row, "td", "–");
        cell.dataset.number = name;
        column.cells.set(name, cell);
      } else if (i === 0) {
        const cell = add(row, "td", "Not installed here. This installs it: ");
        cell.rowSpan = ROWS.length;
        add(cell, "code", column.install || "see tests/compare/README.md");
      }
    }
  });
}

function connectTo(column, role) {
  const url = new URL(column.url);
  url.searchParams.set("Id", `lab-${role}-${Math.random().toString(36).slice(2, 7)}`);
  return new WebSocket(url);
}

function watch(column) {
  const socket = connectTo(column, "watches");
  column.watch = socket;
  socket.onmessage = ({ data }) => {
    const push = typeof data === "string" && data.match(PUSH_LINE);
    if (!push) return;
    const now = performance.now();
    column.last = push[1];
    const before = last(column.arrivals);
    if (before && now - before.since < CLOSE_MS) {
      before.at = now;
      return;
    }
    column.arrivals.push({ since: now, at: now, gap: before ? now - before.at : null });
    while (column.arrivals.length > 2 && column.arrivals[0].at < now - GAPS_MS) column.arrivals.shift();
  };
  socket.onclose = () => columns.includes(column) && column.watch === socket && setTimeout(watch, AGAIN_MS, column);
}

function makeTrouble(column) {
  const socket = connectTo(column, "troubles");
  column.trouble = socket;
  socket.onclose = () => columns.includes(column) && column.trouble === socket && setTimeout(makeTrouble, AGAIN_MS, column);
}

// Sends a command to the handler of one client on each.
export function troubleAll(text) {
  const able = columns.filter((column) => column.trouble?.readyState === WebSocket.OPEN);
  for (const column of able) column.trouble.send(text);
  return able.length;
}

// ---------------------------------------------------------------------------- figures

const ROWS = [
  ["last", "last push", (column) => (column.watch.readyState === WebSocket.OPEN ? column.last : "not connected")],
  ["gap", "since then", (column, now) => `${(present(column, now) / 1_000).toFixed(1)} s`],
  ["worst", "longest gap", (column) => duration(worstGap(column))],
  ["clients", "lab’s clients", (column) => column.crowd?.toLocaleString("en")],
  ["threads", "threads", (column) => last(column.numbers)?.threads.toLocaleString("en")],
  ["memory", "memory", (column) => (column.numbers.length ? `${(memory(column) / MIB).toFixed(1)} MiB` : undefined)],
  ["each", "per client", (column) => perClient(column)],
  ["cpu", "CPU", (column) => percent(columnRate(column, (n) => n.cpu))],
  ["switches", "switches", (column) => perSecond(columnRate(column, (n) => n.voluntary + n.involuntary))],
];

const last = (list) => list[list.length - 1];
const perSecond = (number) => (Number.isFinite(number) ? `${Math.round(number).toLocaleString("en")} /s` : undefined);
const percent = (millis) => (Number.isFinite(millis) ? `${(millis / 10).toFixed(1)} %` : undefined);
const columnRate = (column, value) => {
  const now = last(column.numbers);
  return now && rate(now, earlier(column.numbers), value);
};

// Resident memory and kernel stacks, in KiB.
const memory = (column) => last(column.numbers).resident + last(column.numbers).stacks;

// Returns the growth per client since before the lab’s clients came.
function perClient(column) {
  if (!column.base || !column.crowd || !column.numbers.length) return undefined;
  return `${((memory(column) - column.base) / column.crowd).toFixed(1)} KiB`;
}

// The longest gap of the last GAPS_MS, the present one included.
function worstGap(column) {
  const now = performance.now();
  const gaps = column.arrivals.filter(({ at }) => at > now - GAPS_MS).map(({ gap }) => gap ?? 0);
  return Math.max(0, ...gaps, present(column, now));
}

const present = (column, now) => (column.arrivals.length ? now - last(column.arrivals).at : 0);

function usualGap(column) {
  const gaps = column.arrivals.map(({ gap }) => gap ?? 0).filter(Boolean).sort((a, b) => a - b);
  return gaps[gaps.length >> 1] ?? 1_000;
}

export function showBesideNumbers(t, all) {
  for (const column of columns) {
    const numbers = all[column.name];
    if (!numbers) {
      column.numbers.length = 0; // its process has ended
      continue;
    }
    column.numbers.push({ t, ...numbers });
    if (column.numbers.length > SAMPLES) column.numbers.shift();
    // The least, since clients come before their events, and memory goes after them, if at all.
    if (!column.crowd) column.base = Math.min(column.base ?? Infinity, memory(column));
  }
}

export function showCrowds(places) {
  for (const column of columns) column.crowd = places[column.name] ?? 0;
}

let columnsShown = 0;

function showColumns(now) {
  if (now - columnsShown < COLUMN_MS) return;
  columnsShown = now;
  for (const column of columns) {
    if (!column.url) continue;
    column.head.dataset.worst = Math.round(worstGap(column));
    column.cells.get("gap").dataset.late = present(column, now) > LATE_FACTOR * usualGap(column);
    for (const [name, , value] of ROWS) column.cells.get(name).textContent = value(column, now) ?? "–";
  }
}

// ---------------------------------------------------------------------------- the plot

// Each server’s gap as it grows and falls back to 0.
export function drawGaps() {
  const now = performance.now();
  showColumns(now);
  if (columns.length === 0 || $("beside-box").hidden) return;
  const height = $("gaps-box").clientHeight;
  const { context, width } = fit($("gaps"), height);
  const top = Math.min(GAPS_MS, Math.max(1_000, ...columns.map(worstGap))) * 1.1;
  const [left, right, bottom] = [52, width - 8, height - 12];
  const px = (at) => right - ((now - at) / GAPS_MS) * (right - left);
  const py = (gap) => bottom - (gap / top) * (bottom - 8);
  context.font = FONT;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const step = [1_000, 2_000, 5_000].find((each) => top / each <= 5.5) ?? 10_000; // so that labels do not touch
  for (let gap = 0; gap <= top; gap += step) {
    context.fillStyle = colors.rule;
    context.fillRect(left, py(gap), right - left, 1);
    context.fillStyle = colors.quiet;
    context.fillText(`${gap / 1_000} s`, left - 8, py(gap));
  }
  columns.forEach((column, i) => {
    context.strokeStyle = colors.columns[i % 6];
    context.lineWidth = 1.75;
    context.setLineDash(i % 2 ? [5, 3] : []);
    context.beginPath();
    for (const { at, gap } of column.arrivals) {
      if (gap !== null && at > now - GAPS_MS) {
        context.moveTo(Math.max(left, px(at - gap)), py(0));
        context.lineTo(px(at), py(gap));
        context.lineTo(px(at), py(0));
      }
    }
    const gap = Math.min(GAPS_MS, present(column, now));
    context.moveTo(Math.max(left, px(now - gap)), py(0));
    context.lineTo(px(now), py(gap));
    context.stroke();
  });
  context.setLineDash([]);
}
