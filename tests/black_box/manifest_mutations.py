"""Faults, each planted in manifests that are right, with a part of what must be said of it: a rule
that says nothing of its fault checks nothing.
"""

import copy


def of(documents, kind, name):
    return next(d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))


def pod(documents, name="keyward"):
    return of(documents, "Deployment", name)["spec"]["template"]["spec"]


def keyward(documents):
    """The container, at the edge or as a sidecar."""
    pods = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"]
    containers = [c for p in pods for c in p.get("initContainers", []) + p["containers"]]
    return next(c for c in containers if c["name"] == "keyward")


def app(documents):
    return next(c for c in pod(documents, "app")["containers"] if c["name"] == "app")


def config(old, new):
    def change(documents):
        for document in documents:
            text = document.get("data", {}).get("keyward.toml")
            if document["kind"] == "ConfigMap" and text:
                assert old in text, old
                document["data"]["keyward.toml"] = text.replace(old, new)

    return change


def put(find, path, value):
    """Sets a field; `None` removes it."""

    def change(documents):
        at = find(documents)
        *way, last = path.split(".")
        for step in way:
            at = at[int(step)] if step.isdigit() else at.setdefault(step, {})
        last = int(last) if last.isdigit() else last
        if value is None:
            del at[last]
        else:
            at[last] = value

    return change


def gone(kind, name):
    return lambda documents: documents.remove(of(documents, kind, name))


def at(kind, name, path, value):
    return put(lambda documents: of(documents, kind, name), path, value)


SPEC = "spec.template.spec."
D, S, N = "Deployment", "Service", "NetworkPolicy"
STRANGER = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}
# In the order of the manifest: namespace and pod of Prometheus as two peers.
EITHER = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
EITHER += [STRANGER]

