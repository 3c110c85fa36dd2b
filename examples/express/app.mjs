// Reads the identity headers of keyward, with Express.
//
// They are true only if nothing but keyward can connect. So this listens on 127.0.0.1 (app.listen
// without an address takes all), with keyward on the same machine or in the same pod. Elsewhere a
// network policy or a firewall must see to it: README.md, "Let nothing come past keyward".

import express from "express";

const NAMES = ["Subject", "Username", "Organization", "Role"];
// What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8. No byte
// is above 127, so it is no matter that Node reads header fields as Latin-1.
const WRITTEN = /^([!-$&-~]|%[0-9A-Fa-f]{2})*$/;
const app = express();

// The value of a field that keyward sends once or, if the token does not say it, not at all.
function one(request, name) {
  // request.headers joins two fields by a comma; headersDistinct has each.
  const values = request.headersDistinct[name.toLowerCase()] ?? [];
  if (values.length > 1 || !values.every((value) => WRITTEN.test(value))) {
    // Of two values, none is guessed to be right: 500.
    throw new Error(`${name} is not as keyward sends it`);
  }
  try {
    return decodeURIComponent(values[0] ?? "") || undefined; // an empty one is none
  } catch {
    throw new Error(`${name} is not as keyward sends it`);
  }
}

app.use((request, response, next) => {
  const caller = NAMES.map((name) => [name, one(request, `X-Keyward-${name}`)]);
  request.caller = Object.fromEntries(caller);
  const requestId = one(request, "X-Request-Id");
  // The id leads to keyward's access log. JSON escapes what a subject may hold.
  console.log(`request_id=${requestId} subject=${JSON.stringify(request.caller.Subject)}`);
  response.type("text");
  next();
});

function needCaller(request, response, next) {
  if (request.caller.Subject !== undefined) return next();
  // keyward has a public route that leads here.
  response.status(401).set("WWW-Authenticate", "Bearer").send("this needs a caller\n");
}

function describe(request, response) {
  const known = NAMES.filter((name) => request.caller[name] !== undefined);
  response.send(known.map((name) => `${name}: ${request.caller[name]}\n`).join("") || "nobody\n");
}

app.get("/whoami", needCaller, describe);
app.get("/public/whoami", describe);
app.get("/admin/report", needCaller, (request, response) => {
  if (request.caller.Role !== "admin") {
    return response.status(403).send("this needs the role admin\n");
  }
  response.send(`a report for ${request.caller.Subject}\n`);
});
app.post("/notes", needCaller, express.text({ type: () => true }), (request, response) => {
  response.send(`${request.caller.Subject} wrote: ${request.body ?? ""}\n`);
});
app.use((fault, request, response, next) => {
  response.status(fault.status ?? 500).send(`${fault.message}\n`);
});

app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
