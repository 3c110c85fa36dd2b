"""Two instances of keyward behind HAProxy, on Redis under sentinels, under load: they are restarted
one after the other, the master of Redis is killed, they are restarted, the next master hangs, they
are handed over. No request fails but while Redis has no master, and what is revoked opens nothing.

usage: rolling_restart.py KEYWARD [WORD …]

Of Debian: haproxy, nginx, redis-server.
"""

import contextlib
import csv
import http.client
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from load import Load
from running_keyward import ISSUER, PATIENCE, SECRET, access_token, free_port
from running_redis import MASTER, Replicated
from running_servers import folder, nginx, run, running, until

FLEET = pathlib.Path(__file__).parents[2] / "docs/fleet.md"
# How long it takes an instance to use another master, once the sentinels name it, as docs/fleet.md
# says; and what a busy machine may add.
USED_WITHIN, LATE = 3, 6


class Instance:
    """A keyward on the common store and keys. `/private/…` takes tokens, `/public/…` does not."""

    def __init__(self, program, name, room, upstream, redis):
        self.program, self.name, self.room = program, name, room
        self.port, self.admin = free_port(), free_port()
        self.configuration, self.log = room / f"{name}.toml", room / f"{name}.log"
        self.socket = room / f"{name}.sock"
        self.process, self.older = None, []
        text = f"""
            [server]
            workers = 1
            pin = false
            shutdown_delay = "2s"
            [[listener]]
            address = "127.0.0.1:{self.port}"
            [admin]
            address = "127.0.0.1:{self.admin}"
            socket = "{self.socket}"
            [store]
            kind = "redis"
            topology = "sentinel"
            sentinel_master = "{MASTER}"
            url = {json.dumps(redis.urls())}
            revoke_acks = 1
            timeout = "5s"
            read_timeout = "2s"
            coherence_lease = "3s"
            [keys]
            directory = "{room}/keys"
            [log]
            format = "human"
            access = "off"
            [[issuer]]
            name = "login"
            issuer = "{ISSUER}"
            secret_file = "{room}/login-secret"
            audience = ["account"]
            required_claims = {{ typ = "Bearer" }}
            [[token_api]]
            name = "platform"
            style = "tenant-tokens"
            mount = "/api/v1"
            issuer = "login"
            [[upstream]]
            name = "app"
            endpoints = ["http://127.0.0.1:{upstream}"]
            [[route]]
            path = "/private/{{*rest}}"
            upstream = "app"
            accept = ["platform"]
            [[route]]
            path = "/public/{{*rest}}"
            upstream = "app"
            public = true
        """
        self.configuration.write_text("\n".join(line.strip() for line in text.splitlines()))

    def spawn(self, *arguments):
        with open(self.log, "ab") as log:
            command = [self.program, "--config", str(self.configuration), "run", *arguments]
            # A group of its own, with what it starts to take over.
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def start(self):
        self.process = self.spawn()
        self.until_ready()

    def is_ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(self.admin, "/readyz")[0] == 200
        return False

    def until_ready(self):
        def ready():
            assert self.process.poll() is None, f"{self.name} has ended:\n{self.last_words()}"
            return self.is_ready()

        until(f"{self.name} to be ready", ready)

    def get(self, port, path, token=None):
        """The status of an answer of this instance itself, and its body."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def status_with(self, token):
        """What the instance itself says of a token; none, if it takes no connection now."""
        with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):
            return self.get(self.port, "/private/x", token)[0]
        return None

    def restart(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.last_words()
        self.start()

    def take_over(self):
        """Another process takes over, which was started beside this one."""
        self.older.append(self.process)
        self.process = self.spawn("--take-over")
        until(f"{self.name} to be taken over", lambda: self.process_id() == self.process.pid)

    def replace_itself(self):
        """It starts another process itself, which takes over."""
        old = self.process
        old.send_signal(signal.SIGUSR2)
        self.older.append(old)

        def successor():
            found = self.process_id()
            return found if found != old.pid else None

        self.process = Orphan(until(f"{self.name} to be taken over", successor), old.pid)

    def older_end(self):
        """Those that were taken over from finish what they have, and end."""
        for old in self.older:
            assert old.wait(PATIENCE) == 0, self.last_words()

    def process_id(self):
        """What the process that has the admin socket says of itself; none, if it is just leaving."""
        connection = http.client.HTTPConnection("keyward", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/v1/status")
            return json.loads(connection.getresponse().read())["pid"]
        return None

    def last_words(self):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "".join(f"    {line}\n" for line in text.splitlines()[-15:])

    def end(self):
        for process in (self.process, *self.older):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


class Orphan:
    """A process that another one has started, in the group of that one, which has ended."""

    def __init__(self, pid, group):
        assert os.getpgid(pid) == group, "it is another one's"
        self.pid, self.handle = pid, os.pidfd_open(pid)

    def send_signal(self, number):
        signal.pidfd_send_signal(self.handle, number)

    def poll(self):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, 0)
            return None
        return 0

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def wait(self, patience=PATIENCE):
        until("a process to end", lambda: self.poll() is not None, patience)
        return 0


class Balancer:
    """HAProxy as docs/fleet.md has it, but that it asks /readyz more often. It repeats nothing."""

    def __init__(self, room, instances):
        self.port, self.stats = free_port(), free_port()
        backend = re.search(r"```text\n(backend keyward\n.*?)```", FLEET.read_text(), re.DOTALL)[1]
        for number, one in enumerate(instances, 1):
            stated, port = f"10.0.0.{number}:8080", f"127.0.0.1:{one.port}"
            backend = backend.replace(
                f"{stated} check port 9090", f"{port} check port {one.admin}"
            )
            backend = backend.replace(stated, port)
        assert "10.0.0." not in backend and " inter 1s " in backend, backend
        text = f"""
            global
                nbthread 1
            defaults
                mode http
                retries 0
                timeout connect 5s
                timeout client 60s
                timeout server 60s
            frontend clients
                bind 127.0.0.1:{self.port}
                default_backend keyward
            frontend stats
                bind 127.0.0.1:{self.stats}
                stats enable
                stats uri /
        """
        self.configuration = room / "haproxy.cfg"
        self.configuration.write_text(text + "\n" + backend.replace(" inter 1s ", " inter 200ms "))
        self.command = ["haproxy", "-db", "-f", self.configuration]

    def is_up(self, name):
        """Whether an instance gets requests."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stats, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/;csv")
            rows = csv.DictReader(io.StringIO(connection.getresponse().read().decode()))
            states = {row["svname"]: row["status"] for row in rows if row["# pxname"] == "keyward"}
        return states[name] == "UP"

    def until_up(self, instances):
        for one in instances:
            until(f"requests to go to {one.name}", lambda: self.is_up(one.name))


