// The lab: its connection and its buttons. Each file imports only from those above it:
//
//   base.js         shared by both pages
//   lab-base.js     drawing tools of all
//   lab-model.js    the events, as lanes
//   lab-words.js    the events, in sentences
//   lab-lanes.js    draws them
//   lab-numbers.js  the cost of the threads
//   lab-beside.js   the servers beside this one
//   lab.js          the WebSocket to /lab/events, and the buttons' orders
//
// Their exports are at hand in the browser's console: try `lab.model.lanes`, or lab.order("come here 10").

import { $, attempt, isolated, keepFocus } from "./base.js";
import * as model from "./lab-model.js";
import { count, duration, everyTime } from "./lab-words.js";
import * as view from "./lab-lanes.js";
import * as numbers from "./lab-numbers.js";
import * as beside from "./lab-beside.js";

const RETRY_MS = 1_000; // until a connection that was lost is tried again
const LOOK_MS = 1_000; // from one look at the connection to the next; numbers come as often
const QUIET_LOOKS = 2; // after this many in a row without a message the lanes stand still
const SILENT_LOOKS = 5; // after this many the connection is lost
const MORE = 100;
const MANY = 1_000; // for each server beside
const TROUBLE_MS = 3_000;
const LONGEST_PAUSE_MS = 600_000; // events of a pause are kept, and must not become too many

const DELIVERIES = {
  inline: "writes the time to every socket itself, and wakes nobody (delivery inline)",
  handoff: "leaves the time to the writer threads, one for each client, and wakes them all (delivery handoff)",
};

let socket = null;
let silentLooks = 0; // since the last message
let droppedBefore = 0; // events, before this page came
let told = { t: 0, dropped: 0 }; // of the last events: when, and how many had been dropped by then
let greeting = ""; // once the server has said hello
let names = []; // of the lab's own clients

// When this file has run to its end, or has failed: the page connects all the same.
addEventListener("DOMContentLoaded", () => [
  numbers.startNumbers,
  () => view.startLanes(chooseClient),
  () => requestAnimationFrame(step),
  connect,
].forEach(attempt));

function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text; // or it would be read aloud again
}

function showState(state) {
  document.documentElement.dataset.state = state;
  attempt(allowButtons);
}

// The buttons of the second view need servers beside this one.
function allowButtons() {
  const isOpen = document.documentElement.dataset.state === "open";
  keepFocus(() => {
    for (const button of document.querySelectorAll(".experiments button")) {
      const { view: which } = button.closest("[data-view]").dataset;
      button.disabled = !isOpen || (which === "beside" && !beside.isRunning());
    }
  });
}

// ---------------------------------------------------------------------------- what comes

const MESSAGES = {
  hello(hello) {
    model.restart(hello.t);
    view.setPause(false);
    told = { t: hello.t, dropped: hello.dropped };
    droppedBefore = hello.dropped;
    numbers.forgetNumbers();
    model.greet(hello);
    beside.startBeside(hello.beside);
    allowButtons();
    showLook();
    MESSAGES.crowd(hello.crowd);
    $("delivery").textContent = `Every ${everyTime(hello.interval)} the thread send ${DELIVERIES[hello.delivery]}.`;
    greeting = `Watching. This page is client-${hello.you}.`;
    say(greeting);
    order("start");
  },
  events({ t, list, dropped }) {
    model.synchronise(t);
    model.apply(list);
    if (dropped > told.dropped) model.doubt(told.t);
    told = { t, dropped };
    const missing = dropped - droppedBefore;
    $("unknown").hidden = missing === 0;
    $("dropped").textContent = missing === 0 ? "" : `${count(missing, "event")} came faster than the lab could tell, and `
      + `${missing === 1 ? "is" : "are"} missing in the lanes.`;
  },
  numbers(sample) {
    model.synchronise(sample.t);
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
  note: (text) => say(isolated(text)),
};

function connect() {
  const url = new URL("lab/events", location);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("Id", "watcher");
  socket = new WebSocket(url);
  silentLooks = 0;
  showState("connecting");
  socket.onopen = () => showState("open");
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onclose = () => lost("The connection to the server is lost.");
}

function hear(message) {
  silentLooks = 0;
  if (model.stoppedAt !== null) view.goOn();
  for (const [key, value] of Object.entries(message)) attempt(() => MESSAGES[key]?.(value));
}

function lost(what) {
  for (const event of ["onopen", "onmessage", "onclose"]) socket[event] = null;
  socket.close(); // its end is not waited for: without a network it takes a minute
  socket = null;
  showState("closed");
  attempt(() => view.stop("Not connected. The lanes stand still where the server was last heard."));
  attempt(beside.forgetBesideNumbers);
  say(`${what} Trying again.`);
  setTimeout(connect, RETRY_MS);
}

// A connection whose other end has gone in silence stays open: nobody tells. So this looks. It counts looks and
// not time, and a tab that was asleep does not take its own silence for the server's.
setInterval(() => {
  silentLooks += 1;
  if (!socket) return;
  if (silentLooks > SILENT_LOOKS) lost(`Nothing has come for ${count(SILENT_LOOKS, "second")}.`);
  else if (silentLooks > QUIET_LOOKS && model.stoppedAt === null) {
    view.stop(`Nothing has come for ${count(QUIET_LOOKS, "second")}. The lanes stand still until something does.`);
  }
}, LOOK_MS);

// ---------------------------------------------------------------------------- what goes

function order(text) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(text);
}

