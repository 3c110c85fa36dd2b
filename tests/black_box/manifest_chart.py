"""The chart of deploy/kubernetes: what Helm renders of its values, and which values it refuses."""

import concurrent.futures
import json
import re
import shutil
import subprocess

import jsonschema_rs
import yaml

from chart_values import BAD_VALUES, GOOD_VALUES, NEW_LABELS, ODD_NAMES, RELEASES, merged
from cluster_tools import DEPLOY, against_schemas, assert_none, documents
from manifest_rules import Deployed, complaints
from network_policies import admitted
from running_keyward import PATIENCE
from running_servers import folder

CHART = DEPLOY / "chart"


class ChartChecks:
    def __init__(self, program, tools):
        self.program, self.tools = program, tools
        self.values = yaml.safe_load((CHART / "values.yaml").read_text())
        self.edge_toml = (DEPLOY / "edge/keyward.toml").read_text()

    def template(self, values, **options):
        if "config" not in values:
            values = {"exampleConfig": True, **values}
        with folder() as room:
            (room / "values.json").write_text(json.dumps(values))
            return self.tools.template("-f", room / "values.json", **options)

    def chart_fits(self):
        """The chart is rendered from values of every kind, and its pod is that of the base"""
        linted = self.tools.ask("helm", "lint", "--strict", CHART)
        assert linted.returncode == 0, linted.stdout
        for name, values in GOOD_VALUES.items():
            values = dict(values)
            if "config" in values:
                values["config"] = values["config"](self.edge_toml)
            found = self.template(values)
            assert not isinstance(found, str), f"{name}: {found}"
            # What a person has besides.
            maps = [one["configMap"] for one in values.get("mounts", []) if "configMap" in one]
            theirs = [{"kind": "ConfigMap", "metadata": {"name": one}, "data": {}} for one in maps]
            assert_none([*against_schemas(found), *complaints(found + theirs)], f"chart, {name}")
            text = next(iter(Deployed(found).keywards())).configuration()
            assert text == values.get("config", self.edge_toml), f"{name}: {text}"
            self.validate(text)
            wanted, has = values.get("service", {}), Deployed(found).of("Service")[0]["spec"]
            for member in wanted.keys() - {"annotations", "port", "nodePort"}:
                assert has[member] == wanted[member], f"{name}: {has}"
            assert has["ports"][0].get("nodePort") == wanted.get("nodePort"), f"{name}: {has}"
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

    def needs_a_configuration(self):
        """The chart is not rendered without a configuration, unless the sample is asked for"""
        for values in ([], ["--set", "image.tag=0.2.0"]):
            said = self.tools.template(*values)
            assert isinstance(said, str) and "config is empty" in said, said
        found = self.template({})
        assert next(Deployed(found).keywards()).configuration() == self.edge_toml

    def is_a_dependency(self):
        """A chart that has this one as a dependency turns it on and off, and gives its values"""
        with folder() as room:
            (room / "charts").mkdir()
            shutil.copytree(CHART, room / "charts/keyward")
            version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
            dependency = {"name": "keyward", "version": version, "condition": "keyward.enabled"}
            chart = {"apiVersion": "v2", "name": "shop", "version": "1.0.0"}
            chart["dependencies"] = [dependency]
            (room / "Chart.yaml").write_text(yaml.safe_dump(chart))
            for enabled in (True, False):
                values = {"keyward": {"enabled": enabled, "config": self.edge_toml}}
                (room / "values.yaml").write_text(yaml.safe_dump(values))
                answer = self.tools.ask("helm", "template", "shop", room)
                assert answer.returncode == 0, answer.stderr
                found = Deployed(documents(answer.stdout))
                assert len(list(found.keywards())) == enabled, answer.stdout

    def lets_clients_in(self):
        """Pods of networkPolicy.clients may connect, and others not; a CPU limit may lack"""
        controller, elsewhere = {"app": "ingress"}, {"kubernetes.io/metadata.name": "ingress"}
        peer = {"namespaceSelector": {"matchLabels": elsewhere},
                "podSelector": {"matchLabels": controller}}  # fmt: skip
        found = self.template({"networkPolicy": {"clients": [peer]}})
        assert_none(against_schemas(found), "clients")
        deployed = Deployed(found)
        labels = next(deployed.keywards()).labels
        for source, namespace, port, expected in (
            (controller, elsewhere, 8080, True), (controller, None, 8080, False),
            ({"app": "x"}, elsewhere, 8080, False), (controller, elsewhere, 9090, False),
        ):  # fmt: skip
            let = admitted(deployed.policies, labels, port, source, namespace)
            assert let == expected, (source, namespace, port)
        found = self.template({"resources": {"limits": {"cpu": None}}, "autoscaling": {"cpu": "3"}})
        assert not isinstance(found, str), found
        assert_none(against_schemas(found), "no limit")
        assert list(next(Deployed(found).keywards()).container["resources"]["limits"]) == ["memory"]

    def notes(self, values):
        """What Helm tells who installs the chart."""
        values = {"exampleConfig": True, **values}
        with folder() as room:
            (room / "values.json").write_text(json.dumps(values))
            answer = self.tools.ask(
                "helm", "install", "keyward", CHART, "-n", "shop", "--dry-run=client",
                "-f", room / "values.json",
            )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.split("\nNOTES:\n")[1]

    def names_stay_text(self):
        """Names that look like numbers or truth values stay text, and Services may have theirs"""
        for release in RELEASES:
            found = self.template({}, release=release)
            assert not isinstance(found, str), f"{release}: {found}"
            assert_none([*against_schemas(found), *complaints(found)], f"release {release}")
        found = self.template(ODD_NAMES)
        assert not isinstance(found, str), found
        assert_none(against_schemas(found), "odd names")
        deployed = Deployed(found)
        assert deployed.named("Deployment", "null"), found
        pod = next(deployed.keywards()).pod
        secrets = [one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one]
        assert secrets == ["123", "true", "1e3", "no"], secrets

    def labels_take_the_place(self):
        """Labels are added to those of values.yaml, or take their place if these are set to null"""
        judge = jsonschema_rs.validator_for(json.loads((CHART / "values.schema.json").read_text()))
        for way, given in NEW_LABELS:
            own = {name: value for name, value in given.items() if value is not None}
            before = self.values
            for name in way:
                before = before[name]
            for labels, expected in ((given, own), (own, {**before, **own})):
                over = labels
                for name in reversed(way):
                    over = {name: over}
                assert judge.is_valid(merged(self.values, over)), over
                found = self.template(over)
                assert not isinstance(found, str), f"{over}: {found}"
                assert_none(against_schemas(found), over)
                assert expected in selectors(found), (over, selectors(found))
                assert (before in selectors(found)) == (expected == before), (over, found)

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


def selectors(found):
    """The tables of labels that the policies choose pods and namespaces by."""
    tables = []
    for policy in Deployed(found).policies:
        peers = [peer for rule in policy["spec"]["ingress"] for peer in rule.get("from", [])]
        for one in [policy["spec"], *peers]:
            several = (one.get("podSelector"), one.get("namespaceSelector"))
            tables += [selector["matchLabels"] for selector in several if selector]
    return tables


def run_openssl(room):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-subj", "/CN=app.test", "-keyout", room / "tls.key"]
    subprocess.run([*command, "-out", room / "tls.crt"], check=True, capture_output=True)
    (room / "tls.key").chmod(0o600)