class Checks:
    def __init__(self, instances, balancer, redis):
        self.instances, self.balancer, self.redis = instances, balancer, redis
        self.load = Load(balancer.port, instances, access_token)
        self.load.start()

    def rolling(self, change):
        """Every instance in turn."""
        for one in self.instances:
            change(one)
            self.balancer.until_up(self.instances)
        self.load.goes_on()
        self.load.judge()

    def without_master(self, lose):
        """The master is lost, and another one comes into use. Requests may fail meanwhile, within
        the time that docs/fleet.md states.
        """
        master = self.redis.master()
        others = {server.port for server in self.redis.servers if server is not master}
        lost = time.monotonic()
        lose(master)
        until(
            "the sentinels to name another",
            lambda: len(named := self.redis.named()) == 1 and named <= others,
            60,
        )
        named = time.monotonic()
        for one in self.instances:
            until(f"{one.name} to be ready", one.is_ready)
        until("the stated time to be over", lambda: time.monotonic() > named + USED_WITHIN)
        self.balancer.until_up(self.instances)
        self.load.goes_on()
        self.load.judge((lost, named, named + USED_WITHIN + LATE))
        return master

    def restarts(self):
        """Two instances are restarted in turn, and no request fails."""
        self.rolling(Instance.restart)

    def failover(self):
        """The master of Redis is killed: until another one is in use, requests with a token get 503
        with Retry-After, those without one their answer, and afterwards none fails.
        """
        self.without_master(lambda master: master.kill()).start()

    def restarts_afterwards(self):
        """Two instances are restarted in turn after that, while the old master comes back."""
        self.rolling(Instance.restart)

    def frozen(self):
        """The master hangs, and comes back when there is another one: the same holds, and it is not
        believed.
        """
        until("the replicas to follow", lambda: self.redis.following(self.redis.master()) == 2, 60)
        hung = self.without_master(lambda master: master.process.send_signal(signal.SIGSTOP))
        hung.process.send_signal(signal.SIGCONT)

    def hand_overs(self):
        """One instance is taken over by another process, the other one replaces itself, and no
        request fails.
        """
        changes = iter([Instance.take_over, Instance.replace_itself])
        self.rolling(lambda one: next(changes)(one))
        for one in self.instances:
            one.older_end()
        self.load.goes_on()
        self.load.judge()

    def revocations(self):
        """Of the tokens that were revoked meanwhile none opens anything, and all others do."""
        self.load.stop()
        assert self.load.revoked, "no token was revoked"
        for one in self.instances:
            for token in self.load.revoked:
                assert one.status_with(token) == 401, one.name
            for token in self.load.tokens:
                assert one.status_with(token) == 200, one.name
        self.load.judge()
        print(f"    {self.load.summary()}", flush=True)

    def last_words(self):
        return "".join(f"    {one.name}:\n{one.last_words()}" for one in self.instances)


def main():
    program = str(pathlib.Path(sys.argv[1]).absolute())
    # So that what is started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as opened:
        room = opened.enter_context(folder())
        (room / "login-secret").write_bytes(SECRET)
        redis = opened.enter_context(Replicated(room))
        port, home = free_port(), room / "app"
        home.mkdir()
        app = nginx(home, f"server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}")
        opened.enter_context(running(app, port, home, "app"))
        instances = [Instance(program, name, room, port, redis) for name in ("one", "two")]
        for one in instances:
            opened.callback(one.end)
            one.start()
        balancer = Balancer(room, instances)
        opened.enter_context(running(balancer.command, balancer.port, room, "haproxy"))
        balancer.until_up(instances)
        checks = Checks(instances, balancer, redis)
        opened.callback(checks.load.stop)
        checks.process = instances[0].process
        run(
            [
                checks.restarts,
                checks.failover,
                checks.restarts_afterwards,
                checks.frozen,
                checks.hand_overs,
                checks.revocations,
            ],
            at_most=240,
            front_of=lambda: checks,
        )


if __name__ == "__main__":
    main()
