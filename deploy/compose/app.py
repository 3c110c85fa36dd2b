"""The app of compose.yaml: shows the requests that reach it, with the identity that keyward tells.
Nothing but the standard library.
"""

import http.server
import signal
import sys


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is written at once, head and body.
    wbufsize = -1

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fields = (f"{name}: {value}" for name, value in self.headers.raw_items())
        text = "\n".join([self.requestline, *fields]) + "\n"
        body = text.encode("latin-1", "replace")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=latin-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def log_message(self, *_):
        """keyward has an access log."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    # The first process of a container ends by no signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("", 3000), App).serve_forever()
