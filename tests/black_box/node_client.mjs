// Node's http, https and http2 as clients. The first check that fails ends the process with words.
// usage: node node_client.mjs CLEAR CLEAR_HTTP2 TLS CA_FILE TOKEN JUDGES
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";

const [clear, clearHttp2, tls, caFile, token, judges] = process.argv.slice(2);
const ca = readFileSync(caFile);
const large = Buffer.alloc(20 << 20, "x");
const digest = (data) => createHash("sha256").update(data).digest("hex");

/** The answer to a request of HTTP/1.1. */
function ask(library, port, options, body) {
    return new Promise((resolve, reject) => {
        const headers = { authorization: `Bearer ${token}`, ...options.headers };
        const request = library.request(
            { host: "localhost", family: 4, port, ca, ...options, headers },
            (answer) => {
                const pieces = [];
                answer.on("data", (piece) => pieces.push(piece));
                answer.on("end", () =>
                    resolve({
                        status: answer.statusCode,
                        body: Buffer.concat(pieces),
                        trailers: answer.trailers,
                        answer,
                    }),
                );
                answer.on("error", reject);
            },
        );
        request.on("error", (error) =>
            reject(new Error(`${options.method ?? "GET"} ${options.path}: ${error.message}`)),
        );
        request.setTimeout(20000, () => request.destroy(new Error("no answer within 20 s")));
        request.end(body);
    });
}

/** The answer to a request on a session of HTTP/2. */
function askStream(session, fields, body) {
    return new Promise((resolve, reject) => {
        const stream = session.request(
            { authorization: `Bearer ${token}`, ...fields },
            { endStream: body === undefined },
        );
        const pieces = [];
        let status, trailers;
        stream.on("response", (got) => {
            status = got[":status"];
        });
        stream.on("trailers", (got) => {
            trailers = got;
        });
        stream.on("data", (piece) => pieces.push(piece));
        stream.on("end", () => resolve({ status, body: Buffer.concat(pieces), trailers }));
        stream.on("error", (error) =>
            reject(new Error(`${fields[":method"] ?? "GET"} ${fields[":path"]}: ${error.message}`)),
        );
        stream.setTimeout(20000, () => stream.destroy(new Error("no answer within 20 s")));
        if (body !== undefined) stream.end(body);
    });
}

async function http1(library, port, name) {
    const agent = new library.Agent({ keepAlive: true, maxSockets: 4 });
    const many = await Promise.all(
        Array.from({ length: 100 }, () => ask(library, port, { path: "/echo/x", agent })),
    );
    assert(
        many.every((one) => one.status === 200),
        `${name}: of 100 requests some were answered ${many.map((one) => one.status)}`,
    );
    const posted = await ask(library, port, { path: "/echo/x", method: "POST", agent }, large);
    assert.equal(
        JSON.parse(posted.body).sha256,
        digest(large),
        `${name}: the upstream saw another body`,
    );
    const chunked = await ask(library, port, {
        path: "/echo/chunked",
        agent,
        // In HTTP/1.1, trailers are for those alone that ask for them (RFC 9110, 10.1.4).
        headers: { te: "trailers" },
    });
    assert.equal(
        chunked.body.length,
        29000,
        `${name}: a chunked answer of ${chunked.body.length} bytes`,
    );
    if (judges === "1")
        assert.equal(
            chunked.trailers["x-sum"],
            "4950",
            `${name}: the trailers are ${JSON.stringify(chunked.trailers)}`,
        );
    const expect = { expect: "100-continue", "content-length": "5" };
    const continued = await ask(
        library,
        port,
        { path: "/echo/x", method: "POST", agent, headers: expect },
        "hello",
    );
    assert.equal(JSON.parse(continued.body).length, 5, name);
    agent.destroy();
    // An answer that comes before the upload is done is the answer, not "broken pipe".
    const tooLarge = await ask(library, port, { path: "/echo/too-large", method: "POST" }, large);
    assert.equal(tooLarge.status, 413, `${name}: an upload that the upstream refused`);
    if (judges === "1") {
        const refused = await ask(
            library,
            port,
            { path: "/echo/x", method: "POST", headers: { authorization: "Bearer none" } },
            large,
        );
        assert.equal(refused.status, 401, `${name}: an upload without a valid token`);
    }
}

async function http2Both(authority, name) {
    // What Node itself allows a session to hold is less than one upload.
    const session = http2.connect(authority, { ca, maxSessionMemory: 100 });
    await new Promise((resolve, reject) => session.once("connect", resolve).once("error", reject));
    const many = await Promise.all(
        Array.from({ length: 100 }, () => askStream(session, { ":path": "/echo/x" })),
    );
    assert(
        many.every((one) => one.status === 200),
        `${name}: of 100 streams some were answered ${many.map((one) => one.status)}`,
    );
    const posted = await askStream(session, { ":path": "/echo/x", ":method": "POST" }, large);
    assert.equal(
        JSON.parse(posted.body).sha256,
        digest(large),
        `${name}: the upstream saw another body`,
    );
    const got = await askStream(session, { ":path": "/echo/large" });
    assert.equal(got.body.length, 10 << 20, `${name}: an answer of ${got.body.length} bytes`);
    const chunked = await askStream(session, { ":path": "/echo/chunked" });
    assert.equal(
        chunked.body.length,
        29000,
        `${name}: an answer of ${chunked.body.length} bytes`,
    );
    if (judges === "1")
        assert.equal(
            chunked.trailers?.["x-sum"],
            "4950",
            `${name}: the trailers are ${JSON.stringify(chunked.trailers)}`,
        );
    const tooLarge = await askStream(
        session,
        { ":path": "/echo/too-large", ":method": "POST" },
        large,
    );
    assert.equal(tooLarge.status, 413, `${name}: an upload that the upstream refused`);
    if (judges === "1") {
        const refused = await askStream(
            session,
            { ":path": "/echo/x", ":method": "POST", authorization: "Bearer none" },
            large,
        );
        assert.equal(refused.status, 401, `${name}: an upload without a valid token`);
    }
    assert.equal(
        (await askStream(session, { ":path": "/echo/x" })).status,
        200,
        `${name}: the session after refusals`,
    );
    await new Promise((resolve) => session.close(resolve));
}

process.on("uncaughtException", (error) => {
    console.error(`instead of an answer: ${error.message}`);
    process.exit(1);
});
try {
    await http1(http, clear, "http");
    await http1(https, tls, "https");
    await http2Both(`http://localhost:${clearHttp2}`, "http2 in clear");
    await http2Both(`https://localhost:${tls}`, "http2 over TLS");
} catch (error) {
    console.error(error.message);
    process.exit(1);
}
