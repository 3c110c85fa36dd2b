"""The pods of the trials in deploy/kubernetes/try, run without a cluster: what keyward says of its
mounts and its Redis, a token that is issued, used and revoked, and the end of a sidecar.
"""

import json
import os
import shutil
import sys
import time

import manifest_pods as pods
from manifest_rules import Deployed
from running_keyward import PATIENCE

# Services, and so names.
NAMES = ["keyward-redis", "app", "keyward"]


def programs(keyward):
    """What the images have."""
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return {"keyward": keyward, "redis-server": shutil.which("redis-server"), "python3": python}


class Run:
    """The pods of a trial, "edge" or "sidecar", of its manifests with the Secrets."""

    def __init__(self, name, manifests, room, program):
        self.name, self.deployed, self.room = name, Deployed(manifests), room
        room.mkdir()
        self.objects = {(one["kind"], one["metadata"]["name"]): one for one in manifests}
        self.programs = programs(program)
        self.hosts = "".join(f"{pods.POD} {name}\n" for name in NAMES) + "127.0.0.1 localhost\n"

    def pod(self, kind, name):
        workload = self.deployed.named(kind, name)
        claims = workload["spec"].get("volumeClaimTemplates", [])
        room = self.room / name
        room.mkdir()
        template = workload["spec"]["template"]
        return pods.Pod(room, template, self.objects, self.programs, claims)

    def walk(self, name):
        redis = self.pod("StatefulSet", "keyward-redis").container("redis")
        pod = self.pod("Deployment", name)
        app_pod = pod if self.name == "sidecar" else self.pod("Deployment", "app")
        keyward, app = pod.container("keyward"), app_pod.container("app")
        with keyward.start(self.hosts):
            # Without Redis it is up, and not ready: no restart, and no client.
            keyward.await_probe("startupProbe")
            assert keyward.probe("livenessProbe") == 200
            assert keyward.probe("readinessProbe") == 503
            with redis.start(self.hosts), app.start(self.hosts):
                redis.await_probe("readinessProbe")
                app.await_probe("readinessProbe")
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    keyward.await_probe(probe)
                self.is_judged_well(keyward)
                self.has_no_way_past(redis)
                kept, revoked = self.serves(keyward)
                if self.name == "sidecar":
                    self.ends_in_order(keyward)
                else:
                    self.outlasts_a_restart(keyward, redis, kept, revoked)

    def keyward_says(self, keyward, *arguments):
        answer = keyward.execute("keyward", "-c", keyward.spec["args"][1], *arguments)
        assert answer.returncode == 0, f"{arguments}: {answer.stdout}{answer.stderr}"
        return answer

    def is_judged_well(self, keyward):
        """keyward and Redis find nothing wrong with each other, nor with the mounts."""
        assert self.keyward_says(keyward, "health").stdout == "ready\n"
        said = self.keyward_says(keyward, "validate")
        words = said.stdout + said.stderr
        assert "can be read" not in words and "can be written" not in words, words
        # Of the Redis it says what could lose records: here that the network is trusted, no more.
        checked = json.loads(self.keyward_says(keyward, "store", "check", "--json").stdout)
        odd = [one["subject"] for one in checked if one["severity"] != "fine"]
        assert odd == ["TLS"], checked
        # A configuration that is not there yet is judged beside the one that is in force.
        text = keyward.execute("/bin/cat", keyward.spec["args"][1]).stdout
        for given, good in ((text, True), (text + "[servers]\n", False)):
            answer = keyward.execute("keyward", "-c", "/dev/stdin", "validate", stdin=given)
            assert (answer.returncode == 0) == good, answer.stderr
        wrote = keyward.execute("/bin/sh", "-c", "touch /etc/keyward/x || touch /x")
        assert wrote.returncode != 0, "the container may write"

    def has_no_way_past(self, redis):
        """Without the password Redis says nothing."""
        with pods.socket.create_connection((pods.POD, 6379), 5) as connection:
            connection.sendall(b"PING\r\n")
            said = connection.recv(200)
        assert said.startswith(b"-NOAUTH"), said

    def serves(self, keyward):
        ports = {one["name"]: one["containerPort"] for one in keyward.spec["ports"]}
        http = ports["http"]
        monitor = self.objects.get(("ServiceMonitor", "keyward"))
        path = monitor["spec"]["endpoints"][0]["path"] if monitor else "/metrics"
        status, _, metrics = pods.ask(ports["admin"], path)
        assert status == 200 and "keyward_build_info" in metrics
        status, *_ = pods.ask(http, "/metrics")
        assert status == 401, "metrics are public"
        if self.name == "sidecar":
            # At the pod's address the app does not answer; from within the pod it does.
            assert pods.ask(3000, "/")[0] is None, "the app is reached past keyward"
            assert pods.ask(3000, "/", address="127.0.0.1")[0] == 200
        identity = ["--sub", "u-1", "--username", "alice", "--organization", "acme"]
        create = ["bootstrap", "create", "--token-api", "keys", "--mints", "2", *identity]
        bootstrap = self.keyward_says(keyward, *create, "--role", "user").stdout.strip()
        base, tokens = "/keys/acme/alice/auth", []
        for body in (b'{"name": "laptop"}', b'{"name": "phone", "expires_in_minutes": 60}'):
            status, _, answer = pods.ask(http, f"{base}/issue-token", "POST", bootstrap, body)
            assert status == 200, answer
            tokens.append(json.loads(answer)["data"]["token"])
        kept, token = tokens
        status, _, shown = pods.ask(http, "/orders", token=token)
        assert status == 200 and shown.startswith("GET /orders\n"), (status, shown)
        lines = shown.lower().splitlines()
        assert "x-keyward-subject: u-1" in lines and "x-keyward-username: alice" in lines, shown
        assert not any(line.startswith("authorization:") for line in lines), shown
        for method in ("POST", "PATCH", "DELETE"):
            # In pieces, whose length is not said before.
            status, _, shown = pods.ask(http, "/orders", method, token, (b'{"a": ', b"1}"))
            assert status == 200 and shown.startswith(f"{method} /orders\n"), (status, shown)
        assert "laptop" in self.keyward_says(keyward, "token", "list").stdout
        status, _, answer = pods.ask(http, f"{base}/revoke", "POST", token)
        assert status == 200 and json.loads(answer)["data"]["status"] == "revoked", answer
        assert pods.ask(http, "/orders", token=token)[0] == 401
        return kept, token

    def outlasts_a_restart(self, keyward, redis, kept, revoked):
        """Redis replays its file with what its users may do: no token and no revocation is lost."""
        redis.restart(self.hosts)
        redis.await_probe("readinessProbe")
        keyward.await_probe("readinessProbe")
        assert pods.ask(8080, "/orders", token=kept)[0] == 200, "a restart of Redis lost a token"
        assert pods.ask(8080, "/orders", token=revoked)[0] == 401, "... or a revocation"

    def ends_in_order(self, keyward):
        """Upon its hook it is not ready, and serves on; then it ends by itself, in time."""
        server = next(self.deployed.keywards())
        began = time.monotonic()
        hook = keyward.spec["lifecycle"]["preStop"]["exec"]["command"]
        answer = keyward.execute(*hook)
        assert answer.returncode == 0, answer.stderr
        until_not_ready = began + PATIENCE
        while keyward.probe("readinessProbe") != 503:
            assert time.monotonic() < until_not_ready, "it is ready as before"
            time.sleep(0.02)
        status, headers, _ = pods.ask(8080, "/orders")
        assert (status, headers.get("Connection")) == (401, "close"), (status, headers)
        assert keyward.process.wait(PATIENCE) == 0, keyward.last_words()
        took = time.monotonic() - began
        most = server.apps[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert took < most, f"it took {took} s, and the app is there for {most} s"
