"""What must hold between the manifests of one deployment, and between them and keyward.toml. Each
rule yields what is not so, in words.
"""

import pathlib
import re
import tomllib

from manifest_times import ends_in_time, stays
from network_policies import ANY_NAMESPACE, admitted, selects
from pod_rules import KEYWARD_USER, RULES, amount, annotations_at

PROMETHEUS = {"app.kubernetes.io/name": "prometheus"}
MONITORING = {"kubernetes.io/metadata.name": "monitoring"}
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
# What the alerts know instances by.
ALERTS = pathlib.Path(__file__).parents[2] / "deploy/observability/alerts.yml"
JOBS = re.findall(r'job="([^"]*)"', ALERTS.read_text())
# A port that nobody has named.
OTHER_PORT = 54321


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def is_loopback(address):
    return address.startswith(("127.", "[::1]", "localhost"))


class Deployed:
    """The manifests by kind, and what runs keyward among them."""

    def __init__(self, documents):
        self.documents = documents
        self.workloads = self.of("Deployment") + self.of("StatefulSet")
        self.policies = self.of("NetworkPolicy")

    def of(self, kind):
        return [one for one in self.documents if one["kind"] == kind]

    def named(self, kind, name):
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def keywards(self):
        for workload in self.workloads:
            pod = workload["spec"]["template"]["spec"]
            for container in pod.get("initContainers", []) + pod["containers"]:
                if container.get("command") == ["keyward"]:
                    yield Keyward(self, workload, container)


class Keyward:
    """One container that runs keyward, with its pod. `config` is its configuration, once read."""

    def __init__(self, deployed, workload, container):
        self.deployed, self.workload, self.container = deployed, workload, container
        self.template = workload["spec"]["template"]
        self.labels = self.template["metadata"]["labels"]
        self.pod = self.template["spec"]
        self.apps = [one for one in self.pod["containers"] if one is not container]
        self.is_sidecar = bool(self.apps)
        self.ports = {one["name"]: one["containerPort"] for one in container.get("ports", [])}
        self.config = {}

    def volume_at(self, path):
        """The mount and the volume that hold a path, and what of the path is below them."""
        for mount in self.container["volumeMounts"]:
            folder = mount["mountPath"]
            if path == folder or path.startswith(folder + "/"):
                volume = next((v for v in self.pod["volumes"] if v["name"] == mount["name"]), None)
                return mount, volume, path[len(folder) + 1 :]
        return None, None, None

    def configuration_path(self):
        arguments = self.container["args"]
        return arguments[arguments.index("-c") + 1] if "-c" in arguments else None

    def configuration(self):
        """The text of keyward.toml, as the pod finds it; none if it finds none."""
        _, volume, below = self.volume_at(self.configuration_path() or "")
        if volume is not None and "downwardAPI" in volume:
            return annotations_at(self.template, volume).get(below)
        if volume is None or "configMap" not in volume:
            return None
        found = self.deployed.named("ConfigMap", volume["configMap"]["name"])
        return found and found["data"].get(below)

    def targets(self, service, port=None):
        """The names of the ports that a Service leads to, by all of its ports or by one."""
        numbers = {number: name for name, number in self.ports.items()}
        return [
            numbers.get(one["targetPort"], one["targetPort"])
            for one in service["spec"]["ports"]
            if port in (None, one["name"])
        ]

    def upstreams(self):
        """Hosts with their ports."""
        endpoints = [one for each in self.config["upstream"] for one in each["endpoints"]]
        return [endpoint.split("//")[1] for endpoint in endpoints]