EDGE = [
    ("selects other pods", at(D, "keyward", "spec.selector.matchLabels.x", "y"), "selector"),
    ("spreads others", put(lambda d: pod(d)["topologySpreadConstraints"][0], "labelSelector",
     {"matchLabels": {"x": "y"}}), "topologySpread"),
    ("has a token", put(pod, "automountServiceAccountToken", None), "service account"),
    ("has links", put(pod, "enableServiceLinks", True), "variables"),
    ("is root", put(pod, "securityContext.runAsUser", 0), "as root"),
    ("may be root", put(pod, "securityContext.runAsNonRoot", None), "as root"),
    ("is another", put(pod, "securityContext.runAsUser", 1000), "user 10001"),
    ("without seccomp", put(pod, "securityContext.seccompProfile", None), "seccomp"),
    ("on the host", put(pod, "hostNetwork", True), "hostNetwork"),
    ("privileged", put(keyward, "securityContext.privileged", True), "privileges"),
    ("writes", put(keyward, "securityContext.readOnlyRootFilesystem", False), "root file system"),
    ("capable", put(keyward, "securityContext.capabilities.add", ["NET_RAW"]), "capabilities"),
    ("any version", put(keyward, "image", "keyward"), "no version"),
    ("latest", put(keyward, "image", "keyward:latest"), "no version"),
    ("without a limit", put(keyward, "resources.limits.memory", None), "no limit of memory"),
    ("without a request", put(keyward, "resources.requests", None), "no limit of cpu"),
    ("asks too much", put(keyward, "resources.requests.memory", "1Gi"), "more memory"),
    ("no volume", put(pod, "volumes.3", None), "no volume run"),
    ("of the node", put(pod, "volumes.3", {"name": "run", "hostPath": {"path": "/run"}}), "node"),
    ("unused", put(keyward, "volumeMounts.3", None), "mounted nowhere"),
    ("writable", put(keyward, "volumeMounts.1.readOnly", None), "read-only"),
    ("image's volume", put(keyward, "volumeMounts.4", None), "a volume of its image"),
    ("writable volume", put(keyward, "volumeMounts.4.readOnly", None), "a volume of its image"),
    ("Redis's volume", put(lambda d: of(d, "StatefulSet", "keyward-redis"),
     SPEC + "containers.0.volumeMounts.2.mountPath", "/dat"), "a volume of its image"),
    ("open keys", put(pod, "volumes.1.secret.defaultMode", 0o644), "mode 0400"),
    ("unreadable", put(pod, "securityContext.fsGroup", None), "fsGroup"),
    ("no map", put(pod, "volumes.0.configMap.name", "other"), "no ConfigMap other"),
    ("elsewhere", put(keyward, "args.1", "/etc/keyward/other.toml"), "no configuration"),
    ("does nothing", put(keyward, "args.2", "validate"), "does not run"),
    ("no TOML", config("[admin]", "[admin"), "no TOML"),
    ("other port", config("[::]:8080", "0.0.0.0:8081"), "port http is 8080"),
    ("one family", config("[::]:8080", "0.0.0.0:8080"), "for one family"),
    ("one family's admin", config("[::]:9090", "0.0.0.0:9090"), "for one family"),
    ("loopback", config("[::]:8080", "127.0.0.1:8080"), "no client"),
    ("other admin", config("[::]:9090", "0.0.0.0:9091"), "port admin is 9090"),
    ("admin here", config("[::]:9090", "127.0.0.1:9090"), "probes and Prometheus"),
    ("pinned", config("pin = false", "pin = true"), "pinned"),
    ("other Redis", config("keyward-redis:6379", "keyward-redis:6380"), "Redis is at"),
    ("no Redis", config("keyward-redis:6379", "other:6379"), "no Service other"),
    ("embedded", config('kind = "redis"', 'kind = "embedded"'), "one instance"),
    ("no keys", config('"/etc/keyward-keys"', '"/etc/keys"'), "keyward-keys"),
    ("no password", config("keyward-redis/password", "keyward-redis/pass"), "password_file"),
    ("no socket", config("/run/keyward/admin.sock", "/etc/keyward/a.sock"), "socket"),
    ("probe", put(keyward, "livenessProbe.httpGet.path", "/readyz"), "livenessProbe"),
    ("probe's port", put(keyward, "readinessProbe.httpGet.port", "http"), "readinessProbe"),
    ("no probe", put(keyward, "startupProbe", None), "startupProbe"),
    ("no patience", put(keyward, "readinessProbe.failureThreshold", 2), "without a pod"),
    ("leaves too early", put(keyward, "readinessProbe.failureThreshold", 6), "delay is over"),
    ("impatient", put(keyward, "startupProbe.failureThreshold", 5), "less than 30 s"),
    ("public", at(S, "keyward", "spec.ports.0.targetPort", "admin"), "may become public"),
    ("no Service", gone(S, "keyward"), "port http alone"),
    ("no admin", gone(S, "keyward-admin"), "port admin alone"),
    ("balanced", at(S, "keyward-admin", "spec.clusterIP", None), "may become public"),
    ("ready only", at(S, "keyward-admin", "spec.publishNotReadyAddresses", None), "leaves out"),
    ("nowhere", at(S, "keyward", "spec.selector.x", "y"), "leads to 0"),
    ("no port", at(S, "keyward", "spec.ports.0.targetPort", "web"), "no port web"),
    ("unguarded", gone(N, "keyward"), "others than Prometheus"),
    ("either", at(N, "keyward", "spec.ingress.1.from", EITHER), "others than Prometheus"),
    ("all ports", at(N, "keyward", "spec.ingress.0", {}), "others than Prometheus"),
    ("shut", at(N, "keyward", "spec.ingress.0.ports.0.port", 80), "cannot connect to its port"),
    ("unseen", at(N, "keyward", "spec.ingress.1", None), "Prometheus cannot"),
    ("egress only", at(N, "keyward", "spec.policyTypes", ["Egress"]), "others than Prometheus"),
    ("passed by", gone(N, "behind-keyward"), "others can connect to what is behind"),
    ("cut off", at(N, "behind-keyward", "spec.ingress.0.from.0.podSelector.matchLabels",
     {"x": "y"}), "cannot connect to what is behind"),
    ("no label", put(lambda d: of(d, D, "app"), "spec.template.metadata.labels.behind-keyward",
     None), "others can connect to what is behind"),
    ("no upstream", config("http://app:3000", "http://web:3000"), "no Service for the upstream"),
    ("open Redis", gone(N, "keyward-redis"), "others can connect to Redis"),
    ("Redis shut", at(D, "keyward", "spec.template.metadata.labels.keyward", None),
     "cannot connect to Redis"),
    ("other scrape", at("ServiceMonitor", "keyward", "spec.endpoints.0.path", "/"), "/metrics"),
    ("no scrape", at("ServiceMonitor", "keyward", "spec.endpoints.0.port", "http"), "lead to"),
    ("scrapes none", at("ServiceMonitor", "keyward", "spec.selector.matchLabels",
     {"x": "y"}), "lead to"),
    ("Service's job", at("ServiceMonitor", "keyward", "spec.endpoints.0.relabelings", None),
     "no alert knows"),
    ("other job", at("ServiceMonitor", "keyward", "spec.endpoints.0.relabelings.0.replacement",
     "gate"), "no alert knows"),
    ("one deployment", at("ServiceMonitor", "keyward", "spec.endpoints.0.relabelings.1.targetLabel",
     "x"), "tell deployments apart"),
    ("port's name", at("ServiceMonitor", "keyward", "spec.endpoints.0.relabelings.2.regex", "x"),
     "hides which endpoint"),
    ("no name", at(S, "keyward", "metadata.name", "1-keyward"), "may be called so"),
    ("reset", at(D, "keyward", "spec.replicas", 2), "reset"),
    ("scales another", at("HorizontalPodAutoscaler", "keyward", "spec.scaleTargetRef.name", "x"),
     "scales"),
    ("never scales", put(lambda d: of(d, "HorizontalPodAutoscaler", "keyward")["spec"]["metrics"]
     [0]["resource"]["target"], "averageValue", "2"), "more cores"),
    ("only one", at("HorizontalPodAutoscaler", "keyward", "spec.minReplicas", 1), "fewer than two"),
    ("turned", at("HorizontalPodAutoscaler", "keyward", "spec.maxReplicas", 1), "at most"),
    ("no budget", gone("PodDisruptionBudget", "keyward"), "0 budgets"),
    ("stuck", at("PodDisruptionBudget", "keyward", "spec.maxUnavailable", 0), "ever be emptied"),
    ("all away", at("PodDisruptionBudget", "keyward", "spec.maxUnavailable", 2), "at a time"),
    ("takes away", at(D, "keyward", "spec.strategy.rollingUpdate.maxUnavailable", 1), "rollout"),
    ("killed", put(pod, "terminationGracePeriodSeconds", 40), "is killed"),
    ("killed after a sleep", put(keyward, "lifecycle", {"preStop": {"sleep": {"seconds": 25}}}),
     "is killed"),
    ("longer grace", config('grace = "30s"', 'grace = "1m"'), "is killed"),
    ("no delay", config('shutdown_delay = "10s"', ""), "too short"),
    ("no keyward", put(keyward, "command", ["sleep"]), "no container runs keyward"),
]  # fmt: skip

