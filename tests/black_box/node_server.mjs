// Node's http, https and http2 as servers: what they are asked is what they answer.
// usage: node node_server.mjs CERTIFICATE KEY HTTP HTTPS HTTP2 HTTP2_TLS
// The last four are ports.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";

const [certificate, keyFile, ...ports] = process.argv.slice(2);
const pair = { cert: readFileSync(certificate), key: readFileSync(keyFile) };
const large = Buffer.alloc(10 << 20, "n");
const numbers = new WeakMap();
let connections = 0;

function answer(request, response) {
    const socket = request.stream?.session ?? request.socket;
    if (!numbers.has(socket)) numbers.set(socket, ++connections);
    const kind = request.url.split("?")[0].split("/").at(-1);
    // Ends its connection in an orderly way (GOAWAY), once the answer is sent.
    if (kind === "goaway") request.stream.on("close", () => socket.close());
    const digest = createHash("sha256");
    let length = 0;
    request.on("data", (piece) => {
        digest.update(piece);
        length += piece.length;
    });
    request.on("end", () => {
        if (kind === "nothing") {
            response.writeHead(204).end();
        } else if (kind === "large") {
            response.setHeader("content-length", large.length);
            response.end(large);
        } else if (kind === "chunked") {
            response.setHeader("trailer", "x-sum");
            for (let number = 0; number < 100; number++) response.write(`${number} `.repeat(100));
            response.addTrailers({ "x-sum": "4950" });
            response.end();
        } else {
            const fields = Object.entries(request.headers).filter(
                ([name]) => !name.startsWith(":"),
            );
            const seen = {
                method: request.method,
                path: request.url,
                fields,
                length,
                sha256: digest.digest("hex"),
            };
            const data = Buffer.from(
                JSON.stringify({
                    ...seen,
                    version: request.httpVersion,
                    connection: numbers.get(socket),
                }),
            );
            response.setHeader("content-length", data.length);
            response.end(data);
        }
    });
    request.on("error", () => {});
    response.on("error", () => {});
}

// With HTTP/1.1, Node announces how long it keeps a connection: "Keep-Alive: timeout=3".
http.createServer({ keepAliveTimeout: 3000 }, answer).listen(ports[0], "127.0.0.1");
https.createServer(pair, answer).listen(ports[1], "127.0.0.1");
http2.createServer(answer).listen(ports[2], "127.0.0.1");
http2.createSecureServer({ ...pair, allowHTTP1: true }, answer).listen(ports[3], "127.0.0.1");
