// Draws the lanes, and describes the item under the mouse, or chosen with the keyboard.

import { $ } from "./base.js";
import { FONT, colors, fit } from "./lab-base.js";
import * as model from "./lab-model.js";
import { called, count, describe, label, storyOf } from "./lab-words.js";

const LATE_MS = 150; // the right edge is this long ago, so that nothing is drawn before it is known
const NEAR_PX = 4; // a mark this near to the mouse is meant
const AXIS_PX = 24;
const WIDE_PX = [20, 32]; // least and most of a lane with a name; the least must have room for FONT
const THIN_PX = [3, 18]; // least and most of a lane without one
const NAMED_PART = 0.6; // of the frame, at most, for lanes that must have a name while others have none
const SQUEEZED = 0.7; // of its width is the least that a label may be drawn with
const TROUBLE_MS = 150; // a handler that takes longer than this has something to show

// The drawn lanes, from the top: { lane, top, size, middle, isNamed }, and a map of them by the thread's name.
export let shown = [];
export let rows = new Map();
export let geometry = null; // of the last drawing: left, width, from, to
let pointed = null; // where the mouse is on the canvas
let chosen = null; // the keyboard's choice: { thread, item }

const viewEnd = () => model.pausedAt ?? model.stoppedAt ?? model.serverNow() - LATE_MS;
const viewSpan = () => (model.pausedAt === null ? model.WINDOW_MS : model.FROZEN_MS);

// ---------------------------------------------------------------------------- where lanes are

let followed = null; // the name of the client whose lane keeps its name, however many there are

export function follow(name) {
  followed = name;
}

function isInTrouble(which) {
  const [from, to] = [viewEnd() - viewSpan(), viewEnd()];
  const inSight = (item) => item.from <= to && (item.to ?? to) >= from;
  return which.segments.some((item) => inSight(item)
      && (item.kind === "waiting" || (item.kind === "handler" && (item.to ?? to) - item.from >= TROUBLE_MS)))
    || which.marks.some((item) => inSight(item) && (item.kind === "panicked" || item.kind === "slow"));
}

function hasSomethingToShow(which) {
  if (which.role === "pump" || !["client", "writer"].includes(which.role)) return true;
  if (which.thread === chosen?.thread) return true;
  if (!isOver(which) && model.clients.get(which.number) === followed) return true;
  const client = model.lanes.get(`client-${which.number}`);
  return Boolean(client && isInTrouble(client));
}

const isOver = (which) => which.gone !== null && which.gone <= viewEnd();

// As many lanes as there is room for have names. If that is not all, those that have something to show stand on
// top with theirs, as many others as leave room for the rest, and below them the rest as thin lines.
function layOut(height) {
  const all = model.sortedLanes().filter(({ born }) => born <= viewEnd()); // others come during a pause
  const room = height - AXIS_PX;
  const [least, most] = WIDE_PX;
  let named = new Set(all);
  if (all.length * least > room) {
    const first = all.filter(hasSomethingToShow).slice(0, Math.max(2, Math.floor((room * NAMED_PART) / least)));
    const others = Math.floor((room - Math.min(all.length, model.MOST_LANES) * THIN_PX[0]) / (least - THIN_PX[0]));
    named = new Set([...first, ...all].slice(0, Math.max(first.length, others)));
    for (const which of first) named.add(which);
  }
  const thinnest = all.filter((which) => !named.has(which)).sort((a, b) => isOver(a) - isOver(b));
  const ordered = [...all.filter((which) => named.has(which)), ...thinnest];
  const drawn = ordered.slice(0, model.MOST_LANES);
  const left = ordered.slice(model.MOST_LANES).filter((which) => !isOver(which)).length;
  const thin = drawn.length - named.size;
  const wide = thin > 0 ? least : Math.min(most, Math.floor(room / Math.max(1, drawn.length)));
  const size = Math.min(THIN_PX[1], Math.max(THIN_PX[0], Math.floor((room - named.size * wide) / Math.max(1, thin))));

  let top = 0;
  shown = drawn.map((lane) => {
    const isNamed = named.has(lane);
    const place = { lane, top, size: isNamed ? wide : size, isNamed };
    place.middle = top + place.size / 2;
    top += place.size;
    return place;
  });
  rows = new Map(shown.map((place) => [place.lane.thread, place]));
  const text = left === 0 ? "" : `${count(left, "more thread")} ${left === 1 ? "is" : "are"} running and not drawn: `
    + `more than ${model.MOST_LANES} lanes would be a grey wall.`;
  if ($("left-out").textContent !== text) $("left-out").textContent = text;
  return top;
}

// ---------------------------------------------------------------------------- drawing

