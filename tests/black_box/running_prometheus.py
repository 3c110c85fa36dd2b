"""A fleet under traffic that a Prometheus scrapes, as deploy/observability configures it."""

import contextlib
import http.server
import json
import math
import pathlib
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import yaml

from running_keyward import ISSUER, PATIENCE, SECRET, access_token, call, free_port
from running_servers import Certificates, await_port, running, stop, until

REPOSITORY = pathlib.Path(__file__).parents[2]
FILES = REPOSITORY / "deploy/observability"
# RFC 8037, appendix A.2.
KEYS = b"""{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"""


class Answer(http.server.BaseHTTPRequestHandler):
    """The upstream, and an issuer's keys."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = KEYS if self.path == "/keys" else b"ok"
        self.send_response(503 if self.path == "/public/failing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def upstream():
    """The port of an upstream that answers for as long as the `with` lasts."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class Instance:
    """One keyward of the fleet. It runs for as long as the `with` lasts."""

    def __init__(self, program, room, name, text):
        self.program, self.port, self.admin = program, free_port(), free_port()
        self.file, self.errors = room / f"{name}.toml", room / f"{name}.stderr"
        self.text = text.replace("${PORT}", str(self.port)).replace("${ADMIN}", str(self.admin))
        self.text = self.text.replace("${NAME}", name).replace("${TLS}", str(free_port()))
        self.file.write_text(self.text)
        self.origin = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        command = [self.program, "--config", str(self.file), "run"]
        self.output = open(self.errors, "wb")
        self.process = subprocess.Popen(command, stdout=self.output, stderr=self.output)
        await_port(self.port, self.process, self.errors)
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.output.close()

    def page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as page:
            return page.read().decode()

    def last_words(self):
        return self.errors.read_text(errors="replace")[-2000:]


def configuration(room, redis, upstream):
    """Everything that makes a metric: two endpoints with limits, one upstream that is away at a
    path that must be escaped, limits, an issuer whose keys are fetched, a certificate.
    """
    (room / "login-secret").write_bytes(SECRET)
    (room / "login-secret").chmod(0o600)
    certificates = Certificates(room)
    return f"""
        [[listener]]
        address = "127.0.0.1:${{PORT}}"
        [[listener]]
        address = "127.0.0.1:${{TLS}}"
        tls = {{ certificate = "{certificates.certificate}", key = "{certificates.key}" }}
        [admin]
        address = "127.0.0.1:${{ADMIN}}"
        socket = "{room}/${{NAME}}.sock"
        [server]
        workers = 2
        pin = false
        shutdown_grace = "2s"
        [limits]
        requests = 1000
        memory = "4GiB"
        [store]
        kind = "redis"
        url = "redis://127.0.0.1:{redis.port}"
        timeout = "10s"
        read_timeout = "10s"
        coherence_lease = "10s"
        [keys]
        directory = "{room}/keys"
        [log]
        level = "warn"
        access = "{room}/${{NAME}}.access"
        [[issuer]]
        name = "login"
        issuer = "{ISSUER}"
        secret_file = "{room}/login-secret"
        audience = ["account"]
        required_claims = {{ typ = "Bearer" }}
        [[issuer]]
        name = "outside"
        issuer = "https://outside.example"
        jwks_url = "http://127.0.0.1:{upstream}/keys"
        audience = ["account"]
        [[token_api]]
        name = "platform"
        style = "tenant-tokens"
        mount = "/api/v1"
        issuer = "login"
        [[upstream]]
        name = "app"
        endpoints = ["http://127.0.0.1:{upstream}", "http://localhost:{upstream}"]
        max_connections = 100
        queue = 10
        [[upstream]]
        name = "away"
        endpoints = ['unix:{room}/a"b\\c.sock']
        circuit = true
        [[route]]
        path = "/public/{{*rest}}"
        upstream = "app"
        public = true
        [[route]]
        path = "/{{*rest}}"
        host = "*.api.example"
        upstream = "app"
        accept = ["platform", "login"]
        [[route]]
        path = "/away"
        upstream = "away"
        public = true
        [[route]]
        path = "/few"
        upstream = "app"
        public = true
        rate_limits = [{{ per = "address", rate = "1/m", burst = 1 }}]
    """