def complaints(documents):
    """Everything that does not hold; nothing where all is well."""
    deployed = Deployed(documents)
    for workload in deployed.workloads:
        name = f"{workload['kind']} {workload['metadata']['name']}"
        for rule in RULES:
            for fault in rule(deployed, workload):
                yield f"{name}: {fault}"
    found = list(deployed.keywards())
    if not found and deployed.of("NetworkPolicy") and deployed.of("Deployment"):
        yield "no container runs keyward"
    for keyward in found:
        name = f"{keyward.workload['kind']} {keyward.workload['metadata']['name']}"
        text = keyward.configuration()
        if text is None:
            yield f"{name}: there is no configuration at {keyward.configuration_path()}"
            continue
        try:
            keyward.config = tomllib.loads(text)
        except tomllib.TOMLDecodeError as fault:
            yield f"{name}: its configuration is no TOML: {fault}"
            continue
        for rule in (
            configured, mounted, probed, served, guarded, watched, available, stays, ends_in_time,
        ):  # fmt: skip
            for fault in rule(deployed, keyward):
                yield f"{name}: {fault}"
    for service in deployed.of("Service"):
        for fault in leads_somewhere(deployed, service):
            yield f"Service {service['metadata']['name']}: {fault}"


def configured(deployed, keyward):
    if keyward.container["args"][-1] != "run":
        yield "it does not run"
    config = keyward.config
    listeners = [one["address"] for one in config["listener"]]
    admin = config["admin"]["address"]
    others = {name: port for name, port in keyward.ports.items() if name != "admin"}
    if sorted(port_of(one) for one in listeners) != sorted(others.values()) or "http" not in others:
        yield f"it listens at {listeners}, and the port http is {others.get('http')} of {others}"
    for address in (*listeners, admin):
        if not address.startswith("[::]:") and not is_loopback(address):
            yield f"it listens at {address}, and so for one family of addresses"
    if any(is_loopback(one) for one in listeners):
        yield "it listens on loopback: no client can connect"
    if port_of(admin) != keyward.ports.get("admin"):
        yield f"[admin] address is {admin}, and the port admin is {keyward.ports.get('admin')}"
    if is_loopback(admin):
        yield "[admin] address is loopback: probes and Prometheus cannot connect"
    if config["server"].get("pin", True):
        yield "workers are pinned: those of all pods of a node to the same cores"
    if keyward.is_sidecar:
        for host in keyward.upstreams():
            if not is_loopback(host):
                yield f"the upstream {host} is not in this pod"
        for app in keyward.apps:
            if app.get("ports"):
                yield f"the app {app['name']} has a port: it must listen on 127.0.0.1 alone"
    if config["store"]["kind"] == "redis":
        host, _, port = config["store"]["url"].split("//")[1].partition(":")
        service = deployed.named("Service", host)
        ports = [one["port"] for one in service["spec"]["ports"]] if service else [int(port)]
        if int(port) not in ports:
            yield f"Redis is at {ports}, not at {port}"
        if service is None and deployed.of("StatefulSet"):
            yield f"there is no Service {host}"
    elif keyward.workload["spec"].get("replicas") != 1:
        yield "an embedded store belongs to one instance"


def mounted(deployed, keyward):
    config = keyward.config
    _, volume, below = keyward.volume_at(config["keys"]["directory"])
    if below != "" or (volume or {}).get("secret", {}).get("secretName") != "keyward-keys":
        yield "[keys] directory is not where the Secret keyward-keys is mounted"
    if password := config["store"].get("password_file"):
        _, volume, below = keyward.volume_at(password)
        items = [one["path"] for one in (volume or {}).get("secret", {}).get("items", [])]
        if below not in items:
            yield "[store] password_file is not where the Secret with it is mounted"
    mount, volume, below = keyward.volume_at(config["admin"]["socket"])
    if volume is None or "emptyDir" not in volume or mount.get("readOnly") or "/" in below:
        yield "[admin] socket is not in a folder that keyward may write to"
    if keyward.pod["securityContext"].get("fsGroup") != KEYWARD_USER:
        yield f"fsGroup is not {KEYWARD_USER}: what is mounted is not keyward's to read"
    secrets = {volume["name"] for volume in keyward.pod["volumes"] if "secret" in volume}
    for mount in (one for app in keyward.apps for one in app.get("volumeMounts", [])):
        if mount["name"] in secrets:
            yield f"the app has the Secret of the volume {mount['name']}"