SIDECAR = [
    ("not a sidecar", put(keyward, "restartPolicy", None), "no native sidecar"),
    ("leaves late", put(keyward, "lifecycle", None), "asked to leave"),
    ("ends early", put(app, "lifecycle.preStop.sleep.seconds", 20), "while keyward forwards"),
    ("no sleep", put(app, "lifecycle", None), "while keyward forwards"),
    ("sleeps long", put(app, "lifecycle.preStop.sleep.seconds", 55), "is killed after"),
    ("app's port", put(app, "ports", [{"name": "web", "containerPort": 3000}]), "has a port"),
    ("not loopback", config("127.0.0.1:3000", "app:3000"), "not in this pod"),
    ("has the keys", put(app, "volumeMounts.0", {"name": "keys", "mountPath": "/keys",
     "readOnly": True}), "the app has the Secret"),
    ("app is root", put(app, "securityContext.runAsUser", 0), "as root"),
    ("app unbounded", put(app, "resources", None), "no limit of cpu"),
    ("unguarded", gone(N, "app"), "others can connect to its port"),
    ("all ports", at(N, "app", "spec.ingress.0", {}), "others can connect to its port 3000"),
    ("app's port open", at(N, "app", "spec.ingress.0.ports", [{"port": 8080}, {"port": 3000}]),
     "others can connect to its port 3000"),
    ("named port", at(S, "app", "spec.ports.0.targetPort", "http"), "before 1.32"),
    ("only one", at(D, "app", "spec.replicas", 1), "fewer than two"),
    ("one embedded", config('kind = "redis"', 'kind = "embedded"'), "one instance"),
]  # fmt: skip

# Unknown fields and wrong values, which the schemas of the API refuse.
SCHEMA = [
    ("unknown field", put(pod, "terminationGracePeriod", 60), "terminationGracePeriod"),
    ("unknown in a container", put(keyward, "securityContext.readOnly", True), "readOnly"),
    ("wrong type", put(keyward, "ports.0.containerPort", "8080"), "8080"),
    ("missing", at(D, "keyward", "spec.selector", None), "selector"),
    ("old API", at("PodDisruptionBudget", "keyward", "apiVersion", "policy/v1beta1"), "has no"),
    ("unknown of a policy", at(N, "keyward", "spec.ingress.0.port", 80), "port"),
    ("monitor", at("ServiceMonitor", "keyward", "spec.endpoints.0.intervall", "1s"), "intervall"),
    ("monitor's label", at("ServiceMonitor", "keyward", "spec.endpoints.0.relabelings.0.label",
     "job"), "label"),
    ("monitor's port", at("ServiceMonitor", "keyward", "spec.endpoints.0.port", 9090), "9090"),
]  # fmt: skip


def unreported(documents, mutations, complaints):
    """The mutations of which nothing is said, or something else."""
    for name, change, part in mutations:
        mutated = copy.deepcopy(documents)
        change(mutated)
        said = list(complaints(mutated))
        if not any(part in one for one in said):
            yield f"{name}: {part!r} is not in {said}"