def status(url, token=None, host=None):
    """The status of an answer, whatever it is."""
    request = urllib.request.Request(url)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if host is not None:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


class Traffic:
    """Requests of every kind, again and again, until it is stopped. What it gets is what is meant,
    so that each count has its reason.
    """

    def __init__(self, instances):
        self.instances, self.over, self.fault = instances, threading.Event(), None
        self.thread = threading.Thread(target=self.go_on)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def go_on(self):
        try:
            while not self.over.wait(0.05):
                for instance in self.instances:
                    self.once(instance.origin)
        except Exception as fault:
            self.fault = fault

    def once(self, origin):
        keys, login = f"{origin}/api/v1/acme/tokens/", access_token()
        key = call(keys, "POST", login, {"name": "a", "expiry_date": "2099-12-31T23:59:59Z"})
        call(keys, token=login)
        guarded = {"host": "one.api.example"}
        for expected, found in [
            (200, status(origin + "/public/x")),
            (503, status(origin + "/public/failing")),
            (200, status(origin + "/x", key["token"], **guarded)),
            (200, status(origin + "/x", login, **guarded)),
            (401, status(origin + "/x", **guarded)),
            (401, status(origin + "/x", "sk-" + "a" * 48, **guarded)),
            (401, status(keys, "forged")),
            (404, status(origin + "/nowhere")),
        ]:
            assert found == expected, f"{found} and not {expected}"
        assert status(origin + "/away") in (502, 503)
        assert status(origin + "/few") in (200, 429)
        call(f"{keys}{key['id']}", "DELETE", login)


def as_the_operator_finds_them():
    """The labels that the Prometheus operator gives to targets, and what our ServiceMonitor makes
    of them.
    """
    labels = {"namespace": "shop", "endpoint": "admin"}
    labels["__meta_kubernetes_service_name"] = "edge-admin"
    manifest = REPOSITORY / "deploy/kubernetes/service-monitor/service-monitor.yaml"
    (endpoint,) = yaml.safe_load(manifest.read_text())["spec"]["endpoints"]
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabelings = [
        {names.get(name, name): value for name, value in one.items()}
        for one in endpoint["relabelings"]
    ]
    return f"labels: {json.dumps(labels)}\n    relabel_configs: {json.dumps(relabelings)}"


class Prometheus:
    """As deploy/observability configures it, but for the targets with their labels and the
    intervals. It runs for as long as the `with` lasts.
    """

    def __init__(self, room, targets):
        self.room, self.port = room / "prometheus", free_port()
        self.room.mkdir()
        text = (FILES / "prometheus.yml").read_text()
        named = '["keyward-1:9090", "keyward-2:9090"]'
        where = ("labels: {deployment: edge}", as_the_operator_finds_them())
        for old, new in [(named, json.dumps(targets)), ("15s", "1s"), where]:
            assert old in text, f"prometheus.yml has no {old} any more"
            text = text.replace(old, new)
        (self.room / "prometheus.yml").write_text(text)
        (self.room / "alerts.yml").write_text((FILES / "alerts.yml").read_text())
        self.running = running(
            [
                "prometheus",
                f"--config.file={self.room}/prometheus.yml",
                f"--storage.tsdb.path={self.room}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            self.port,
            self.room,
            "prometheus",
        )

    def __enter__(self):
        self.running.__enter__()
        until("Prometheus to be ready", self.is_ready)
        return self

    def __exit__(self, *fault):
        self.running.__exit__(*fault)

    def is_ready(self):
        try:
            return status(f"http://127.0.0.1:{self.port}/-/ready") == 200
        except OSError:
            return False

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                found = json.loads(answer.read())
        except urllib.error.HTTPError as fault:
            raise AssertionError(f"{parameters}: {fault.read().decode()}") from fault
        # Later versions have hints among the warnings.
        said = [one for one in found.get("warnings", []) if not one.startswith("PromQL info")]
        assert found["status"] == "success" and not said, found
        return found["data"]

    def values(self, query):
        """The values that are numbers of what a query finds now."""
        found = self.ask("query", query=query)["result"]
        numbers = [float(sample["value"][1]) for sample in found]
        return [number for number in numbers if math.isfinite(number)]
