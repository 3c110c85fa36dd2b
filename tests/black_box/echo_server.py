"""An HTTP/1.1 server that answers with what it was asked, by Python's http.server. It remembers
when each connection was used.
"""

import hashlib
import http.server
import json
import socket
import threading
import time

LARGE = bytes(range(256)) * (40 << 10)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        # Nagle's algorithm would hold the body back until the head is acknowledged.
        self.disable_nagle_algorithm = not self.server.unix
        super().setup()
        self.number = self.server.next_number()

    def log_message(self, *_):
        pass

    def body(self):
        """(its length, its SHA-256)."""
        length, digest = 0, hashlib.sha256()
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                digest.update(self.rfile.read(size))
                length += size
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left and (piece := self.rfile.read(min(left, 1 << 16))):
                digest.update(piece)
                length, left = length + len(piece), left - len(piece)
        return length, digest.hexdigest()

    def handle_any(self):
        kind = self.path.split("?")[0].rsplit("/", 1)[-1]
        if kind == "too-large":
            return self.too_large()
        if self.headers.get("Expect", "").lower() == "100-continue" and kind == "refuse-expect":
            return self.whole(417, b"", close=True)
        # BaseHTTPRequestHandler has already answered an Expect with 100.
        length, digest = self.body()
        self.server.note(self.number, self.path)
        if kind == "chunked":
            return self.chunked()
        if kind == "slow":
            time.sleep(1.5)
        if kind in ("large", "slow"):
            return self.whole(200, LARGE)
        if kind == "nothing":
            self.send_response(204)
            return self.end_headers()
        fields = [[name.lower(), value] for name, value in self.headers.items()]
        seen = {
            "method": self.command,
            "path": self.path,
            "fields": fields,
            "length": length,
            "sha256": digest,
        }
        return self.whole(
            200,
            json.dumps(
                seen | {"version": self.request_version, "connection": self.number}
            ).encode(),
        )

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any

    def whole(self, status, data, close=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", "X-Sum")
        self.end_headers()
        if self.command != "HEAD":
            for number in range(100):
                piece = b"%d " % number * 100
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nX-Sum: 4950\r\n\r\n")

    def too_large(self):
        """Answers before the body, and reads no more of it than a polite server does: until the
        client has seen the answer.
        """
        self.whole(413, b"too large", close=True)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(10)
        if not self.path.endswith("?rude"):
            while self.rfile.read1(1 << 16):
                pass


class Echo(http.server.ThreadingHTTPServer):
    """Listens on a port of its own, or on a Unix socket at `path`. Runs for as long as the `with`
    lasts.
    """

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, path=None, context=None, handler=Handler):
        if path is not None:
            self.address_family = socket.AF_UNIX
        self.unix = path is not None
        self.lock = threading.Lock()
        self.connections = 0
        # (the connection's number, when, the path)
        self.uses = []
        super().__init__(str(path) if path is not None else ("127.0.0.1", 0), handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.port = None if self.unix else self.server_address[1]

    def server_bind(self):
        # Without HTTPServer's look-up of a host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", 0

    def get_request(self):
        connection, address = super().get_request()
        return connection, address or ("unix", 0)

    def handle_error(self, *_):
        """A client that goes is no fault."""

    def next_number(self):
        with self.lock:
            self.connections += 1
            return self.connections

    def note(self, number, path):
        with self.lock:
            self.uses.append((number, time.monotonic(), path))

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
