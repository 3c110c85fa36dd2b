"""Network namespaces of a test's own: they have no name outside of this process, and are gone when
it and what it started in them are. Nothing but the standard library, and `ip` of iproute2.
"""

import contextlib
import ctypes
import errno
import http.client
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace that begins with a loopback interface which is down."""

    def __init__(self, name):
        self.name = name
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            called("unshare", CLONE_NEWNET)
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            called("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)

    @property
    def path(self):
        """By which other processes find it."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextlib.contextmanager
    def inside(self):
        """What this thread opens or starts meanwhile is in the namespace, and stays there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        called("setns", self.fd, CLONE_NEWNET)
        try:
            yield
        finally:
            called("setns", home, CLONE_NEWNET)
            os.close(home)

    def run(self, *command):
        """What a command in the namespace prints. An error if it fails."""
        with self.inside():
            done = subprocess.run(
                [str(word) for word in command], capture_output=True, text=True, timeout=30
            )
        words = " ".join(str(word) for word in command)
        assert done.returncode == 0, f"{self.name}: {words}: {done.stderr or done.stdout}"
        return done.stdout

    def ip(self, words):
        return self.run("ip", *words.split())

    def set(self, key, value):
        """A setting of the namespace's kernel, such as "ipv4.ip_forward"."""
        file = pathlib.Path("/proc/sys/net", *key.split("."))
        with self.inside():
            try:
                if file.read_text().strip() != str(value):
                    file.write_text(str(value))
            except OSError as fault:
                raise CannotBeMade(f"{file} cannot be set to {value}: {fault}") from fault

    def start(self, command, **named):
        """Starts a process in the namespace that does not outlive this one."""
        with self.inside():
            return subprocess.Popen(
                [str(word) for word in command], preexec_fn=end_with_parent, **named
            )

    def listening(self):
        """The ports of TCP that are listened on, with their addresses as the kernel writes them."""
        with self.inside():
            files = [pathlib.Path("/proc/thread-self/net", kind) for kind in ("tcp", "tcp6")]
            tables = [file.read_text() for file in files]
        lines = [line.split() for table in tables for line in table.splitlines()[1:]]
        # State 0A is LISTEN.
        places = [line[1].rsplit(":", 1) for line in lines if line[3] == "0A"]
        return {(address, int(port, 16)) for address, port in places}

    def outcomes(self, targets, options=(), patience=1):
        """What becomes of TCP connections from here to each of these (address, port): "open",
        "refused", "silent" or the name of another error.
        """
        found, waiting = {}, {}
        with self.inside(), contextlib.ExitStack() as opened:
            for target in targets:
                family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
                made = opened.enter_context(socket.socket(family))
                made.setblocking(False)
                for option in options:
                    made.setsockopt(*option)
                number = made.connect_ex(target)
                if number == errno.EINPROGRESS:
                    waiting[made] = target
                else:
                    found[target] = outcome(number)
            deadline = time.monotonic() + patience
            while waiting and (left := deadline - time.monotonic()) > 0:
                _, ready, _ = select.select([], list(waiting), [], left)
                for made in ready:
                    number = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    found[waiting.pop(made)] = outcome(number)
        return found | dict.fromkeys(waiting.values(), "silent")

    def ask(self, target, path, headers=(), method="GET", body=None, timeout=10):
        """(status, body) of an answer over HTTP/1.1 to a request with just these headers."""
        with self.inside():
            connected = socket.create_connection(target, timeout)
        connected.settimeout(timeout)
        client = http.client.HTTPConnection(*target)
        client.sock = connected
        with contextlib.closing(client):
            client.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                client.putheader(name, value)
            if body is not None:
                client.putheader("Content-Length", str(len(body)))
            client.endheaders(body)
            answer = client.getresponse()
            return answer.status, answer.read()


class CannotBeMade(Exception):
    """The system does not give what the test is about."""


def called(function, *arguments):
    if getattr(LIBC, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise CannotBeMade(
            f"{function}: {os.strerror(number)}. Network namespaces are made by root, with "
            "CAP_SYS_ADMIN and CAP_NET_ADMIN"
        )


def outcome(number):
    named = {0: "open", errno.ECONNREFUSED: "refused", errno.ETIMEDOUT: "silent"}
    return named.get(number) or errno.errorcode[number]


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def join(one, other, subnet):
    """A wire between two namespaces: `subnet` is (IPv4, IPv6) with a place for the number of the
    host, 1 and 2; the interfaces have the names of the namespaces at their other ends.
    """
    one.ip(f"link add {other.name} type veth peer name {one.name} netns {other.path}")
    for namespace, peer, number in ((one, other, 1), (other, one, 2)):
        for address in subnet:
            # Nobody else has the address.
            kind = " nodad" if ":" in address else ""
            namespace.ip(f"address add {address.format(number)} dev {peer.name}{kind}")
        namespace.ip(f"link set {peer.name} up")
