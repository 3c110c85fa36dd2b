"""A keyward with all four token APIs, and the credentials of a person who uses them. Nothing but the standard library."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

SECRET = b"a secret that is only good for tests, and long enough"
ISSUER = "https://id.example.com/realms/main"
PATIENCE = 30

# The demo's: all four token APIs.
CONFIGURATION = (pathlib.Path(__file__).parents[2] / "src/app/demo.toml").read_text()
EMBEDDED = 'kind = "embedded"\npath = "${FOLDER}/keyward.db"\n'
# A busy machine is not an outage.
REDIS = 'kind = "redis"\nurl = "redis://127.0.0.1:{port}"\ntimeout = "10s"\nread_timeout = "10s"\ncoherence_lease = "10s"\n'


def configuration(port, room, redis):
    """The demo's, where a test can come from many addresses; on Redis, if there is one."""
    text = replaced(CONFIGURATION, '[[listener]]\n', '[[listener]]\ntrusted_proxies = ["127.0.0.0/8"]\n')
    if redis is not None:
        text = replaced(text, EMBEDDED, REDIS.format(port=redis.port))
    # Nothing is forwarded: no process listens on the port "discard".
    places = {"ADDRESS": f"127.0.0.1:{port}", "FOLDER": str(room), "LOGIN": ISSUER, "UPSTREAM": "127.0.0.1:9"}
    for name, place in places.items():
        text = replaced(text, "${" + name + "}", place)
    return text


def replaced(text, old, new):
    assert old in text, f"there is no {old!r} any more in:\n{text}"
    return text.replace(old, new)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """A server that keeps what it acknowledges. Runs for as long as the `with` lasts."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kw")
        self.port = free_port()
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder.name]
        command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server did not start") from None
                time.sleep(0.02)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Keyward:
    """Runs for as long as the `with` lasts."""

    def __init__(self, program, redis=None):
        self.program, self.redis = os.path.abspath(program), redis

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kw")
        room = pathlib.Path(self.folder.name)
        (room / "login-secret").write_bytes(SECRET)
        port = free_port()
        self.configuration = room / "keyward.toml"
        self.configuration.write_text(configuration(port, room, self.redis))
        self.origin = f"http://127.0.0.1:{port}"
        self.log = open(room / "stderr", "wb")
        self.process = subprocess.Popen(
            [self.program, "--config", str(self.configuration), "run"], stdout=self.log, stderr=self.log
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("keyward did not start:\n" + (room / "stderr").read_text())
            try:
                call(self.origin + "/api/v1/openapi.json")
                return self
            except OSError:
                time.sleep(0.02)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def bootstrap_token(self, mints=10_000):
        identity = ["--sub", "u-1", "--username", "alice", "--organization", "acme", "--role", "user"]
        command = [self.program, "--config", str(self.configuration), "bootstrap", "create", "--token-api", "jarvispy"]
        output = subprocess.run(command + identity + ["--mints", str(mints)], stdout=subprocess.PIPE, check=True)
        return output.stdout.decode().strip()


def call(url, method="GET", token=None, body=None):
    """The JSON of an answer; an error for one that is no success."""
    request = urllib.request.Request(url, method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, data, timeout=PATIENCE) as answer:
        return json.loads(answer.read() or b"null")


def ask(url, token=None):
    """(status, text) of an answer, whatever its status."""
    request = urllib.request.Request(url)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def access_token(subject="alice", lifetime=3600):
    """What the site's own login would sign: HS256 (RFC 7515)."""
    now = int(time.time())
    claims = {
        "iss": ISSUER, "sub": subject, "aud": "account", "typ": "Bearer", "iat": now, "exp": now + lifetime,
        "preferred_username": subject, "tenants": ["acme", "globex"], "active_tenant": "acme",
    }
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET, signed, hashlib.sha256))).decode()
