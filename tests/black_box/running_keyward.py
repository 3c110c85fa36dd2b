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

CONFIGURATION = """
[[listener]]
address = "127.0.0.1:{port}"
trusted_proxies = ["127.0.0.0/8"]   # so that a test can come from many addresses

[admin]
address = "off"
socket = "{room}/admin.sock"

[store]
kind = "embedded"
path = "{room}/keyward.db"

[keys]
directory = "{room}/keys"

[log]
access = "{room}/access.log"

[[issuer]]
name = "login"
issuer = "{issuer}"
secret_file = "{room}/secret"
audience = ["account"]
required_claims = {{ typ = "Bearer" }}

[[token_api]]
name = "jarvispy"
style = "allowlist-jwt"
mount = "/jarvispy/{{organization}}/{{username}}/api/v1"

[[token_api]]
name = "platform"
style = "tenant-tokens"
mount = "/api/v1"
issuer = "login"

[[token_api]]
name = "agents"
style = "agent-tokens"
mount = "/api/agent-tokens"
issuer = "login"

[[token_api]]
name = "accounts"
style = "accounts"
mount = "/v1/auth"
"""


class Keyward:
    """Runs for as long as the `with` lasts."""

    def __init__(self, program):
        self.program = os.path.abspath(program)

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kw")
        room = pathlib.Path(self.folder.name)
        (room / "secret").write_bytes(SECRET)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.configuration = room / "keyward.toml"
        self.configuration.write_text(CONFIGURATION.format(port=port, room=room, issuer=ISSUER))
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
