"""A pod in a network namespace: an app and keyward in it, each as a user of its own, and the
namespaces of a client and of an intruder beside it. As root.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess

from namespaces import Namespace, join
from running_servers import stop, until

HERE = pathlib.Path(__file__).parent

# Users that need not be known: keyward, the app, another one of the machine; and the group that
# keyward and the app share.
KEYWARD, APP, STRANGER, SHARED = 64001, 64002, 64003, 64010

# Addresses for documentation (RFC 5737, RFC 3849): to the client and to the intruder.
WIRES = {
    "client": ("192.0.2.{}/24", "2001:db8:1::{}/64"),
    "intruder": ("198.51.100.{}/24", "2001:db8:2::{}/64"),
}
POD = ["192.0.2.1", "198.51.100.1", "2001:db8:1::1", "2001:db8:2::1"]
FRONT, FRONT6 = ("192.0.2.1", 8080), ("2001:db8:1::1", 8080)
# The app's port on loopback, and the one on all addresses.
OWN, CARELESS = 3000, 3001

class Pod:
    """An app and keyward that share a network namespace, each as a user of its own."""

    def __init__(self, program, room):
        # The user of keyward may not enter the folder of the program.
        self.program, self.room = room / "keyward", room
        shutil.copy(program, self.program)
        self.program.chmod(0o755)
        room.chmod(0o755)
        self.notes, self.log = room / "notes", room / "keyward.log"
        self.notes.touch()
        os.chown(self.notes, APP, APP)
        self.home, self.sockets = room / "home", room / "app"
        for made, user, group, mode in (
            (self.home, KEYWARD, KEYWARD, 0o700),
            (self.sockets, APP, SHARED, 0o750),
        ):
            made.mkdir()
            os.chown(made, user, group)
            made.chmod(mode)
        self.socket = self.sockets / "app.sock"
        self.configuration = self.home / "keyward.toml"
        self.configuration.write_text(self.text())
        os.chown(self.configuration, KEYWARD, KEYWARD)
        self.pod, self.client, self.intruder = (
            Namespace(name) for name in ("pod", "client", "intruder")
        )
        self.app = self.keyward = None

    def text(self):
        text = """
            [server]
            workers = 2
            pin = false
            [[listener]]
            address = "192.0.2.1:8080"
            [[listener]]
            address = "[2001:db8:1::1]:8080"
            [log]
            format = "human"
            [[token_api]]
            name = "keys"
            style = "allowlist-jwt"
            mount = "/keys/{organization}/{username}"
        """
        endpoints = {
            "loopback": f"http://127.0.0.1:{OWN}",
            "loopback6": f"http://[::1]:{OWN}",
            "socket": f"unix:{self.socket}",
            "careless": f"http://127.0.0.1:{CARELESS}",
        }
        for name, endpoint in endpoints.items():
            text += f'[[upstream]]\nname = "{name}"\nendpoints = ["{endpoint}"]\n'
            text += f'[[route]]\npath = "/{name}/{{*rest}}"\nupstream = "{name}"\n'
            text += 'accept = ["keys"]\n'
        text += '[[route]]\npath = "/public/{*rest}"\nupstream = "loopback"\npublic = true\n'
        return "\n".join(line.strip() for line in text.splitlines())

    def __enter__(self):
        try:
            self.wire()
            self.start_app()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in (self.keyward, self.app):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                stop(process)

    def wire(self):
        for namespace in (self.pod, self.client, self.intruder):
            for of in ("all", "default"):
                namespace.set(f"ipv6.conf.{of}.disable_ipv6", 0)
        for namespace in (self.pod, self.client):
            namespace.ip("link set lo up")
        for other in (self.client, self.intruder):
            join(self.pod, other, WIRES[other.name])
        # As the kernel has it; this machine may have it otherwise.
        for of in ("all", "default", "client", "intruder"):
            for name in ("route_localnet", "accept_source_route", "forwarding", "rp_filter"):
                self.pod.set(f"ipv4.conf.{of}.{name}", 0)
        # Both may try every address of the pod.
        for other in (self.client, self.intruder):
            for address in POD:
                family, length = ("-6", 128) if ":" in address else ("-4", 32)
                via = WIRES[other.name][family == "-6"].split("/")[0].format(1)
                if address != via:
                    other.ip(f"{family} route add {address}/{length} via {via} dev pod")
        # The intruder has no loopback of its own: what it sends there goes to the pod.
        for name in ("all", "pod"):
            self.intruder.set(f"ipv4.conf.{name}.route_localnet", 1)
        self.intruder.ip("route add 127.0.0.1/32 via 198.51.100.1 dev pod src 198.51.100.2")
        self.intruder.ip("-6 route add ::1/128 via 2001:db8:2::1 dev pod src 2001:db8:2::2")

    def start_app(self):
        places = [f"127.0.0.1:{OWN}", f"[::1]:{OWN}", f"unix:{self.socket}"]
        places += [f"0.0.0.0:{CARELESS}", f"[::]:{CARELESS}"]
        app = shutil.copy(HERE / "header_app.py", self.room)
        self.app = self.pod.start(
            ["/usr/bin/env", "python3", app, self.notes, *places],
            user=APP,
            group=SHARED,
            extra_groups=[],
            umask=0o007,
            cwd=self.sockets,
            stdout=subprocess.PIPE,
        )
        assert self.app.stdout.readline() == b"ready\n", "the app did not start"

    def start(self):
        """Starts keyward, and waits until it is ready."""
        log = open(self.log, "ab")
        self.keyward = self.pod.start(
            [self.program, "run"],
            user=KEYWARD,
            group=KEYWARD,
            extra_groups=[SHARED],
            cwd=self.home,
            stdout=log,
            stderr=log,
        )
        log.close()

        def is_ready():
            assert self.keyward.poll() is None, "keyward has ended:\n" + self.log.read_text()
            with contextlib.suppress(OSError):
                return self.pod.ask(("127.0.0.1", 9090), "/readyz")[0] == 200
            return False

        until("keyward to be ready", is_ready)

    @property
    def process(self):
        return self.keyward

    def kill(self):
        self.keyward.kill()
        self.keyward.wait()

    def last_words(self):
        return "".join(f"    {line}\n" for line in self.log.read_text().splitlines()[-15:])

    def command(self, *words):
        """What a command of keyward prints, as its user."""
        with self.pod.inside():
            done = subprocess.run(
                [self.program, *words],
                user=KEYWARD,
                group=KEYWARD,
                extra_groups=[],
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=30,
            )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def token(self):
        who = ["--sub", "u-1", "--username", "alice", "--organization", "acme", "--role", "user"]
        bootstrap = self.command("bootstrap", "create", "--token-api", "keys", *who)
        status, body = self.client.ask(
            FRONT,
            "/keys/acme/alice/auth/issue-token",
            [("Authorization", f"Bearer {bootstrap}"), ("Content-Type", "application/json")],
            "POST",
            b'{"name": "laptop"}',
        )
        assert status in (200, 201), (status, body)
        return json.loads(body)["data"]["token"]

    def seen(self):
        """How many requests have reached the app, whatever way they came."""
        return len(self.notes.read_text().splitlines())
