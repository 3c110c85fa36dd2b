"""Memory of an idle kept connection: what a proxy grows by while clients keep connections open."""

import contextlib
import socket
import ssl
import time

from .load import generate
from .process import CannotRun, Refused, say
from .setting import most_files

SPARE_FILES = 256  # what a proxy opens besides
OPENED_PER_SECOND = 1000  # not all at once, as clients of a proxy come
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


def settled(child, request_once):
    """Resident bytes, once they do not fall any more: idle memory may be given back later. A
    request now and then is traffic as a proxy always has it; allocators give memory back upon
    activity."""
    began = fell = time.monotonic()
    least = child.resident_bytes()
    while time.monotonic() - fell < SETTLED_SECONDS and time.monotonic() - began < MOST_SECONDS:
        for _ in range(10):
            time.sleep(0.05)
            request_once()
        now = child.resident_bytes()
        if now < least * 0.995:
            least, fell = now, time.monotonic()
    return child.resident_bytes()


def idle_connection_bytes(setting, proxy, count, tls=False):
    """Resident bytes per idle connection, of `count` that each had one request."""
    port = proxy.ports["tls" if tls else "http1"]
    unverified = ssl._create_unverified_context()
    generate(setting, proxy, seconds=1)  # pools, caches, allocators
    head = (
        f"GET /bench HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {setting.token}\r\n\r\n"
    )
    request = head.encode()
    with contextlib.ExitStack() as stack:

        def connect():
            plain = socket.create_connection(("127.0.0.1", port), 10)
            return stack.enter_context(unverified.wrap_socket(plain) if tls else plain)

        busy = connect()
        before = settled(proxy.child, lambda: exchange(busy, request))
        kept = []
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / OPENED_PER_SECOND - time.monotonic()))
            connection = connect()
            exchange(connection, request)
            kept.append(connection)
        after = settled(proxy.child, lambda: exchange(busy, request))
        for connection in kept:  # a connection that was closed needs no memory
            exchange(connection, request)
    say(
        f"memory: {proxy.name}, {count} idle connections{' over TLS' * tls}: "
        f"{before / 2**20:.1f} → {after / 2**20:.1f} MiB"
    )
    if after < before:
        raise CannotRun(f"{proxy.name} shrank while {count} connections were opened")
    return (after - before) / count
