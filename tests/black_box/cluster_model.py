"""A `kubectl` for scripts, where there is no cluster: what they apply is started by
`manifest_pods`, one pod of each workload, and what they execute is executed there. Secrets and
kustomizations are made by the real kubectl. NetworkPolicies are kept to by their rules, for what
`stranger.py` reaches.

It knows the commands that docs/kubernetes.md and try-on-a-cluster use, and refuses all others.
"""

import contextlib
import json
import pathlib
import re
import shlex
import socket
import sys
import threading

import manifest_pods
from cluster_tools import documents
from manifest_rules import Deployed
from network_policies import admitted

CLIENT = f"""#!{sys.executable}
import json, os, socket, sys
words = sys.argv[1:]
reads = "-i" in words[:4] or words[-2:] == ["-f", "-"]
given = sys.stdin.read() if reads else ""
with socket.socket(socket.AF_UNIX) as server:
    server.connect(PLACE)
    stream = server.makefile("rw")
    print(json.dumps([words, given, os.getcwd()]), file=stream, flush=True)
    for line in stream:
        status, said, complaint = json.loads(line)
        sys.stdout.write(said)
        sys.stdout.flush()
        sys.stderr.write(complaint)
        if status is not None:
            sys.exit(status)
"""


# The addresses of pods without keyward.
OTHERS = {"app": "127.0.0.3", "stranger": "127.0.0.4", "keyward-redis": "127.0.0.5"}


class Refused(Exception):
    pass


