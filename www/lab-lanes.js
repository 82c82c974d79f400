// Draws the lanes, and tells what is under the mouse, or chosen with the keyboard.

import { $, colors, fit } from "./lab-base.js";
import * as model from "./lab-model.js";
import { called, count, describe, storyOf } from "./lab-words.js";

const LATE_MS = 150; // the right edge is this long ago, so that nothing is drawn before it is known
const NEAR_PX = 4; // a mark this near to the mouse is meant
const AXIS_PX = 18;
const LABEL_PX = 12; // lanes that are thinner have no room for a name
const FIT_PX = 600; // many lanes are made thinner until they fit into this

export let shown = []; // the lanes that are drawn, from the top
export let rows = new Map(); // a thread's name: its place in `shown`
export let geometry = null; // of the last drawing: left, width, height of a lane, from, to
let pointed = null; // where the mouse is on the canvas
let chosen = null; // what the keyboard has chosen: { thread, item }

const viewEnd = () => model.pausedAt ?? model.serverNow() - LATE_MS;
const viewSpan = () => (model.pausedAt === null ? model.WINDOW_MS : model.FROZEN_MS);

function laneHeight(lanes) {
  if (lanes <= 24) return 20;
  return Math.max(3, Math.min(13, Math.floor(FIT_PX / lanes)));
}

// ---------------------------------------------------------------------------- drawing

function layOut() {
  const all = model.sortedLanes().filter(({ born }) => born <= viewEnd()); // others come during a pause
  shown = all.slice(0, model.MOST_LANES);
  rows = new Map(shown.map((which, row) => [which.thread, row]));
  const left = all.length - shown.length;
  const text = left === 0 ? "" : `${count(left, "more thread")} ${left === 1 ? "is" : "are"} running and not drawn: `
    + `more than ${model.MOST_LANES} lanes would be a grey wall.`;
  if ($("left-out").textContent !== text) $("left-out").textContent = text;
}

export function drawLanes() {
  layOut();
  const size = laneHeight(shown.length);
  const height = Math.max(1, shown.length) * size + AXIS_PX;
  const { context, width } = fit($("lanes"), height);
  const left = Math.min(150, width * 0.3);
  const to = viewEnd();
  const from = to - viewSpan();
  geometry = { left, width: width - left - 8, size, from, to };

  drawAxis(context, height);
  if (chosen && rows.has(chosen.thread)) {
    context.fillStyle = colors.rule;
    context.fillRect(0, rows.get(chosen.thread) * size, width, size);
  }
  drawSegments(context);
  drawFans(context);
  drawMarks(context);
  drawChosen(context);
}

const x = (t) => geometry.left + ((t - geometry.from) / (geometry.to - geometry.from)) * geometry.width;
const clamped = (t) => Math.min(geometry.left + geometry.width, Math.max(geometry.left, x(t)));

function drawAxis(context, height) {
  context.font = "12px sans-serif";
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  const every = (geometry.width * 1_000) / viewSpan() < 50 ? 2_000 : 1_000;
  for (let t = Math.max(0, Math.ceil(geometry.from / 1_000) * 1_000); t <= geometry.to; t += 1_000) {
    context.fillStyle = colors.rule;
    context.fillRect(x(t), 0, 1, height - AXIS_PX);
    context.fillStyle = colors.quiet;
    const room = x(t) > geometry.left + 8 && x(t) < geometry.left + geometry.width - 12;
    if (room && t % every === 0) context.fillText(`${Math.round(t / 1_000)} s`, x(t), height - 5);
  }
}

const STROKES = { running: "run", handler: "handler", waiting: "waits", pumping: "write" };

