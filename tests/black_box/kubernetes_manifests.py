"""deploy/kubernetes held to Kubernetes and to keyward: kustomize and Helm render it, the schemas of
the API know every field, the manifests agree with each other and with keyward.toml, and keyward
runs in pods that are made of them, with the Redis that they describe.

usage: kubernetes_manifests.py KEYWARD [--all] [WORD …]
"""

import base64
import copy
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import yaml

import manifest_mutations
import manifest_pods as pods
from cluster_model import Cluster
from cluster_tools import DEPLOY, Tools, against_schemas, assert_none, documents
from manifest_chart import CHART, ChartChecks
from manifest_rules import Deployed, complaints
from running_servers import folder, run, until
from trial_pods import Run, programs

REPOSITORY = DEPLOY.parents[1]
FOLDERS = ["edge", "sidecar", "redis", "try/app", "try/stranger", "try/edge", "try/sidecar"]
COMPOSE = REPOSITORY / "deploy/compose"
# What the operator takes in a rule.
RULE = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}


# It prints what it would create, and finds what is in the folder `there`.
KUBECTL = """#!/bin/sh
for last; do :; done
case " $* " in
    *" get secret "*) exec test -e "{room}/secrets/there/$last" ;;
esac
[ ! -e "{room}/secrets/there/refused" ] || exit 1
exec {room}/kubectl "$@" --dry-run=client -o json
"""


