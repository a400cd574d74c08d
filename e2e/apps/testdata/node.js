// SPDX-License-Identifier: Apache-2.0
//
// Servers and a client for the rows of node:
//
//	node node.js http PORT               answers with its request
//	node node.js cluster PORT WORKERS    the same in workers, one of which dies once
//	node node.js handover PORT CHILDREN  hands every connection to a child process
//	node node.js share PORT CHILDREN     hands the listener to child processes
//	node node.js get ADDRESS PORT CONNECTIONS REQUESTS
//
// Servers print "ready". The client prints how many processes answered.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');
const net = require('node:net');
const { createHash, randomBytes } = require('node:crypto');
const { fork } = require('node:child_process');

const [mode, ...args] = process.argv.slice(2);

function serve(port) {
  const server = http.createServer((request, response) => {
    if (request.url === '/die') process.exit(3);
    response.setHeader('x-pid', process.pid);
    request.pipe(response);
  });
  server.keepAliveTimeout = 60000;
  if (port) server.listen(port, '::');
  return server;
}

async function post(agent, host, port, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, host, port, method: 'POST', path: '/' }, (response) => {
      const hash = createHash('sha256');
      response.on('data', (chunk) => hash.update(chunk));
      response.on('end', () => resolve({ sum: hash.digest('hex'), pid: response.headers['x-pid'] }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function get(host, port, connections, requests) {
  const pids = new Set();
  let sockets = 0;
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const connect = agent.createConnection;
  agent.createConnection = function (...all) {
    sockets++;
    return connect.apply(this, all);
  };
  const one = async () => {
    for (let i = 0; i < requests; i++) {
      const body = randomBytes(1 + (i * 7919) % 65536);
      const { sum, pid } = await post(agent, host, port, body);
      if (sum !== createHash('sha256').update(body).digest('hex')) throw new Error(`request ${i} came back changed`);
      pids.add(pid);
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
  if (sockets > connections) throw new Error(`${sockets} connections were made for ${connections} at once`);
  agent.destroy();
  console.log(`${pids.size} processes`);
}

if (mode === 'http') {
  serve(args[0]).on('listening', () => console.log('ready'));
} else if (mode === 'cluster' && cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', () => {
    if (++listening === Number(args[1])) console.log('ready');
  });
  cluster.on('exit', (worker, code) => {
    console.log(`a worker ended with ${code}`);
    cluster.fork().on('listening', () => console.log('a worker follows'));
  });
  for (let i = 0; i < args[1]; i++) cluster.fork();
} else if (mode === 'cluster') {
  serve(args[0]);
} else if (mode === 'handover') {
  const children = Array.from({ length: args[1] }, () => fork(__filename, ['child']));
  let next = 0;
  net.createServer({ pauseOnConnect: true }, (socket) => {
    children[next++ % children.length].send('connection', socket);
  }).listen(args[0], '::', () => console.log('ready'));
} else if (mode === 'share') {
  const server = net.createServer();
  server.listen(args[0], '::', () => {
    let left = Number(args[1]);
    for (let i = 0; i < args[1]; i++) {
      const child = fork(__filename, ['child']);
      child.on('message', () => {
        if (--left === 0) {
          server.close();
          console.log('ready');
        }
      });
      child.send('listener', server);
    }
  });
} else if (mode === 'child') {
  const server = serve();
  process.on('message', (message, handle) => {
    if (message === 'connection') {
      server.emit('connection', handle);
      handle.resume();
    } else {
      handle.on('connection', (socket) => server.emit('connection', socket));
      process.send('listens');
    }
  });
} else {
  const [host, port, connections, requests] = args;
  get(host, Number(port), Number(connections), Number(requests)).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
