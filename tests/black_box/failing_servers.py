"""nginx and Node behind keyward, where they die, stall, flap, half-close and answer garbage. What
clients notice of it, under load too.

usage: failing_servers.py KEYWARD [--all] [WORD …]
"""

import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

from running_keyward import free_port
from running_servers import (
    Certificates,
    Route,
    Upstream,
    await_port,
    folder,
    front,
    nginx,
    run,
    running,
    until,
)

HERE = pathlib.Path(__file__).parent
# Requests a second, of GET and of POST together, and for how many seconds.
RATE, SECONDS = 2000, 12
CLIENTS = 20


class Nginx:
    """An nginx that answers everything, and notes when each request came. It can be killed and
    started again on its port.
    """

    def __init__(self, room, name):
        self.room, self.port, self.process = room / name, free_port(), None
        self.room.mkdir()
        self.log = self.room / "requests"

    def start(self):
        servers = f"""
            log_format moments "$msec $request_method $request_uri";
            keepalive_requests 1000000;
            server {{
                listen 127.0.0.1:{self.port};
                access_log {self.log} moments;
                location / {{ return 200 "nginx"; }}
            }}
        """
        with open(self.room / "output", "ab") as output:
            command = nginx(self.room, servers)
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        await_port(self.port, self.process, self.room / "stderr")

    def workers(self):
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(pid) for pid in pathlib.Path(children).read_text().split()]

    def signal(self, kind):
        # The first process first: it would start another worker in the place of one that dies.
        for pid in [self.process.pid, *self.workers()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)

    def kill(self):
        """All at once, as a machine dies."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def moments(self):
        """When each request came, in seconds since 1970."""
        with contextlib.suppress(FileNotFoundError):
            return [float(line.split()[0]) for line in self.log.read_text().splitlines()]
        return []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


def load(origin, path, rate, seconds, body=None):
    """How many requests h2load sent at this rate, and how many of them got which class of status,
    or none.
    """
    command = ["h2load", "--h1", "-c", CLIENTS, "-t", 1, "--rps", rate / CLIENTS]
    command += ["-n", rate * seconds] + (["-d", body] if body else [])
    command = [str(word) for word in (*command, origin + path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 6 + 60)
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = re.search(
        r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout
    )
    requests = re.search(
        r"requests: (\d+) total, .*?(\d+) errored, (\d+) timeout", done.stdout
    )
    assert statuses and requests, done.stdout
    good, _, _, failed = (int(number) for number in statuses.groups())
    total, errored, late = (int(number) for number in requests.groups())
    return {"total": total, "good": good, "failed": failed, "none": errored + late}


class Checks:
    def __init__(self, program, room):
        self.program, self.room, self.front = program, room, None
        self.certificates = Certificates(room)
        self.number = 0

    @contextlib.contextmanager
    def keyward(self, endpoints, further="", of_route=""):
        """A keyward with a public route to these ports; `further`, `of_route`: more lines of the
        upstream and of the route.
        """
        first, *others = (f"http://127.0.0.1:{port}" for port in endpoints)
        # The endpoint is written into a list.
        listed = '", "'.join((first, *others))
        upstream = Upstream("app", listed, further=further)
        route = Route("/", "app", True, further=of_route)
        with front(self.program, self.certificates, [upstream], [route]) as made:
            self.front = made
            yield made

    def pair(self):
        self.number += 1
        return [Nginx(self.room, f"nginx-{self.number}-{at}") for at in range(2)]

    def lines(self):
        """What the access log has of refusals, a word each."""
        text = (self.front.room / "access.log").read_text(errors="replace")
        return re.findall(r"\b(upstream_[a-z]+|circuit_open)\b", text)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.front.clear, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def dies_under_load(self):
        """An nginx that dies under 2,000 requests a second and is started again costs no GET, and
        of the POSTs only such as had begun; it returns without a burst.
        """
        body = self.room / "body"
        body.write_bytes(b"x" * 100)
        one, two = self.pair()
        ejection = 'ejection = { failures = 3, for = "1s", slow_return = "4s" }'
        with one, two, self.keyward((one.port, two.port), ejection) as keyward:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                gets = pool.submit(load, keyward.origin, "/get", RATE * 9 // 10, SECONDS)
                posts = pool.submit(load, keyward.origin, "/post", RATE // 10, SECONDS, body)
                until("requests", lambda: len(two.moments()) > RATE // 4)
                two.kill()
                died = time.time()
                time.sleep(2.5)
                two.start()
                back = time.time()
                gets, posts = gets.result(), posts.result()
            after = [moment for moment in two.moments() if moment >= back - 0.1]
            print(f"    GET {gets}, POST {posts}, {len(after)} requests after the return")
            assert gets["good"] == gets["total"] == RATE * 9 // 10 * SECONDS, f"GET: {gets}"
            lost = posts["total"] - posts["good"]
            # One for each client at the moment of the death, and each time that it is tried again.
            assert lost <= CLIENTS + 5, f"POST: {posts}"
            refused = self.lines()
            assert set(refused) <= {"upstream_broken"}, f"others had not begun: {refused}"
            assert len(refused) == lost, f"{refused} for {lost}"
            assert after, "it gets no requests again"
            # Its whole share would be half of all. In the first half second of its return it may
            # have little more than the twentieth with which it begins.
            first = min(after)
            window = [moment for moment in after if moment < first + 0.5]
            whole = RATE / 2 * 0.5
            assert len(window) < whole / 2, f"{len(window)} at once, of {whole} when it is back"
            assert died < first

    def stalls(self):
        """An nginx that is stopped, so that it takes connections and says nothing, costs the
        requests that it had, and no others.
        """
        one, two = self.pair()
        further = 'ejection = { failures = 3, for = "30s" }\nretries.budget = 100'
        times = 'timeouts = { response_head = "1s" }'
        with one, two, self.keyward((one.port, two.port), further, times):
            for _ in range(10):
                assert self.get("/x")[0] == 200
            two.signal(signal.SIGSTOP)
            try:
                with concurrent.futures.ThreadPoolExecutor(12) as pool:
                    statuses = [status for status, _ in pool.map(self.get, ["/x"] * 12)]
                assert set(statuses) <= {200, 504}, statuses
                assert statuses.count(200) >= 3, statuses
                until("the ejection", lambda: all(self.get("/x")[0] == 200 for _ in range(3)), 90)
                began = time.monotonic()
                statuses = [self.get("/x")[0] for _ in range(40)]
                assert statuses == [200] * 40, statuses
                assert time.monotonic() - began < 30, "they waited for the one that is stopped"
            finally:
                two.signal(signal.SIGCONT)

    def flaps(self):
        """An nginx that dies and returns again and again costs no GET."""
        one, two = self.pair()
        ejection = 'ejection = { failures = 2, for = "300ms", slow_return = "300ms" }'
        with one, two, self.keyward((one.port, two.port), ejection):
            over, statuses = threading.Event(), []

            def ask():
                while not over.is_set():
                    statuses.append(self.get("/x")[0])

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                asking = [pool.submit(ask) for _ in range(4)]
                try:
                    for _ in range(6):
                        two.kill()
                        time.sleep(0.4)
                        two.start()
                        time.sleep(0.4)
                finally:
                    over.set()
                for each in asking:
                    each.result()
            assert len(statuses) > 100 and set(statuses) == {200}, (
                f"{len(statuses)}: {[status for status in statuses if status != 200]}"
            )

    def node_breaks_off(self):
        """What Node breaks off, half-closes or answers with garbage is served by an nginx, if it is
        a GET; half a response never looks whole.
        """
        node, (one, _) = free_port(), self.pair()
        command = ["node", HERE / "failing_server.mjs", node]
        further = "ejection = { failures = 0 }\nretries = { budget = 100, floor = 1000 }"
        with running(command, node, self.room, "node"), one:
            with self.keyward((node, one.port), further):
                for path in ("/half-close", "/reset", "/garbage", "/half-a-head"):
                    answers = [self.get(path) for _ in range(10)]
                    assert answers == [(200, b"nginx")] * 10, f"{path}: {answers}"
                cut = 0
                for _ in range(10):
                    try:
                        assert self.get("/half-a-body") == (200, b"nginx")
                    except (http.client.IncompleteRead, ConnectionError):
                        cut += 1
                assert 3 <= cut <= 7, f"{cut} of 10 are Node's"

    def all_die(self):
        """Where all die, the circuit opens: 503 at once, with a time; when one is back, so are the
        answers.
        """
        one, two = self.pair()
        further = 'circuit = true\nejection = { failures = 3, for = "2s", slow_return = "1s" }'
        with one, two, self.keyward((one.port, two.port), further):
            assert self.get("/x")[0] == 200
            one.kill()
            two.kill()
            until("the circuit", lambda: self.get("/x")[0] == 503)
            began = time.monotonic()
            statuses = {self.get("/x")[0] for _ in range(20)}
            assert 503 in statuses and statuses <= {502, 503}, statuses
            assert time.monotonic() - began < 10
            one.start()
            until("an answer", lambda: self.get("/x") == (200, b"nginx"))

    def all(self):
        return (
            self.node_breaks_off,
            self.flaps,
            self.all_die,
            self.stalls,
            self.dies_under_load,
        )


def main():
    with folder() as room:
        checks = Checks(sys.argv[1], room)
        run(checks.all(), 420)


if __name__ == "__main__":
    main()
