// A server as people write them with Node: what pods of the image `node` run in scripts/zero-drop.sh.
//
// GET / · /slow?ms=N · /drip?ms=N&bytes=M · /empty: a 204 · /chunks: in chunks, with a trailer · /hints: behind a 103 ·
// POST /echo · a WebSocket at /ws that echoes. Listens on $HOST:$PORT; on $HOST:$PORT_7000, if given, a plain TCP echo.
// Every answer names image and pod and repeats the request's id.
//
// ON_SIGTERM   close (default): the usual graceful shutdown; wait: no kept connection is closed, so it ends only when all
//              clients have gone; ignore: nothing happens
// RECORD       a file that gets a line with the id of each POST, before it is answered
// LISTEN_AFTER milliseconds until it listens
// CRASH_AFTER  milliseconds until it ends with exit code 3
// IDLE         milliseconds after which an idle connection is closed
'use strict';
const fs = require('fs');
const http = require('http');
const net = require('net');
const crypto = require('crypto');

const env = process.env;
const record = env.RECORD ? fs.openSync(env.RECORD, 'a') : undefined;
const page = `<h1>${env.CORACLE_IMAGE}</h1>\n`;

function answer(request, response, body) {
  const id = request.headers['x-request-id'];
  if (record !== undefined && request.method === 'POST') fs.writeSync(record, `${id}\n`);
  response.setHeader('X-Coracle-Image', env.CORACLE_IMAGE || '');
  response.setHeader('X-Coracle-Pod', env.POD_NAME || '');
  if (id) response.setHeader('X-Request-Id', id);
  const url = new URL(request.url, 'http://pod');
  const number = (name) => Number(url.searchParams.get(name));
  if (url.pathname === '/slow') {
    setTimeout(() => response.end('done\n'), number('ms'));
  } else if (url.pathname === '/drip') {
    drip(response, number('ms'), number('bytes'));
  } else if (url.pathname === '/empty') {
    response.statusCode = 204;
    response.end();
  } else if (url.pathname === '/chunks' || url.pathname === '/hints') {
    if (url.pathname === '/hints') response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.setHeader('Trailer', 'X-End');
    response.write('abc');
    response.addTrailers({ 'X-End': '1' });
    response.end('0123456789');
  } else {
    const whole = url.pathname === '/echo' ? body : Buffer.from(page);
    response.setHeader('Content-Length', whole.length);
    response.end(whole);
  }
}

function drip(response, time, bytes) {
  const begin = Date.now();
  let sent = 0;
  response.setHeader('Content-Length', bytes);
  const timer = setInterval(() => {
    const due = Math.min(bytes, Math.floor((bytes * (Date.now() - begin)) / time));
    response.write(Buffer.alloc(due - sent, '.'));
    sent = due;
    if (sent === bytes) {
      clearInterval(timer);
      response.end();
    }
  }, 20);
  response.on('close', () => clearInterval(timer));
}

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => answer(request, response, Buffer.concat(pieces)));
});
server.keepAliveTimeout = Number(env.IDLE || 0);
server.requestTimeout = 0;

// RFC 6455, as far as an echo of short texts needs it.
server.on('upgrade', (request, socket, head) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  socket.on('error', () => socket.destroy());
  let input = head;
  const take = () => {
    while (input.length >= 6) {
      const length = input[1] & 127;
      if (length > 125) return socket.destroy();
      if (input.length < 6 + length) return;
      const mask = input.subarray(2, 6);
      const text = Buffer.from(input.subarray(6, 6 + length).map((byte, i) => byte ^ mask[i % 4]));
      socket.write(Buffer.concat([Buffer.from([input[0], length]), text]));
      if ((input[0] & 15) === 8) return socket.end();
      input = input.subarray(6 + length);
    }
  };
  socket.on('data', (bytes) => {
    input = Buffer.concat([input, bytes]);
    take();
  });
  take();
});

function listen() {
  server.listen({ host: env.HOST, port: Number(env.PORT_8080 || env.PORT), backlog: 4096 });
  if (env.PORT_7000) {
    const echo = net.createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
    echo.listen({ host: env.HOST, port: Number(env.PORT_7000), backlog: 4096 });
  }
}

process.on('SIGTERM', () => {
  if (env.ON_SIGTERM === 'ignore') return;
  // Node's own close() ends idle connections; net's waits for every one.
  if (env.ON_SIGTERM === 'wait') return net.Server.prototype.close.call(server, () => process.exit(0));
  server.close(() => process.exit(0));
});
if (env.CRASH_AFTER) setTimeout(() => process.exit(3), Number(env.CRASH_AFTER));
setTimeout(listen, Number(env.LISTEN_AFTER || 0));
