"""deploy/kubernetes held to Kubernetes and to keyward: kustomize and Helm render it, the schemas of
the API know every field, the manifests agree with each other and with keyward.toml, and keyward
runs in pods that are made of them, with the Redis that they describe.

usage: kubernetes_manifests.py KEYWARD [--all] [WORD …]
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import jsonschema_rs
import yaml

import manifest_mutations
import manifest_pods as pods
from chart_values import BAD_VALUES, GOOD_VALUES, merged
from cluster_tools import DEPLOY, Tools, against_schemas, documents
from manifest_rules import Deployed, complaints
from running_keyward import PATIENCE
from running_servers import folder, run

REPOSITORY = DEPLOY.parents[1]
FOLDERS = ["edge", "sidecar", "redis", "try/edge", "try/sidecar"]
CHART = DEPLOY / "chart"
NAMES = ["keyward-redis", "app", "keyward"]


class Checks:
    def __init__(self, program, room):
        self.program, self.room, self.tools = pathlib.Path(program).resolve(), room, Tools(room)
        self.values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.edge_toml = (DEPLOY / "edge/keyward.toml").read_text()
        monitor = (DEPLOY / "service-monitor/service-monitor.yaml").read_text()
        self.edge = self.tools.kustomize(DEPLOY / "try/edge") + documents(monitor)
        self.sidecar = self.tools.kustomize(DEPLOY / "try/sidecar")

    def rendered(self):
        """kustomize renders every folder, the API's schemas know every field, and all agree"""
        for name in FOLDERS:
            found = self.tools.kustomize(DEPLOY / name)
            assert_none([*against_schemas(found), *complaints(found)], name)
        # As docs/kubernetes.md has it, beside a copy of the folder.
        shutil.copytree(DEPLOY, self.room / "deploy/kubernetes")
        page = (REPOSITORY / "docs/kubernetes.md").read_text()
        edge, sidecar, own, monitor = re.findall(r"```yaml\n(.*?)```", page, re.S)
        for shown in (edge, edge + own + monitor, sidecar):
            found = self.own(shown)
            deployed = Deployed(found)
            # The service behind it is the person's own.
            faults = [one for one in complaints(found) if "for the upstream app:3000" not in one]
            assert_none([*against_schemas(found), *faults], shown)
            keyward = next(deployed.keywards())
            assert keyward.container["image"] == "registry.example.com/keyward:0.1.0"
            assert ("# own" in keyward.configuration()) == (own in shown)
            assert bool(deployed.of("ServiceMonitor")) == (monitor in shown)

    def own(self, text):
        """A kustomization of a person's own, with a configuration beside it."""
        room = self.room / "shop"
        room.mkdir(exist_ok=True)
        (room / "keyward.toml").write_text(self.edge_toml + "# own\n")
        (room / "kustomization.yaml").write_text(text)
        return self.tools.kustomize(room)

    def faults_are_found(self):
        """Every fault that is planted in the manifests is reported"""
        mutations = manifest_mutations
        left = [
            *mutations.unreported(self.edge, mutations.EDGE, complaints),
            *mutations.unreported(self.sidecar, mutations.SIDECAR, complaints),
            *mutations.unreported(self.edge, mutations.SCHEMA, against_schemas),
        ]
        assert_none([*complaints(self.edge), *complaints(self.sidecar), *left], "mutations")

    def template(self, values, *arguments):
        path = self.room / "values.json"
        path.write_text(json.dumps(values))
        return self.tools.template("-f", path, *arguments)

    def chart(self):
        """The chart is rendered from values of every kind, and its pod is that of the base"""
        linted = self.tools.ask("helm", "lint", "--strict", CHART)
        assert linted.returncode == 0, linted.stdout
        for name, values in GOOD_VALUES.items():
            values = dict(values)
            if "config" in values:
                values["config"] = values["config"](self.edge_toml)
            found = self.template(values)
            assert not isinstance(found, str), f"{name}: {found}"
            assert_none([*against_schemas(found), *complaints(found)], f"chart, {name}")
            self.validate(next(iter(Deployed(found).keywards())).configuration())
        shown = (CHART / "files/keyward.toml").read_text()
        assert shown == self.edge_toml, "chart/files/keyward.toml is not edge/keyward.toml"
        theirs = next(Deployed(self.template({})).keywards())
        ours = next(Deployed(self.tools.kustomize(DEPLOY / "edge")).keywards())
        assert theirs.container == ours.container, (theirs.container, ours.container)
        for member in ("securityContext", "terminationGracePeriodSeconds"):
            assert theirs.pod[member] == ours.pod[member], member
        # The network is open only where a person says so.
        found = self.template({"networkPolicy": {"enabled": False}})
        assert any("others than Prometheus" in one for one in complaints(found)), found

    def changed_configuration(self):
        """Another configuration replaces the pods, of the chart and of the bases"""
        marks = set()
        for text in (self.edge_toml, self.edge_toml.replace('"30s"', '"31s"')):
            path = self.room / "keyward.toml"
            path.write_text(text)
            found = Deployed(self.tools.template("--set-file", f"config={path}"))
            pod = found.of("Deployment")[0]["spec"]["template"]
            marks.add(pod["metadata"]["annotations"]["checksum/config"])
            assert next(found.keywards()).configuration().strip() == text.strip()
        assert len(marks) == 2, marks
        names = set()
        for text in (self.edge_toml, self.edge_toml + "# another\n"):
            copy = self.room / "changed"
            shutil.copytree(DEPLOY / "edge", copy, dirs_exist_ok=True)
            (copy / "keyward.toml").write_text(text)
            keyward = next(Deployed(self.tools.kustomize(copy)).keywards())
            assert keyward.configuration() == text, "the pod has another ConfigMap"
            names.add(keyward.pod["volumes"][0]["configMap"]["name"])
        assert len(names) == 2, names

    def values_are_judged(self):
        """Values that are unknown or of a wrong type are refused, by the schema and by Helm"""
        schema = json.loads((CHART / "values.schema.json").read_text())
        judge = jsonschema_rs.validator_for(schema)
        assert judge.is_valid(self.values), list(judge.iter_errors(self.values))
        for over, by_template in BAD_VALUES:
            values = merged(self.values, over)
            assert judge.is_valid(values) == by_template, f"the schema on {over}"
            said = self.template(over)
            assert isinstance(said, str), f"Helm takes {over}"
        # Each value has words above it; what is in a table of labels or amounts has those of it.
        lines, inside = (CHART / "values.yaml").read_text().splitlines(), None
        for above, line in zip(lines, lines[1:]):
            depth = len(line) - len(line.lstrip())
            inside = None if inside is not None and line.strip() and depth <= inside else inside
            if inside is None and re.match(r" *[A-Za-z]+:", line):
                assert above.lstrip().startswith("#"), f"values.yaml says nothing of {line.strip()}"
                inside = depth if re.match(r" *(resources|\w+Labels):", line) else None

    def scripts(self):
        """The scripts are without faults that shellcheck knows"""
        for name in ("make-secrets", "try-on-a-cluster"):
            found = subprocess.run(["shellcheck", DEPLOY / name], capture_output=True, text=True)
            assert found.returncode == 0, found.stdout

    def rights(self):
        """The rights of the user of Redis are those that docs/fleet.md names"""
        shown = "~{keyward}:* &{keyward}:* +@read +@write +@scripting +@connection +@pubsub +info"
        for path in (REPOSITORY / "docs/fleet.md", DEPLOY / "make-secrets"):
            assert f"{shown} +time" in path.read_text(), path

    def validate(self, text):
        """keyward's own judgement, with the mounts below a folder and keys that it has made."""
        with folder() as room:
            answer = self.keyward("keys", "create", room / "etc/keyward-keys")
            assert answer.returncode == 0, answer.stderr
            (room / "etc/keyward-redis").mkdir()
            (room / "etc/keyward-redis/password").write_text("secret")
            (room / "etc/keyward-redis/password").chmod(0o600)
            (room / "run/keyward").mkdir(parents=True)
            if "keyward-tls" in text:
                (room / "etc/keyward-tls").mkdir()
                run_openssl(room / "etc/keyward-tls")
            text = re.sub(r'"(/etc/|/run/)', rf'"{room}\1', text)
            # Redis is not there: an embedded store is judged in its place.
            text = re.sub(r'kind = "redis"\nurl[^\n]*\nusername[^\n]*\npassword[^\n]*\n',
                          f'path = "{room}/keyward.db"\n', text)  # fmt: skip
            (room / "keyward.toml").write_text(text)
            answer = self.keyward("-c", room / "keyward.toml", "validate")
            assert answer.returncode == 0, answer.stderr

    def keyward(self, *arguments):
        command = [str(self.program), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    def secrets(self):
        """The Secrets that make-secrets would have made: kubectl prints them."""
        room = self.room / "secrets"
        if not (room / "bin").exists():
            (room / "bin").mkdir(parents=True)
            (room / "bin/keyward").symlink_to(self.program)
            (room / "bin/kubectl").write_text(
                f'#!/bin/sh\nexec {self.room}/kubectl "$@" --dry-run=client -o json\n'
            )
            (room / "bin/kubectl").chmod(0o755)
        path = f"{room}/bin:/usr/bin:/bin"
        made = subprocess.run(
            [DEPLOY / "make-secrets", "shop", "made"],
            cwd=room, env={**self.tools.environment, "PATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        decoder, text, found = json.JSONDecoder(), made.stdout.lstrip(), []
        while text:
            one, end = decoder.raw_decode(text)
            found.append(one)
            text = text[end:].lstrip()
        assert [one["metadata"]["namespace"] for one in found] == ["shop", "shop"]
        return found

    def secrets_are_made_once(self):
        """make-secrets makes what keyward and Redis need, and the same another time"""
        first, second = self.secrets(), self.secrets()
        assert first == second
        assert_none(against_schemas(first), "Secrets")
        keys, redis = first
        assert sorted(redis["data"]) == ["password", "users.acl"], redis["data"].keys()
        assert {"store.key", "pepper.key", "mac-1.key"} < keys["data"].keys(), keys["data"].keys()
        for path in (self.room / "secrets/made").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path

    def edge_runs(self):
        """The edge runs as its pod says: probes, a token that is issued, used and revoked"""
        Run(self, self.edge, "edge").walk("Deployment", "keyward")

    def sidecar_runs(self):
        """The sidecar runs as its pod says, alone leads to the app, and ends in order"""
        Run(self, self.sidecar, "sidecar").walk("Deployment", "app")


class Run:
    """The pods of a trial, with the Secrets that make-secrets has made."""

    def __init__(self, checks, manifests, name):
        self.deployed, self.name = Deployed(manifests), name
        self.room = checks.room / f"run-{name}"
        self.room.mkdir()
        self.room.chmod(0o755)
        self.objects = {}
        for one in manifests + checks.secrets():
            self.objects[one["kind"], one["metadata"]["name"]] = one
        python = getattr(sys, "_base_executable", sys.executable)
        self.programs = {
            "keyward": checks.program, "redis-server": shutil.which("redis-server"),
            "python3": os.path.realpath(python),
        }  # fmt: skip
        self.hosts = "".join(f"{pods.POD} {name}\n" for name in NAMES) + "127.0.0.1 localhost\n"

    def pod(self, kind, name):
        workload = self.deployed.named(kind, name)
        claims = workload["spec"].get("volumeClaimTemplates", [])
        room = self.room / name
        room.mkdir()
        template = workload["spec"]["template"]
        return pods.Pod(room, template, self.objects, self.programs, claims)

    def walk(self, kind, name):
        redis = self.pod("StatefulSet", "keyward-redis").container("redis")
        pod = self.pod(kind, name)
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
                self.serves(keyward)
                if self.name == "sidecar":
                    self.ends_in_order(keyward)

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
        # It refuses what is not safe in a Redis, and says what is odd.
        self.keyward_says(keyward, "store", "check")
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
        made = self.keyward_says(
            keyward, "bootstrap", "create", "--token-api", "keys", *identity, "--role", "user"
        )
        base = "/keys/acme/alice/auth"
        body = b'{"name": "laptop", "expires_in_minutes": 60}'
        status, _, answer = pods.ask(http, f"{base}/issue-token", "POST", made.stdout.strip(), body)
        assert status == 200, answer
        token = json.loads(answer)["data"]["token"]
        status, _, shown = pods.ask(http, "/orders", token=token)
        assert status == 200 and shown.startswith("GET /orders\n"), (status, shown)
        lines = shown.lower().splitlines()
        assert "x-keyward-subject: u-1" in lines and "x-keyward-username: alice" in lines, shown
        assert not any(line.startswith("authorization:") for line in lines), shown
        assert "laptop" in self.keyward_says(keyward, "token", "list").stdout
        status, _, answer = pods.ask(http, f"{base}/revoke", "POST", token)
        assert status == 200 and json.loads(answer)["data"]["status"] == "revoked", answer
        assert pods.ask(http, "/orders", token=token)[0] == 401

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


def run_openssl(room):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-subj", "/CN=app.test", "-keyout", room / "tls.key"]
    subprocess.run([*command, "-out", room / "tls.crt"], check=True, capture_output=True)
    (room / "tls.key").chmod(0o600)


def assert_none(faults, where):
    faults = list(faults)
    assert not faults, f"{where}:\n    " + "\n    ".join(faults)


def main():
    if os.getuid() == 0:
        pods.alone()
    with folder() as room:
        room.chmod(0o755)
        checks = Checks(sys.argv[1], room)
        chosen = [
            checks.rendered, checks.faults_are_found, checks.chart, checks.changed_configuration,
            checks.values_are_judged, checks.scripts, checks.rights, checks.secrets_are_made_once,
        ]  # fmt: skip
        if os.getuid() == 0:
            chosen += [checks.edge_runs, checks.sidecar_runs]
        else:
            print("NOT CHECKED: to run the pods, this must be root", flush=True)
        run(chosen, 300)


if __name__ == "__main__":
    main()
