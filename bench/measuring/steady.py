"""A steady rate of requests, whatever becomes of them, and how long each takes."""

import contextlib
import gc
import os
import select
import socket
import statistics
import time
from collections import deque

from .servers import BODY

CONNECTIONS = 32


def at_once(pid=None):
    """Has all threads of a process run whenever they can: what measures, and what is measured, must
    not wait for other work of the machine. Without a process: this one."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid or os.getpid()}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))


def latencies_us(port, token, rate, seconds):
    """The latencies of proxied requests in µs, at this rate for so long, on kept connections."""
    gc.disable()
    at_once()
    request = (
        f"GET /bench HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    end = BODY.encode()
    free, busy, due, latencies = [], {}, deque(), []
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        free.append(connection)
    begin, sent, count = time.perf_counter(), 0, int(rate * seconds)
    while len(latencies) < count:
        now = time.perf_counter()
        while sent < count and begin + sent / rate <= now:
            due.append(begin + sent / rate)
            sent += 1
        while due and free:
            was_due, connection = due.popleft(), free.pop()
            connection.sendall(request)
            # A generator that wakes late is no fault of the proxy's; one that finds all connections
            # busy is.
            waited = was_due if len(busy) == CONNECTIONS - 1 else time.perf_counter()
            busy[connection] = [waited, b""]
        until = begin + sent / rate - time.perf_counter() if sent < count else 5
        readable, _, _ = select.select(list(busy), [], [], max(0, until))
        if not readable and sent == count:
            raise SystemExit("an answer did not come")
        for connection in readable:
            state = busy[connection]
            state[1] += connection.recv(65536)
            if state[1].endswith(end):
                if not state[1].startswith(b"HTTP/1.1 200 "):
                    raise SystemExit(f"a request was answered with {state[1][:200]}")
                latencies.append(round((time.perf_counter() - state[0]) * 1e6))
                del busy[connection]
                free.append(connection)
            elif not state[1]:
                raise SystemExit("a connection was closed")
    return latencies


def percentile(latencies, share):
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median_p99(windows):
    return statistics.median(percentile(latencies, 0.99) for latencies in windows)
