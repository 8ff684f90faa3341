// Echo server with Node.js, for scripts/bench-field.
"use strict";
const net = require("node:net");

const server = net.createServer({ noDelay: true }, (stream) => {
  stream.on("data", (data) => {
    if (!stream.write(data)) stream.pause();
  });
  stream.on("drain", () => stream.resume());
  stream.on("error", () => stream.destroy());
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`Listening on 127.0.0.1:${server.address().port}`);
});
