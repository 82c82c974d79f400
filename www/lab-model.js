// The events as lanes: one for each thread, with its actions and their times.
//
// The server sends events (see src/lab.rs); apply() puts them into lanes. Times are the server's, in
// milliseconds since the lab began. Nothing in this file draws or knows of sockets.

export const WINDOW_MS = 8_000; // how much the lanes show
export const FROZEN_MS = 5_000; // how much of it when they are paused
const KEEP_MS = 20_000; // how long anything is remembered; must be more than WINDOW_MS
export const MOST_LANES = 200; // drawn; the others are counted

export const lanes = new Map(); // a thread's name: its lane
export const clients = new Map(); // a client's number: its name
export const others = new Map(); // by the number of a connection other than the clock's clients: its kind
export let pushes = []; // every push, the newest last; the fans are drawn from it
let offset = null; // performance.now() minus the server’s time: the smallest seen, so the least delayed
let heardAt = 0; // the server’s time of its last message
export let stoppedAt = null; // the same, while the server is not heard: nothing is known of what came after
export let pausedAt = null; // the server’s time at the right edge of the lanes, while they are paused

// A server that has started again counts from 0 again.
export function restart(t) {
  offset = null;
  stoppedAt = null;
  synchronise(t);
  lanes.clear();
  clients.clear();
  others.clear();
  pushes = [];
}

export const isKnown = () => offset !== null;

export function pauseAt(t) {
  pausedAt = t;
}

export function synchronise(t) {
  const now = performance.now() - t;
  offset = offset === null ? now : Math.min(offset, now);
  heardAt = t;
}

export const serverNow = () => performance.now() - (offset ?? performance.now());

export function stop() {
  stoppedAt = heardAt;
}

export function goOn() {
  stoppedAt = null;
}

const role = (thread) => thread.replace(/-\d+$/, "");

// The state of a lane of which nothing is known.
const BASE = { client: "blocked", pump: "pumping", writer: "blocked", send: "blocked", listener: "blocked" };

function lane(thread, at) {
  let found = lanes.get(thread);
  if (!found) {
    const number = Number(thread.match(/-(\d+)$/)?.[1] ?? 1);
    found = { thread, role: role(thread), number, born: at, gone: null, segments: [], marks: [] };
    found.segments.push({ from: at, to: null, kind: BASE[found.role] ?? "blocked", lane: found });
    lanes.set(thread, found);
    if (found.role === "client" && !clients.has(number) && !others.has(number)) others.set(number, HTTP);
  }
  return found;
}

// The lane goes on with another segment from this time.
function turn(which, at, kind, more = {}) {
  const current = which.segments[which.segments.length - 1];
  if (current && current.to === null) current.to = at;
  which.segments.push({ from: at, to: null, kind, lane: which, ...more });
}

function mark(which, at, kind, more = {}) {
  which.marks.push({ from: at, to: at, kind, lane: which, ...more });
}

// The clients from before the page, and the page's own connection.
export function greet({ t, clients: list, watchers, you }) {
  for (const thread of ["listener", "send"]) lane(thread, t - WINDOW_MS);
  for (const [number, name] of list) clients.set(number, name);
  for (const number of watchers) others.set(number, ANOTHER_PAGE);
  others.set(you, "this page");
  for (const number of [...clients.keys(), ...others.keys()]) lane(`client-${number}`, t - WINDOW_MS);
}

const ANOTHER_PAGE = "another page of the lab";
const HTTP = "HTTP"; // so it is until something happens that happens to WebSockets only

function isAWebSocket(number) {
  if (others.get(number) === HTTP) others.delete(number);
}

