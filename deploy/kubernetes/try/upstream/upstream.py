"""An upstream that answers with what reached it: method, path and headers, one a line. It answers
every method, and reads what is sent to it.

usage: upstream.py ADDRESS PORT       (of "::" it takes IPv4, too)
"""

import http.server
import signal
import socket
import sys

PIECE = 65536


class Shows(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name):
        # What the class above looks for is named by the method: do_GET, do_POST, do_PROPFIND.
        if name.startswith("do_"):
            return self.show
        raise AttributeError(name)

    def show(self):
        try:
            self.read_body()
        except ValueError as fault:
            self.close_connection = True
            return self.send_error(400, explain=str(fault))
        lines = [f"{self.command} {self.path}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def read_body(self):
        """What is left of it would be taken for the next request of the connection."""
        if "Transfer-Encoding" not in self.headers:
            return self.skip(int(self.headers.get("Content-Length", 0)))
        # RFC 9112, section 7.1: each piece with its size before it, then trailers.
        while size := int(self.rfile.readline(PIECE).split(b";")[0], 16):
            self.skip(size)
            self.rfile.readline(PIECE)
        while self.rfile.readline(PIECE).strip():
            pass

    def skip(self, size):
        while size > 0:
            read = len(self.rfile.read(min(size, PIECE)))
            if read == 0:
                raise ValueError("the body ends too early")
            size -= read

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


# The first process of a container has no other default.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
Server((sys.argv[1], int(sys.argv[2])), Shows).serve_forever()