// Lists the clients to choose from, and keeps the choice.
function showChoice() {
  const select = $("client");
  const before = select.value;
  if ([...select.options].map((option) => option.value).join() === names.join()) return;
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(before)) select.value = before;
  view.follow(select.value);
}

$("client").onchange = () => view.follow($("client").value);

// A click on a lane chooses its client, if it is one of the lab's.
function chooseClient(which) {
  const name = model.clients.get(which.number);
  if (!["client", "pump", "writer"].includes(which.role) || !names.includes(name)) return;
  $("client").value = name;
  view.follow(name);
}

// Corrects a value that is out of range in its field.
function seconds() {
  const wanted = $("seconds").valueAsNumber;
  $("seconds").value = Math.min(10, Math.max(1, Number.isFinite(wanted) ? Math.round(wanted) : 3));
  return $("seconds").valueAsNumber;
}

// Sends an order to the chosen client.
function orderClient(text, told) {
  const name = $("client").value;
  if (!name) return say("The lab has no clients: let some come first.");
  view.follow(name);
  order(`say ${name} ${text}`);
  say(`${name} said “${text}”. ${told(name)}`);
}

// Sends an order to one client of each server beside.
function orderAll(text) {
  const servers = beside.troubleAll(text);
  say(servers === 0 ? "No server beside this one is connected." : `${count(servers, "server")} got “${text}” from one client each.`);
}

