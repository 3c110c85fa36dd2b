"""Pages of other origins call through keyward in a Chromium without a window, over HTTP/1.1 and,
with TLS, over HTTP/2: what `cors` of a route and of a token API lets in works with `fetch` as a
script uses it, refusals can be read, and what is not let in is kept from the page. A ticket opens
one WebSocket or event stream. Nothing but the standard library.

usage: browser_calls.py KEYWARD [--all] [WORD …]
"""

import base64
import contextlib
import hashlib
import http.server
import json
import sys
import threading

from running_keyward import access_token, free_port
from running_servers import Certificates, Route, Upstream, folder, front, run, until
from walk_through import Browser

# What the checks do in the page: `steps` of theirs, which end with a value that JSON can hold.
SCRIPT = """
    const [base, token, done] = arguments;
    const bearer = { Authorization: `Bearer ${token}` };
    const json = { ...bearer, "Content-Type": "application/json" };
    const outcome = async (path, options) => {
        try {
            const answer = await fetch(base + path, options);
            return {
                status: answer.status,
                headers: Object.fromEntries(answer.headers),
                body: await answer.json().catch(() => null),
            };
        } catch (fault) {
            return { fault: fault.name };
        }
    };
    const steps = async () => { STEPS };
    steps().then(done, (fault) => done({ failed: String(fault) }));
"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode()
        self.server.seen.append((self.command, self.path))
        if self.path.endswith("/stream"):
            return self.stream()
        if self.path.endswith("/socket"):
            return self.socket()
        if self.path.endswith("/go-on"):
            self.server.may_go_on.set()
        seen = {"method": self.command, "body": body, "names": [n.lower() for n in self.headers]}
        data = json.dumps(seen).encode()
        self.send_response(200)
        # A policy of the upstream's own, which is wrong.
        self.send_header("Access-Control-Allow-Origin", "https://elsewhere.example")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any

    def stream(self):
        """The second half comes when it was asked for."""
        self.server.may_go_on.clear()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in ("data: first\n\n", "data: second\n\n"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text.encode()))
            self.wfile.flush()
            if not self.server.may_go_on.wait(20):
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")


    def socket(self):
        """A WebSocket that sends one short text back, and closes (RFC 6455)."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        _, length = self.rfile.read(2)
        mask = self.rfile.read(4)
        text = bytes(c ^ mask[at % 4] for at, c in enumerate(self.rfile.read(length & 0x7F)))
        self.wfile.write(bytes([0x81, len(text)]) + text + bytes([0x88, 0]))
        self.wfile.flush()


