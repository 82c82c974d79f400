// Describes a segment or a mark in a sentence or two. Pure, except that it reads the model.

import { isolated } from "./base.js";
import { clients, itemsOf, lanes, others } from "./lab-model.js";

// 0.04 ms, 3.1 ms, 250 ms, 3.0 s
export function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return `${(ms / 1_000).toFixed(1)} s`;
}

// Every second, every 250 ms
export const everyTime = (ms) => (ms === 1_000 ? "second" : duration(ms));

function whose(number) {
  const name = clients.get(number);
  return name ? `“${isolated(name)}”` : others.get(number) ?? `client ${number}`;
}

const OF_A_CLIENT = ["client", "pump", "writer"];

// client-7 ann
export function label(which) {
  const name = OF_A_CLIENT.includes(which.role) && (clients.get(which.number) ?? others.get(which.number));
  return name ? `${which.thread} ${isolated(name)}` : which.thread;
}

// client-7 (“ann”)
export function called(which) {
  if (!OF_A_CLIENT.includes(which.role)) return which.thread;
  const name = clients.get(which.number);
  const other = others.get(which.number);
  return name ? `${which.thread} (“${isolated(name)}”)` : other ? `${which.thread} (${other})` : which.thread;
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

const METHODS = {
  "open": "in its handler’s open, before the 101: here it could refuse its client",
  "on_message": "in its handler’s on_message. It may have computed, or slept: only this client’s next message waits for it",
  "run": "in its handler’s run, between two messages: here it may block as long as it likes, and only its own client waits",
  "on_close": "in its handler’s on_close, the last thing that it does for its client",
  "on_ping": "in its handler’s on_ping; the Pong is on its way already",
  "on_pong": "in its handler’s on_pong: its client gave a sign of life",
  "get": "in a handler’s get, making a page",
  "the handshake": "checking the request for a WebSocket",
};

const BLOCKED = {
  client: "blocked in read, until its client speaks. A thread that blocks is not run: it costs memory, and no CPU",
  listener: "blocked in accept, until a client comes",
  send: "asleep until the next round",
  writer: "blocked: on its channel, until there is a frame for its client, or in write, until its client takes it",
};

// Describes a lane's work during a segment, up to `now` if it goes on.
function describeSegment(item, now) {
  const took = duration(Math.max(0, (item.to ?? now) - item.from));
  const was = item.to === null ? "has been" : "was";
  const who = called(item.lane);
  switch (item.kind) {
    case "blocked":
      return `${who} ${was} ${BLOCKED[item.lane.role] ?? "blocked"} (${took}).`;
    case "handler":
      return `${who} ${was} ${METHODS[item.method] ?? `in ${item.method}`} (${took}).`
        + (item.panicked ? " It panicked, and only this thread’s stack was unwound." : "");
    case "waiting":
      return `${who} did not read for ${took}: its client has to take some of its backlog first. `
        + "So a client that does not take its answers is not asked again.";
    case "pumping":
      return `${who} ${was} blocked in write for ${took}, with what its client does not take. `
        + "It exists so that no other thread has to wait there.";
    case "unknown":
      return `${who} may have done anything in these ${took}: events were dropped, and it told nothing since.`;
    default:
      return `${who} ${was} running for ${took}, outside of a handler: reading a request or frames, or ending.`;
  }
}

function describeMark(item) {
  const who = called(item.lane);
  switch (item.kind) {
    case "push": {
      const took = duration(Math.max(0, item.to - item.from));
      const parts = [];
      if (item.wrote.length) {
        const to = item.wrote.length === 1 ? whose(item.wrote[0]) : count(item.wrote.length, "socket");
        parts.push(`wrote to ${to} itself, without waking another thread`);
      }
      if (item.queued.length) {
        parts.push(`left frames for ${count(item.queued.length, "client")} to the threads that write to them`);
      }
      return `${who} ${parts.join(", and ")}: ${count(item.frames, "frame")} in ${took}.`;
    }
    case "wrote":
      return `${item.by} wrote a frame to the socket of ${who} here. ${item.lane.thread} itself was not woken for it.`;
    case "queued":
      return `${item.by} left a frame for ${who} to the thread that writes to this client.`;
    case "accepted":
      return `${who} accepted ${whose(item.client)}, and started the thread client-${item.client}.`;
    case "opened":
      return `${who} became a WebSocket: the 101 for ${item.target} is written.`;
    case "panicked":
      return `The handler of ${who} panicked in ${item.method}. This thread ends, with close code 1011; no other notices.`;
    case "slow":
      return `${whose(item.client)} is disconnected as a slow consumer: ${count(item.backlog, "byte")} were waiting for it.`;
    case "closed":
      return `${who}: the WebSocket is over, ${item.code === null ? "without a code from its client" : `with its client’s code ${item.code}`}.`;
    default:
      return who;
  }
}

const SEGMENTS = new Set(["blocked", "running", "handler", "waiting", "pumping", "unknown"]);

export function describe(item, now) {
  return SEGMENTS.has(item.kind) ? describeSegment(item, now) : describeMark(item);
}

const BETWEEN = new Set(["running", "blocked", "unknown", "wrote", "queued"]);

// For the list of a pause: a line each, without what only fills the time in between.
export function storyOf(from, to) {
  const told = [];
  for (const which of lanes.values()) {
    for (const item of itemsOf(which, from, to)) {
      if (!BETWEEN.has(item.kind) && item.from >= from) told.push(item);
    }
  }
  return told.sort((a, b) => a.from - b.from);
}