// For each button: its action, what to look at then, and which numbers change.
const BUTTONS = {
  sleep: {
    press: () => orderClient(`sleep ${seconds() * 1_000}`, (name) => `For ${count(seconds(), "second")} its thread sleeps in on_message, and ${name} still gets its pushes.`),
    look: "Its lane is solid for that long. All others go on. Pushes do not fall, since another thread writes them.",
    numbers: ["pushes"],
  },
  spin: {
    press: () => orderClient(`spin ${seconds() * 1_000}`, (name) => `For ${count(seconds(), "second")} its thread computes in on_message, and ${name} still gets its pushes.`),
    look: "Its lane is solid, as if it slept, but CPU rises by a core. While another core is free, no other client notices. With more burners than cores the kernel deals out time slices, and involuntary switches rise.",
    numbers: ["cpu", "involuntary"],
  },
  panic: {
    press: () => orderClient("panic", () => "Its own thread ends, and no other."),
    look: "Its lane ends, with close code 1011. A panic unwinds one thread’s stack, and the others have their own.",
    numbers: ["clients", "threads"],
  },
  flood: {
    press() {
      order("flood");
      say("A client came that sends messages as fast as its socket takes them, for 3 seconds.");
    },
    look: "Its lane hardly blocks any more, and is dotted where the lab leaves out events. CPU rises. All others get their pushes: the kernel takes the core from a thread that has had its share.",
    numbers: ["cpu", "pushes"],
  },
  stall: {
    press() {
      order("stall");
      say("A client came that asks for echoes and takes none.");
    },
    look: "When its socket is full a pump lane appears, blocked in write (with handoff its writer is there already). Its own thread stops reading. After ten seconds without a byte both are gone. Nobody else is late.",
    numbers: ["threads", "pushes"],
  },
  more: {
    press() {
      order(`come here ${MORE}`);
      say(`${MORE} clients are coming.`);
    },
    look: "Threads and kernel stacks rise: each client costs a thread, used or not. CPU rises only by their pushes, since a blocked thread is not run.",
    numbers: ["threads", "stacks", "cpu"],
  },
  storm: {
    press() {
      order("storm here");
      say("The lab’s clients leave, and come again at once.");
    },
    look: "Every lane ends, and as many begin: a thread is started for each client that returns. Press 100 more clients first. Threads and pushes are soon what they were.",
    numbers: ["threads", "voluntary"],
  },
  leave: {
    press() {
      order("leave here");
      say("The lab’s clients have sent their Close frames.");
    },
    look: "Every thread wakes up for its client’s Close, answers it, and ends: its lane stops. Context switches jump.",
    numbers: ["threads", "voluntary"],
  },
  again: {
    press() {
      view.setPause(false);
      order("start again");
      say("All have left, and the first six come.");
    },
    look: "The first six lanes come back, from ann to fay, and no others.",
    numbers: ["clients", "threads"],
  },
  "all-sleep": {
    press() {
      orderAll(`sleep ${TROUBLE_MS}`);
    },
    look: "A loop that sleeps serves nobody: its gap grows to three seconds, for all its clients. Several workers do not always help. Threads go on.",
  },
  "all-spin": {
    press() {
      orderAll(`spin ${TROUBLE_MS}`);
    },
    look: "For three seconds all servers compete for the cores. See which ones still deliver: the kernel preempts threads, and does not preempt tasks of a loop.",
  },
  "all-more": {
    press() {
      for (const column of beside.columns) if (column.url) order(`come ${column.name} ${MANY}`);
      say(`${MANY.toLocaleString("en")} clients go to each server.`);
    },
    look: "Here the loop wins: look at the memory per client, and at the threads. Then compare the CPU, and inline with handoff: what costs is not a thread that blocks, but one that is woken.",
  },
  "all-storm": {
    press() {
      for (const column of beside.columns) if (column.url) order(`storm ${column.name}`);
      say("They leave, and come again at once.");
    },
    look: "Look at CPU and at the gap while they return: threads are started, or tasks. The memory per client is higher than before: the allocator keeps what the crowd needed at once.",
  },
  "all-leave": {
    press() {
      for (const column of beside.columns) if (column.url) order(`leave ${column.name}`);
      say("They leave again.");
    },
    look: "Memory that a thread’s stack has touched goes with the thread. Each server’s allocator keeps some of what its clients had.",
  },
};

// The text of each view before one of its buttons is pressed.
const HINTS = {
  threads: () => "Each button acts on a real client. This line then says what to look at.",
  beside: () => (beside.isRunning()
    ? "Each button acts on all servers at once. This line then says what to look at."
    : "These buttons are for servers beside this one, and none is running."),
};

let shownView = "threads";
const pressed = { threads: null, beside: null }; // in each view, the name of the button that was pressed last

// Describes the button under the pointer, or else the last one pressed.
function showLook(name = pressed[shownView]) {
  $("look").textContent = name ? BUTTONS[name].look : HINTS[shownView]();
  numbers.watchNumbers((name && BUTTONS[name].numbers) ?? []);
}

for (const [name, { press }] of Object.entries(BUTTONS)) {
  const button = $(name);
  button.onclick = () => {
    pressed[shownView] = name;
    showLook(name);
    press();
  };
  button.onpointerenter = button.onfocus = () => showLook(name);
  button.onpointerleave = button.onblur = () => showLook();
}

// ---------------------------------------------------------------------------- two views

function show(which) {
  // This view does not report a button of the other view, only a lost connection.
  if (which !== shownView && document.documentElement.dataset.state === "open") say(greeting);
  shownView = which;
  for (const part of document.querySelectorAll("[data-view]")) part.hidden = part.dataset.view !== which;
  for (const name of ["threads", "beside"]) $(`show-${name}`).setAttribute("aria-pressed", name === which);
  showLook();
}

$("show-threads").onclick = () => show("threads");
$("show-beside").onclick = () => show("beside");

// ---------------------------------------------------------------------------- drawing

const FRAME_MS = 50; // from one drawing to the next: events come 20 times a second, too
const STILL_MS = 1_000; // the same for those who have asked for less motion: lanes move on in steps
const EXPLAIN_MS = 250; // how often the sentence about the item under the mouse is updated

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

window.lab = { model, view, numbers, beside, order, hear, get names() { return names; } };
