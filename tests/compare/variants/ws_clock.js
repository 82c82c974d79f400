// The clock on `ws` for Node.js: one Buffer for all clients of a round.
//
// With --compression that has the settings of ws's README: no context takeover, a small window. Clients are in our own Map. A client with too large a backlog is
// terminated, as the documentation of bufferedAmount suggests.
'use strict';

const http = require('node:http');
const { parseArgs } = require('node:util');
const { WebSocket, WebSocketServer } = require('ws');

const BACKLOG = 4096;
// Bytes that may wait for a client before it counts as too slow.
const BACKLOG_LIMIT = 1 << 20;
// The number of values of a reading, a prime.
const READINGS = 99_991;
const COMPRESSION = {
  zlibDeflateOptions: { chunkSize: 1024, memLevel: 7, level: 3 },
  zlibInflateOptions: { chunkSize: 10 * 1024 },
  clientNoContextTakeover: true,
  serverNoContextTakeover: true,
  serverMaxWindowBits: 10,
  concurrencyLimit: 10,
  threshold: 1024,
};
const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

const { values: options } = parseArgs({
  options: {
    port: { type: 'string' },
    interval: { type: 'string', default: '1s' },
    pad: { type: 'string', default: '0' },
    compression: { type: 'boolean', default: false },
  },
});
const [, number, unit] = options.interval.match(/^(\d+)(ms|s|m|h)$/);
const interval = Number(number) * MILLISECONDS[unit];

const clients = new Map();

// Local time, in the form of Python's str(datetime.now()), padded with JSON that differs each time.
function payload() {
  const now = performance.timeOrigin + performance.now();
  const date = new Date(now);
  const two = (value) => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  const microseconds = Math.floor((now % 1000) * 1000);
  const fraction = microseconds === 0 ? '' : '.' + String(microseconds).padStart(6, '0');
  const text = `${day} ${time}${fraction}`;
  const size = Number(options.pad);
  if (size <= text.length) return text;
  let padded = text.padEnd(26);
  for (let id = 1; padded.length < size; id++) {
    padded += `{"id":${id},"value":${((((microseconds * id) % READINGS) * id) % READINGS)}}`;
  }
  return padded.slice(0, size);
}

// Blocks the event loop for `sleep N` and `spin N` milliseconds, as a naive handler would.
function obey(text) {
  const [verb, time] = text.split(' ');
  if (verb === 'sleep') {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(time));
  } else if (verb === 'spin') {
    const end = performance.now() + Number(time);
    while (performance.now() < end);
  }
}

function push() {
  const text = Buffer.from(payload());
  for (const client of clients.values()) {
    if (client.bufferedAmount > BACKLOG_LIMIT) {
      client.terminate();
    } else if (client.readyState === WebSocket.OPEN) {
      client.send(text, { binary: false });
    }
  }
}

// Pushes at multiples of the interval, however long a push takes.
let due = performance.now() + interval;
function pushWhenDue() {
  push();
  due = Math.max(due + interval, performance.now());
  setTimeout(pushWhenDue, due - performance.now());
}

const httpServer = http.createServer((request, response) => response.writeHead(404).end());
const server = new WebSocketServer({
  server: httpServer,
  perMessageDeflate: options.compression && COMPRESSION,
  clientTracking: false,
});
server.on('connection', (client, request) => {
  const url = new URL(request.url, 'http://localhost');
  client.on('error', () => client.terminate());
  if (url.pathname === '/echo') {
    client.on('message', (message, binary) => client.send(message, { binary }));
    return;
  }
  const id = url.searchParams.get('Id');
  clients.set(id, client);
  client.on('message', (message, binary) => binary || obey(message.toString()));
  client.on('close', () => clients.get(id) === client && clients.delete(id));
});
httpServer.listen({ port: Number(options.port), host: '127.0.0.1', backlog: BACKLOG });
setTimeout(pushWhenDue, interval);
