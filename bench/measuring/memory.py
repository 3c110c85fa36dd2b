"""Memory of an idle kept connection: what a proxy grows by while clients keep connections open."""

import contextlib
import socket
import time

from .load import generate
from .process import CannotRun, Refused, say
from .setting import most_files

SPARE_FILES = 256  # what a proxy opens besides
SETTLED_SECONDS = 3  # the memory is read when it has not fallen for so long, …
MOST_SECONDS = 20  # … or after this


def connections_possible(wanted):
    """How many connections the limit of files allows: HAProxy reserves two files for each."""
    return min(wanted, most_files() // 2 - SPARE_FILES)


def exchange(connection, request):
    """One request on a connection; the answer has a Content-Length."""
    connection.sendall(request)
    received = b""
    while True:
        head, found, body = received.partition(b"\r\n\r\n")
        if found:
            lengths = [
                line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
            ]
            if not head.startswith(b"HTTP/1.1 200 ") or not lengths:
                raise Refused(f"answered with {head[:200]}")
            if len(body) >= int(lengths[0].partition(b":")[2]):
                return
        more = connection.recv(65536)
        if not more:
            raise Refused("a connection was closed")
        received += more


def settled(child):
    """Resident bytes, once they do not fall any more: idle memory may be given back later."""
    began = fell = time.monotonic()
    least = child.resident_bytes()
    while time.monotonic() - fell < SETTLED_SECONDS and time.monotonic() - began < MOST_SECONDS:
        time.sleep(0.25)
        now = child.resident_bytes()
        if now < least:
            least, fell = now, time.monotonic()
    return child.resident_bytes()


def idle_connection_bytes(setting, proxy, count):
    """Resident bytes per idle connection, of `count` that each had one request."""
    generate(setting, proxy, seconds=1)  # pools, caches, allocators
    before = settled(proxy.child)
    head = (
        f"GET /bench HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {setting.token}\r\n\r\n"
    )
    request = head.encode()
    with contextlib.ExitStack() as stack:
        kept = []
        for _ in range(count):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", proxy.port), 10)
            )
            exchange(connection, request)
            kept.append(connection)
        after = settled(proxy.child)
        # Those that the proxy has closed meanwhile need no memory.
        for connection in kept:
            exchange(connection, request)
    say(
        f"memory: {proxy.name}, {count} idle connections: "
        f"{before / 2**20:.1f} → {after / 2**20:.1f} MiB"
    )
    if after < before:
        raise CannotRun(f"{proxy.name} shrank while {count} connections were opened")
    return (after - before) / count
