"""Go's net/http and golang.org/x/net/http2 on both sides of keyward: as clients in HTTP/1.1 and HTTP/2
with and without TLS, and as servers in each of them.

usage: go_calls.py KEYWARD [WORD …]
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

from running_keyward import access_token, free_port
from running_servers import Certificates, Route, Upstream, folder, front, run, running, until

HERE = pathlib.Path(__file__).parent
# Debian's sources of Go libraries, without modules: nothing is fetched.
GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
WAYS = ("HTTP1.1-in-clear", "HTTP1.1-over-TLS", "HTTP2-in-clear", "HTTP2-over-TLS")
# What each upstream is asked in.
PROTOCOLS = {
    "go": "HTTP/1.1",
    "go-tls": "HTTP/1.1",
    "go-tls-http2": "HTTP/2.0",
    "go-tls-auto": "HTTP/2.0",
    "go-h2c": "HTTP/2.0",
    "go-narrow": "HTTP/2.0",
}


class Checks:
    def __init__(self, program, room):
        assert shutil.which("go"), "go is missing: install golang-go golang-golang-x-net-dev"
        os.environ |= GO
        self.room, self.certificates, self.token = room, Certificates(room), access_token()
        self.stack = contextlib.ExitStack()
        self.ports = {kind: free_port() for kind in ("http", "https", "h2c", "narrow")}
        clear = lambda kind: f"http://127.0.0.1:{self.ports[kind]}"
        secure = f"https://127.0.0.1:{self.ports['https']}"
        upstreams = [
            Upstream("go", clear("http")),
            Upstream("go-tls", secure, "http1"),
            Upstream("go-tls-http2", secure, "http2"),
            Upstream("go-tls-auto", secure, "auto"),
            Upstream("go-h2c", clear("h2c"), "http2"),
            # Four streams at a time.
            Upstream("go-narrow", clear("narrow"), "http2"),
        ]
        routes = [Route(f"/{upstream.name}/", upstream.name) for upstream in upstreams]
        self.front = front(program, self.certificates, upstreams, routes)

    def __enter__(self):
        # A server is built first: a signal to `go run` does not reach what it runs.
        server = self.room / "go_server"
        subprocess.run(["go", "build", "-o", server, HERE / "go_server.go"], check=True)
        pair = (self.certificates.certificate, self.certificates.key)
        command = [server, *pair, *self.ports.values()]
        self.stack.enter_context(running(command, self.ports["narrow"], self.room, "go_server"))
        self.stack.enter_context(self.front)
        return self

    def __exit__(self, *_):
        self.stack.close()

    def go(self, *checks, upstreams=PROTOCOLS):
        """Has Go's client make these checks, in every way, to each of the upstreams."""
        front = self.front
        command = ["go", "run", HERE / "go_client.go", front.clear, front.clear_http2, front.tls]
        command += [self.certificates.ca, self.token, ",".join(checks)]
        command += [f"{name}={PROTOCOLS[name]}" for name in upstreams]
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=150)
        faults = done.stderr.decode(errors="replace")
        assert done.returncode == 0, f"{len(faults.splitlines())} faults:\n{faults[:3000]}"

    def lines(self, path):
        """(status, what is said behind the path) of each line of the access log for it."""
        said = (self.front.room / "access.log").read_text()
        pattern = rf"^\S+ \S+ (\d+) \S+ {re.escape(path)} \S+(.*)$"
        return [(int(status), rest) for status, rest in re.findall(pattern, said, re.M)]

    def whole(self):
        """GET, HEAD, ranges and 304; POST of 0 bytes to 20 MiB, with a length and without; cookies and
        repeated fields.
        """
        self.go("get", "head", "ranges", "post", "fields")

    def gzip(self):
        """Go asks for gzip and unpacks it by itself; asked for by hand it comes packed."""
        self.go("gzip")

    def trailers(self):
        """Trailers come to whom takes them: in HTTP/1.1 with TE, in HTTP/2 always, announced or not."""
        self.go("trailers", "trailers_unasked")

    def expects(self):
        """Expect: 100-continue in HTTP/1.1 is answered with 100 at once. In both versions who is refused
        sends no byte of the body.
        """
        self.go("expect", "expect_refused")

    def reuse(self):
        """1,000 requests one after the other are made on one connection."""
        self.go("reuse")

    def parallel(self):
        """1,000 requests, 100 at a time, are answered each with its own; so are large bodies both ways,
        and GETs to a server of four streams.
        """
        wide = [name for name in PROTOCOLS if name != "go-narrow"]
        self.go("parallel", "parallel_large", upstreams=wide)
        self.go("parallel_get", upstreams=["go-narrow"])

    def cancelled(self):
        """A cancelled call has one line in the access log, with 499. In HTTP/2 it ends at the server at
        once; in HTTP/1.1 it may only have closed its sending side, until its answer meets a reset.
        """
        self.go("cancel", "deadline")
        for name in PROTOCOLS:
            for way in WAYS:
                for path in (f"/{name}/hang/{way}", f"/{name}/hang/{way}/deadline"):
                    # Seen too late for 499 now and then: then the answer is one that broke off.
                    statuses = {499} if way.startswith("HTTP2") else {499, 200}
                    self.one_line(path, statuses, "the client left")

    def cancelled_midway(self):
        """A call that is cancelled in its answer or in its body has one line, too, and harms no other."""
        self.go("cancel_stream", "cancel_upload")
        for name in PROTOCOLS:
            for way in WAYS:
                self.one_line(f"/{name}/stream/{way}", {200}, "the client left")
                self.one_line(f"/{name}/x/{way}", {400, 499}, "")

    def one_line(self, path, statuses, words):
        found = until(f"the line of {path}", lambda: self.lines(path), 5)
        fits = len(found) == 1 and found[0][0] in statuses and words in found[0][1]
        assert fits, f"{path}: {found}"

    def refused(self):
        """401 without a token and with a wrong one; it is read, and so is the server's 413, by who
        uploads 20 MiB.
        """
        self.go("unauthorized")
        self.go("early_refusal", upstreams=["go"])
        self.go("too_large")

    def goodbye(self):
        """A server that ends its connection after each answer (Connection: close, GOAWAY) loses no
        request, and the client's connection goes on.
        """
        self.go("goodbye")

    def broken(self):
        """An answer that the server breaks off is no whole answer for the client."""
        self.go("abort", "abort_at_once")

    def odd(self):
        """103 and 102 of the server are left out; Connection: close; messages back and forth in HTTP/2."""
        self.go("early_hints", "close", "chat")

    def redirected(self):
        """A client whose upload the server answered early (307, 413), and that goes on on its connection,
        finds it open, or was told that it is closed.
        """
        for _ in range(5):
            self.go("redirect", "too_large_again")

    def trailers_down(self):
        """Trailers of a server that is asked in HTTP/2 come to a client of HTTP/1.1 that takes them."""
        self.go("trailers_down")

    def parallel_narrow(self):
        """1,000 requests with bodies, 100 at a time, lose none to a server of four streams."""
        for _ in range(3):
            self.go("parallel", upstreams=["go-narrow"])

    def all(self):
        yield from (self.whole, self.gzip, self.trailers, self.expects, self.reuse, self.parallel)
        yield from (self.cancelled, self.cancelled_midway, self.refused, self.goodbye)
        yield from (self.broken, self.odd, self.redirected, self.trailers_down, self.parallel_narrow)


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 600, lambda: checks.front)


if __name__ == "__main__":
    main()
