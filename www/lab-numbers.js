// The numbers, and a small plot of each over the last minute.

import { $ } from "./base.js";

export const SAMPLES = 60; // one a second
// Clock ticks are 10 ms long, and the switches of many threads are counted once in five seconds (see
// src/lab/numbers.rs): so what is given per second is taken over this many.
const OVER = 5;

export const MIB = 1_024;

// Name, unit, digits, and the value out of the last samples.
const NUMBERS = [
  ["clients", "Connections", "", 0, (now) => now.clients],
  ["threads", "Threads", "", 0, (now) => now.here?.threads],
  ["resident", "Resident memory", "MiB", 1, (now) => now.here && now.here.resident / MIB],
  ["stacks", "Kernel stacks", "MiB", 1, (now) => now.here && now.here.stacks / MIB],
  ["cpu", "CPU, of one core", "%", 1, (now, then) => rate(now, then, (s) => s.here?.cpu) / 10],
  ["voluntary", "Context switches", "/s", 0, (now, then) => rate(now, then, (s) => s.here?.voluntary)],
  ["involuntary", "Involuntary switches", "/s", 0, (now, then) => rate(now, then, (s) => s.here?.involuntary)],
  ["pushes", "Pushes", "/s", 0, (now, then) => rate(now, then, (s) => s.pushes)],
];

const samples = []; // the newest last
const plots = Object.fromEntries(NUMBERS.map(([name]) => [name, []]));

// How much more it has become, for each second.
export function rate(now, then, value) {
  if (!then || now.t <= then.t) return undefined;
  return ((value(now) - value(then)) * 1_000) / (now.t - then.t);
}

export const earlier = (list) => list[list.length - 1 - OVER] ?? (list.length > 1 ? list[0] : undefined);

export function startNumbers() {
  const boxes = NUMBERS.map(([name, title, unit]) => {
    const box = document.createElement("div");
    box.dataset.number = name;
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = title;
    value.innerHTML = `<span id="number-${name}">–</span> <span class="unit"></span>
      <svg viewBox="0 0 ${SAMPLES - 1} 1" preserveAspectRatio="none" aria-hidden="true"><polyline id="plot-${name}"/></svg>`;
    value.querySelector(".unit").textContent = unit;
    box.append(term, value);
    return box;
  });
  $("numbers").replaceChildren(...boxes);
}

export function showNumbers(sample) {
  samples.push(sample);
  if (samples.length > SAMPLES) samples.shift();
  for (const [name, , , digits, value] of NUMBERS) {
    const number = value(sample, earlier(samples));
    const known = Number.isFinite(number);
    $(`number-${name}`).textContent = known
      ? number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–";
    if (known) plots[name].push(number);
    if (plots[name].length > SAMPLES) plots[name].shift();
    plot(`plot-${name}`, plots[name]);
  }
}

// Marks the numbers that an experiment changes.
export function watchNumbers(names) {
  for (const box of $("numbers").children) box.dataset.watched = names.includes(box.dataset.number);
}

// From 0 at the bottom to the largest on top.
function plot(id, values) {
  const top = Math.max(1e-9, ...values);
  const point = (value, i) => `${SAMPLES - values.length + i},${(1 - value / top).toFixed(3)}`;
  $(id).setAttribute("points", values.map(point).join(" "));
}

export function forgetNumbers() {
  samples.length = 0;
  for (const name in plots) plots[name].length = 0;
}
