"""One run's directory, cores, ports and children."""

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .process import CannotRun, Child, run, say, separate_cores

BENCH = Path(__file__).resolve().parent.parent
PROJECT = BENCH.parent


@dataclass
class Setting:
    """Where everything runs."""

    directory: Path
    proxy_core: int
    generator_core: int
    upstream_core: int
    seconds: float = 1  # length of one measurement
    upstream: int = 0  # port
    redis: int = 0  # port, 0 where there is none
    token: str = "t" * 350  # about as long as keyward's, until keyward has issued one
    issued: bool = False
    children: list = field(default_factory=list)

    def start(self, name, command, core):
        child = Child(name, command, core, self.directory)
        self.children.append(child)
        return child

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def end_children(self, kept=0):
        """Ends the children, the last first, but for the first `kept`."""
        while len(self.children) > kept:
            self.children.pop().end()


@contextlib.contextmanager
def setting(prefix, seconds=1):
    """A setting in a temporary directory; at its end the children end and the directory goes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # by way of the finally blocks
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(2))
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (most_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )  # for the children
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        new = Setting(Path(name), *separate_cores(), seconds)
        try:
            yield new
        finally:
            new.end_children()


def most_files():
    """How many files a process may have open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if most != resource.RLIM_INFINITY else 1_000_000


def free_ports(count):
    """Ports on which nothing listens, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def call(port, token, method="GET", path="/bench", tls=False):
    """One request over HTTP/1.1; returns status and body. The certificate is not verified."""
    if tls:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def wait_until(child, port, ready):
    """Waits until `ready()` returns None, at most 30 s; connection errors are expected."""
    deadline = time.monotonic() + 30
    last = "no answer"
    while time.monotonic() < deadline and child.process.poll() is None:
        try:
            fault = ready()
            if fault is None:
                return
            last = fault
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        time.sleep(0.02)
    raise CannotRun(f"{child.name} on port {port} is not ready: {last}\n{child.said()}")


def certificate(directory):
    """A self-signed ECDSA P-256 certificate: cert.pem and key.pem, and both in both.pem."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += [
        "-subj",
        "/CN=localhost",
        "-keyout",
        str(directory / "key.pem"),
        "-out",
        str(directory / "cert.pem"),
    ]
    made = run(command, 20)
    if made.returncode != 0:
        raise CannotRun(f"openssl made no certificate: {made.stderr}")
    both = directory / "both.pem"
    both.write_text((directory / "cert.pem").read_text() + (directory / "key.pem").read_text())
    for name in ("key.pem", "both.pem"):
        (directory / name).chmod(0o600)


def build(manifest, binary):
    """Builds a release binary and returns its path; cargo is asked where it puts it."""
    say(f"building {binary} …")
    try:
        command = ["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest)]
        built = subprocess.run(command, timeout=3600)
    except FileNotFoundError as error:
        raise CannotRun(
            "cargo is missing: Rust is needed to build the relay and keyward"
        ) from error
    if built.returncode != 0:
        raise CannotRun(f"{binary} does not build")
    metadata = run(
        [
            "cargo",
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--manifest-path",
            str(manifest),
        ],
        60,
    )
    if metadata.returncode != 0:
        raise CannotRun(f"cargo metadata failed: {metadata.stderr}")
    path = Path(json.loads(metadata.stdout)["target_directory"]) / "release" / binary
    if not path.is_file():
        raise CannotRun(f"cargo built no {binary}")
    return path


def program(path):
    """The absolute path of a program that was given on the command line."""
    if not os.access(path, os.X_OK) or not path.is_file():
        raise CannotRun(f"{path} is not a program")
    return path.resolve()