class Checks:
    def __init__(self, program, room):
        self.program, self.room, self.tools = pathlib.Path(program).resolve(), room, Tools(room)
        self.page = (REPOSITORY / "docs/kubernetes.md").read_text()
        self.shown = {
            title: re.findall(r"```sh\n(.*?)```", text, re.S)
            for title, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", self.page, re.M | re.S)
        }
        self.edge_toml = (DEPLOY / "edge/keyward.toml").read_text()
        monitor = (DEPLOY / "service-monitor/service-monitor.yaml").read_text()
        self.edge = self.tools.kustomize(DEPLOY / "try/edge") + documents(monitor)
        self.sidecar = self.tools.kustomize(DEPLOY / "try/sidecar")

        # Where scripts find programs: keyward, and a kubectl that prints what it would create.
        programs = room / "secrets/bin"
        programs.mkdir(parents=True)
        (programs / "keyward").symlink_to(self.program)
        (programs / "kubectl").write_text(KUBECTL.format(room=room))
        (programs / "kubectl").chmod(0o755)
        (room / "secrets/there").mkdir()
        # A folder of a person's own is beside a copy.
        for name in ("kubernetes", "observability"):
            shutil.copytree(REPOSITORY / "deploy" / name, room / "deploy" / name)

    def rendered(self):
        """kustomize renders every folder, the API's schemas know every field, and all agree"""
        for name in FOLDERS:
            found = self.tools.kustomize(DEPLOY / name)
            assert_none([*against_schemas(found), *complaints(found)], name)
        # As docs/kubernetes.md has it.
        edge, sidecar, own, monitor = self.kustomizations()
        applied = []
        for shown in (edge, edge + own + monitor, sidecar):
            found = self.own(shown)
            deployed = Deployed(found)
            assert_none([*against_schemas(found), *complaints(found)], shown)
            keyward = next(deployed.keywards())
            assert keyward.container["image"] == "registry.example.com/keyward:0.1.0"
            assert ("# own" in keyward.configuration()) == (own in shown)
            assert bool(deployed.of("ServiceMonitor")) == (monitor in shown)
            applied.append({f"{one['metadata']['namespace']}/{one['kind']} "
                            f"{one['metadata']['name']}" for one in found})  # fmt: skip
        both = applied[1] & applied[2]
        assert not both, f"the sidecar changes what the edge has: {both}"
        # And the line with Helm, in a folder that has the configuration of the page.
        self.own(edge + own)
        line = shlex.split(self.shown["Use the chart"][0].replace("\\\n", ""))
        assert line[:2] == ["helm", "install"], line
        answer = self.tools.ask("helm", "template", *line[2:], place=self.room)
        assert answer.returncode == 0, answer.stderr
        assert "# own" in next(Deployed(documents(answer.stdout)).keywards()).configuration()

    def kustomizations(self):
        """Those of the page."""
        return re.findall(r"```yaml\n(.*?)```", self.page, re.S)

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

    def versions(self):
        """The images and the chart are of the version that is built here"""
        cargo = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["package"]["version"]
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        assert (chart["version"], chart["appVersion"]) == (cargo, cargo), (chart, cargo)
        for name in ("edge", "sidecar"):
            keyward = next(Deployed(self.tools.kustomize(DEPLOY / name)).keywards())
            assert keyward.container["image"] == f"keyward:{cargo}", (name, cargo)
        # Redis and Python are those of deploy/compose, which are exact.
        compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"].values()
        theirs = {one["image"] for one in compose}
        for found in (self.edge, self.sidecar):
            pods = [one["spec"]["template"]["spec"] for one in Deployed(found).workloads]
            ours = {one["image"] for pod in pods for one in pod["containers"]}
            ours.discard(f"keyward:{cargo}")
            assert {one.split(":")[0] for one in ours} == {"redis", "python"}, ours
            assert ours <= theirs, f"of {ours}, deploy/compose has {ours & theirs}"

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

    def store_keeps_all(self):
        """Redis keeps what the Redis of deploy/compose keeps"""
        ours, theirs = (
            dict(line.split(maxsplit=1) for line in path.read_text().splitlines()
                 if line.startswith(("append", "save", "maxmemory-policy")))
            for path in (DEPLOY / "redis/redis.conf", COMPOSE / "redis.conf")
        )  # fmt: skip
        assert ours == theirs and ours["appendfsync"] == "always", (ours, theirs)

    def make_secrets(self, name="made"):
        room = self.room / "secrets"
        path = f"{room}/bin:/usr/bin:/bin"
        return subprocess.run(
            [DEPLOY / "make-secrets", "shop", name],
            cwd=room, env={**self.tools.environment, "PATH": path}, capture_output=True, text=True,
        )  # fmt: skip

    def secrets(self):
        """The Secrets that make-secrets would have made: kubectl prints them."""
        made = self.make_secrets()
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

    def missing_secret_is_made(self):
        """make-secrets leaves a Secret that is there, says so, and makes the one that is missing"""
        room, names = self.room / "secrets", ["keyward-keys", "keyward-redis"]
        for present in (names[:1], names[1:], names):
            folder = f"left-{len(present)}-{present[0]}"
            for name in present:
                (room / "there" / name).touch()
            try:
                made = self.make_secrets(folder)
            finally:
                for name in present:
                    (room / "there" / name).unlink()
            assert made.returncode == 0, made.stderr
            for name in names:
                left = f"{name} is there already in shop" in made.stderr
                created = f'"name": "{name}"' in made.stdout
                kept = (room / folder / name.removeprefix("keyward-")).exists()
                assert (left, created, kept) == ((name in present,) + (name not in present,) * 2), (
                    name, present, made.stdout, made.stderr
                )  # fmt: skip
        # What cannot be made is no success, whatever it was.
        (room / "there/refused").touch()
        try:
            assert self.make_secrets().returncode != 0
        finally:
            (room / "there/refused").unlink()

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
        *_, start, check, key, _ = self.shown["On a cluster in fifteen minutes"]
        self.own(self.kustomizations()[0])
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
            rotate, reload = self.shown["Rotate keys"]
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

    def alerts_of_the_page(self):
        """The alerts become a PrometheusRule by the lines of docs/kubernetes.md"""
        with self.cluster("alerts") as cluster:
            said = self.in_shell(cluster, self.shown["Let Prometheus in"][0])
            assert said.returncode == 0, said.stdout + said.stderr
            rule = cluster.objects["PrometheusRule", "keyward"]
        assert rule["apiVersion"] == "monitoring.coreos.com/v1", rule
        shown = yaml.safe_load((REPOSITORY / "deploy/observability/alerts.yml").read_text())
        assert rule["spec"] == shown, rule
        for group in shown["groups"]:
            assert group.keys() <= {"name", "interval", "rules"}, group.keys()
            assert all(one.keys() <= RULE for one in group["rules"]), group

    def sidecar_of_the_page(self):
        """The lines of docs/kubernetes.md put keyward beside an app, which may write to /tmp"""
        room = self.room / "orders"
        room.mkdir()
        # The app is that of the trial: it adds what is its own.
        shutil.copy(DEPLOY / "try/sidecar/app.yaml", room)
        text = self.kustomizations()[1]
        redis = "  - ../deploy/kubernetes/redis"
        text = text.replace(redis, f"  - ../deploy/kubernetes/try/upstream\n{redis}")
        (room / "kustomization.yaml").write_text(f"{text}  - path: app.yaml\n")
        with self.cluster("orders-cluster") as cluster:
            said = self.in_shell(cluster, self.shown["Put it beside an app"][0])
            assert said.returncode == 0, said.stdout + said.stderr
            assert pods.ask(8080, "/")[0] == 401
            wrote = cluster.find("deployment/app")[1][1].execute("/usr/bin/touch", "/tmp/x")
            assert wrote.returncode == 0, wrote.stderr
            assert (self.room / "orders-secrets/keys").is_dir()

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


def main():
    if os.getuid() == 0:
        pods.alone()
    with folder() as room:
        room.chmod(0o755)
        checks = Checks(sys.argv[1], room)
        chart = ChartChecks(checks.program, checks.tools)
        chosen = [
            checks.rendered, checks.faults_are_found, chart.chart_fits, chart.names_stay_text,
            chart.labels_take_the_place, checks.versions, checks.changed_configuration,
            chart.values_are_judged, checks.scripts, checks.rights, checks.store_keeps_all,
            checks.secrets_are_made_once, checks.missing_secret_is_made,
        ]  # fmt: skip
        if os.getuid() == 0:
            chosen += [
                checks.edge_runs, checks.sidecar_runs, checks.open_app_is_seen,
                checks.trial_script, checks.lines_of_the_page, checks.alerts_of_the_page,
                checks.sidecar_of_the_page,
            ]  # fmt: skip
        else:
            print("NOT CHECKED: to run the pods, this must be root", flush=True)
        run(chosen, 600)


if __name__ == "__main__":
    main()
