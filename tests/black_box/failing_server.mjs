// A server of Node that fails in the ways in which servers do, by the path of the request.
//
// usage: node failing_server.mjs PORT

import http from "node:http";

const answers = {
  // Closes its sending side before it has said anything.
  "/half-close": (request, response) => request.socket.end(),
  "/reset": (request, response) => request.socket.resetAndDestroy(),
  "/garbage": (request, response) => request.socket.end("220 smtp.example ESMTP\r\n\r\n"),
  "/half-a-head": (request, response) => request.socket.end("HTTP/1.1 200 OK\r\nContent-Le"),
  "/half-a-body": (request, response) =>
    request.socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
  "/stall": () => {},
};

const server = http.createServer((request, response) => {
  const answer = answers[new URL(request.url, "http://a").pathname];
  if (answer) {
    answer(request, response);
    return;
  }
  request.resume();
  request.on("end", () => response.end("node"));
});
server.listen(Number(process.argv[2]), "127.0.0.1");