def probed(deployed, keyward):
    for name, path in PROBES.items():
        asked = keyward.container.get(name, {}).get("httpGet", {})
        if (asked.get("path"), asked.get("port")) != (path, "admin"):
            yield f"{name} does not ask {path} at the port admin"
    start = keyward.container.get("startupProbe", {})
    if start.get("periodSeconds", 10) * start.get("failureThreshold", 3) < 30:
        yield "a start has less than 30 s"


def served(deployed, keyward):
    services = [s for s in deployed.of("Service") if s["spec"].get("selector")]
    mine = [s for s in services if selects({"matchLabels": s["spec"]["selector"]}, keyward.labels)]
    leads = [keyward.targets(service) for service in mine]
    for wanted in ([name for name in keyward.ports if name != "admin"], ["admin"]):
        if wanted not in leads:
            yield f"no Service leads to its port {' and '.join(wanted)} alone"
    for service, ports in zip(mine, leads):
        name = service["metadata"]["name"]
        if "admin" in ports:
            if service["spec"].get("clusterIP") != "None" or len(ports) > 1:
                yield f"Service {name} may become public, with the port admin"
            if not service["spec"].get("publishNotReadyAddresses"):
                yield f"Service {name} leaves out what is not ready"


def guarded(deployed, keyward):
    """Who reaches what, by the policies."""
    policies, target, ports = deployed.policies, keyward.labels, keyward.ports
    stranger = {"app.kubernetes.io/name": "stranger"}
    nowhere = [(stranger, None), (stranger, ANY_NAMESPACE), (PROMETHEUS, None)]
    nowhere += [(PROMETHEUS, ANY_NAMESPACE), (stranger, MONITORING)]
    for source, of in nowhere:
        for name in ports.keys() - {"admin"}:
            if not admitted(policies, target, ports[name], source, of):
                yield f"some pods cannot connect to its port {name}"
        if admitted(policies, target, ports["admin"], source, of):
            yield "others than Prometheus can connect to its port admin"
    if not admitted(policies, target, ports["admin"], PROMETHEUS, MONITORING):
        yield "Prometheus cannot connect to its port admin"
    hosts = keyward.upstreams()
    others = [OTHER_PORT] + [port_of(host) for host in hosts if keyward.is_sidecar]
    for port in others:
        if any(admitted(policies, target, port, *source) for source in nowhere):
            yield f"others can connect to its port {port}"
    if not keyward.is_sidecar:
        yield from upstreams_are_guarded(deployed, keyward, hosts, nowhere)
    url = keyward.config["store"].get("url")
    if url and (redis := deployed.named("Service", url.split("//")[1].partition(":")[0])):
        for workload in deployed.workloads:
            labels = workload["spec"]["template"]["metadata"]["labels"]
            if not selects({"matchLabels": redis["spec"]["selector"]}, labels):
                continue
            if not admitted(policies, labels, 6379, target):
                yield "it cannot connect to Redis"
            if any(admitted(policies, labels, 6379, *source) for source in nowhere):
                yield "others can connect to Redis"


def upstreams_are_guarded(deployed, keyward, hosts, others):
    behind = {"behind-keyward": "true"}
    targets = [(behind, OTHER_PORT)]
    for host in hosts:
        name, port = host.split(":")
        service = deployed.named("Service", name)
        for workload in deployed.workloads if service else []:
            labels = workload["spec"]["template"]["metadata"]["labels"]
            if selects({"matchLabels": service["spec"]["selector"]}, labels):
                targets.append((labels, int(port)))
        if service is None and deployed.of("StatefulSet"):
            yield f"there is no Service for the upstream {host}"
    for labels, port in targets:
        if not admitted(deployed.policies, labels, port, keyward.labels):
            yield "it cannot connect to what is behind it"
        if any(admitted(deployed.policies, labels, port, *source) for source in others):
            yield "others can connect to what is behind it"


