"""WebSocket through keyward, with the library `websockets` on both sides: in clear, over TLS, and
over HTTP/2 (RFC 8441), which a Chromium speaks as well. What is sent passes as it is, right or
wrong: it is the upstream's to judge.

usage: websocket_calls.py KEYWARD [--all] [WORD …]
KEYWARD may be "nginx", to try the test itself: it has no WebSocket over HTTP/2
"""

import asyncio
import base64
import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import random
import re
import select
import socket
import ssl
import sys
import threading
import time

import websockets.asyncio.client
import websockets.asyncio.server
import websockets.exceptions
import wsproto
import wsproto.events
import wsproto.extensions

import websocket_cases
from raw_http2 import Http2Client
from running_keyward import access_token, free_port
from running_servers import Certificates, Route, Upstream, folder, front, run, until
from walk_through import Browser

LARGE = random.Random(7).randbytes(1 << 20)
WAIT = 20
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Upstreams:
    """Three servers on a loop of their own: `echo` speaks WebSocket by `websockets`, `strict` by
    `wsproto`, frame by frame and in order; `raw` shakes hands and sends back every byte that it
    gets.
    """

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.echo_port, self.strict_port, self.raw_port = free_port(), free_port(), free_port()
        # The paths of the connections that have ended.
        self.ended = []
        self.raw_handshakes = 0
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.start(), self.loop).result(WAIT)

    async def start(self):
        self.server = await websockets.asyncio.server.serve(
            self.echo,
            "127.0.0.1",
            self.echo_port,
            max_size=16 << 20,
            ping_interval=None,
            open_timeout=None,
            select_subprotocol=lambda _, offered: "chat" if "chat" in offered else None,
        )
        self.strict_server = await asyncio.start_server(self.strict, "127.0.0.1", self.strict_port)
        self.raw_server = await asyncio.start_server(self.raw, "127.0.0.1", self.raw_port)

    async def echo(self, connection):
        try:
            async for message in connection:
                if message == "who?":
                    await connection.send(json.dumps(list(connection.request.headers.raw_items())))
                elif isinstance(message, str) and message.startswith("close "):
                    _, code, reason = message.split(" ", 2)
                    await connection.close(int(code), reason)
                elif message == "leave":
                    connection.transport.abort()
                else:
                    await connection.send(message)
        except websockets.exceptions.ConnectionClosed:
            pass
        finally:
            self.ended.append(connection.request.path)

    async def strict(self, reader, writer):
        connection, open_ = wsproto.WSConnection(wsproto.ConnectionType.SERVER), True
        with contextlib.suppress(OSError):
            while open_ and (data := await reader.read(1 << 16)):
                connection.receive_data(data)
                for event in connection.events():
                    match event:
                        case wsproto.events.Request():
                            compression = wsproto.extensions.PerMessageDeflate()
                            writer.write(
                                connection.send(
                                    wsproto.events.AcceptConnection(extensions=[compression])
                                )
                            )
                        case wsproto.events.Message():
                            writer.write(
                                connection.send(
                                    type(event)(
                                        event.data, event.frame_finished, event.message_finished
                                    )
                                )
                            )
                        case wsproto.events.Ping():
                            writer.write(connection.send(event.response()))
                        case wsproto.events.CloseConnection():
                            writer.write(connection.send(event.response()))
                            open_ = False
                            break
                await writer.drain()
            # Closing with bytes unread would reset the connection under what was sent.
            writer.write_eof()
            while await reader.read(1 << 16):
                pass
        writer.close()

    async def raw(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/raw/refuse" in head.split(b"\r\n")[0]:
                writer.write(
                    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
                )
                await writer.drain()
                return writer.close()
            self.raw_handshakes += 1
            key = re.search(rb"(?i)\nsec-websocket-key: *(\S+)", head)[1]
            accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
            answer = (
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: " + accept
            )
            # The first bytes come with the answer.
            writer.write(answer + b"\r\n\r\nfirst bytes")
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            # The client has ended its side: the other goes on.
            writer.write(b"last bytes")
            writer.close()


def lines_of_handshake(**changed):
    """The fields of a right handshake, with some others: None leaves one out, a list sends it
    several times.
    """
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = ""
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            lines += f"{name}: {one}\r\n" if one is not None else ""
    return lines


class Tcp:
    """The bytes of a WebSocket connection that was upgraded in HTTP/1.1."""

    def __init__(
        self,
        port,
        path,
        token,
        context=None,
        early=b"",
        method="GET",
        version="1.1",
        further="",
        lines=None,
    ):
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        lines = lines_of_handshake() if lines is None else lines
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self.socket.sendall(
            f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n".encode()
            + f"{authorization}{lines}{further}\r\n".encode()
            + early
        )
        self.socket.setblocking(False)
        self.got, self.over = bytearray(), False
        self.wait("an answer to the handshake", lambda: b"\r\n\r\n" in self.got or self.over)
        head, _, rest = bytes(self.got).partition(b"\r\n\r\n")
        assert rest or head, "the connection was closed instead of an answer"
        self.status, self.got = int(head.split()[1]), bytearray(rest)

    def read(self):
        """Takes in what has come. All in one thread: a connection with TLS must not be read and
        written at a time.
        """
        try:
            while not self.over:
                piece = self.socket.recv(1 << 16)
                self.got += piece
                self.over = not piece
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.over = True

    def send(self, data):
        """False, once the other side is gone."""
        for piece in websocket_cases.chopped(memoryview(data), 1 << 14):
            while piece and not self.over:
                self.read()
                try:
                    piece = piece[self.socket.send(piece) :]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    select.select([self.socket], [self.socket], [], WAIT)
                except ssl.SSLWantReadError:
                    select.select([self.socket], [], [], WAIT)
                except OSError:
                    # What came before is still there to be read.
                    self.wait("the end", lambda: self.over)
        return not self.over

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def wait(self, what, look, patience=WAIT):
        deadline = time.monotonic() + patience
        self.read()
        while not look():
            left = deadline - time.monotonic()
            assert left > 0, f"waited {patience:.2f} s for {what}, which did not come"
            select.select([] if self.over else [self.socket], [], [], min(left, 0.1))
            self.read()

    def close(self):
        self.socket.close()


class OverHttp2:
    """The same on a stream of HTTP/2 (RFC 8441)."""

    def __init__(
        self, port, path, token, context=None, early=b"", fields=(("sec-websocket-version", "13"),)
    ):
        self.client = Http2Client(port, context)
        assert self.client.allows_websocket(), (
            f"SETTINGS_ENABLE_CONNECT_PROTOCOL is not among {self.client.settings}"
        )
        authorization = [("authorization", f"Bearer {token}")] if token else []
        self.number = self.client.ask(
            "CONNECT",
            path,
            [*authorization, *fields],
            ends=False,
            pseudo=[(":protocol", "websocket")],
        )
        self.stream = self.client.streams[self.number]
        if early:
            self.client.send(self.number, early)
        self.client.until("the answer to CONNECT", lambda: self.stream.status or self.stream.over)
        self.status = self.stream.status

    @property
    def got(self):
        return self.stream.data

    @property
    def over(self):
        return self.stream.over

    def send(self, data):
        # What has come, among it the end, is seen before more is sent.
        self.client.read(0)
        if not self.stream.over:
            self.client.send(self.number, data)
        return not self.stream.over

    def half_close(self):
        self.client.send(self.number, b"", ends=True)

    def wait(self, what, look, patience=WAIT):
        self.client.until(what, look, patience)

    def close(self):
        self.client.close()


class Checks:
    def __init__(self, program, room):
        self.certificates, self.upstreams = Certificates(room), Upstreams()
        upstreams = [
            Upstream("echo", f"http://127.0.0.1:{self.upstreams.echo_port}"),
            Upstream("strict", f"http://127.0.0.1:{self.upstreams.strict_port}"),
            Upstream("raw", f"http://127.0.0.1:{self.upstreams.raw_port}"),
            Upstream("away", f"http://127.0.0.1:{free_port()}"),
        ]
        routes = [
            Route("/ws/", "echo"),
            Route("/strict/", "strict"),
            Route("/raw/", "raw"),
            Route("/away/", "away"),
            Route("/open/", "echo", public=True),
            Route("/admin/", "echo", role="admin"),
        ]
        self.front = front(program, self.certificates, upstreams, routes)
        self.token = access_token()

    def __enter__(self):
        self.front.__enter__()
        return self

    def __exit__(self, *_):
        self.front.__exit__()

    def connect(self, tls, **named):
        """A connection by the library; it compresses, unless told not to."""
        origin = f"ws://127.0.0.1:{self.front.clear}"
        if tls:
            origin = f"wss://localhost:{self.front.tls}"
            named["ssl"] = self.certificates.client_context("http/1.1")
        fields = {"Authorization": f"Bearer {self.token}"}
        named = {"max_size": 16 << 20, "ping_interval": None, "open_timeout": WAIT} | named
        return websockets.asyncio.client.connect(
            f"{origin}/ws/x", additional_headers=fields, proxy=None, close_timeout=WAIT, **named
        )

    def ways(self):
        """(name, function that makes a connection of bytes to a path)."""
        tls, http2 = (
            self.certificates.client_context("http/1.1"),
            self.certificates.client_context("h2"),
        )
        yield (
            "clear",
            lambda path, token=self.token, **named: Tcp(self.front.clear, path, token, **named),
        )
        yield (
            "TLS",
            lambda path, token=self.token, **named: Tcp(self.front.tls, path, token, tls, **named),
        )
        if self.front.judges:
            yield (
                "HTTP/2",
                lambda path, token=self.token, **named: OverHttp2(
                    self.front.clear_http2, path, token, **named
                ),
            )
            yield (
                "HTTP/2 over TLS",
                lambda path, token=self.token, **named: OverHttp2(
                    self.front.tls, path, token, http2, **named
                ),
            )

    async def talk(self):
        for tls, compression in itertools.product((False, True), ("deflate", None)):
            way = f"TLS {tls}, compression {compression}"
            async with self.connect(tls, compression=compression) as connection:
                agreed = connection.response.headers.get("Sec-WebSocket-Extensions")
                assert bool(agreed) == bool(compression), f"{way}: the extensions are {agreed}"
                large = ("x" * (1 << 20), LARGE)
                for message in ("Hello", "", b"", "naïve – 😀", b"\x00\xff", *large):
                    await connection.send(message)
                    got = await connection.recv()
                    assert got == message, f"{way}: {got[:20]!r} came back for {message[:20]!r}"
                for number in range(200):
                    await connection.send(f"message {number}")
                for number in range(200):
                    assert await connection.recv() == f"message {number}", way

    def messages(self):
        """Text, binary and empty messages come back, up to 1 MiB, compressed and not."""
        asyncio.run(asyncio.wait_for(self.talk(), 3 * WAIT))

    async def talk_in_fragments(self):
        for tls in (False, True):
            async with self.connect(tls) as connection:
                parts = [f"part {number}, " for number in range(100)]
                await connection.send(parts)
                assert await connection.recv() == "".join(parts), f"TLS {tls}"
                for payload in ("", "x" * 125):
                    await (await connection.ping(payload))

                async def with_pings(connection=connection):
                    for number in range(3):
                        pong = await connection.ping(f"between {number}")
                        yield f"{number}"
                        await pong

                await connection.send(with_pings())
                assert await connection.recv() == "012", f"TLS {tls}"

    def fragments(self):
        """A message in fragments arrives as one, and the upstream answers pings between them."""
        asyncio.run(asyncio.wait_for(self.talk_in_fragments(), WAIT))

    async def close_each(self):
        for tls in (False, True):
            for code, reason in ((1000, ""), (1001, "going"), (4001, "naïve"), (3000, "x" * 123)):
                async with self.connect(tls) as connection:
                    await connection.send(f"close {code} {reason}")
                    await self.closes(connection, code, reason, f"TLS {tls}, by the server")
                async with self.connect(tls) as connection:
                    await connection.close(code, reason)
                    await self.closes(connection, code, reason, f"TLS {tls}, by the client")
            async with self.connect(tls) as connection:
                await connection.send("leave")
                await self.closes(connection, 1006, "", f"TLS {tls}, cut off by the server")

    async def closes(self, connection, code, reason, way):
        try:
            message = await connection.recv()
            raise AssertionError(f"{way}: a message instead of the end: {message[:50]!r}")
        except websockets.exceptions.ConnectionClosed:
            got = (connection.close_code, connection.close_reason)
            assert got == (code, reason), f"{way}: closed with {got} instead of {(code, reason)}"

    def closing(self):
        """Close codes and reasons pass in both directions, and so does an end without one."""
        asyncio.run(asyncio.wait_for(self.close_each(), WAIT))

    async def agree(self):
        for tls in (False, True):
            async with self.connect(tls, subprotocols=["other", "chat"]) as connection:
                assert connection.subprotocol == "chat", f"TLS {tls}: {connection.subprotocol}"

    def handshake(self):
        """The upstream sees the handshake, a subprotocol, who it is, and neither credential nor
        forged identity.
        """
        asyncio.run(asyncio.wait_for(self.agree(), WAIT))
        for way, connect in self.ways():
            named = (
                {}
                if "HTTP/2" in way
                else {
                    "further": "X-Keyward-Subject: root\r\nX_Keyward_Role: admin\r\n"
                    "Origin: https://example.com\r\n"
                }
            )
            if "HTTP/2" in way:
                forged = (
                    ("x-keyward-subject", "root"),
                    ("x_keyward_role", "admin"),
                    ("origin", "https://example.com"),
                )
                named = {"fields": (("sec-websocket-version", "13"), *forged)}
            connection = connect("/ws/x", **named)
            assert connection.status == (200 if "HTTP/2" in way else 101), (
                f"{way}: {connection.status}"
            )
            connection.send(websocket_cases.frame(websocket_cases.TEXT, b"who?"))
            connection.wait(
                f"{way}: the answer", lambda: websocket_cases.read(bytes(connection.got))[0]
            )
            pairs = json.loads(websocket_cases.read(bytes(connection.got))[0][0][1])
            seen = {}
            for name, value in pairs:
                seen.setdefault(name.lower(), []).append(value)
            assert seen["upgrade"] == ["websocket"] and len(seen["sec-websocket-key"]) == 1, (
                f"{way}: {seen}"
            )
            assert seen["sec-websocket-version"] == ["13"] and seen["origin"] == [
                "https://example.com"
            ], f"{way}: {seen}"
            if self.front.judges:
                assert seen["x-keyward-subject"] == ["alice"], f"{way}: {seen}"
                assert not {"authorization", "x_keyward_role", "x-keyward-role"} & set(seen), (
                    f"{way}: {seen}"
                )
            connection.close()

    def bytes_pass(self):
        """After the handshake every byte passes as it is, in both directions: also what comes with
        the handshake and what is no frame.
        """
        for way, connect in self.ways():
            connection = connect("/raw/x", early=b"with the handshake")
            sent = bytearray(b"with the handshake")
            wrong = [
                websocket_cases.frame(1, b"unmasked", mask=None),
                b"\xff\xff" + bytes(20),
                b"\x8f\x80",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\xc1\xfe\xff\xff",
                LARGE,
            ]
            for piece in wrong:
                connection.send(piece)
                sent += piece
            expected = b"first bytes" + bytes(sent)
            connection.wait(
                f"{way}: {len(expected)} bytes back", lambda: len(connection.got) >= len(expected)
            )
            assert connection.got == expected, (
                f"{way}: other bytes came back: {bytes(connection.got[:100])}"
            )
            if way != "TLS" and self.front.judges:
                # Python's ssl cannot end one side alone, and nginx ends both.
                connection.half_close()
                connection.wait(
                    f"{way}: what the upstream sends after the client's end",
                    lambda: connection.got.endswith(b"last bytes") and connection.over,
                )
            connection.close()

    def refused_handshakes(self):
        """A handshake that is none is refused, and the upstream never sees it; one that it refuses
        itself is answered in its words.
        """
        for way, connect in self.ways():
            connection = connect("/raw/refuse")
            said = bytes(connection.got)
            assert connection.status == 403, f"{way}: {connection.status} {said}"
            connection.wait(f"{way}: the upstream's words", lambda: bytes(connection.got) == b"no")
            connection.close()
        if not self.front.judges:
            return
        changes = {
            "no key": {"Sec_WebSocket_Key": None},
            "a short key": {"Sec_WebSocket_Key": "c2hvcnQ="},
            "a key that is no base64": {"Sec_WebSocket_Key": "!" * 24},
            "two keys": {
                "Sec_WebSocket_Key": ["dGhlIHNhbXBsZSBub25jZQ==", "AAAAAAAAAAAAAAAAAAAAAA=="]
            },
            "no version": {"Sec_WebSocket_Version": None},
            "two versions": {"Sec_WebSocket_Version": ["13", "12"]},
        }
        for way, connect in list(self.ways())[:2]:
            before = self.upstreams.raw_handshakes
            for what, changed in changes.items():
                connection = connect("/raw/x", lines=lines_of_handshake(**changed))
                assert connection.status in (400, 426), (
                    f"{way}, {what}: {connection.status} {bytes(connection.got)}"
                )
                connection.close()
            for what, named in (
                ("POST", {"method": "POST", "further": "Content-Length: 0\r\n"}),
                ("HTTP/1.0", {"version": "1.0"}),
            ):
                connection = connect("/ws/x", **named)
                assert 400 <= connection.status < 500, (
                    f"{way}, {what}: {connection.status} {bytes(connection.got)}"
                )
                connection.close()
            assert self.upstreams.raw_handshakes == before, (
                f"{way}: the upstream saw a wrong handshake as a right one"
            )
        for way, connect in self.ways():
            for path, token, status in (
                ("/ws/x", None, 401),
                ("/ws/x", "none", 401),
                ("/admin/x", self.token, 403),
                ("/nowhere", self.token, 404),
                ("/away/x", self.token, 502),
            ):
                connection = connect(path, token)
                assert connection.status == status, (
                    f"{way}, {path}: {connection.status} instead of {status}"
                )
                connection.close()

    def revoked(self):
        """A revoked token's connections end within a second; those of another token go on."""
        for way, connect in self.ways():
            one, one_id = self.front.token()
            other, other_id = self.front.token()
            path = f"/ws/revoked-{way.replace(' ', '-')}"
            dies, lives = [connect(path, one) for _ in range(5)], connect("/ws/other", other)
            for connection in (*dies, lives):
                assert connection.status in (101, 200), f"{way}: {connection.status}"
            self.front.revoke(one_id)
            began = time.monotonic()
            for connection in dies:
                left = max(0.05, began + 1 - time.monotonic())
                connection.wait(
                    f"{way}: the end of a connection on a revoked token",
                    lambda connection=connection: connection.over,
                    left,
                )
                connection.close()
            until(
                f"{way}: their end at the upstream",
                lambda: self.upstreams.ended.count(path) == 5,
                3,
            )
            lives.send(websocket_cases.frame(websocket_cases.TEXT, b"alive"))
            lives.wait(
                f"{way}: another token's connection", lambda: bytes(lives.got) == b"\x81\x05alive"
            )
            lives.close()
            self.front.revoke(other_id)

    def outcome(self, connect, path, pieces):
        """What the server sent, and whether it ended the connection."""
        connection = connect(path)
        try:
            for piece in pieces:
                if not connection.send(piece):
                    break
            with contextlib.suppress(AssertionError):
                connection.wait("the end", lambda: connection.over, 10)
            return websocket_cases.read(bytes(connection.got)), connection.over
        finally:
            connection.close()

    def table(self):
        """Whatever frames a client sends, right or wrong, it gets through keyward what it gets from
        the upstream itself.
        """
        cases = list(websocket_cases.cases())
        itself = lambda path, **named: Tcp(self.upstreams.strict_port, path, None, **named)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            outcomes = lambda connect: list(
                pool.map(lambda case: self.outcome(connect, "/strict/x", case[1]), cases)
            )
            expected = outcomes(itself)
            for (name, pieces, right), (seen, over) in zip(cases, expected):
                codes = [
                    payload[:2] for opcode, payload in seen[0] if opcode == websocket_cases.CLOSE
                ]
                assert over and len(codes) == 1, (
                    f"{name}: the upstream itself did not close: {seen}"
                )
                # A server closes with 1002 (protocol error) or 1007 (no text) on what is wrong. A
                # client that closes with such a code itself is answered with it.
                wrong = codes[0] in (b"\x03\xea", b"\x03\xef")
                assert wrong != right or b"".join(pieces) == websocket_cases.close(
                    int.from_bytes(codes[0], "big")
                ), f"{name}: the upstream itself: {seen}"
            for way, connect in self.ways():
                for (name, _, _), got, wanted in zip(cases, outcomes(connect), expected):
                    short = lambda outcome: (
                        [(opcode, len(payload), payload[:40]) for opcode, payload in outcome[0][0]],
                        outcome[0][1][:40],
                        outcome[1],
                    )
                    assert got == wanted, (
                        f"{way}, case {name}: {short(got)}, "
                        f"from the upstream itself {short(wanted)}"
                    )
        print(f"    {len(cases)} cases, each {1 + len(list(self.ways()))} times", flush=True)

    def chromium(self):
        """Chromium's WebSocket works in clear (HTTP/1.1) and over TLS, there on its HTTP/2
        connection (RFC 8441).
        """
        script = """
            const [url, done] = arguments;
            const socket = new WebSocket(url);
            const got = [];
            socket.binaryType = "arraybuffer";
            socket.onopen = () => {
                for (const data of ["Hello", new Uint8Array(1 << 20), "close 4001 bye"]) {
                    socket.send(data);
                }
            };
            socket.onmessage = (event) => got.push(event.data.byteLength ?? event.data);
            socket.onclose = (event) => done([got, event.code, event.reason, socket.extensions]);
        """
        with Browser(insecure=True) as browser:
            for page, url in (
                (
                    f"http://localhost:{self.front.clear}/open/page",
                    f"ws://localhost:{self.front.clear}/open/x",
                ),
                (
                    f"https://localhost:{self.front.tls}/open/page",
                    f"wss://localhost:{self.front.tls}/open/x",
                ),
            ):
                browser.open(page)
                got = browser.ask("POST", "/execute/async", {"script": script, "args": [url]})
                assert got[:3] == [["Hello", 1 << 20], 4001, "bye"], f"{url}: {got}"
                assert "permessage-deflate" in got[3], (
                    f"{url}: the extensions agreed on are {got[3]!r}"
                )
            answers = []
            for entry in browser.log("performance"):
                message = json.loads(entry["message"])["message"]
                if message["method"] == "Network.webSocketHandshakeResponseReceived":
                    answers.append(message["params"]["response"]["status"])
            if self.front.judges:
                assert answers == [101, 200], (
                    f"the handshakes were answered with {answers}: 200 would be HTTP/2's"
                )

    def all(self):
        yield from (
            self.messages,
            self.fragments,
            self.closing,
            self.handshake,
            self.bytes_pass,
            self.refused_handshakes,
        )
        if self.front.judges:
            yield self.revoked
        yield from (self.table, self.chromium)


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
