// Asks the name, waits 3 s, greets, sends a history, echoes until silent for a minute: as callbacks, on Node.js with ws.
//
//     node greeter_callbacks.js --port 9000 --history 127.0.0.1:9001
'use strict';

const net = require('node:net');
const readline = require('node:readline');
const { parseArgs } = require('node:util');
const { WebSocketServer } = require('ws');

// Time to say a name, and time without a message that ends a conversation, in milliseconds.
const PATIENCE = 3_000;
const SILENCE = 60_000;

const { values: options } = parseArgs({ options: { port: { type: 'string' }, history: { type: 'string' } } });
const [historyHost, historyPort] = options.history.split(':');

function talk(client) {
  // The step of the conversation: each callback has to read it, and to set the next one.
  let step = 'name';
  let timer = setTimeout(() => client.close(4408, 'no name in time'), PATIENCE);
  let history;

  client.on('message', (message, binary) => {
    clearTimeout(timer);
    if (step === 'name') {
      step = 'history';
      client.send(`welcome, ${message}`);
      // A message that comes while the history is under way must wait for it.
      client.pause();
      sendHistory();
    } else {
      client.send(message, { binary });
      listen();
    }
  });
  client.on('close', () => {
    clearTimeout(timer);
    history?.destroy();
  });
  client.on('error', () => client.terminate());
  client.send('who are you?');

  function sendHistory() {
    history = net.connect(Number(historyPort), historyHost);
    history.on('error', () => client.close(1011, 'no history'));
    readline.createInterface({ input: history }).on('line', (line) => client.send(line)).on('close', () => {
      step = 'echo';
      client.resume();
      listen();
    });
  }

  function listen() {
    timer = setTimeout(() => client.close(1000), SILENCE);
  }
}

new WebSocketServer({ port: Number(options.port), host: '127.0.0.1' }).on('connection', talk);