const HANDLERS = {
  accepted(event) {
    mark(lane(event.thread, event.t), event.t, "accepted", { client: event.client });
    const own = lane(`client-${event.client}`, event.t);
    own.segments = [{ from: event.t, to: null, kind: "running", lane: own }];
  },
  opened(event) {
    const [path, query] = event.target.split("?");
    const name = new URLSearchParams(query ?? "").getAll("Id").pop();
    isAWebSocket(event.client);
    if (path !== "/lab/events") clients.set(event.client, name);
    else if (!others.has(event.client)) others.set(event.client, ANOTHER_PAGE);
    mark(lane(event.thread, event.t), event.t, "opened", { target: event.target });
  },
  begins(event) {
    turn(lane(event.thread, event.t), event.t, "handler", { method: event.method });
    if (event.method.startsWith("on_")) isAWebSocket(event.client);
  },
  ends(event) {
    const own = lane(event.thread, event.t);
    own.segments[own.segments.length - 1].panicked = event.panicked;
    if (event.panicked) mark(own, event.t, "panicked", { method: event.method });
    turn(own, event.t, "running");
  },
  reads(event) {
    turn(lane(event.thread, event.t), event.t, "blocked");
  },
  wakes(event) {
    turn(lane(event.thread, event.t), event.t, "running");
  },
  waits(event) {
    turn(lane(event.thread, event.t), event.t, "waiting");
    isAWebSocket(event.client);
  },
  push(event) {
    const from = lane(event.thread, event.t);
    const push = { from: event.t, to: event.to, kind: "push", lane: from, wrote: event.wrote, queued: event.queued, frames: event.frames };
    from.marks.push(push);
    pushes.push(push);
    for (const client of event.wrote) markClient(client, event, "wrote");
    for (const client of event.queued) markClient(client, event, "queued");
  },
  pump(event) {
    const own = lane(event.thread, event.t);
    own.born = event.t;
    own.gone = null;
    const kind = own.role === "pump" ? "pumping" : "blocked";
    own.segments = [{ from: event.t, to: null, kind, lane: own }];
  },
  pumped(event) {
    end(lane(event.thread, event.t), event.t);
  },
  slow(event) {
    mark(lane(event.thread, event.t), event.t, "slow", { backlog: event.backlog, client: event.client });
  },
  closed(event) {
    mark(lane(event.thread, event.t), event.t, "closed", { code: event.code });
  },
  gone(event) {
    end(lane(`client-${event.client}`, event.t), event.t);
  },
};

// A push shows on the client's own lane too, unless it is the client's own thread that wrote.
function markClient(client, event, kind) {
  const own = lanes.get(`client-${client}`);
  if (own && own.thread !== event.thread) mark(own, event.to, kind, { by: event.thread });
}

function end(which, at) {
  const current = which.segments[which.segments.length - 1];
  if (current && current.to === null) current.to = at;
  which.gone = at;
}

export function apply(events) {
  for (const event of events) HANDLERS[event.is]?.(event);
}

// Events were dropped since `t`: a busy thread may long have finished. Its next event tells its state.
export function doubt(t) {
  for (const which of lanes.values()) {
    const current = which.segments[which.segments.length - 1];
    if (current?.to === null && PASSING.has(current.kind)) turn(which, Math.max(t, current.from), "unknown");
  }
}

const PASSING = new Set(["running", "handler", "waiting"]);

// Forgets what is over for longer than KEEP_MS before `t`, and lanes that have left the window.
export function forget(t) {
  const young = (thing) => (thing.to ?? Infinity) > t - KEEP_MS;
  for (const [thread, which] of lanes) {
    if (which.gone !== null && which.gone < t - WINDOW_MS) {
      lanes.delete(thread);
      if (which.role === "client") [clients, others].forEach((names) => names.delete(which.number));
      continue;
    }
    if (which.segments.length > 1 && !young(which.segments[0])) which.segments = which.segments.filter(young);
    if (which.marks.length > 0 && !young(which.marks[0])) which.marks = which.marks.filter(young);
  }
  if (pushes.length > 0 && !young(pushes[0])) pushes = pushes.filter(young);
}

// In the order in which they are shown: the listener, those who send, the clients, each with its pump.
export function sortedLanes() {
  const rank = { listener: 0, send: 1, client: 2, pump: 2, writer: 2 };
  const within = { client: 0, writer: 1, pump: 2 };
  return [...lanes.values()].sort((a, b) =>
    (rank[a.role] ?? 3) - (rank[b.role] ?? 3) || a.number - b.number
      || (within[a.role] ?? 0) - (within[b.role] ?? 0));
}

// Segments and marks of a lane that are in sight, in the order of time.
export function itemsOf(which, from, to) {
  const inSight = (item) => item.from <= to && (item.to ?? Infinity) >= from;
  return [...which.segments, ...which.marks].filter(inSight).sort((a, b) => a.from - b.from);
}
