"""An app behind keyward that shows what reached it, as JSON, and notes it in a file. Nothing but
the standard library.

usage: header_app.py NOTES ADDRESS …

An address is "127.0.0.1:3000", "[::1]:3000" or "unix:/path". It says "ready" once it listens on
all of them.
"""

import http.server
import json
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is written at once, head and body.
    wbufsize = -1

    def log_message(self, *_):
        pass

    def do_GET(self):
        if length := int(self.headers.get("Content-Length", 0)):
            self.rfile.read(length)
        seen = {"path": self.path, "headers": [list(field) for field in self.headers.raw_items()]}
        # One write of a file that is appended to: lines of two threads do not mix.
        self.server.notes.write(json.dumps(seen) + "\n")
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, notes):
        self.notes = notes
        if path := address.removeprefix("unix:") if address.startswith("unix:") else None:
            self.address_family, place = socket.AF_UNIX, path
        else:
            host, _, port = address.rpartition(":")
            host = host.strip("[]")
            self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            place = (host, int(port))
        super().__init__(place, Handler)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self.address_family != socket.AF_UNIX:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        # The base class would ask for the name of the host.
        self.server_name, self.server_port = "app", 0

    def handle_error(self, *_):
        """Clients that break off are none of its business."""

    def get_request(self):
        connection, peer = super().get_request()
        return connection, peer or ("unix", 0)


def main():
    path, *addresses = sys.argv[1:]
    notes = open(path, "a", buffering=1)
    servers = [Server(address, notes) for address in addresses]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    print("ready", flush=True)


if __name__ == "__main__":
    main()