class Cluster:
    """Runs for as long as the `with` lasts. `bin` is a folder with `kubectl`."""

    def __init__(self, tools, room, programs):
        self.tools, self.room, self.programs = tools, room, programs
        self.objects, self.running, self.asked = {}, {}, []
        # As some networks do.
        self.ignores_policies = False
        # Names of policies that are not there, whatever is applied.
        self.without = []
        # Whether the stranger finds Services by their names.
        self.finds_names = True
        # That of the pods with keyward.
        self.address = manifest_pods.POD
        self.bin = room / "bin"
        self.bin.mkdir()
        place = room / "kubectl.sock"
        (self.bin / "kubectl").write_text(CLIENT.replace("PLACE", repr(str(place))))
        (self.bin / "kubectl").chmod(0o755)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(place))
        self.listener.listen()

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        # A thread that waits in accept goes on upon this, and not upon close.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.stop_all()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=[connection], daemon=True).start()

    def answer(self, connection):
        # The client of a forwarding is killed.
        with contextlib.suppress(OSError), connection, connection.makefile("rw") as stream:
            words, given, place = json.loads(stream.readline())
            self.asked.append(words)
            try:
                answer = self.judge(words, given, pathlib.Path(place), stream)
            except Refused as fault:
                answer = [1, "", f"kubectl: {shlex.join(words)}: {fault}\n"]
            except Exception as fault:  # The script must hear of it, and not wait.
                kind = type(fault).__name__
                answer = [1, "", f"kubectl: {shlex.join(words)}: {kind}: {fault}\n"]
            print(json.dumps(answer), file=stream, flush=True)

    def judge(self, words, given, place, stream):
        words, namespace = list(words), None
        if words[0] == "-n":
            namespace, words = words[1], words[2:]
        match words:
            case ["kustomize", _]:
                return self.real(words, place)
            case ["create", "secret", "generic", *_] if "--dry-run=client" in words:
                return self.real(words, place)
            case ["create", "secret", "generic", name, *_]:
                made = self.real([*words, "--dry-run=client", "-o", "json"], place)
                return self.create(name, namespace, made)
            case ["create", "namespace", name]:
                return self.apply([{"kind": "Namespace", "metadata": {"name": name}}])
            case ["apply", "-f", "-"]:
                return self.apply(documents(given))
            case ["replace", "-f", "-"]:
                for one in documents(given):
                    if (one["kind"], one["metadata"]["name"]) not in self.objects:
                        raise Refused("it is not there")
                return self.set(documents(given))
            case ["apply", "-f", file]:
                return self.apply(documents((place / file).read_text()))
            case ["apply", "-k", folder]:
                return self.apply(self.tools.kustomize(place / folder))
            case ["rollout", "status", workload, *_]:
                return self.await_ready(workload)
            case ["rollout", "restart", workload]:
                found, _ = self.find(workload)
                self.start(found)
                return [0, f"{workload} restarted\n", ""]
            case ["wait", workload, _, _]:
                return self.await_ready(workload)
            case ["exec", *rest]:
                at = rest.index("--")
                options = [one for one in rest[:at] if one != "-i"]
                container = None
                if "-c" in options:
                    place_of = options.index("-c")
                    _, container = options.pop(place_of), options.pop(place_of)
                (workload,) = options
                return self.execute(workload, container, rest[at + 1 :], given)
            case ["port-forward", service, ports]:
                return self.forward(service, ports, stream)
            case ["get", "pods", "-l", label, "-o", "jsonpath={.items[*].status.podIP}"]:
                found = [self.running[name][0] for name in self.labelled(label)]
                return [0, " ".join(map(self.address_of, found)), ""]
            case ["get", "pods", "-l", label, "-o", "name"]:
                return [0, "".join(f"pod/{name}\n" for name in self.labelled(label)), ""]
            case ["get", "pods", "-o", "name"]:
                return [0, "".join(f"pod/{name}\n" for name in self.running), ""]
            case ["get", "pods,events"]:
                return [0, f"{sorted(self.running)}\n", ""]
            case ["logs", pod, "--all-containers", "--prefix", "--tail=50"]:
                containers = self.find(pod)[1]
                words = [(f"[{pod}/{one.spec['name']}]", one.last_words()) for one in containers]
                return [0, "".join(f"{mark} {said}\n" for mark, said in words), ""]
            case ["delete", "namespace", name, *_]:
                self.objects.clear()
                self.stop_all()
                return [0, f"namespace {name} deleted\n", ""]
        raise Refused("this model does not know it")

    def real(self, words, place):
        answer = self.tools.ask("kubectl", *words, place=place)
        return [answer.returncode, answer.stdout, answer.stderr]

    def create(self, name, namespace, made):
        if made[0] != 0:
            return made
        if ("Namespace", namespace) not in self.objects:
            raise Refused(f"there is no namespace {namespace}")
        if ("Secret", name) in self.objects:
            raise Refused("it is there already")
        self.objects["Secret", name] = json.loads(made[1])
        return [0, f"secret/{name} created\n", ""]

    def apply(self, found):
        if any(one["kind"] == "Secret" for one in found):
            raise Refused("it would be in clear in last-applied-configuration")
        found = [one for one in found if one["metadata"]["name"] not in self.without]
        return self.set(found)

    def set(self, found):
        for one in found:
            self.objects[one["kind"], one["metadata"]["name"]] = one
        if any(one["kind"] == "Secret" for one in found):
            for container in (each for _, several in self.running.values() for each in several):
                container.pod.renew(self.objects)
        for workload in Deployed(found).workloads:
            self.start(workload)
        return [0, f"{len(found)} objects applied\n", ""]

    def stop_all(self):
        for _, containers in self.running.values():
            for container in containers:
                container.__exit__()
        self.running.clear()

    def start(self, workload):
        """Anew, if it runs."""
        name, spec = workload["metadata"]["name"], workload["spec"]
        for container in self.running.pop(name, (None, []))[1]:
            container.__exit__()
        room = self.room / f"pod-{len(self.asked)}-{name}"
        room.mkdir()
        claims = spec.get("volumeClaimTemplates", [])
        pod = manifest_pods.Pod(room, spec["template"], self.objects, self.programs, claims)
        names = [one for kind, one in self.objects if kind == "Service"]
        hosts = "127.0.0.1 localhost\n" + f"{manifest_pods.POD} {' '.join(names)}\n"
        containers = pod.spec.get("initContainers", []) + pod.spec["containers"]
        started = [pod.container(one["name"]).start(hosts) for one in containers]
        self.running[name] = (workload, started)

    def address_of(self, workload):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        return self.address if "keyward" in labels else OTHERS[workload["metadata"]["name"]]

    def labelled(self, label):
        name, _, value = label.partition("=")
        for running, (workload, _) in self.running.items():
            labels = workload["spec"]["template"]["metadata"]["labels"]
            if name in labels and value in ("", labels[name]):
                yield running

    def find(self, workload):
        kind, _, name = workload.partition("/")
        found = self.running.get(name)
        if found is None or kind not in ("pod", found[0]["kind"].lower()):
            raise Refused(f"there is no {workload}")
        return found

    def await_ready(self, workload):
        for container in self.find(workload)[1]:
            if "readinessProbe" in container.spec:
                container.await_probe("readinessProbe")
        return [0, f"{workload} is ready\n", ""]

    def execute(self, workload, name, command, given):
        found, containers = self.find(workload)
        # Without a name it is the first of those that are not for the start.
        main = found["spec"]["template"]["spec"]["containers"][0]["name"]
        container = next(c for c in containers if c.spec["name"] == (name or main))
        if command[:3] == ["python3", "/srv/stranger.py", "reach"]:
            if not self.finds_names and not re.match(r"[0-9a-f.:]+$", command[3]):
                command[3] = "nowhere.invalid"
            elif not self.ignores_policies and not self.lets_through(found, *command[3:]):
                return [0, "closed\n", ""]
        answer = container.execute(*command, stdin=given)
        return [answer.returncode, answer.stdout, answer.stderr]

    def lets_through(self, source, host, port):
        """By the policies of the pods that are meant: those of a Service, or with this address."""
        deployed = Deployed(list(self.objects.values()))
        labels = source["spec"]["template"]["metadata"]["labels"]
        service = self.objects.get(("Service", host))
        for workload in deployed.workloads:
            target = workload["spec"]["template"]["metadata"]["labels"]
            if service is None and self.address_of(workload) != host:
                continue
            if service and not service["spec"]["selector"].items() <= target.items():
                continue
            if not admitted(deployed.policies, target, int(port), labels):
                return False
        return True

    def forward(self, service, ports, stream):
        """A Service's port at one of this machine, until the client goes."""
        local, _, port = ports.partition(":")
        spec = self.objects["Service", service.removeprefix("service/")]["spec"]
        asked = next(one for one in spec["ports"] if one["port"] == int(port))
        templates = [workload["spec"]["template"] for workload, _ in self.running.values()]
        target = next(
            one["containerPort"]
            for template in templates
            if spec["selector"].items() <= template["metadata"]["labels"].items()
            for key in ("initContainers", "containers")
            for container in template["spec"].get(key, [])
            for one in container.get("ports", [])
            if asked["targetPort"] in (one["name"], one["containerPort"])
        )
        with contextlib.ExitStack() as stack:
            if local != str(target):
                relay = stack.enter_context(socket.create_server(("127.0.0.1", int(local or 0))))
                local = relay.getsockname()[1]
                threading.Thread(target=self.relay, args=[relay, target], daemon=True).start()
            said = f"Forwarding from 127.0.0.1:{local} -> {target}\n"
            print(json.dumps([None, said, ""]), file=stream, flush=True)
            stream.readline()
        return [0, "", ""]

    def relay(self, listener, target):
        def pour(source, sink):
            with contextlib.suppress(OSError):
                while piece := source.recv(65536):
                    sink.sendall(piece)
                sink.shutdown(socket.SHUT_WR)

        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection((manifest_pods.POD, target), 5)
            except OSError:
                return
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pour, args=pair, daemon=True).start()
