// SPDX-License-Identifier: Apache-2.0
//
// Datagrams of node: an echo server, and clients that compare.
//
//	node datagrams.js serve PORT
//	node datagrams.js client ADDRESS PORT CLIENTS DATAGRAMS
//	node datagrams.js refused ADDRESS PORT
//
// The server prints "ready". Half of the clients are connected. Each waits for the
// echo of a datagram before it sends the next, and sends again what was lost. Only
// the first sends large ones: those of all do not fit into a socket's queue.
'use strict';
const dgram = require('node:dgram');
const { once } = require('node:events');
const { randomBytes } = require('node:crypto');

const [mode, ...args] = process.argv.slice(2);
const sizes = [0, 1, 100, 1400, 1500, 9000];

async function serve(port) {
  for (const type of ['udp4', 'udp6']) {
    const socket = dgram.createSocket({ type, ipv6Only: type === 'udp6' });
    socket.on('message', (message, from) => socket.send(message, from.port, from.address));
    socket.bind(port);
    await once(socket, 'listening');
  }
  console.log('ready');
}

function received(socket, milliseconds) {
  return new Promise((resolve, reject) => {
    const done = (f, x) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      f(x);
    };
    const timer = setTimeout(() => done(resolve, null), milliseconds);
    socket.on('message', (message, from) => done(resolve, { message, from }));
    socket.on('error', (error) => done(reject, error));
  });
}

async function client(address, port, number, count) {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const connected = number % 2 === 0;
  if (connected) {
    socket.connect(port, address);
    await once(socket, 'connect');
  }
  for (let i = 0; i < count; i++) {
    const data = randomBytes(number === 0 && i % 7 === 0 ? 60000 : sizes[(i + number) % sizes.length]);
    let got = null;
    for (let attempt = 0; got === null && attempt < 5; attempt++) {
      const answer = received(socket, 5000);
      if (connected) socket.send(data);
      else socket.send(data, port, address);
      got = await answer;
    }
    if (got === null || !got.message.equals(data)) throw new Error(`client ${number}, datagram ${i} of ${data.length}: another came back`);
    if (got.from.address !== address || got.from.port !== port) throw new Error(`from ${JSON.stringify(got.from)}`);
  }
  socket.close();
}

async function refused(address, port) {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.connect(port, address);
  await once(socket, 'connect');
  const answer = received(socket, 20000);
  socket.send('anybody there?');
  const error = await answer.catch((e) => e);
  if (error === null || error.code !== 'ECONNREFUSED') throw new Error(`${error}`);
  socket.close();
}

async function main() {
  if (mode === 'serve') return serve(Number(args[0]));
  if (mode === 'refused') await refused(args[0], Number(args[1]));
  else await Promise.all(Array.from({ length: Number(args[2]) }, (_, i) => client(args[0], Number(args[1]), i, Number(args[3]))));
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