export function drawLanes() {
  const frame = $("lanes-box").clientHeight;
  if (frame === 0) return; // another view is shown
  const bottom = layOut(frame);
  const height = Math.max(frame, bottom + AXIS_PX);
  const { context, width } = fit($("lanes"), height);
  const left = Math.min(210, width * 0.34);
  const to = viewEnd();
  const from = to - viewSpan();
  geometry = { left, width: width - left - 8, from, to };

  drawSeconds(context, height);
  const place = chosen && rows.get(chosen.thread);
  if (place) {
    context.fillStyle = colors.rule;
    context.fillRect(0, place.top, width, place.size);
  }
  drawSegments(context);
  drawLabels(context);
  drawFans(context);
  drawMarks(context);
  drawChosen(context);
  drawAxis(context, $("lanes-box").scrollTop + frame);
}

const x = (t) => geometry.left + ((t - geometry.from) / (geometry.to - geometry.from)) * geometry.width;
const clamped = (t) => Math.min(geometry.left + geometry.width, Math.max(geometry.left, x(t)));

function seconds() {
  const from = Math.max(0, Math.ceil(geometry.from / 1_000));
  const to = Math.floor(geometry.to / 1_000);
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

function drawSeconds(context, height) {
  context.font = FONT;
  context.fillStyle = colors.rule;
  for (const second of seconds()) context.fillRect(x(second * 1_000), 0, 1, height);
}

// At the lower edge of the frame, wherever that is scrolled to.
function drawAxis(context, bottom) {
  context.fillStyle = colors.well;
  context.fillRect(0, bottom - AXIS_PX, geometry.left + geometry.width + 8, AXIS_PX);
  context.fillStyle = colors.quiet;
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  const every = (geometry.width * 1_000) / viewSpan() < 60 ? 2 : 1;
  for (const second of seconds()) {
    const at = x(second * 1_000);
    const hasRoom = at > geometry.left + 14 && at < geometry.left + geometry.width - 18;
    if (hasRoom && second % every === 0) context.fillText(`${second} s`, at, bottom - 6);
  }
}

const STROKES = { running: "run", handler: "handler", waiting: "waits", pumping: "write", unknown: "quiet" };
const DASHES = [3, 5]; // of what is not known

function drawSegments(context) {
  const { from, to } = geometry;
  const byKind = { running: [], handler: [], waiting: [], pumping: [], unknown: [] };
  context.fillStyle = colors.lane;
  for (const { lane, size, middle } of shown) {
    const begins = clamped(lane.born);
    const ends = clamped(lane.gone ?? to);
    if (ends > begins) context.fillRect(begins, middle - 0.5, ends - begins, 1);
    for (const item of lane.segments) {
      if (item.kind === "blocked" || item.from > to || (item.to ?? Infinity) < from) continue;
      byKind[item.kind]?.push([clamped(item.from), clamped(item.to ?? to), size, middle]);
    }
  }
  for (const [kind, segments] of Object.entries(byKind)) {
    context.fillStyle = colors[STROKES[kind]];
    const part = ["pumping", "waiting", "unknown"].includes(kind) ? 0.15 : 0.5;
    for (const [begins, ends, size, middle] of segments) {
      const thick = Math.max(2, Math.round(size * part));
      if (kind === "unknown") {
        drawDashes(context, begins, ends, middle, thick);
        continue;
      }
      context.fillRect(begins, middle - thick / 2, Math.max(1.5, ends - begins), thick);
    }
  }
}

// A text that would be squeezed until nobody can read it loses its end.
function shortened(context, text, room) {
  const part = room / (SQUEEZED * context.measureText(text).width);
  return part < 1 ? `${text.slice(0, Math.floor(text.length * part) - 1)}…` : text;
}

function drawDashes(context, begins, ends, middle, thick) {
  context.strokeStyle = colors.quiet;
  context.lineWidth = thick;
  context.setLineDash(DASHES);
  context.beginPath();
  context.moveTo(begins, middle);
  context.lineTo(ends, middle);
  context.stroke();
  context.setLineDash([]);
}

function drawLabels(context) {
  context.textAlign = "left";
  context.textBaseline = "middle";
  const room = geometry.left - 14;
  const write = (text, middle) => context.fillText(shortened(context, text, room), 8, middle, room);
  for (const { lane, middle, isNamed } of shown) {
    if (!isNamed) continue;
    context.fillStyle = isOver(lane) ? colors.quiet : colors.ink;
    write(label(lane), middle);
  }
  const thin = shown.filter(({ isNamed }) => !isNamed);
  context.fillStyle = colors.quiet;
  if (thin.length > 0) write(`${thin.length} more, a line each`, thin[0].top + WIDE_PX[0] / 2);
}

// From the lane that pushes to all that it pushes to.
function drawFans(context) {
  const { from, to } = geometry;
  context.fillStyle = colors.write;
  for (const push of model.pushes) {
    if (push.to < from || push.from > to) continue;
    const own = rows.get(push.lane.thread);
    if (!own) continue;
    const begins = clamped(push.from);
    const wide = Math.max(2, clamped(push.to) - begins);
    const tick = Math.max(2, own.size * 0.5);
    context.fillRect(begins, own.middle - tick / 2, wide, tick);
    let [first, last] = [own.middle, own.middle];
    for (const list of [push.wrote, push.queued]) {
      for (const client of list) {
        const place = rows.get(`client-${client}`);
        if (!place || place === own) continue;
        first = Math.min(first, place.middle);
        last = Math.max(last, place.middle);
        const thick = Math.max(2, place.size * (list === push.wrote ? 0.5 : 0.25));
        context.fillRect(begins + wide - 2, place.middle - thick / 2, 2, thick);
      }
    }
    if (last > first) {
      context.globalAlpha = 0.35;
      context.fillRect(begins + wide - 1.5, first, 1, last - first);
      context.globalAlpha = 1;
    }
  }
}

const MARKS = { accepted: "run", opened: "cursor", closed: "quiet", slow: "stop", panicked: "stop" };

function drawMarks(context) {
  const { from, to } = geometry;
  for (const { lane, size, middle } of shown) {
    const radius = Math.max(1.5, Math.min(5, size * 0.22));
    for (const item of lane.marks) {
      if (!(item.kind in MARKS) || item.from < from || item.from > to) continue;
      context.fillStyle = colors[MARKS[item.kind]];
      context.beginPath();
      context.arc(x(item.from), middle, radius, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

function drawChosen(context) {
  const place = chosen?.item && rows.get(chosen.thread);
  if (!place) return;
  const begins = clamped(chosen.item.from);
  const wide = Math.max(6, clamped(chosen.item.to ?? geometry.to) - begins);
  context.strokeStyle = colors.cursor;
  context.lineWidth = 2;
  context.strokeRect(begins - 2, place.top + 1, wide + 4, place.size - 2);
}

// ---------------------------------------------------------------------------- telling

function explain(text, aloud) {
  $("explain").textContent = text;
  if (aloud) $("spoken").textContent = text;
}

// The mark nearest to the mouse, or else the segment under it.
function itemAt(place) {
  const which = shown.find(({ top, size }) => place.y >= top && place.y < top + size)?.lane;
  if (!which || place.x < geometry.left) return null;
  const items = model.itemsOf(which, geometry.from, geometry.to);
  const distance = (item) => Math.max(x(item.from) - place.x, place.x - x(item.to ?? geometry.to), 0);
  const near = items.filter((item) => distance(item) <= NEAR_PX);
  const weight = { blocked: 2, pumping: 2, waiting: 2, unknown: 2, running: 1 };
  near.sort((a, b) => (weight[a.kind] ?? 0) - (weight[b.kind] ?? 0) || distance(a) - distance(b));
  return near[0] ?? null;
}

export function explainPointed() {
  if (!pointed || !geometry) return;
  const item = itemAt(pointed);
  if (item) explain(describe(item, viewEnd()), false);
}

// Moves the keyboard's choice by a number of lanes, or of items within its lane.
function choose(lanesDown, itemsRight) {
  if (shown.length === 0) return;
  const before = shown.indexOf(rows.get(chosen?.thread));
  const row = before < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, before + lanesDown));
  const which = shown[row].lane;
  const items = model.itemsOf(which, geometry.from, geometry.to);
  let place = chosen?.thread === which.thread ? items.indexOf(chosen.item) : -1;
  place = place < 0 ? items.length - 1 : Math.min(items.length - 1, Math.max(0, place + itemsRight));
  chosen = { thread: which.thread, item: items[place] ?? null };
  const where = `${place + 1} of ${items.length}`;
  explain(chosen.item ? `${describe(chosen.item, viewEnd())} (${where})` : `${called(which)}: nothing in sight.`, true);
  $("lanes-box").scrollTop = Math.max(0, shown[row].top - $("lanes-box").clientHeight / 2);
  drawLanes();
}

// ---------------------------------------------------------------------------- stopping and pausing

// Shows the lanes' time window beside the sentence about a lane.
function showWindow() {
  $("window").textContent = standsStill || (model.pausedAt === null
    ? "The last 8 seconds; now is on the right."
    : "Paused, and the server goes on. These 5 seconds are told in words below.");
}

let standsStill = ""; // why, while the server is not heard

// The lanes stand still at the server's last message: nothing is known of its threads since.
export function stop(why) {
  model.stop();
  standsStill = why;
  $("lanes-box").dataset.stopped = true;
  showWindow();
}

export function goOn() {
  model.goOn();
  standsStill = "";
  delete $("lanes-box").dataset.stopped;
  showWindow();
}

export function setPause(on) {
  model.pauseAt(on ? viewEnd() : null);
  $("pause").dataset.on = on;
  $("pause").textContent = on ? "Go on" : "Pause";
  showWindow();
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

// Calls `clicked` with the lane that somebody has clicked.
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
  $("lanes-box").onscroll = () => geometry && drawLanes();
  $("pause").onclick = () => setPause(model.pausedAt === null);
}
