"""deploy/observability with a real Prometheus, which scrapes a fleet of two under traffic: every
query of the dashboard has data, every alert is one that can be evaluated, and one fires.

usage: observability.py KEYWARD [--all] [WORD …]
"""

import contextlib
import json
import pathlib
import re
import signal
import subprocess
import sys

import yaml

from running_keyward import Redis
from running_prometheus import FILES, REPOSITORY, Instance, Prometheus, Traffic, configuration
from running_prometheus import upstream
from running_servers import folder, run, until

# What each test of the rules asks for: all that fires, at the time or at any time before.
FIRING = r'(group|count) by \(alertname(, deployment)?\) \(ALERTS\{alertstate="firing"\}\)'
FIRED = rf"last_over_time\({FIRING}\[\w+:15s\]\)"
DASHBOARD = json.loads((FILES / "grafana/dashboard.json").read_text())
ALERTS = yaml.safe_load((FILES / "alerts.yml").read_text())
VARIABLES = ["namespace", "deployment", "instance", "route", "upstream"]
# What stands for a range in queries, where Grafana puts four scrape intervals.
RANGE = "10s"


def rules():
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_queries():
    return [(panel["title"], of["expr"]) for panel in panels() for of in panel["targets"]]


def as_grafana_asks(query):
    """With all that the variables may be."""
    query = query.replace("$__rate_interval", RANGE)
    for name in VARIABLES:
        query = query.replace(f'"${name}"', '".*"')
    assert "$" not in query, f"{query} has a variable that the dashboard has not"
    return query


def metrics_of(query):
    """The metrics of keyward that a query names, without those that are recorded."""
    return set(re.findall(r"(?<![:\w])(?:keyward|process)_\w+", re.sub(r'"[^"]*"', "", query)))


def family(name, families):
    part = re.sub(r"_(bucket|sum|count)$", "", name)
    return part if families.get(part) == "histogram" else name


def families(page):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.M))


def documented():
    """The metrics in the list of docs/operation.md."""
    text = (REPOSITORY / "docs/operation.md").read_text()
    section = text.split("\n## Scrape metrics\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\* `((?:keyward|process)_\w+)`:", section, re.M))


def promtool(*arguments, given=None):
    command = ["promtool", *map(str, arguments)]
    said = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert said.returncode == 0, f"{' '.join(command)}:\n{said.stdout}"
    return said.stdout


# Their event is critical in itself.
LASTING = {"KeywardStoreGenerationChanged"}

setting = {}


def the_rules_hold_in_their_own_tests():
    """promtool finds no fault in configuration and rules, whose tests hold: each alert fires in one
    of them, and does not before.
    """
    promtool("check", "config", FILES / "prometheus.yml")
    said = promtool("check", "rules", FILES / "alerts.yml")
    assert f"{len(rules())} rules found" in said, said
    promtool("test", "rules", FILES / "alerts_test.yml")
    tests = yaml.safe_load((FILES / "alerts_test.yml").read_text())["tests"]
    fired = set()
    for test in tests:
        asked = test["promql_expr_test"]
        samples = [of["exp_samples"] for of in asked]
        named = [re.findall(r'alertname="(\w+)"', str(one)) for one in samples]
        # A test that asks once shows what fires nothing.
        assert named[0] == [], f"{test['name']}: nothing fires at first"
        fired.update(*named[1:])
        allowed = FIRING if len(asked) > 1 else f"{FIRING}|{FIRED}"
        assert all(re.fullmatch(allowed, of["expr"]) for of in asked), asked
    names = {alert["alert"] for alert in alerts()}
    assert fired == names, f"{names ^ fired}"


def each_alert_says_what_to_do():
    """Each alert has a severity, and says what is, what it means and what to do."""
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names) > 20
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert
        assert set(alert["annotations"]) == {"summary", "description", "action"}, alert
        assert all(alert["annotations"].values()), alert


def seconds(span):
    return int(span[:-1]) * {"s": 1, "m": 60, "h": 3600}[span[-1]]


def a_moment_calls_for_nobody():
    """Ranges and `for` have room for scrapes as seldom as those of the ServiceMonitor. What is over
    at once is not critical.
    """
    manifest = REPOSITORY / "deploy/kubernetes/service-monitor/service-monitor.yaml"
    monitor = yaml.safe_load(manifest.read_text())
    scrape = max(seconds(endpoint["interval"]) for endpoint in monitor["spec"]["endpoints"])
    for alert in alerts():
        name, pending = alert["alert"], seconds(alert.get("for", "0s"))
        ranges = [seconds(span) for span in re.findall(r"\[(\w+)\]", alert["expr"])]
        assert all(span >= 4 * scrape for span in ranges), name
        assert pending == 0 or pending >= 2 * scrape, f"{name}: for {pending} s"
        if alert["labels"]["severity"] == "critical" and name not in LASTING:
            assert pending >= 2 * scrape, f"{name} is critical at once"
        # What one event makes true stays so for the range.
        if re.match(r"rate\(.*\) > 0$", alert["expr"]):
            assert pending > max(ranges), f"{name}: one event is enough"


def what_is_summed_up_is_of_one_deployment():
    """No rule, and no panel by route, upstream, token API, credential or issuer, adds up what runs
    in several namespaces, or in several deployments of one.
    """
    for rule in rules():
        for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]):
            assert labels.startswith("job, namespace, deployment"), rule
        apart = re.findall(r"\b(?:sum|min|max|count|group)\b(?! (?:by|without) \()", rule["expr"])
        assert not apart, rule
    for title, query in dashboard_queries():
        for metric in metrics_of(query) | set(re.findall(r"\b(?:up|ALERTS)\b", query)):
            ours = 'namespace=~"$namespace",deployment=~"$deployment"'
            selectors = re.findall(rf"{metric}\{{([^}}]*)", query)
            assert selectors and all(ours in one for one in selectors), f"{title}: {query}"
        for labels in re.findall(r"\bby \(([^)]*)\)", query):
            if set(labels.split(", ")) & {"route", "upstream", "token_api", "credential", "issuer"}:
                assert labels.startswith("namespace, deployment, "), f"{title}: {query}"