class Page(Handler):
    """An empty page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "15")
        self.end_headers()
        self.wfile.write(b"<!doctype html>")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.port = self.server_address[1]
        # (method, path) of each request.
        self.seen = []
        self.may_go_on = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def handle_error(self, request, client_address):
        # A browser ends connections as it likes.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Checks:
    def __init__(self, program, room):
        self.upstream, self.pages = Server(Handler), Server(Page)
        # Chromium knows that every name below "localhost" is this machine.
        self.listed = f"http://app.localhost:{self.pages.port}"
        self.unlisted = f"http://localhost:{self.pages.port}"
        listed = f'cors.origins = ["http://*.localhost:{self.pages.port}"]'
        tickets = '\ncredentials.ticket = "ticket"'
        accounts = f"""
            [[token_api]]
            name = "users"
            style = "accounts"
            mount = "/v1/auth"
            {listed}
        """
        routes = [
            Route("/cors/", "app", further=listed),
            Route("/open/", "app", public=True, further=listed),
            Route("/cookies/", "app", public=True, further=listed + "\ncors.credentials = true"),
            Route("/headers/", "app", further=listed + '\ncors.headers = ["*"]'),
            Route("/gone/", "gone", public=True, further=listed),
            Route("/closed/", "app"),
            Route("/keys/", "app", accept=["users"], further=listed),
            Route("/live/", "app", accept=["users"], further=listed + tickets),
        ]
        upstreams = [
            Upstream("app", f"http://127.0.0.1:{self.upstream.port}"),
            Upstream("gone", f"http://127.0.0.1:{free_port()}"),
        ]
        self.front = front(program, Certificates(room), upstreams, routes, further=accounts)
        self.token = access_token()
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        for part in (self.upstream, self.pages, self.front):
            self.stack.enter_context(part)
        self.browser = self.stack.enter_context(Browser(insecure=True))
        # One is HTTP/1.1, the other HTTP/2.
        self.bases = [f"http://localhost:{self.front.clear}", f"https://localhost:{self.front.tls}"]
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def in_page(self, origin, base, steps):
        """What the steps return in a page of this origin."""
        self.browser.open(origin + "/")
        script = SCRIPT.replace("STEPS", steps)
        body = {"script": script, "args": [base, self.token]}
        got = self.browser.ask("POST", "/execute/async", body)
        assert not (isinstance(got, dict) and "failed" in got), got
        self.upstream_saw, self.upstream.seen = self.upstream.seen, []
        return got

    def reads(self):
        """A page that is listed sends its token, and reads the answer and its fields."""
        for base in self.bases:
            got = self.in_page(
                self.listed, base, "return await outcome('/cors/x', { headers: bearer })"
            )
            assert got["status"] == 200 and got["body"]["method"] == "GET", got
            assert "authorization" not in got["body"]["names"], got
            assert "x-request-id" in got["headers"], got
            assert self.upstream_saw == [("GET", "/cors/x")], self.upstream_saw
        protocols = set()
        for entry in self.browser.log("performance"):
            message = json.loads(entry["message"])["message"]
            response = message["params"].get("response", {})
            if message["method"] == "Network.responseReceived" and "/cors/x" in response["url"]:
                protocols.add(response["protocol"])
        assert protocols == {"http/1.1", "h2"}, protocols

    def writes(self):
        """JSON is sent with PUT and DELETE, and a preflight is remembered."""
        steps = """
            const options = { method: "PUT", headers: json, body: JSON.stringify({ a: 1 }) };
            const answers = [];
            for (let nth = 0; nth < 3; nth++) answers.push(await outcome("/cors/put", options));
            answers.push(await outcome("/cors/gone", { method: "DELETE", headers: bearer }));
            return answers;
        """
        for base in self.bases:
            got = self.in_page(self.listed, base, steps)
            assert [one["status"] for one in got] == [200] * 4, got
            assert [one["body"]["body"] for one in got] == ['{"a":1}'] * 3 + [""], got
            assert [method for method, _ in self.upstream_saw] == ["PUT"] * 3 + ["DELETE"]
        def logged(words):
            lines = (self.front.room / "access.log").read_text().splitlines()
            return [line for line in lines if words in line]

        until("the last lines", lambda: len(logged(" DELETE /cors/gone ")) == 2)
        preflights = logged(" OPTIONS /cors/put ")
        assert len(preflights) == 2, f"one over each version of HTTP: {preflights}"

    def refused(self):
        """A script reads why it was refused, by keyward itself."""
        steps = """
            return [
                await outcome("/cors/x"),
                await outcome("/cors/x", { headers: { Authorization: "Bearer nonsense" } }),
                await outcome("/gone/x"),
                await outcome("/v1/auth/api-keys", { headers: { Authorization: "Bearer no" } }),
            ];
        """
        for base in self.bases:
            got = self.in_page(self.listed, base, steps)
            assert [one.get("status") for one in got] == [401, 401, 502, 401], got
            for one in got[:2] + got[3:]:
                assert one["headers"]["www-authenticate"].startswith("Bearer"), one
            assert got[0]["body"]["detail"] == "a bearer token is required", got
            assert got[2]["body"]["status"] == 502, got
            assert self.upstream_saw == []

    def streams(self):
        """An event stream is read while it comes."""
        steps = """
            const answer = await fetch(base + "/cors/stream", { headers: bearer });
            const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
            const parts = [(await reader.read()).value];
            await outcome("/cors/go-on", { headers: bearer });
            for (let part; !(part = await reader.read()).done; ) parts.push(part.value);
            return parts;
        """
        for base in self.bases:
            got = self.in_page(self.listed, base, steps)
            assert got[0] == "data: first\n\n" and "".join(got[1:]) == "data: second\n\n", got

    def any_headers(self):
        """Fields of an SDK's own pass where the route takes what is asked for."""
        steps = """
            const headers = { ...bearer, "X-Stainless-Lang": "js" };
            const taken = await outcome("/headers/x", { headers });
            return [taken, await outcome("/cors/x", { headers })];
        """
        for base in self.bases:
            taken, refused = self.in_page(self.listed, base, steps)
            assert taken["status"] == 200 and "x-stainless-lang" in taken["body"]["names"], taken
            assert refused == {"fault": "TypeError"}, refused

    def accounts(self):
        """A page registers a person, logs in, makes a key, and calls with X-API-Key."""
        steps = """
            const person = {
                username: USERNAME, password: "correct horse", full_name: "A Person",
                email: "p@example.com",
            };
            const post = (path, headers, body) => outcome(path, {
                method: "POST", body: JSON.stringify(body),
                headers: { "Content-Type": "application/json", ...headers },
            });
            const made = await post("/v1/auth/register", {}, person);
            const login = await post("/v1/auth/login", {}, person);
            const session = { Authorization: `Bearer ${login.body.access_token}` };
            const key = await post("/v1/auth/api-keys", session, { name: "page" });
            const called = await outcome("/keys/x", { headers: { "X-API-Key": key.body.raw_key } });
            return [made, login, key, called].map((one) => [one.status, one.body?.detail]);
        """
        for nth, base in enumerate(self.bases):
            named = steps.replace("USERNAME", f'"person{nth}"')
            named = named.replace("p@example.com", f"p{nth}@example.com")
            got = self.in_page(self.listed, base, named)
            assert [status for status, _ in got] == [200] * 4, got

    def tickets(self):
        """A page opens an event stream and a WebSocket with a ticket each, once."""
        steps = """
            const person = {
                username: USERNAME, password: "correct horse", full_name: "A Person",
                email: USERNAME + "@example.com",
            };
            const post = (path, headers, body) => outcome(path, {
                method: "POST", body: JSON.stringify(body),
                headers: { "Content-Type": "application/json", ...headers },
            });
            await post("/v1/auth/register", {}, person);
            const login = await post("/v1/auth/login", {}, person);
            const session = { Authorization: `Bearer ${login.body.access_token}` };
            const made = await post("/v1/auth/api-keys", session, { name: "page" });
            const key = { "X-API-Key": made.body.raw_key };
            const withTicket = async (path) => {
                const post = { method: "POST", headers: key };
                const { body } = await outcome("/v1/auth/tickets", post);
                return `${base}${path}?ticket=${body.ticket}`;
            };
            const next = (target) => new Promise((got, fail) => {
                target.onmessage = (event) => got(event.data);
                target.onerror = () => fail("refused");
            });
            const tried = (promise) => promise.catch((fault) => fault);
            const open = (address) => {
                const socket = new WebSocket(address.replace(/^http/, "ws"));
                socket.onopen = () => socket.send("hello");
                return socket;
            };
            const stream = await withTicket("/live/stream");
            const source = new EventSource(stream);
            const heard = [await tried(next(source))];
            const second = next(source);
            await outcome("/live/go-on", { headers: key });
            heard.push(await tried(second));
            source.close();
            const again = new EventSource(stream);
            heard.push(await tried(next(again)), again.readyState);
            const socket = await withTicket("/live/socket");
            heard.push(await tried(next(open(socket))), await tried(next(open(socket))));
            const of_login = { method: "POST", headers: session };
            heard.push((await outcome("/v1/auth/tickets", of_login)).status);
            return heard;
        """
        for nth, base in enumerate(self.bases):
            got = self.in_page(self.listed, base, steps.replace("USERNAME", f'"visitor{nth}"'))
            # 2: the source has given up.
            expected = ["first", "second", "refused", 2, "hello", "refused", 403]
            assert got == expected, got
            paths = [path for _, path in self.upstream_saw]
            assert paths == ["/live/stream", "/live/go-on", "/live/socket"], paths
        log = (self.front.room / "access.log").read_text()
        assert "tkt_" not in log, "a ticket is in the log"

    def kept(self):
        """A page of another origin, a sandboxed frame and a route without a policy get nothing."""
        steps = """
            return [
                await outcome("/cors/x", { headers: bearer }),
                await outcome("/cors/x", { method: "PUT", headers: json, body: "{}" }),
                await outcome("/open/simple"),
                await outcome("/v1/auth/login", { method: "POST", body: "{}" }),
            ];
        """
        for base in self.bases:
            got = self.in_page(self.unlisted, base, steps)
            assert got == [{"fault": "TypeError"}] * 4, got
            # What needs no preflight is the browser's to keep from the page.
            assert self.upstream_saw == [("GET", "/open/simple")], self.upstream_saw
            got = self.in_page(
                self.listed, base, "return await outcome('/closed/x', { headers: bearer })"
            )
            assert got == {"fault": "TypeError"} and self.upstream_saw == [], got
            frame = """
                const frame = document.createElement("iframe");
                frame.sandbox = "allow-scripts";
                const code = `fetch("${base}/open/frame").then(() => "read", (fault) => fault.name)
                    .then((got) => parent.postMessage([origin, got], "*"))`;
                frame.srcdoc = `<script>${code}</scr` + `ipt>`;
                const said = new Promise((heard) => { onmessage = (event) => heard(event.data); });
                document.documentElement.append(frame);
                return await said;
            """
            got = self.in_page(self.listed, base, frame)
            assert got == ["null", "TypeError"], got

    def cookies(self):
        """Cookies go along only where the route lets them."""
        steps = """
            const options = { credentials: "include" };
            return [await outcome("/cookies/x", options), await outcome("/open/x", options)];
        """
        for base in self.bases:
            with_them, without = self.in_page(self.listed, base, steps)
            assert with_them.get("status") == 200, with_them
            assert without == {"fault": "TypeError"}, without

    def all(self):
        return (
            self.reads,
            self.writes,
            self.refused,
            self.streams,
            self.any_headers,
            self.accounts,
            self.tickets,
            self.kept,
            self.cookies,
        )


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
