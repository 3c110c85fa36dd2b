"""Two instances of keyward behind HAProxy, on Redis under sentinels, under load: they are restarted
one after the other, the master of Redis is killed, they are restarted and handed over. No request
fails but while Redis has no master, and what is revoked opens nothing.

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
import signal
import socket
import subprocess
import sys
import time

from load import Load
from running_keyward import ISSUER, PATIENCE, SECRET, access_token, free_port
from running_redis import MASTER, Replicated
from running_servers import await_port, folder, nginx, run, running, stop, until

# How long it takes an instance to use another master, once the sentinels name it, as docs/fleet.md
# says; and what a busy machine may add.
USED_WITHIN, LATE = 3, 3


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
            shutdown_delay = "2500ms"
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
        new = self.spawn("--take-over")
        old, self.process = self.process, new
        self.older.append(old)
        assert old.wait(PATIENCE) == 0, self.last_words()
        self.until_ready()

    def replace_itself(self):
        """It starts another process itself, which takes over."""
        old = self.process
        old.send_signal(signal.SIGUSR2)
        assert old.wait(PATIENCE) == 0, self.last_words()
        until(f"{self.name} to be ready", self.is_ready)
        self.process = Orphan(self.process_id(), old.pid)

    def process_id(self):
        """What the process that has the admin socket says of itself."""
        connection = http.client.HTTPConnection("keyward", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.connect(str(self.socket))
            connection.request("GET", "/v1/status")
            return json.loads(connection.getresponse().read())["pid"]

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
    """HAProxy, which asks /readyz, and repeats no request. Where no instance is ready, it asks them
    all the same: what keyward then says is better than what it could say itself.
    """

    def __init__(self, room, instances):
        self.port, self.stats = free_port(), free_port()
        checked = "".join(
            f"server {one.name} 127.0.0.1:{one.port} check port {one.admin}\n" for one in instances
        )
        unchecked = "".join(
            f"server {one.name}-unready 127.0.0.1:{one.port} backup\n" for one in instances
        )
        self.configuration = room / "haproxy.cfg"
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
            backend keyward
                balance roundrobin
                option httpchk GET /readyz
                default-server inter 200ms fall 2 rise 2
                {checked}
                option allbackups
                {unchecked}
            frontend stats
                bind 127.0.0.1:{self.stats}
                stats enable
                stats uri /
        """
        self.configuration.write_text(text.rstrip() + "\n")
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
        self.load.nothing_failed()

    def restarts(self):
        """Two instances are restarted in turn, and no request fails."""
        self.rolling(Instance.restart)

    def failover(self):
        """The master of Redis is killed: until another one is in use, requests with a token get 503
        with Retry-After, those without one their answer, and afterwards none fails. That is so
        within the time that docs/fleet.md states.
        """
        master = self.redis.master()
        killed = time.monotonic()
        master.kill()
        others = {server.port for server in self.redis.servers if server is not master}
        until("the sentinels to name another", lambda: self.redis.named() <= others, 60)
        named = time.monotonic()
        for one in self.instances:
            until(f"{one.name} to be ready", one.is_ready)
        self.balancer.until_up(self.instances)
        end = named + USED_WITHIN + LATE
        until("the stated time to be over", lambda: time.monotonic() > end)
        self.load.goes_on()
        self.load.only_failed_within(killed, named, end)

    def restarts_afterwards(self):
        """Two instances are restarted in turn after that, and no request fails."""
        self.rolling(Instance.restart)

    def hand_overs(self):
        """One instance is taken over by another process, the other one replaces itself, and no
        request fails.
        """
        changes = iter([Instance.take_over, Instance.replace_itself])
        self.rolling(lambda one: next(changes)(one))

    def revocations(self):
        """Of the tokens that were revoked meanwhile none opens anything, and all others do."""
        self.load.stop()
        assert self.load.revoked, "no token was revoked"
        for one in self.instances:
            for token in self.load.revoked:
                assert one.status_with(token) == 401, one.name
            for token in self.load.tokens:
                assert one.status_with(token) == 200, one.name
        self.load.nothing_failed()
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
                checks.hand_overs,
                checks.revocations,
            ],
            at_most=240,
            front_of=lambda: checks,
        )


if __name__ == "__main__":
    main()
