"""Servers of other makers behind keyward: Python's http.server (HTTP/1.1, 1.0, TLS, a Unix socket),
uvicorn, hypercorn (HTTP/1.1, HTTP/2 with and without TLS), Node (http, https, http2), nginx (the
same). How each is spoken to, and how long its idle connections are used.

usage: servers.py KEYWARD [--all] [WORD …]
KEYWARD may be "nginx", to try the test itself
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import pathlib
import random
import sys
import time
import urllib.parse

from echo_server import Echo, Handler
from raw_http2 import Http2Client
from running_keyward import access_token, free_port
from running_servers import Certificates, Route, Upstream, folder, front, nginx, run, running

HERE = pathlib.Path(__file__).parent
UPLOAD = random.Random(1).randbytes(1 << 20)
CHUNKED = b"".join(b"%d " % number * 100 for number in range(100))


class OldHandler(Handler):
    """http.server as it is by default: HTTP/1.0, a connection for each request."""

    protocol_version = "HTTP/1.0"

    def chunked(self):
        # The end of the connection is the end of the body.
        self.send_response(200)
        self.end_headers()
        self.wfile.write(CHUNKED)


class AnnouncingHandler(Handler):
    """Announces that it keeps a connection for a second, and does: what comes later meets a closed
    connection.
    """

    answered = None

    def end_headers(self):
        self.send_header("Keep-Alive", "timeout=1")
        super().end_headers()

    def handle_any(self):
        if self.answered is not None and time.monotonic() - self.answered > 1:
            self.close_connection = True
            return
        super().handle_any()
        self.answered = time.monotonic()

    do_GET = do_POST = handle_any


class Checks:
    def __init__(self, program, room):
        self.room, self.certificates, self.token = room, Certificates(room), access_token()
        self.stack = contextlib.ExitStack()
        self.program = program
        self.ports = {}

    def __enter__(self):
        enter, certificates = self.stack.enter_context, self.certificates
        self.echoes = {
            "python": enter(Echo()),
            "python-old": enter(Echo(handler=OldHandler)),
            "python-tls": enter(Echo(context=certificates.server_context())),
            "python-unix": enter(Echo(path=self.room / "echo.sock")),
            "python-brief": enter(Echo()),
            "python-announcing": enter(Echo(handler=AnnouncingHandler)),
        }
        names = (
            "uvicorn",
            "hypercorn",
            "hypercorn-tls",
            "node",
            "node-tls",
            "node-http2",
            "node-http2-tls",
            "nginx",
            "nginx-http2",
            "nginx-tls",
        )
        ports = self.ports = {name: free_port() for name in names} | {
            name: echo.port for name, echo in self.echoes.items()
        }
        pair = (certificates.certificate, certificates.key)
        os.environ["PYTHONPATH"] = str(HERE)
        asgi = ("asgi_server:application",)
        enter(
            running(
                [
                    sys.executable,
                    "-m",
                    "uvicorn",
                    *asgi,
                    "--port",
                    ports["uvicorn"],
                    "--log-level",
                    "warning",
                ],
                ports["uvicorn"],
                self.room,
                "uvicorn",
            )
        )
        binds = (
            "-b",
            f"127.0.0.1:{ports['hypercorn-tls']}",
            "--insecure-bind",
            f"127.0.0.1:{ports['hypercorn']}",
        )
        hypercorn = [
            sys.executable,
            "-m",
            "hypercorn",
            *asgi,
            *binds,
            "--certfile",
            pair[0],
            "--keyfile",
            pair[1],
        ]
        enter(running(hypercorn, ports["hypercorn"], self.room, "hypercorn"))
        node = ["node", HERE / "node_server.mjs", *pair] + [
            ports[name] for name in names if name.startswith("node")
        ]
        enter(running(node, ports["node-http2-tls"], self.room, "node"))
        room = self.room / "nginx"
        (room / "files").mkdir(parents=True)
        servers = f"""
            client_max_body_size 0;
            server {{
                listen 127.0.0.1:{ports["nginx"]};
                listen 127.0.0.1:{ports["nginx-http2"]} http2;
                listen 127.0.0.1:{ports["nginx-tls"]} ssl http2;
                ssl_certificate {pair[0]};
                ssl_certificate_key {pair[1]};
                root {room}/files;
                dav_methods PUT MOVE;
                create_full_put_path on;
                gzip on; gzip_types *; add_header X-Version $server_protocol always;
            }}
        """
        enter(running(nginx(room, servers), ports["nginx"], self.room, "nginx-server"))
        # (name, scheme, protocol in the configuration, version that the server then sees)
        self.servers = [
            ("python", "http", None, "1.1"),
            ("python-old", "http", None, "1.1"),
            ("python-tls", "https", "auto", "1.1"),
            ("python-unix", "unix", None, "1.1"),
            ("uvicorn", "http", None, "1.1"),
            ("hypercorn", "http", "http1", "1.1"),
            ("hypercorn", "http", "http2", "2"),
            ("hypercorn-tls", "https", "auto", "2"),
            ("hypercorn-tls", "https", "http1", "1.1"),
            ("node", "http", None, "1.1"),
            ("node-tls", "https", "auto", "1.1"),
            ("node-http2", "http", "http2", "2.0"),
            ("node-http2-tls", "https", "auto", "2.0"),
            ("node-http2-tls", "https", "http1", "1.1"),
            ("node-http2-tls", "https", "http2", "2.0"),
            ("nginx", "http", None, "HTTP/1.1"),
            ("nginx-http2", "http", "http2", "HTTP/2.0"),
            ("nginx-tls", "https", "auto", "HTTP/2.0"),
            ("nginx-tls", "https", "http1", "HTTP/1.1"),
        ]
        upstreams, routes = [], []
        for name, scheme, protocol, version in self.servers:
            endpoint = (
                f"unix:{self.room}/echo.sock"
                if scheme == "unix"
                else f"{scheme}://127.0.0.1:{ports[name]}"
            )
            known = f"{name}-{protocol or 'default'}"
            # As the front, nginx cannot find out itself what "auto" should be.
            told = (
                ("http2" if "2" in version else "http1")
                if self.program == "nginx" and protocol
                else protocol
            )
            upstreams.append(Upstream(known, endpoint, told))
            routes.append(Route(f"/{known}/", known))
        upstreams.append(
            Upstream(
                "brief", f"http://127.0.0.1:{ports['python-brief']}", further='idle_timeout = "1s"'
            )
        )
        upstreams.append(Upstream("announcing", f"http://127.0.0.1:{ports['python-announcing']}"))
        routes += [Route("/brief/", "brief"), Route("/announcing/", "announcing")]
        self.front = enter(front(self.program, certificates, upstreams, routes))
        return self

    def __exit__(self, *_):
        self.stack.close()

    def connection(self):
        return contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.front.clear, timeout=30)
        )

    def ask(self, connection, method, path, body=None, further=()):
        fields = {"Authorization": f"Bearer {self.token}", **dict(further)}
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    def served(self, name, version):
        """What every server must be able to do through keyward, asked in HTTP/1.1 and in HTTP/2."""

        def asked_in_http1(way):
            with self.connection() as connection:
                yield (
                    way,
                    lambda method, path, body=None, further=(): self.ask(
                        connection, method, path, body, further
                    ),
                )

        def asked_in_http2(way):
            client = Http2Client(self.front.clear_http2)

            def ask(method, path, body=None, further=()):
                fields = [("authorization", f"Bearer {self.token}"), *further]
                number = client.ask(method, path, fields, ends=body is None)
                if body is not None:
                    client.send(number, body, ends=True)
                stream = client.answer(number)
                assert stream.reset in (None, 0), (
                    f"{way}, {method} {path}: the stream was reset with {stream.reset}"
                )
                self.trailers = stream.trailers
                return stream.status, bytes(stream.data), stream.fields

            yield way, ask
            client.close()

        for way, ask in itertools.chain(
            asked_in_http1(f"{name}, asked in HTTP/1.1"), asked_in_http2(f"{name}, asked in HTTP/2")
        ):
            if name.startswith("nginx"):
                self.of_nginx(way, ask, name, version)
            else:
                self.of_echo(way, ask, name, version)

    def of_echo(self, way, ask, name, version):
        for number in range(20):
            status, data, _ = ask("GET", f"/{name}/x?n={number}")
            assert status == 200, f"{way}: {status} {data[:300]}"
        seen = json.loads(data)
        assert seen["version"].removeprefix("HTTP/") == version, (
            f"{way}: the server was asked in HTTP/{seen['version']} instead of {version}"
        )
        names = {field for field, _ in seen["fields"]}
        assert not names & {"authorization", "upgrade", "keep-alive"} or not self.front.judges, (
            f"{way}: the server saw {names}"
        )
        for size in (0, 1, len(UPLOAD)):
            status, data, _ = ask("POST", f"/{name}/x", UPLOAD[:size])
            assert (
                status == 200
                and json.loads(data)["sha256"] == hashlib.sha256(UPLOAD[:size]).hexdigest()
            ), f"{way}: POST of {size} bytes: {status} {data[:300]}"
        status, data, fields = ask("HEAD", f"/{name}/large")
        # nginx takes the length of a HEAD's answer in HTTP/2 for that of its body.
        lengths = (str(10 << 20),) if self.front.judges else (str(10 << 20), "0", None)
        assert (status, data) == (200, b"") and fields.get("content-length") in lengths, (
            f"{way}: HEAD: {status} {dict(fields)}"
        )
        status, data, _ = ask("GET", f"/{name}/large")
        assert status == 200 and len(data) == 10 << 20, (
            f"{way}: {status} with {len(data)} bytes instead of 10 MiB"
        )
        status, data, _ = ask("GET", f"/{name}/chunked")
        assert status == 200 and data == CHUNKED, (
            f"{way}: a body of unknown length: {status}, {len(data)} bytes"
        )
        if (
            self.front.judges
            and way.endswith("HTTP/2")
            and name.split("-")[0] in ("python", "node")
            and not name.startswith("python-old")
        ):
            assert (self.trailers or {}).get("x-sum") == "4950", (
                f"{way}: the trailers are {self.trailers}"
            )
        status, data, _ = ask("GET", f"/{name}/nothing")
        assert (status, data) == (204, b""), f"{way}: {status} {data[:300]}"
        assert ask("GET", f"/{name}/x")[0] == 200, f"{way}: after 204"

    def of_nginx(self, way, ask, name, version):
        path = f"/{name}/{version.replace('/', '')}-{way[-1]}.txt"
        status, data, fields = ask("PUT", path, UPLOAD)
        assert status in (201, 204), f"{way}: PUT: {status} {data[:300]}"
        seen = fields.get("x-version")
        assert seen == version, f"{way}: the server was asked in {seen} instead of {version}"
        status, data, _ = ask("GET", path)
        assert (status, data) == (200, UPLOAD), f"{way}: GET: {status}, {len(data)} bytes"
        status, data, fields = ask("HEAD", path)
        lengths = (str(len(UPLOAD)),) if self.front.judges else (str(len(UPLOAD)), "0", None)
        assert (status, data) == (200, b"") and fields.get("content-length") in lengths, (
            f"{way}: HEAD: {status} {dict(fields)}"
        )
        if self.front.judges:
            self.of_nginx_with_addresses(way, ask, name, path)
        for _ in range(20):
            status, data, _ = ask("GET", f"/{name}/missing")
            assert status == 404 and b"nginx" in data, f"{way}: {status} {data[:300]}"

    def of_nginx_with_addresses(self, way, ask, name, path):
        """nginx puts its own scheme and port into redirects, and takes no other Destination."""
        status, data, _ = ask("PUT", f"/{name}/folder/x.txt", b"x")
        assert status in (201, 204), f"{way}: PUT: {status} {data[:300]}"
        status, _, fields = ask("GET", f"/{name}/folder")
        address = urllib.parse.urlsplit(fields.get("location") or "")
        assert (status, address.scheme, address.path) == (301, "http", f"/{name}/folder/"), (
            f"{way}: redirected by {status} to {fields.get('location')}"
        )
        own = {self.ports[server] for server in self.ports if server.startswith("nginx")}
        assert address.port not in own, f"{way}: redirected to nginx itself, {address.netloc}"
        destination = address._replace(path=f"{path}.moved").geturl()
        status, data, _ = ask("MOVE", path, further=[("destination", destination)])
        assert status in (201, 204), f"{way}: MOVE to {destination}: {status} {data[:300]}"
        assert ask("GET", f"{path}.moved")[:2] == (200, UPLOAD), f"{way}: after MOVE"

    def each(self):
        for name, scheme, protocol, version in self.servers:
            known = f"{name}-{protocol or 'default'}"
            check = lambda known=known, version=version: self.served(known, version)
            check.__name__ = known
            spoken = version.removeprefix("HTTP/")
            check.__doc__ = f"{name}, protocol {protocol or 'left out'}: asked in HTTP/{spoken}"
            check.__doc__ += ", whole bodies both ways"
            yield check

    def together(self):
        """400 requests, 40 at a time, to each kind of server: each is answered with its own."""

        def several(known):
            with self.connection() as connection:
                for number in range(10):
                    body = f"{known} {number} {random.random()}".encode() * 50
                    status, data, _ = self.ask(connection, "POST", f"/{known}/x", body)
                    assert (
                        status == 200
                        and json.loads(data)["sha256"] == hashlib.sha256(body).hexdigest()
                    ), f"{known}: {status} {data[:300]}"

        kinds = [
            "python-default",
            "uvicorn-default",
            "hypercorn-http2",
            "node-http2-http2",
            "node-http2-tls-auto",
        ]
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            for done in [pool.submit(several, kinds[number % len(kinds)]) for number in range(40)]:
                done.result()

    def goaway(self):
        """An HTTP/2 server that ends its connection after each answer (GOAWAY) loses no request."""
        for known in ("node-http2-http2", "node-http2-tls-auto"):
            with self.connection() as connection:
                for number in range(60):
                    status, data, _ = self.ask(connection, "GET", f"/{known}/goaway")
                    assert status == 200, f"{known}, request {number}: {status} {data[:300]}"

    def announced(self):
        """An idle connection is used as long as the server announced (Keep-Alive: timeout=3), less
        a second, and no longer.
        """

        def used(pause):
            with self.connection() as connection:
                seen = []
                for _ in range(2):
                    status, data, _ = self.ask(connection, "POST", "/node-default/x", b"x")
                    assert status == 200, f"{status} {data[:300]}"
                    seen.append(json.loads(data)["connection"])
                    time.sleep(pause)
                return seen

        first, second = used(0.3)
        assert first == second, "after 0.3 s a new connection was made: none is kept"
        first, second = used(2.2)
        assert first != second, (
            "after 2.2 s the connection was used, though the server had announced 3 s: "
            "less a second, that is too late"
        )

    def announced_briefly(self):
        """A server that announces one second (Keep-Alive: timeout=1) fails no POST, whatever the
        pause before it.
        """
        with self.connection() as connection:
            for pause in (0.0, 0.3, 1.1, 1.3):
                time.sleep(pause)
                status, data, _ = self.ask(connection, "POST", "/announcing/x", b"x")
                assert status == 200, f"after a pause of {pause} s: {status} {data[:300]}"

    def idle(self):
        """An idle connection is used within the configured idle_timeout of 1 s, and never beyond
        it.
        """
        echo = self.echoes["python-brief"]
        del echo.uses[:]
        with self.connection() as connection:
            for pause in (0.0, 0.3, 0.3, 1.05, 0.3, 1.3):
                time.sleep(pause)
                status, data, _ = self.ask(connection, "POST", "/brief/x", b"x")
                assert status == 200, f"{status} {data[:300]}"
        numbers = [number for number, _, _ in echo.uses]
        assert numbers[0] == numbers[1] == numbers[2], (
            f"within the time another connection was used: {numbers}"
        )
        assert numbers[3] != numbers[2], "after 1.05 s the connection was used again"
        assert numbers[4] == numbers[3] and numbers[5] != numbers[4], f"connections used: {numbers}"

    def all(self):
        yield from self.each()
        yield self.together
        if self.front.judges:
            # nginx loses the request that crosses a GOAWAY.
            yield from (self.goaway, self.announced, self.announced_briefly, self.idle)


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
