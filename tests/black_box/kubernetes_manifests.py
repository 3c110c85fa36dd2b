"""deploy/kubernetes held to Kubernetes and to keyward: kustomize and Helm render it, the schemas of
the API know every field, the manifests agree with each other and with keyward.toml, and keyward
runs in pods that are made of them, with the Redis that they describe.

usage: kubernetes_manifests.py KEYWARD [--all] [WORD …]
"""

import copy
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import yaml

import manifest_mutations
import manifest_pods as pods
from cluster_model import OTHERS, Cluster
from cluster_tools import DEPLOY, Tools, against_schemas, assert_none, documents
from manifest_chart import CHART, ChartChecks
from manifest_neighbours import disturbed, mistaken
from manifest_page import PageChecks
from manifest_rules import Deployed, complaints
from manifest_secrets import SecretChecks
from running_servers import folder, run
from trial_pods import Run, programs

REPOSITORY = DEPLOY.parents[1]
FOLDERS = ["edge", "sidecar", "redis", "try/app", "try/stranger", "try/edge", "try/sidecar"]
COMPOSE = REPOSITORY / "deploy/compose"


class Checks(PageChecks, SecretChecks):
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

        self.prepare_secrets()
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
        # An app that has no probe of its own is ready before it listens.
        for shown in (found, self.sidecar):
            assert "readinessProbe" in manifest_mutations.app(shown), shown

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
        """Another configuration replaces the pods, and old ones that start anew read the old one"""

        def of_chart(text):
            path = self.room / "keyward.toml"
            path.write_text(text)
            return self.tools.template("--set-file", f"config={path}")

        def of_base(text):
            room = self.room / "changed"
            shutil.copytree(DEPLOY / "edge", room, dirs_exist_ok=True)
            (room / "keyward.toml").write_text(text)
            return self.tools.kustomize(room)

        for render in (of_chart, of_base):
            before, after = render(self.edge_toml), render(self.edge_toml + "# another\n")
            keywards = [next(Deployed(found).keywards()) for found in (before, after)]
            texts = [one.configuration() for one in keywards]
            assert texts == [self.edge_toml, self.edge_toml + "# another\n"], texts
            assert keywards[0].template != keywards[1].template, "the pods are not replaced"
            assert_none(disturbed(before, after), render.__name__)
            assert_none(disturbed(after, before), f"{render.__name__}, taken back")
        # A ConfigMap with one and the same name is what that is about.
        fixed = copy.deepcopy(before)
        manifest_mutations.config("30s", "31s")(fixed)
        assert list(disturbed(before, fixed)), "nothing is said of it"

    def neighbours(self):
        """Edge, sidecar, Redis and releases of the chart in one namespace leave each other alone"""
        sample = ["--set", "exampleConfig=true"]
        folders = ("edge", "sidecar", "redis")
        several = {name: self.tools.kustomize(DEPLOY / name) for name in folders}
        for release in ("keyward", "keyward-edge"):
            several[f"the release {release}"] = self.tools.template(*sample, release=release)
        for (one, ours), (other, theirs) in itertools.combinations(several.items(), 2):
            assert_none(mistaken(ours, theirs), f"{one} and {other}")
        # Labels that are those of the base and one more.
        text = json.dumps(several["the release keyward"])
        alike = json.loads(text.replace('"gateway"', '"edge"'))
        assert list(mistaken(several["edge"], alike)), "nothing is said of it"

    def scripts(self):
        """The scripts are without faults that shellcheck knows"""
        for name in ("make-secrets", "try-on-a-cluster"):
            found = subprocess.run(["shellcheck", DEPLOY / name], capture_output=True, text=True)
            assert found.returncode == 0, found.stdout

    def rights(self):
        """The rights of the user of Redis are those that docs/fleet.md names"""
        shown = "~{keyward}:* &{keyward}:* +@read +@write +@connection +@pubsub"
        rest = "-@dangerous -@scripting +eval +evalsha +info +time"
        for path in (REPOSITORY / "docs/fleet.md", DEPLOY / "make-secrets"):
            assert shown in path.read_text() and rest in path.read_text(), path
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

    def cluster(self, name):
        room = self.room / name
        room.mkdir()
        return Cluster(self.tools, room, programs(self.program))

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
        for trial, wrong, complaint in (
            ("edge", {}, None),
            ("sidecar", {"address": "::1"}, None),
            ("sidecar", {"ignores_policies": True}, f"the admin port at {pods.POD}: open"),
            ("edge", {"without": ["behind-keyward"]}, f"the app's port at {OTHERS['app']}: open"),
            ("edge", {"finds_names": False}, "Redis: unknown"),
        ):
            with self.cluster(f"{trial}-{'-'.join(wrong)}") as cluster:
                vars(cluster).update(wrong)
                line = f"deploy/kubernetes/try-on-a-cluster registry/keyward:1 {trial}"
                said = self.in_shell(cluster, line)
                words = said.stdout + said.stderr
                assert (said.returncode == 0) == (complaint is None), words
                assert (f"{trial}: everything held" in words) == (complaint is None), words
                assert complaint is None or f"NOT SO: {complaint}" in words, words
                deleted = [at for at, one in enumerate(cluster.asked) if "delete" in one]
                assert deleted, cluster.asked
                assert cluster.asked[deleted[-1]][2] == f"keyward-try-{trial}", cluster.asked
                # What the pods said is shown while they are there.
                logs = [at for at, one in enumerate(cluster.asked) if "logs" in one]
                assert bool(logs) == (complaint is not None), cluster.asked
                assert not logs or logs[-1] < deleted[0] and "[pod/keyward-redis/redis]" in words

    def edge_runs(self):
        """The edge runs as its pod says: probes, a token issued, used, revoked, Redis restarted"""
        manifests = self.edge + self.secrets()
        Run("edge", manifests, self.room / "run-edge", self.program).walk("keyward")

    def sidecar_runs(self):
        """The sidecar runs as its pod says, alone leads to the app, and ends in order"""
        manifests = self.sidecar + self.secrets()
        Run("sidecar", manifests, self.room / "run-sidecar", self.program).walk("app")


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
            checks.secrets_are_made_once, checks.missing_secret_is_made, checks.neighbours,
            checks.broken_off_keys_are_made, checks.keys_without_keyward,
            checks.git_leaves_secrets_out, checks.words_of_the_page, chart.is_a_dependency,
            chart.lets_clients_in, chart.needs_a_configuration,
        ]  # fmt: skip
        if os.getuid() == 0:
            chosen += [
                checks.edge_runs, checks.sidecar_runs, checks.open_app_is_seen,
                checks.trial_script, checks.lines_of_the_page, checks.alerts_of_the_page,
                checks.sidecar_of_the_page, checks.chart_of_the_page,
            ]  # fmt: skip
        else:
            print("NOT CHECKED: to run the pods, this must be root", flush=True)
        run(chosen, 600)


if __name__ == "__main__":
    main()
