// The lab: its connection and its buttons. Each file imports only from those above it:
//
//   lab-base.js     what all draw with
//   lab-model.js    what happened, as lanes
//   lab-words.js    the same in sentences
//   lab-lanes.js    draws them
//   lab-numbers.js  what the threads cost
//   lab-beside.js   the servers beside this one
//   lab.js          the WebSocket to /lab/events, and what the buttons order
//
// What they export is yours in the browser's console: try `lab.model.lanes`, or lab.order("come here 10").

import { $ } from "./lab-base.js";
import * as model from "./lab-model.js";
import { count, duration } from "./lab-words.js";
import * as view from "./lab-lanes.js";
import * as numbers from "./lab-numbers.js";
import * as beside from "./lab-beside.js";

const RETRY_MS = 1_000; // until a connection that was lost is tried again
const MORE = 100;
const MANY = 1_000; // for each server beside
const TROUBLE_MS = 3_000;
const LONGEST_PAUSE_MS = 600_000; // what happens during a pause is kept, and it must not become too much

const DELIVERIES = {
  inline: "writes the time to every socket itself, and wakes nobody (delivery inline)",
  handoff: "leaves the time to the writer threads, one for each client, and wakes them all (delivery handoff)",
};

let socket = null;
let names = []; // of the lab's own clients

function say(text) {
  $("status").textContent = text;
}

function showState(state) {
  document.documentElement.dataset.state = state;
  for (const button of document.querySelectorAll(".experiments button")) button.disabled = state !== "open";
}

// ---------------------------------------------------------------------------- what comes

const MESSAGES = {
  hello(hello) {
    model.restart(hello.t);
    view.setPause(false);
    numbers.forgetNumbers();
    model.greet(hello.t, hello.clients);
    beside.startBeside(hello.beside);
    MESSAGES.crowd(hello.crowd);
    $("delivery").textContent = `Every ${duration(hello.interval)} the thread send ${DELIVERIES[hello.delivery]}.`;
    say(`Watching. This page is client-${hello.you}.`);
    order("start");
  },
  events({ t, list, dropped }) {
    model.synchronise(t);
    model.apply(list);
    $("dropped").textContent = dropped === 0 ? "" : `${count(dropped, "event")} came faster than the lab could tell, and `
      + `${dropped === 1 ? "is" : "are"} missing in the lanes.`;
  },
  numbers(sample) {
    const { pausedAt, serverNow } = model;
    if (pausedAt !== null && serverNow() - pausedAt > LONGEST_PAUSE_MS) view.setPause(false);
    model.forget(model.pausedAt ?? serverNow());
    numbers.showNumbers(sample);
    beside.showBesideNumbers(sample.t, sample.beside);
  },
  crowd(crowd) {
    names = crowd.names;
    beside.showCrowds(crowd.places);
    showChoice();
  },
  note: say,
};

function connect() {
  const url = new URL("lab/events", location);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("Id", "watcher");
  socket = new WebSocket(url);
  showState("connecting");
  socket.onopen = () => showState("open");
  socket.onmessage = ({ data }) => {
    for (const [key, value] of Object.entries(JSON.parse(data))) MESSAGES[key]?.(value);
  };
  socket.onclose = () => {
    showState("closed");
    say("The connection to the server is lost. Trying again.");
    setTimeout(connect, RETRY_MS);
  };
}

// ---------------------------------------------------------------------------- what goes

function order(text) {
  if (socket.readyState === WebSocket.OPEN) socket.send(text);
}

// The clients to choose from, without changing what is chosen.
function showChoice() {
  const select = $("client");
  const before = select.value;
  if ([...select.options].map((option) => option.value).join() === names.join()) return;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(before)) select.value = before;
}

// A click on a lane chooses its client, if it is one of the lab's.
function chooseClient(which) {
  const name = model.clients.get(which.number);
  if (["client", "pump", "writer"].includes(which.role) && names.includes(name)) $("client").value = name;
}

// What is out of range is put right where it was written.
function seconds() {
  const wanted = $("seconds").valueAsNumber;
  $("seconds").value = Math.min(10, Math.max(1, Number.isFinite(wanted) ? Math.round(wanted) : 3));
  return $("seconds").valueAsNumber;
}

// Orders something of the client that is chosen.
function orderClient(text, told) {
  const name = $("client").value;
  if (!name) return say("The lab has no clients: let some come first.");
  order(`say ${name} ${text}`);
  say(`${name} said “${text}”. ${told(name)}`);
}

const BUTTONS = {
  sleep: () => orderClient(`sleep ${seconds() * 1_000}`, (name) => `Watch its lane: solid for ${seconds()} s, and ${name} is pushed to all the same.`),
  spin: () => orderClient(`spin ${seconds() * 1_000}`, () => "Watch its lane, and CPU."),
  panic: () => orderClient("panic", () => "Watch its lane end, and no other."),
  stall() {
    order("stall");
    say("A client came that does not read. Watch its lane wait, and the one below it, which writes to it.");
  },
  more() {
    order(`come here ${MORE}`);
    say(`${MORE} clients are coming. Watch threads and kernel stacks.`);
  },
  leave() {
    order("leave here");
    say("The lab’s clients have sent their Close frames. Watch the context switches.");
  },
  "all-sleep"() {
    say(`${count(beside.troubleAll(`sleep ${TROUBLE_MS}`), "server")} got “sleep ${TROUBLE_MS}” from one client each. Watch the gaps of the others.`);
  },
  "all-spin"() {
    say(`${count(beside.troubleAll(`spin ${TROUBLE_MS}`), "server")} got “spin ${TROUBLE_MS}” from one client each. Watch gaps and CPU.`);
  },
  "all-more"() {
    for (const column of beside.columns) if (column.url) order(`come ${column.name} ${MANY}`);
    say(`${MANY.toLocaleString("en")} clients go to each server. Watch memory and threads.`);
  },
  "all-leave"() {
    for (const column of beside.columns) if (column.url) order(`leave ${column.name}`);
    say("They leave again.");
  },
};

for (const [name, press] of Object.entries(BUTTONS)) $(name).onclick = press;

// ---------------------------------------------------------------------------- drawing

const FRAME_MS = 50; // from one drawing to the next: events come 20 times a second, too
const STILL_MS = 1_000; // the same for those who have asked for less motion: lanes move on in steps
const EXPLAIN_MS = 250; // how often the sentence about what is under the mouse is made anew

const lessMotion = matchMedia("(prefers-reduced-motion: reduce)");

let drawn = 0;
let explained = 0;

function step(now) {
  requestAnimationFrame(step);
  if (now - drawn < (lessMotion.matches ? STILL_MS : FRAME_MS) || !model.isKnown()) return;
  drawn = now;
  view.drawLanes();
  beside.drawGaps();
  if (now - explained >= EXPLAIN_MS) {
    explained = now;
    view.explainPointed();
  }
}

window.lab = { model, view, numbers, beside, order, get names() { return names; } };

numbers.startNumbers();
view.startLanes(chooseClient);
requestAnimationFrame(step);
connect();
