"""What is compared, and what is asked of keyward."""

from dataclasses import dataclass, field

from .load import Load

GROUPS = ("http1", "http2", "tls", "bodies", "syscalls", "memory")


@dataclass(frozen=True)
class Case:
    """One comparison of processor time per request."""

    name: str
    group: str
    title: str
    load: Load
    peers: tuple
    # Peer → the most that keyward may take, as a share of what the peer takes.
    targets: dict = field(default_factory=dict, hash=False)


CASES = (
    Case(
        "http1",
        "http1",
        "HTTP/1.1, 64 connections, 66 bytes",
        Load(),
        (
            "relay",
            "nginx",
            "nginx-plain",
            "haproxy",
            "haproxy-plain",
            "nginx-lua-redis",
            "relay-again",
        ),
        {
            "nginx": 1.05,
            "nginx-plain": 1.05,
            "haproxy": 1.00,
            "haproxy-plain": 1.00,
            "nginx-lua-redis": 0.95,
        },
    ),
    Case(
        "http2-8x16",
        "http2",
        "HTTP/2 in clear, 8 connections × 16 streams, 66 bytes",
        Load(8, 16, http2=True),
        ("nginx", "haproxy"),
        {"haproxy": 1.10},
    ),
    Case(
        "http2-1x100",
        "http2",
        "HTTP/2 in clear, 1 connection × 100 streams, 66 bytes",
        Load(1, 100, http2=True),
        ("nginx", "haproxy"),
        {"haproxy": 1.10},
    ),
    Case(
        "tls-http1",
        "tls",
        "HTTP/1.1 over TLS 1.3, 64 connections, 66 bytes",
        Load(tls=True),
        ("nginx", "haproxy"),
        {"nginx": 1.00},
    ),
    Case(
        "tls-http2-8x16",
        "tls",
        "HTTP/2 over TLS 1.3, 8 connections × 16 streams, 66 bytes",
        Load(8, 16, http2=True, tls=True),
        ("nginx", "haproxy"),
        {"nginx": 1.00, "haproxy": 1.10},
    ),
    Case(
        "tls-http2-1x100",
        "tls",
        "HTTP/2 over TLS 1.3, 1 connection × 100 streams, 66 bytes",
        Load(1, 100, http2=True, tls=True),
        ("nginx", "haproxy"),
        {"nginx": 1.00, "haproxy": 1.10},
    ),
    Case(
        "body-64k",
        "bodies",
        "HTTP/1.1, 64 connections, answers of 64 KiB",
        Load(path="/64k"),
        ("nginx", "nginx-large-buffers", "haproxy"),
        {"nginx": 1.00},
    ),
    Case(
        "body-1m",
        "bodies",
        "HTTP/1.1, 16 connections, answers of 1 MiB",
        Load(16, path="/1m"),
        ("nginx", "nginx-large-buffers", "haproxy"),
        {"nginx": 1.00},
    ),
)

# System calls per request are counted under these loads; the target holds for HTTP/1.1.
COUNTED = ("http1", "http2-8x16")
MOST_SYSCALLS = 4.5

# An idle kept connection.
IDLE_PEERS = ("nginx", "haproxy")
MOST_IDLE_KIB = 10