def watched(deployed, keyward):
    for monitor in deployed.of("ServiceMonitor"):
        name = f"ServiceMonitor {monitor['metadata']['name']}"
        found = [
            s for s in deployed.of("Service")
            if selects(monitor["spec"]["selector"], s["metadata"].get("labels", {}))
        ]  # fmt: skip
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint.get("path") != "/metrics":
                yield f"{name} does not ask /metrics"
            relabelings = endpoint.get("relabelings", [])
            targets = [one.get("targetLabel") for one in relabelings]
            set_to = [one for one in relabelings if one.get("targetLabel") == "job"]
            if "deployment" not in targets:
                yield f"{name} does not tell deployments apart"
            # The operator gives each target its port's name as `endpoint`.
            dropped = [one["regex"] for one in relabelings if one.get("action") == "labeldrop"]
            if "endpoint" not in dropped:
                yield f"{name} hides which endpoint of an upstream a metric is of"
            if [one["replacement"] for one in set_to] not in [[job] for job in JOBS]:
                yield f"{name} gives a job that no alert knows"
            if [keyward.targets(one, endpoint["port"]) for one in found] != [["admin"]]:
                yield f"{name} does not lead to the port admin"


def available(deployed, keyward):
    workload, replicas = keyward.workload, keyward.workload["spec"].get("replicas")
    for scaler in deployed.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) != (workload["kind"], workload["metadata"]["name"]):
            yield f"the autoscaler scales {target['kind']} {target['name']}"
            continue
        if replicas is not None:
            yield "an apply would reset what the autoscaler has chosen"
        replicas = scaler["spec"]["minReplicas"]
        if scaler["spec"]["maxReplicas"] < replicas:
            yield "the autoscaler has less at most than at least"
        cpu = keyward.container["resources"]["limits"].get("cpu", "1000")
        for metric in scaler["spec"]["metrics"]:
            if amount(metric["resource"]["target"]["averageValue"]) >= amount(cpu):
                yield "the autoscaler waits for more cores than a pod may have"
    if replicas is None or replicas < 2:
        yield "there are fewer than two instances"
    budgets = [
        one["spec"] for one in deployed.of("PodDisruptionBudget")
        if selects(one["spec"]["selector"], keyward.labels)
    ]  # fmt: skip
    if len(budgets) != 1:
        yield f"{len(budgets)} budgets for disruptions hold for its pods"
    for budget in budgets:
        gone = budget.get("maxUnavailable")
        gone = (replicas or 1) - budget["minAvailable"] if gone is None else gone
        if gone < 1:
            yield "no node with one of its pods can ever be emptied"
        if gone >= (replicas or 1):
            yield "all instances may be away at a time"
    rolling = workload["spec"].get("strategy", {}).get("rollingUpdate", {})
    if rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
        yield "a rollout takes instances away before others are there"


def leads_somewhere(deployed, service):
    # RFC 1035, which the API holds Services to.
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", service["metadata"]["name"]):
        yield "no Service may be called so"
    pods = [one["spec"]["template"] for one in deployed.workloads]
    selector = {"matchLabels": service["spec"]["selector"]}
    found = [one for one in pods if selects(selector, one["metadata"]["labels"])]
    if len(found) != 1:
        yield f"it leads to {len(found)} workloads"
    for pod in found:
        sidecars = [one for c in pod["spec"].get("initContainers", []) for one in c["ports"]]
        mains = [one for c in pod["spec"]["containers"] for one in c.get("ports", [])]
        known = [one["containerPort"] for one in sidecars + mains]
        known += [one["name"] for one in mains]
        for target in (one["targetPort"] for one in service["spec"]["ports"]):
            if target in [one["name"] for one in sidecars]:
                yield f"it names the port {target} of a sidecar: Kubernetes before 1.32 finds none"
            elif target not in known:
                yield f"its pods have no port {target}"