def the_dashboard_is_whole():
    """The dashboard has a name and a place for each panel, its rows, and no absent variable."""
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) > 40
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    expected = ["Overview", "Routes", "Upstreams", "Tokens & revocation", "Fleet", "Process"]
    assert rows == expected, rows
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", *VARIABLES]
    assert variables["datasource"]["type"] == "datasource"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(variables), used
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0, panel["title"]
        # Without one, Grafana has what is above 80 in red.
        if panel["type"] == "stat":
            look = panel["fieldConfig"]["defaults"]
            assert "thresholds" in look or look["color"]["mode"] == "fixed", panel["title"]


def the_page_is_what_prometheus_takes():
    """promtool finds no fault in /metrics, and Prometheus none when it scrapes."""
    for instance in setting["instances"]:
        promtool("check", "metrics", given=instance.page())

    def faults():
        targets = setting["prometheus"].ask("targets")["activeTargets"]
        return [(target["health"], target["lastError"]) for target in targets]

    # A scrape that takes too long on a busy machine says nothing of the page.
    until("two targets without a fault", lambda: faults() == [("up", "")] * 2)
    path = str(setting["room"] / 'a"b\\c.sock')
    up = setting["prometheus"].ask("query", query='keyward_upstream_endpoint_up{upstream="away"}')
    found = {sample["metric"]["endpoint"] for sample in up["result"]}
    # Not the name of a port, which the Prometheus operator has under the same label.
    assert found == {f"unix:{path}"}, found
    assert {sample["metric"]["deployment"] for sample in up["result"]} == {"edge"}, up


def every_metric_is_named_everywhere_alike():
    """Each metric that dashboard and alerts use is in /metrics, and each there is in the docs."""
    known = families(setting["instances"][0].page())
    for where, query in dashboard_queries() + [(str(rule), rule["expr"]) for rule in rules()]:
        for name in metrics_of(query):
            assert family(name, known) in known, f"{where}: there is no {name}"
    assert set(known) == documented(), set(known) ^ documented()


def every_rule_can_be_evaluated():
    """Prometheus evaluates every rule without a fault."""
    prometheus = setting["prometheus"]
    for rule in rules():
        prometheus.ask("query", query=rule["expr"])

    def evaluated():
        groups = prometheus.ask("rules")["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    until("all rules to be evaluated", evaluated)
    groups = prometheus.ask("rules")["groups"]
    found = sorted(rule["name"] for group in groups for rule in group["rules"])
    assert found == sorted(rule.get("alert") or rule["record"] for rule in rules())


def an_alert_fires():
    """A reload that is refused fires its alert, with the instance in words."""
    instance, prometheus = setting["instances"][0], setting["prometheus"]
    instance.file.write_text("[[route]]\n")
    instance.process.send_signal(signal.SIGHUP)

    def firing():
        found = prometheus.ask("alerts")["alerts"]
        named = [one for one in found if one["labels"]["alertname"] == "KeywardReloadRefused"]
        return next((one for one in named if one["state"] == "firing"), None)

    alert = until("the alert", firing)
    target = f"127.0.0.1:{instance.admin}"
    assert alert["labels"]["instance"] == target and alert["labels"]["severity"] == "warning"
    assert alert["annotations"]["summary"] == f"keyward at {target} refused a new configuration."
    instance.file.write_text(instance.text)


def every_query_has_data():
    """Every query of the dashboard, and of its variables, has data under this traffic."""
    prometheus = setting["prometheus"]
    for title, query in dashboard_queries():
        asked = as_grafana_asks(query)
        until(f"data of {title}: {asked}", lambda: prometheus.values(asked))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = variable["query"]["query"]
            asked = as_grafana_asks(asked)
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", asked).groups()
            found = prometheus.ask(f"label/{label}/values", **{"match[]": selector})
            assert found, asked


CHECKS = [
    the_rules_hold_in_their_own_tests,
    each_alert_says_what_to_do,
    a_moment_calls_for_nobody,
    what_is_summed_up_is_of_one_deployment,
    the_dashboard_is_whole,
    the_page_is_what_prometheus_takes,
    every_metric_is_named_everywhere_alike,
    every_rule_can_be_evaluated,
    an_alert_fires,
    every_query_has_data,
]


def main():
    program = str(pathlib.Path(sys.argv[1]).absolute())
    with contextlib.ExitStack() as stack:
        room = setting["room"] = stack.enter_context(folder())
        redis = stack.enter_context(Redis())
        text = configuration(room, redis, stack.enter_context(upstream()))
        # One after the other: the first makes the keys.
        instances = setting["instances"] = [
            stack.enter_context(Instance(program, room, name, text)) for name in ("one", "two")
        ]
        targets = [f"127.0.0.1:{instance.admin}" for instance in instances]
        setting["prometheus"] = stack.enter_context(Prometheus(room, targets))
        traffic = stack.enter_context(Traffic(instances))
        up = "count(up == 1)"
        until("both instances to be scraped", lambda: setting["prometheus"].values(up) == [2])
        stack.callback(lambda: check_traffic(traffic))
        run(CHECKS, at_most=300, front_of=lambda: instances[0])


def check_traffic(traffic):
    if traffic.fault is not None:
        print(f"NOT SO: the traffic goes on: {traffic.fault!r}", flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
