"""A Redis master with replicas, under sentinels. Nothing but the standard library, redis-server and
redis-cli.
"""

import pathlib
import signal
import subprocess

from running_keyward import free_port
from running_servers import await_port, stop, until

MASTER = "fleet"
# After so many seconds of silence the sentinels doubt the master.
DOWN_AFTER = 1


class Server:
    """A server that keeps what it acknowledges, or a sentinel."""

    def __init__(self, room, lines, is_sentinel=False):
        self.port = free_port()
        self.room = room / str(self.port)
        self.room.mkdir()
        configuration = self.room / "redis.conf"
        configuration.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self.room}\n{lines}\n")
        kind = ["--sentinel"] if is_sentinel else []
        self.command = ["redis-server", str(configuration), *kind]
        self.start()

    def start(self):
        log = self.room / "log"
        with open(log, "ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output)
        try:
            await_port(self.port, self.process, log)
        except BaseException:
            self.end()
            raise

    def ask(self, *words):
        """The lines of an answer; none if there is none."""
        command = ["redis-cli", "-p", str(self.port), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.stdout.splitlines() if done.returncode == 0 else []

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            stop(self.process)


class Replicated:
    """A master with two replicas, of which one must have each change, and three sentinels. Runs for
    as long as the `with` lasts.
    """

    def __init__(self, room):
        self.room = pathlib.Path(room) / "redis"
        self.room.mkdir()
        self.servers, self.sentinels = [], []

    def __enter__(self):
        lines = (
            'appendonly yes\nsave ""\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n'
            "min-replicas-to-write 1\nmin-replicas-max-lag 2\n"
        )
        try:
            master = Server(self.room, lines)
            self.servers.append(master)
            for _ in range(2):
                of_master = f"replicaof 127.0.0.1 {master.port}"
                self.servers.append(Server(self.room, lines + of_master))
            until("the replicas to follow", lambda: self.following(master) == 2)
            # The first alone begins a failover, with the vote of another one: when two begin one at
            # the same time, two replicas become masters, and refuse changes as neither has one.
            for quorum in (2, 4, 4):
                lines = (
                    f"sentinel monitor {MASTER} 127.0.0.1 {master.port} {quorum}\n"
                    f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER * 1000}\n"
                    f"sentinel failover-timeout {MASTER} 5000\n"
                )
                self.sentinels.append(Server(self.room, lines, is_sentinel=True))
            until("the sentinels to know each other", self.all_met, 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.sentinels + self.servers:
            server.end()

    @staticmethod
    def following(master):
        """How many replicas have a copy of a master, and follow it."""
        lines = master.ask("INFO", "replication")
        return sum(line.startswith("slave") and "state=online" in line for line in lines)

    def all_met(self):
        def knows(sentinel):
            facts = sentinel.ask("SENTINEL", "MASTER", MASTER)
            known = dict(zip(facts[::2], facts[1::2]))
            return known.get("num-slaves") == "2" and known.get("num-other-sentinels") == "2"

        return all(knows(sentinel) for sentinel in self.sentinels)

    def named(self):
        """The ports of the master, as the sentinels name them; one, where all agree."""
        answers = [
            sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            for sentinel in self.sentinels
        ]
        return {int(answer[1]) for answer in answers if len(answer) == 2}

    def master(self):
        [port] = until("the sentinels to agree", lambda: len(found := self.named()) == 1 and found)
        return next(server for server in self.servers if server.port == port)

    def urls(self):
        return [f"redis://127.0.0.1:{sentinel.port}" for sentinel in self.sentinels]
