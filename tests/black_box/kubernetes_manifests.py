"""deploy/kubernetes held to Kubernetes and to keyward: kustomize and Helm render it, the schemas of
the API know every field, the manifests agree with each other and with keyward.toml, and keyward
runs in pods that are made of them, with the Redis that they describe.

usage: kubernetes_manifests.py KEYWARD [--all] [WORD …]
"""

import base64
import concurrent.futures
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import jsonschema_rs
import yaml

import manifest_mutations
import manifest_pods as pods
from chart_values import BAD_VALUES, GOOD_VALUES, merged
from cluster_model import Cluster
from cluster_tools import DEPLOY, Tools, against_schemas, documents
from manifest_rules import Deployed, complaints
from running_keyward import PATIENCE
from running_servers import folder, run, until
from trial_pods import Run, programs

REPOSITORY = DEPLOY.parents[1]
FOLDERS = ["edge", "sidecar", "redis", "try/app", "try/stranger", "try/edge", "try/sidecar"]
CHART = DEPLOY / "chart"


class Checks:
    def __init__(self, program, room):
        self.program, self.room, self.tools = pathlib.Path(program).resolve(), room, Tools(room)
        self.values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.edge_toml = (DEPLOY / "edge/keyward.toml").read_text()
        monitor = (DEPLOY / "service-monitor/service-monitor.yaml").read_text()
        self.edge = self.tools.kustomize(DEPLOY / "try/edge") + documents(monitor)
        self.sidecar = self.tools.kustomize(DEPLOY / "try/sidecar")

        # Where scripts find programs: keyward, and a kubectl that prints what it would create.
        programs = room / "secrets/bin"
        programs.mkdir(parents=True)
        (programs / "keyward").symlink_to(self.program)
        (programs / "kubectl").write_text(
            f'#!/bin/sh\nexec {room}/kubectl "$@" --dry-run=client -o json\n'
        )
        (programs / "kubectl").chmod(0o755)
        # A folder of a person's own is beside a copy.
        shutil.copytree(DEPLOY, room / "deploy/kubernetes")

    def rendered(self):
        """kustomize renders every folder, the API's schemas know every field, and all agree"""
        for name in FOLDERS:
            found = self.tools.kustomize(DEPLOY / name)
            assert_none([*against_schemas(found), *complaints(found)], name)
        # As docs/kubernetes.md has it.
        page = (REPOSITORY / "docs/kubernetes.md").read_text()
        edge, sidecar, own, monitor = re.findall(r"```yaml\n(.*?)```", page, re.S)
        for shown in (edge, edge + own + monitor, sidecar):
            found = self.own(shown)
            deployed = Deployed(found)
            assert_none([*against_schemas(found), *complaints(found)], shown)
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
        with folder() as room:
            (room / "values.json").write_text(json.dumps(values))
            return self.tools.template("-f", room / "values.json", *arguments)

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
        for over in ({}, {"networkPolicy": {"enabled": False}, "redis": {"secret": ""}}):
            notes = self.notes(over)
            assert "rollout status deployment/keyward" in notes, notes
            assert ("networkPolicy is off" in notes) == bool(over), notes
            assert ("keyward-redis" in notes) != bool(over), notes
        # The network is open only where a person says so.
        found = self.template({"networkPolicy": {"enabled": False}})
        assert any("others than Prometheus" in one for one in complaints(found)), found

    def notes(self, values):
        """What Helm tells who installs the chart."""
        with folder() as room:
            (room / "values.json").write_text(json.dumps(values))
            answer = self.tools.ask(
                "helm", "install", "keyward", CHART, "-n", "shop", "--dry-run=client",
                "-f", room / "values.json",
            )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.split("\nNOTES:\n")[1]

    def versions(self):
        """The images and the chart are of the version that is built here"""
        cargo = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]["version"]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        assert (chart["version"], chart["appVersion"]) == (cargo, cargo), (chart, cargo)
        for name in ("edge", "sidecar"):
            keyward = next(Deployed(self.tools.kustomize(DEPLOY / name)).keywards())
            assert keyward.container["image"] == f"keyward:{cargo}", (name, cargo)

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
        with concurrent.futures.ThreadPoolExecutor(4) as several:
            answers = list(several.map(self.template, [over for over, _ in BAD_VALUES]))
        for (over, by_template), said in zip(BAD_VALUES, answers):
            values = merged(self.values, over)
            assert judge.is_valid(values) == by_template, f"the schema on {over}"
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
            # Without its rights, Redis leaves out transactions when it replays its file.
            assert "user default off ~* &* +@all" in path.read_text(), path

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

    def cluster(self, name):
        room = self.room / name
        room.mkdir()
        return Cluster(self.tools, room, programs(self.program))

    def in_shell(self, cluster, lines):
        """What `sh` prints, in a folder with `deploy` and `shop`, and with kubectl on the path."""
        path = f"{cluster.bin}:{self.room}/secrets/bin:/usr/bin:/bin"
        return subprocess.run(
            ["sh", "-euc", lines], cwd=self.room, capture_output=True, text=True, timeout=200,
            env={"PATH": path, "HOME": str(self.room)},
        )  # fmt: skip

    def open_app_is_seen(self):
        """An app that listens on all addresses is found to be reached past keyward"""
        manifests = copy.deepcopy(self.sidecar) + self.secrets()
        manifest_mutations.app(manifests)["command"][2] = "0.0.0.0"
        try:
            Run("sidecar", manifests, self.room / "run-open", self.program).walk("app")
        except AssertionError as fault:
            assert "past keyward" in str(fault), fault
        else:
            raise AssertionError("nothing is said of it")

    def trial_script(self):
        """try-on-a-cluster walks through both trials, and says so when others come past keyward"""
        for trial, ignored in (("edge", False), ("sidecar", False), ("sidecar", True)):
            with self.cluster(f"{trial}-{ignored}") as cluster:
                cluster.ignores_policies = ignored
                line = f"deploy/kubernetes/try-on-a-cluster registry/keyward:1 {trial}"
                said = self.in_shell(cluster, line)
                words = said.stdout + said.stderr
                assert (said.returncode == 0) != ignored, words
                assert (f"{trial}: everything held" in words) != ignored, words
                assert (f"NOT SO: the admin port at {pods.POD}: open" in words) == ignored, words
                deleted = [one for one in cluster.asked if "delete" in one]
                assert deleted and deleted[-1][2] == f"keyward-try-{trial}", deleted

    def lines_of_the_page(self):
        """The lines of docs/kubernetes.md lead to a key that works, and to other keys"""
        page = (REPOSITORY / "docs/kubernetes.md").read_text()
        shown = {
            title: re.findall(r"```sh\n(.*?)```", text, re.S)
            for title, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.M | re.S)
        }
        _, start, check, key, _ = shown["On a cluster in fifteen minutes"]
        self.own(re.search(r"```yaml\n(.*?)```", page, re.S)[1])
        with self.cluster("page") as cluster:
            for line, part in ((start, "deployment/keyward is ready"), (check, "redis")):
                said = self.in_shell(cluster, line)
                assert said.returncode == 0 and part in said.stdout, said.stdout + said.stderr
            use, revoke = key.rstrip().rsplit("\n", 1)
            said = self.in_shell(cluster, f"{use}\nkill $!\nprintf %s \"$TOKEN\" > token")
            assert said.returncode == 0 and "\n401\nGET /\n" in "\n" + said.stdout, said
            assert "x-keyward-username: alice" in said.stdout.lower(), said.stdout
            token = (self.room / "token").read_text()
            assert token and "/auth/revoke" in revoke
            rotate, reload = shown["Rotate keys"]
            first, second = rotate.split("mv ", 1)
            for lines in (first, f"mv {second}"):
                said = self.in_shell(cluster, f"{lines}kubectl rollout status deployment/keyward")
                assert said.returncode == 0, said.stdout + said.stderr
                assert pods.ask(8080, "/", token=token)[0] == 200, "an old token is refused"
            # The model needs no time to change the mounts.
            said = self.in_shell(cluster, reload.replace("sleep 120\n", ""))
            assert said.returncode == 0, said.stdout + said.stderr
            issue, body = "/keys/acme/alice/auth/issue-token", b'{"name": "phone"}'

            def signed_anew():
                status, _, answer = pods.ask(8080, issue, "POST", token, body)
                assert status == 200, answer
                made = json.loads(answer)["data"]["token"]
                return made if key_of(made) != key_of(token) else None

            made = until("a token of the new key", signed_anew)
            assert [pods.ask(8080, "/", token=one)[0] for one in (made, token)] == [200, 200]
            status, _, answer = pods.ask(8080, "/keys/acme/alice/auth/revoke", "POST", token)
            assert status == 200, answer
            assert pods.ask(8080, "/", token=token)[0] == 401

    def edge_runs(self):
        """The edge runs as its pod says: probes, a token issued, used, revoked, Redis restarted"""
        manifests = self.edge + self.secrets()
        Run("edge", manifests, self.room / "run-edge", self.program).walk("keyward")

    def sidecar_runs(self):
        """The sidecar runs as its pod says, alone leads to the app, and ends in order"""
        manifests = self.sidecar + self.secrets()
        Run("sidecar", manifests, self.room / "run-sidecar", self.program).walk("app")


def key_of(token):
    """The name of the key that signed a JWT (RFC 7515)."""
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


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
            checks.rendered, checks.faults_are_found, checks.chart, checks.versions,
            checks.changed_configuration, checks.values_are_judged, checks.scripts,
            checks.rights, checks.secrets_are_made_once,
        ]  # fmt: skip
        if os.getuid() == 0:
            chosen += [
                checks.edge_runs, checks.sidecar_runs, checks.open_app_is_seen,
                checks.trial_script, checks.lines_of_the_page,
            ]  # fmt: skip
        else:
            print("NOT CHECKED: to run the pods, this must be root", flush=True)
        run(chosen, 600)


if __name__ == "__main__":
    main()