function drawSegments(context) {
  const { size, from, to } = geometry;
  const solid = Math.max(2, Math.round(size * 0.5));
  const byKind = { running: [], handler: [], waiting: [], pumping: [] };
  context.fillStyle = colors.lane;
  shown.forEach((which, row) => {
    const middle = row * size + size / 2;
    const begins = clamped(which.born);
    const ends = clamped(which.gone ?? to);
    if (ends > begins) context.fillRect(begins, middle - 0.5, ends - begins, 1);
    for (const item of which.segments) {
      if (item.kind === "blocked" || item.from > to || (item.to ?? Infinity) < from) continue;
      byKind[item.kind]?.push([clamped(item.from), clamped(item.to ?? to), middle]);
    }
  });
  for (const [kind, segments] of Object.entries(byKind)) {
    context.fillStyle = colors[STROKES[kind]];
    const thick = kind === "pumping" || kind === "waiting" ? Math.max(1, Math.round(size * 0.15)) : solid;
    for (const [begins, ends, middle] of segments) {
      context.fillRect(begins, middle - thick / 2, Math.max(1.5, ends - begins), thick);
    }
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  shown.forEach((which, row) => {
    if (size < LABEL_PX && which.role !== "pump") return;
    context.fillStyle = which.gone === null || which.gone > to ? colors.ink : colors.quiet;
    const name = which.role === "client" && model.clients.get(which.number);
    context.fillText(name ? `${which.thread} ${name}` : which.thread, 8, row * size + size / 2, geometry.left - 14);
  });
}

// From the lane that pushes to all that it pushes to.
function drawFans(context) {
  const { size, from, to } = geometry;
  const tick = Math.max(2, size * 0.5);
  context.fillStyle = colors.write;
  for (const push of model.pushes) {
    if (push.to < from || push.from > to) continue;
    const own = rows.get(push.lane.thread);
    if (own === undefined) continue;
    const begins = clamped(push.from);
    const wide = Math.max(2, clamped(push.to) - begins);
    context.fillRect(begins, own * size + size / 2 - tick / 2, wide, tick);
    let [first, last] = [own, own];
    for (const list of [push.wrote, push.queued]) {
      const thick = list === push.wrote ? tick : tick / 2;
      for (const client of list) {
        const row = rows.get(`client-${client}`);
        if (row === undefined || row === own) continue;
        first = Math.min(first, row);
        last = Math.max(last, row);
        context.fillRect(begins + wide - 2, row * size + size / 2 - thick / 2, 2, thick);
      }
    }
    if (last > first) {
      context.globalAlpha = 0.35;
      context.fillRect(begins + wide - 1.5, first * size + size / 2, 1, (last - first) * size);
      context.globalAlpha = 1;
    }
  }
}

const MARKS = { accepted: "run", opened: "cursor", closed: "quiet", slow: "stop", panicked: "stop" };

function drawMarks(context) {
  const { size, from, to } = geometry;
  const radius = Math.max(1.5, Math.min(4, size * 0.22));
  shown.forEach((which, row) => {
    for (const item of which.marks) {
      if (!(item.kind in MARKS) || item.from < from || item.from > to) continue;
      context.fillStyle = colors[MARKS[item.kind]];
      context.beginPath();
      context.arc(x(item.from), row * size + size / 2, radius, 0, 2 * Math.PI);
      context.fill();
    }
  });
}

function drawChosen(context) {
  if (!chosen?.item || !rows.has(chosen.thread)) return;
  const { size, to } = geometry;
  const begins = clamped(chosen.item.from);
  const wide = Math.max(6, clamped(chosen.item.to ?? to) - begins);
  context.strokeStyle = colors.cursor;
  context.lineWidth = 2;
  context.strokeRect(begins - 2, rows.get(chosen.thread) * size + 1, wide + 4, size - 2);
}

// ---------------------------------------------------------------------------- telling

function explain(text, aloud) {
  $("explain").textContent = text;
  if (aloud) $("spoken").textContent = text;
}

// The mark nearest to the mouse, or else the segment under it.
function itemAt(place) {
  const which = shown[Math.floor(place.y / geometry.size)];
  if (!which || place.x < geometry.left) return null;
  const items = model.itemsOf(which, geometry.from, geometry.to);
  const distance = (item) => Math.max(x(item.from) - place.x, place.x - x(item.to ?? geometry.to), 0);
  const near = items.filter((item) => distance(item) <= NEAR_PX);
  const weight = { blocked: 2, pumping: 2, waiting: 2, running: 1 };
  near.sort((a, b) => (weight[a.kind] ?? 0) - (weight[b.kind] ?? 0) || distance(a) - distance(b));
  return near[0] ?? null;
}

export function explainPointed() {
  if (!pointed || !geometry) return;
  const item = itemAt(pointed);
  if (item) explain(describe(item, viewEnd()), false);
}

// Moves the keyboard's choice by so many lanes, or so many items within its lane.
function choose(lanesDown, itemsRight) {
  if (shown.length === 0) return;
  let row = rows.get(chosen?.thread);
  row = row === undefined ? 0 : Math.min(shown.length - 1, Math.max(0, row + lanesDown));
  const which = shown[row];
  const items = model.itemsOf(which, geometry.from, geometry.to);
  let place = chosen?.thread === which.thread ? items.indexOf(chosen.item) : -1;
  place = place < 0 ? items.length - 1 : Math.min(items.length - 1, Math.max(0, place + itemsRight));
  chosen = { thread: which.thread, item: items[place] ?? null };
  const where = `${place + 1} of ${items.length}`;
  explain(chosen.item ? `${describe(chosen.item, viewEnd())} (${where})` : `${called(which)}: nothing in sight.`, true);
  $("lanes-box").scrollTop = Math.max(0, row * geometry.size - $("lanes-box").clientHeight / 2);
  drawLanes();
}

// ---------------------------------------------------------------------------- pausing

export function setPause(on) {
  model.pauseAt(on ? model.serverNow() - LATE_MS : null);
  $("pause").dataset.on = on;
  $("pause").textContent = on ? "Go on" : "Pause";
  $("window").textContent = on
    ? "Paused: the last 5 seconds before it, to be read at leisure. The server goes on."
    : "The last 8 seconds; now is on the right.";
  $("story-box").hidden = !on;
  if (on) tellStory();
  if (model.isKnown()) drawLanes();
}

const MOST_STORY = 200; // lines

function tellStory() {
  const items = storyOf(model.pausedAt - model.FROZEN_MS, model.pausedAt);
  const lines = items.slice(-MOST_STORY).map((item) => {
    const line = document.createElement("li");
    line.textContent = `${((item.from - model.pausedAt) / 1_000).toFixed(2)} s: ${describe(item, model.pausedAt)}`;
    return line;
  });
  $("story").replaceChildren(...lines);
  $("left-untold").textContent = items.length > MOST_STORY ? `, the last ${MOST_STORY} lines of ${items.length}` : "";
}

// ---------------------------------------------------------------------------- the canvas

// `clicked` is told of the lane that somebody has clicked.
export function startLanes(clicked) {
  const canvas = $("lanes");
  canvas.onpointermove = ({ offsetX, offsetY }) => {
    pointed = { x: offsetX, y: offsetY };
    explainPointed();
  };
  canvas.onpointerleave = () => (pointed = null);
  canvas.onpointerdown = ({ offsetX, offsetY }) => {
    const item = itemAt({ x: offsetX, y: offsetY });
    if (!item) return;
    chosen = { thread: item.lane.thread, item };
    explain(describe(item, viewEnd()), false); // a finger that taps does not move
    clicked(item.lane);
  };
  canvas.onkeydown = (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === " ") setPause(model.pausedAt === null);
    else if (event.key in moves) choose(...moves[event.key]);
    else return;
    pointed = null; // or a mouse that rests there would have the last word
    event.preventDefault();
  };
  $("pause").onclick = () => setPause(model.pausedAt === null);
}
