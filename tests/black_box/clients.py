"""Clients of other makers, each with its own HTTP, through keyward: curl, nghttp, h2load, Python,
Node, Java. Above all that an answer which comes before an upload is done is read as the answer (RFC
9112, 9.6), and that an offer of HTTP/2 harms no request (RFC 9110, 7.8).

usage: clients.py KEYWARD [--all] [WORD …]
KEYWARD may be "nginx", to try the test itself
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

from echo_server import LARGE, Echo
from raw_http2 import Http2Client
from running_keyward import access_token
from running_servers import Certificates, Route, Upstream, folder, front, run

HERE = pathlib.Path(__file__).parent
UPLOAD = b"x" * (20 << 20)
CHUNKED = b"".join(b"%d " % number * 100 for number in range(100))


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Checks:
    def __init__(self, program, room):
        self.room, self.certificates = room, Certificates(room)
        self.echo = Echo()
        routes = [Route("/echo/", "echo"), Route("/open/", "echo", public=True)]
        self.front = front(
            program,
            self.certificates,
            [Upstream("echo", f"http://127.0.0.1:{self.echo.port}")],
            routes,
        )
        (room / "upload").write_bytes(UPLOAD)
        self.token = access_token()

    def __enter__(self):
        self.echo.__enter__()
        self.front.__enter__()
        self.tls = f"https://localhost:{self.front.tls}"
        self.clear = f"http://localhost:{self.front.clear}"
        self.clear_http2 = f"http://localhost:{self.front.clear_http2}"
        return self

    def __exit__(self, *_):
        self.front.__exit__()
        self.echo.__exit__()

    def of(self, *command, data=None):
        """What a program prints; its failure is the check's."""
        done = subprocess.run(
            [str(word) for word in command], input=data, capture_output=True, timeout=60
        )
        errors = done.stderr.decode(errors="replace")
        assert done.returncode == 0, (
            f"{command[0]} ended with {done.returncode}: {errors[-800:]} {done.stdout[-400:]}"
        )
        return done.stdout, errors

    def curl(self, *arguments, token=None, data=None):
        """(status, version of HTTP, body)."""
        output = self.room / "body"
        output.write_bytes(b"")
        command = [
            "curl",
            "-sS",
            "-4",
            "-m",
            "30",
            "--cacert",
            self.certificates.ca,
            "-o",
            output,
            "-w",
            "%{http_code} %{http_version} %{num_connects}",
        ]
        command += ["-H", f"Authorization: Bearer {token or self.token}"]
        said, _ = self.of(*command, *arguments, data=data)
        status, version, _ = said.decode().split()
        return int(status), version, output.read_bytes()

    def ways(self):
        """curl's arguments for each version with and without TLS, and the version in which the
        answer should come.
        """
        yield ["--http1.1"], self.clear, "1.1"
        yield ["--http1.1"], self.tls, "1.1"
        yield ["--http1.0"], self.clear, "1"
        yield ["--http2"], self.tls, "2"
        yield ["--http2-prior-knowledge"], self.clear_http2, "2"
        # In clear this offers an upgrade to h2c with the request.
        yield ["--http2"], self.clear, "1.1"

    def curl_versions(self):
        """curl in HTTP/1.0, HTTP/1.1 and HTTP/2: GET, HEAD, PUT, chunked upload and answer, 10 MiB
        back, 204.
        """
        for arguments, origin, version in self.ways():
            way = f"curl {arguments[0]} {origin}"
            status, got_version, body = self.curl(*arguments, origin + "/echo/x?y=1")
            if arguments[0] == "--http1.0":
                # A server may answer in either.
                got_version = got_version.replace("1.0", "1").replace("1.1", "1")
            assert status == 200 and got_version == version, (
                f"{way}: {status} in HTTP/{got_version}: {body[:300]}"
            )
            seen = json.loads(body)
            fields = {name for name, _ in seen["fields"]}
            assert seen["path"] == "/echo/x?y=1", f"{way}: {seen}"
            assert not fields & {"http2-settings", "upgrade"}, (
                f"{way}: the offer of an upgrade went on to the upstream: {seen['fields']}"
            )
            assert self.curl(*arguments, "-I", origin + "/echo/large")[0] == 200, f"{way}: HEAD"
            status, _, body = self.curl(*arguments, origin + "/echo/large")
            assert digest(body) == digest(LARGE), (
                f"{way}: {status} with {len(body)} bytes instead of {len(LARGE)}"
            )
            assert self.curl(*arguments, origin + "/echo/chunked")[2] == CHUNKED, (
                f"{way}: the body of a chunked answer"
            )
            assert self.curl(*arguments, origin + "/echo/nothing")[0] == 204, way
            status, _, body = self.curl(*arguments, "-T", self.room / "upload", origin + "/echo/x")
            assert json.loads(body)["sha256"] == digest(UPLOAD), (
                f"{way}: {status}, the upstream saw {body[:300]}"
            )
            if arguments[0] != "--http1.0":
                # Of a length that is not known at first: chunks, or DATA without Content-Length.
                status, _, body = self.curl(
                    *arguments, "-T", "-", origin + "/echo/x", data=UPLOAD[:300_000]
                )
                assert json.loads(body)["sha256"] == digest(UPLOAD[:300_000]), (
                    f"{way}: {status}, the upstream saw {body[:300]}"
                )

    def curl_expects(self):
        """curl's Expect: 100-continue: an upload goes on at once, and one that is refused is never
        sent.
        """
        expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "20"]
        for arguments, origin, _ in self.ways():
            if arguments[0] in ("--http1.0", "--http2-prior-knowledge") or (
                arguments[0] == "--http2" and origin == self.tls
            ):
                # HTTP/1.0 has no 100, and curl does not wait for one in HTTP/2.
                continue
            way, began = f"curl {arguments[0]} {origin}", time.monotonic()
            status, _, body = self.curl(
                *arguments, *expect, "-T", self.room / "upload", origin + "/echo/x"
            )
            assert status == 200 and json.loads(body)["length"] == len(UPLOAD), (
                f"{way}: {status} {body[:300]}"
            )
            assert time.monotonic() - began < 15, f"{way}: the upload waited in vain for 100"
            if self.front.judges:
                status, _, body = self.curl(
                    *arguments,
                    *expect,
                    "-T",
                    self.room / "upload",
                    "-w",
                    "%{http_code} %{size_upload} 0",
                    origin + "/echo/x",
                    token="none",
                )
                assert status == 401, f"{way}: {status} {body[:300]}"

    def curl_is_refused(self):
        """curl reads an early 401, and the upstream's 413, to an upload of 20 MB that goes on: with
        and without TLS, HTTP/1.1 and HTTP/2.
        """
        for arguments, origin, version in self.ways():
            # HTTP/1.0 knows no early answer. In HTTP/2, curl 7.88 may take a stream that is reset
            # right after its answer for a failure (nginx does that): the body must be read on.
            if arguments[0] == "--http1.0" or ("2" in version and not self.front.judges):
                continue
            for further in (
                ["-H", "Expect:"],
                ["-H", "Expect:", "-H", "Transfer-Encoding: chunked"],
            ):
                way = f"curl {arguments[0]} {origin}"
                if version == "2" and len(further) > 2:
                    continue
                status, _, body = self.curl(
                    *arguments, *further, "-T", self.room / "upload", origin + "/echo/too-large"
                )
                assert (status, body) == (413, b"too large"), f"{way}: {status} {body[:300]}"
                if self.front.judges:
                    status, _, body = self.curl(
                        *arguments,
                        *further,
                        "-T",
                        self.room / "upload",
                        origin + "/echo/x",
                        token="none",
                    )
                    assert status == 401 and body, f"{way}: {status} {body[:300]}"

    def connection(self, tls, timeout=30):
        if tls:
            return http.client.HTTPSConnection(
                "localhost",
                self.front.tls,
                timeout=timeout,
                context=self.certificates.client_context(),
            )
        return http.client.HTTPConnection("127.0.0.1", self.front.clear, timeout=timeout)

    def python(self):
        """Python's http.client: 200 requests on one connection, chunked and 20 MB uploads, with and
        without TLS.
        """
        fields = {"Authorization": f"Bearer {self.token}"}
        for tls in (False, True):
            with contextlib.closing(self.connection(tls)) as connection:
                for _ in range(200):
                    connection.request("GET", "/echo/x", headers=fields)
                    answer = connection.getresponse()
                    assert answer.status == 200, f"{answer.status} {answer.read()}"
                    answer.read()
                connection.request("POST", "/echo/x", UPLOAD, fields)
                assert json.loads(connection.getresponse().read())["sha256"] == digest(UPLOAD), (
                    f"TLS {tls}"
                )
                connection.request(
                    "POST", "/echo/x", iter([b"one", b"", b"two"]), fields, encode_chunked=True
                )
                assert json.loads(connection.getresponse().read())["length"] == 6, f"TLS {tls}"
                connection.request("GET", "/echo/chunked", headers=fields)
                assert connection.getresponse().read() == CHUNKED, f"TLS {tls}"

    def python_is_refused(self):
        """Python reads an early 401, and the upstream's 413, after it has sent all of 20 MB: at
        once, and with a pause of 1.5 s.
        """

        def slowly():
            yield UPLOAD[: 10 << 20]
            time.sleep(1.5)
            yield UPLOAD[10 << 20 :]

        def upload(tls, pauses, path, token, status):
            way = f"{'TLS' if tls else 'clear'}{', with a pause' if pauses else ''}, {path}"
            with contextlib.closing(self.connection(tls)) as connection:
                fields = {"Authorization": f"Bearer {token}", "Content-Length": str(len(UPLOAD))}
                try:
                    connection.request("POST", path, slowly() if pauses else UPLOAD, fields)
                    answer = connection.getresponse()
                    body = answer.read()
                except (OSError, http.client.HTTPException) as fault:
                    raise AssertionError(
                        f"{way}: instead of the answer {status} the client saw "
                        f"{type(fault).__name__}: {fault}"
                    ) from None
                assert answer.status == status and body, f"{way}: {answer.status} {body[:200]}"

        cases = [
            (tls, pauses, "/echo/too-large", self.token, 413)
            for tls in (False, True)
            for pauses in (False, True)
        ]
        if self.front.judges:
            cases += [
                (tls, pauses, "/echo/x", "none", 401)
                for tls in (False, True)
                for pauses in (False, True)
            ]
            cases += [(tls, False, "/nowhere", self.token, 404) for tls in (False, True)]
            # An upstream that closes before it has read the body: its connection is reset.
            cases += [
                (tls, False, "/echo/too-large?rude", self.token, 413) for tls in (False, True)
            ]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            for done in [pool.submit(upload, *case) for case in cases]:
                done.result()

    def nghttp(self):
        """nghttp: many streams, padding, CONTINUATION, a body with trailers, Expect, with and
        without TLS.
        """
        token = ("-H", f"authorization: Bearer {self.token}")
        # nghttp has no option for an authority to trust.
        for origin in (self.clear_http2, self.tls):
            origin = origin.replace("localhost", "127.0.0.1")
            for arguments in (
                ["-m", "50"],
                ["-b", "100"],
                ["--continuation"],
                ["-d", self.room / "upload"],
                ["-w", "16", "-W", "16"],
                ["-d", self.room / "upload", "--trailer", "x-sum: 1", "-b", "7"],
                ["-d", self.room / "upload", "--expect-continue"],
            ):
                if "--trailer" in arguments and not self.front.judges:
                    # nginx takes them since 1.29 only.
                    continue
                path = "/echo/large" if "-w" in arguments else "/echo/x"
                out, errors = self.of(
                    "nghttp", "-v", "-y", "--no-dep", "-t", "30", *token, *arguments, origin + path
                )
                said = re.sub(r"\x1b\[[0-9;]*m", "", out.decode(errors="replace"))
                way = f"nghttp {' '.join(map(str, arguments))} {origin}"
                statuses = re.findall(r":status: (\d+)", said)
                final = [status for status in statuses if status != "100"]
                assert len(final) == (50 if "-m" in arguments else 1) and set(final) == {"200"}, (
                    f"{way}: {statuses} {errors[-300:]} {said[-600:]}"
                )
                if "-d" in arguments:
                    assert digest(UPLOAD) in said, (
                        f"{way}: the upstream saw another body: {said[-600:]}"
                    )
                resets = re.findall(r"recv RST_STREAM.*\n\s*\(error_code=(\w+)", said)
                assert set(resets) <= {"NO_ERROR"}, f"{way}: streams were reset: {resets}"

    def h2load(self):
        """h2load: 2,000 requests on 10 connections without one failure: HTTP/2 in clear and over
        TLS, and HTTP/1.1.
        """
        for arguments in ([self.clear_http2], [self.tls], ["--h1", self.clear], ["--h1", self.tls]):
            command = [
                "h2load",
                "-n",
                "2000",
                "-c",
                "10",
                "-H",
                f"authorization: Bearer {self.token}",
            ]
            command += [] if "--h1" in arguments else ["-m", "20"]
            out, _ = self.of(
                *command,
                *arguments[:-1],
                arguments[-1].replace("localhost", "127.0.0.1") + "/echo/x",
            )
            said = out.decode()
            assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in said, (
                f"{arguments}: {said[-800:]}"
            )
            if self.tls in arguments and "--h1" not in arguments:
                assert "Application protocol: h2\n" in said, f"{arguments}: {said[:600]}"
            assert "status codes: 2000 2xx" in said, f"{arguments}: {said[-800:]}"

    def node(self):
        """Node's http, https and http2: kept connections, 100 streams at a time, bodies of 20 MB,
        trailers, early answers.
        """
        assert shutil.which("node"), "node is missing: install nodejs"
        self.of(
            "node",
            HERE / "node_client.mjs",
            self.front.clear,
            self.front.clear_http2,
            self.front.tls,
            self.certificates.ca,
            self.token,
            int(self.front.judges),
        )

    def java(self):
        """Java's HttpClient: its offer of h2c is ignored and its requests are served; over TLS it
        speaks HTTP/2.
        """
        self.of(
            "java",
            "-Xshare:auto",
            "-XX:TieredStopAtLevel=1",
            HERE / "JavaClient.java",
            self.front.clear,
            self.front.tls,
            self.certificates.ca,
            self.token,
        )

    def offers(self):
        """An offer to upgrade is dropped and the request is served, whatever is offered; with a
        body, too.
        """
        offers = [
            ("h2c", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("TLS/1.2", None),
            ("h2c, foo/2", None),
            ("foo/2", None),
            ("h2c", "%%%"),
        ]
        for tls in (False, True):
            with contextlib.closing(self.connection(tls)) as connection:
                for offer, settings in offers:
                    fields = {
                        "Authorization": f"Bearer {self.token}",
                        "Connection": "Upgrade, HTTP2-Settings" if settings else "Upgrade",
                        "Upgrade": offer,
                    }
                    fields |= {"HTTP2-Settings": settings} if settings else {}
                    for method, body in (("GET", None), ("POST", b"hello")):
                        connection.request(method, "/echo/x", body, fields)
                        answer = connection.getresponse()
                        said = answer.read()
                        assert answer.status == 200, (
                            f"TLS {tls}, {method}, Upgrade: {offer}: {answer.status} {said[:300]}"
                        )
                        seen = dict(json.loads(said)["fields"])
                        if self.front.judges:
                            assert not {"upgrade", "http2-settings"} & set(seen), (
                                f"Upgrade: {offer} went on to the upstream: {seen}"
                            )
                        assert json.loads(said)["length"] == len(body or b""), f"{offer}: {said}"

    def half_closed(self):
        """A client that has shut down its sending side gets its whole answer, also a late one; so over
        TLS, where it has sent close_notify.
        """
        ask = b"GET /echo/slow HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n"
        ask %= self.token.encode()
        with socket.create_connection(("127.0.0.1", self.front.clear), 30) as connection:
            connection.sendall(ask)
            connection.shutdown(socket.SHUT_WR)
            got = bytearray()
            while piece := connection.recv(1 << 16):
                got += piece
        self.is_large(got, "clear")
        # Python's sockets with TLS wait for the other side's close_notify; without a socket it can
        # be sent alone.
        taken, given, got = ssl.MemoryBIO(), ssl.MemoryBIO(), bytearray()
        context = self.certificates.client_context()
        session = context.wrap_bio(taken, given, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", self.front.tls), 30) as connection:
            for step in (session.do_handshake, lambda: session.write(ask), session.unwrap):
                while True:
                    try:
                        step()
                        break
                    except ssl.SSLWantReadError:
                        connection.sendall(given.read())
                        if step == session.unwrap:
                            break
                        taken.write(connection.recv(1 << 16))
            while piece := connection.recv(1 << 16):
                taken.write(piece)
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                    while data := session.read(1 << 16):
                        got += data
        self.is_large(got, "TLS")

    def is_large(self, got, way):
        whole = got.startswith(b"HTTP/1.1 200") and got.endswith(LARGE[-1000:])
        assert whole, f"{way}: {bytes(got[:100])}, {len(got)} bytes"

    def fields_of_http2(self):
        """The upstream of an HTTP/2 client sees plain HTTP/1.1: a Host, one Cookie, no Connection,
        no pseudo-field.
        """
        for context, port in (
            (None, self.front.clear_http2),
            (self.certificates.client_context("h2"), self.front.tls),
        ):
            client = Http2Client(port, context)
            fields = [
                ("authorization", f"Bearer {self.token}"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("te", "trailers"),
                ("x-y", "z"),
            ]
            stream = client.answer(client.ask("GET", "/echo/x", fields))
            assert stream.status == 200, f"{stream.status} {bytes(stream.data)}"
            seen = json.loads(stream.data)["fields"]
            names = [name for name, _ in seen]
            assert dict(seen)["host"].split(":")[0] == "localhost" and names.count("host") == 1, (
                str(seen)
            )
            assert not [name for name in names if name.startswith(":")], str(seen)
            if self.front.judges:
                assert [value for name, value in seen if name == "cookie"] == ["a=1; b=2"], str(
                    seen
                )
            client.close()

    def refused_streams(self):
        """In HTTP/2 an early 401, and the upstream's 413, comes whole and is no error of the
        stream; its connection goes on.
        """
        for context, port in (
            (None, self.front.clear_http2),
            (self.certificates.client_context("h2"), self.front.tls),
        ):
            client = Http2Client(port, context)
            for path, token, status in (
                ("/echo/too-large", self.token, 413),
                ("/echo/x", "none", 401),
            ):
                if status == 401 and not self.front.judges:
                    continue
                for length in ([], [("content-length", str(len(UPLOAD)))]):
                    way = f"{'clear' if context is None else 'TLS'}, {path}, {length}"
                    number = client.ask(
                        "POST", path, [("authorization", f"Bearer {token}"), *length], ends=False
                    )
                    client.send(number, UPLOAD, ends=True)
                    stream = client.answer(number)
                    said = f"{way}: {stream.status} {bytes(stream.data)}, "
                    said += f"ended {stream.ended}, reset {stream.reset}"
                    assert stream.status == status and stream.data, said
                    assert len(stream.data) == int(
                        stream.fields.get("content-length", len(stream.data))
                    ), said
                    assert stream.ended and stream.reset in (None, 0), said
            stream = client.answer(
                client.ask("GET", "/echo/x", [("authorization", f"Bearer {self.token}")])
            )
            assert stream.status == 200, f"the connection after the refusals: {stream.status}"
            client.close()

    def all(self):
        yield from (
            self.curl_versions,
            self.curl_expects,
            self.curl_is_refused,
            self.python,
            self.python_is_refused,
            self.offers,
        )
        yield from (
            self.refused_streams,
            self.half_closed,
            self.fields_of_http2,
            self.nghttp,
            self.h2load,
            self.node,
        )
        if shutil.which("java") and shutil.which("javac"):
            yield self.java
        else:
            print(
                "Java's HttpClient: NOT CHECKED: there is no java with a compiler here", flush=True
            )


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
