"""The lines of docs/kubernetes.md, run against a model of kubectl and of Helm."""

import base64
import json
import re
import shutil
import subprocess

import yaml

import manifest_pods as pods
from cluster_tools import DEPLOY, VERSIONS
from running_servers import until

REPOSITORY = DEPLOY.parents[1]
# What the operator takes in a rule.
RULE = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}

# What it renders is applied. A file for each release; a rollback is another one.
HELM = """#!/bin/sh
set -eu
releases={room}/releases
mkdir -p "$releases"
last=$(ls "$releases" | wc -l)
case "$1 $2" in
    "upgrade --install") shift 2 ;;
    "upgrade gate") [ "$last" -gt 0 ]; shift ;;
    "history gate") exec ls "$releases" ;;
    "rollback gate") cp "$releases/$((last - 1))" "$releases/$((last + 1))" ;;
    *) exit 9 ;;
esac
if [ "$1" != rollback ]; then
    {room}/helm template "$@" > {room}/rendered
    mv {room}/rendered "$releases/$((last + 1))"
fi
kubectl -n gate apply -f "$releases/$((last + 1))"
"""


class PageChecks:
    def words_of_the_page(self):
        """The page names the container where there may be two, and gives no key to apply"""
        shell = "\n".join(block for blocks in self.shown.values() for block in blocks)
        lines = shell.replace("\\\n", " ").splitlines()
        # Of all of them, as each may be used beside an app.
        entered = [line for line in lines if re.search(r"kubectl .*\bexec\b", line)]
        assert len(entered) > 5, entered
        for line in entered:
            assert re.search(r"exec (-i )?\S+ -c keyward -- ", line), line
        notes = (DEPLOY / "chart/templates/NOTES.txt").read_text()
        assert "exec deployment/{{ $name }} -c keyward -- " in notes, notes
        # Without -c, keyward looks for its configuration in the folder that it runs in.
        assert "keyward health" not in self.page
        for line in lines:
            assert "create secret" not in line or "apply" not in line, line
            # Nothing of an earlier call is kept: what an upgrade leaves out is reset.
            if re.match(r"helm (upgrade|install)", line):
                assert "-f gate/values.yaml" in line and "--set" not in line, line
        # Each trial has a namespace of its own.
        used = [re.search(r"^namespace: (\S+)", one, re.M) for one in self.kustomizations()]
        used = [one[1] for one in used if one]
        used += re.findall(r"^helm upgrade.* -n (\S+)", shell, re.M)
        assert sorted(set(used)) == ["gate", "orders", "shop"], used
        # The oldest Kubernetes is the oldest that everything is held to.
        asked = set(re.findall(r"Kubernetes (1\.\d+) or newer", self.page))
        chart = yaml.safe_load((DEPLOY / "chart/Chart.yaml").read_text())
        assert asked == {VERSIONS[0]}, asked
        assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0", chart

    def in_shell(self, cluster, lines):
        """What `sh` prints, in a folder with `deploy` and `shop`, and with kubectl on the path."""
        path = f"{cluster.bin}:{self.room}/secrets/bin:/usr/bin:/bin"
        return subprocess.run(
            ["sh", "-euc", lines], cwd=self.room, capture_output=True, text=True, timeout=200,
            env={"PATH": path, "HOME": str(self.room)},
        )  # fmt: skip

    def lines_of_the_page(self):
        """The lines of docs/kubernetes.md lead to a key that works, and to other keys"""
        *_, start, check, key, _ = self.shown["On a cluster in fifteen minutes"]
        self.own(self.kustomizations()[0])
        with self.cluster("page") as cluster:
            for line, part in ((start, "deployment/keyward is ready"), (check, "redis")):
                said = self.in_shell(cluster, line)
                assert said.returncode == 0 and part in said.stdout, said.stdout + said.stderr
            *use, revoke, end = key.rstrip().splitlines()
            use = "\n".join([*use, end])
            said = self.in_shell(cluster, f"{use}\nprintf %s \"$TOKEN\" > token\nwait")
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
            start, first = self.shown["Put it beside an app"]
            said = self.in_shell(cluster, start)
            assert said.returncode == 0, said.stdout + said.stderr
            assert pods.ask(8080, "/")[0] == 401
            said = self.in_shell(cluster, first)
            assert said.returncode == 0, said.stdout + said.stderr
            issue = "/keys/acme/alice/auth/issue-token"
            status, *_ = pods.ask(8080, issue, "POST", said.stdout.strip(), b'{"name": "laptop"}')
            assert status == 200, said.stdout
            # Signals are for keyward, and not for the app.
            renew = "for pod in " + self.shown["Rotate keys"][1].split("for pod in ")[1]
            before = cluster.find("deployment/app")[1][1].first_process()
            said = self.in_shell(cluster, renew.replace("-n shop", "-n orders"))
            assert said.returncode == 0, said.stdout + said.stderr
            assert cluster.find("deployment/app")[1][1].first_process() == before
            wrote = cluster.find("deployment/app")[1][1].execute("/usr/bin/touch", "/tmp/x")
            assert wrote.returncode == 0, wrote.stderr
            assert (self.room / "orders-secrets/keys").is_dir()

    def chart_of_the_page(self):
        """The lines of docs/kubernetes.md install the chart, upgrade it and take it back"""
        start, = self.shown["Use the chart"]
        again, = self.shown["Upgrade"]
        with self.cluster("chart") as cluster:
            helm = self.room / "secrets/bin/helm"
            helm.write_text(HELM.format(room=self.room))
            helm.chmod(0o755)
            said = self.in_shell(cluster, start)
            assert said.returncode == 0, said.stdout + said.stderr
            keyward = cluster.find("deployment/gate-keyward")[1][0]
            assert keyward.spec["image"] == "registry.example.com/keyward:0.1.0"
            assert pods.ask(8080, "/")[0] == 401
            values = self.room / "gate/values.yaml"
            values.write_text(values.read_text() + "\n  # another\n")
            upgrade, back = again.split("helm history", 1)
            for lines, is_another in ((upgrade, True), (f"helm history{back}", False)):
                said = self.in_shell(cluster, lines)
                assert said.returncode == 0, said.stdout + said.stderr
                keyward = cluster.find("deployment/gate-keyward")[1][0]
                text = keyward.execute("/bin/cat", "/etc/keyward/keyward.toml").stdout
                assert ("# another" in text) == is_another and "[store]" in text, text
                keyward.await_probe("readinessProbe")


def key_of(token):
    """The name of the key that signed a JWT (RFC 7515)."""
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
