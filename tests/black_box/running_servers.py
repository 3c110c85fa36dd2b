"""A keyward between clients and servers of other makers: certificates, listeners with and without
TLS, upstreams, routes. nginx can take keyward's place, so that a test can be tried on a server that
is known to be right. Nothing but the standard library.
"""

import contextlib
import dataclasses
import faulthandler
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

from running_keyward import ISSUER, PATIENCE, SECRET, access_token, call, free_port


class Certificates:
    """An authority and what it signed, and a certificate of another authority, as PEM files in a
    folder.
    """

    def __init__(self, folder):
        self.folder = folder
        self.ca, _ = self.make("ca", "test authority")
        self.names = "subjectAltName=DNS:localhost,DNS:keyward.test,IP:127.0.0.1"
        self.certificate, self.key = self.make("server", "keyward.test", self.names, "ca")
        client = "extendedKeyUsage=clientAuth"
        self.client_certificate, self.client_key = self.make("client", "alice", client, "ca")
        self.make("other-ca", "another authority")
        self.stranger_certificate, self.stranger_key = self.make(
            "stranger", "mallory", client, "other-ca"
        )

    def make(self, name, subject, extension=None, authority=None, rsa=False):
        """Without an authority, it is one itself."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command = ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-days", "30"]
        command += ["-subj", f"/CN={subject}", "-keyout", key, "-out", certificate]
        if authority is None:
            command += ["-addext", "basicConstraints=critical,CA:TRUE"]
            command += ["-addext", "keyUsage=critical,keyCertSign"]
        else:
            command += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", extension]
            files = [self.folder / f"{authority}.{kind}" for kind in ("pem", "key")]
            command += ["-CA", files[0], "-CAkey", files[1]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return certificate, key

    def client_context(self, *protocols):
        """What a client needs to believe the server; `protocols` are offered by ALPN."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if protocols:
            context.set_alpn_protocols(protocols)
        return context

    def server_context(self, *protocols):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context


@dataclasses.dataclass
class Upstream:
    name: str
    # "http://…", "https://…" or "unix:…". TLS is verified with the test's authority.
    endpoint: str
    # "http1", "http2" or "auto"; None leaves it to the default.
    protocol: str | None = None
    # Further lines of TOML, for keyward alone.
    further: str = ""


@dataclasses.dataclass
class Route:
    # A prefix: what is behind it does not matter.
    prefix: str
    upstream: str
    public: bool = False
    role: str | None = None
    # Whose tokens open it.
    accept: list[str] = dataclasses.field(default_factory=lambda: ["platform", "login"])
    # Further lines of TOML, for keyward alone.
    further: str = ""


class Front:
    """A server in front of upstreams. Runs for as long as the `with` lasts.

    `clear` and `tls` are its ports; `clear_http2` takes HTTP/2 by prior knowledge without TLS.
    `judges` says whether it is keyward, and asks for tokens.
    """

    judges = False

    def __init__(self, certificates, upstreams, routes, further=""):
        """`further` is configuration for the place after the two listeners, in the front's own
        language.
        """
        self.certificates, self.upstreams, self.routes, self.further = (
            certificates,
            upstreams,
            routes,
            further,
        )
        self.clear, self.tls = free_port(), free_port()
        self.clear_http2 = self.clear

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kw")
        self.room = pathlib.Path(self.folder.name)
        self.errors = self.room / "stderr"
        self.output = open(self.errors, "wb")
        self.process = subprocess.Popen(self.command(), stdout=self.output, stderr=self.output)
        for port in (self.clear, self.tls):
            await_port(port, self.process, self.errors)
        self.origin = f"http://127.0.0.1:{self.clear}"
        return self

    def __exit__(self, *_):
        stop(self.process)
        self.output.close()
        self.folder.cleanup()

    def last_words(self):
        return "".join(
            f"    {line}\n" for line in self.errors.read_text(errors="replace").splitlines()[-15:]
        )

    def token(self):
        """(token, id) of a key that can be revoked."""
        if not self.judges:
            return "none", None
        body = {"name": "a key", "expiry_date": "2099-12-31T23:59:59Z"}
        made = call(self.origin + "/api/v1/active/tokens/", "POST", access_token(), body)
        return made["token"], made["id"]

    def revoke(self, token_id):
        call(self.origin + f"/api/v1/active/tokens/{token_id}", "DELETE", access_token())


class KeywardFront(Front):
    judges = True

    def __init__(self, program, *arguments, **named):
        super().__init__(*arguments, **named)
        self.program = program

    def command(self):
        (self.room / "login-secret").write_bytes(SECRET)
        configuration = self.room / "keyward.toml"
        configuration.write_text(self.configuration())
        return [self.program, "--config", str(configuration), "run"]

    def configuration(self):
        room, files = self.room, self.certificates
        text = f"""
            [server]
            workers = 2
            pin = false
            shutdown_grace = "2s"
            [[listener]]
            address = "127.0.0.1:{self.clear}"
            [[listener]]
            address = "127.0.0.1:{self.tls}"
            tls = {{ certificate = "{files.certificate}", key = "{files.key}" }}
            {self.further}
            [admin]
            address = "off"
            socket = "{room}/admin.sock"
            [timeouts]
            tls_handshake = "3s"
            [store]
            kind = "embedded"
            path = "{room}/keyward.db"
            timeout = "10s"
            [keys]
            directory = "{room}/keys"
            [log]
            level = "warn"
            format = "human"
            access = "{room}/access.log"
            [[issuer]]
            name = "login"
            issuer = "{ISSUER}"
            secret_file = "{room}/login-secret"
            audience = ["account"]
            required_claims = {{ typ = "Bearer" }}
            [[token_api]]
            name = "platform"
            style = "tenant-tokens"
            mount = "/api/v1"
            issuer = "login"
        """
        for upstream in self.upstreams:
            text += f'[[upstream]]\nname = "{upstream.name}"\n'
            text += f'endpoints = ["{upstream.endpoint}"]\n{upstream.further}\n'
            if upstream.protocol is not None:
                text += f'protocol = "{upstream.protocol}"\n'
            if upstream.endpoint.startswith("https:"):
                text += f'tls = {{ ca_file = "{files.ca}", server_name = "localhost" }}\n'
        for route in self.routes:
            text += f'[[route]]\npath = "{route.prefix}{{*rest}}"\nupstream = "{route.upstream}"\n'
            text += f"{route.further}\n"
            text += "public = true\n" if route.public else f"accept = {json.dumps(route.accept)}\n"
            if route.role is not None:
                text += f'require.role = ["{route.role}"]\n'
        return "\n".join(line.strip() for line in text.splitlines())


class NginxFront(Front):
    """nginx in keyward's place: it forwards the same, and asks for no token."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.clear_http2 = free_port()

    def command(self):
        files, locations, groups = self.certificates, "", ""
        upstreams = {upstream.name: upstream for upstream in self.upstreams}
        for upstream in self.upstreams:
            server = upstream.endpoint.split("//")[-1]
            groups += f"upstream {upstream.name} {{ server {server}; keepalive 8; }}\n"
        for route in self.routes:
            upstream = upstreams[route.upstream]
            tls = "s" if upstream.endpoint.startswith("https:") else ""
            if upstream.protocol == "http2":
                kind, way = "grpc", f"grpc_pass grpc{tls}://{upstream.name};"
            else:
                kind, way = "proxy", f"proxy_pass http{tls}://{upstream.name};"
            way += f"{kind}_ssl_trusted_certificate {files.ca};"
            way += f"{kind}_ssl_verify on; {kind}_ssl_name localhost;"
            locations += f"location {route.prefix} {{ {way} }}\n"
        return nginx(
            self.room,
            f"""
            map $http_upgrade $upgrade_field {{ default ""; websocket websocket; }}
            map $http_upgrade $connection_field {{ default ""; websocket upgrade; }}
            client_max_body_size 0;
            client_header_timeout 3s;
            ssl_protocols TLSv1.2 TLSv1.3;
            ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $upgrade_field;
            proxy_set_header HTTP2-Settings "";
            proxy_ignore_client_abort on;
            proxy_set_header Connection $connection_field;
            grpc_connect_timeout 2s;
            {groups}
            server {{
                listen 127.0.0.1:{self.clear};
                listen 127.0.0.1:{self.clear_http2} http2;
                listen 127.0.0.1:{self.tls} ssl http2;
                ssl_certificate {files.certificate};
                ssl_certificate_key {files.key};
                {locations}
            }}
            {self.further}
        """,
        )


def front(program, *arguments, **named):
    """keyward, or nginx if the program's name is "nginx"."""
    if program == "nginx":
        return NginxFront(*arguments, **named)
    return KeywardFront(str(pathlib.Path(program).absolute()), *arguments, **named)


def nginx(room, servers):
    """The command that runs an nginx with these servers, which writes into this folder alone."""
    places = "".join(
        f"{name}_temp_path {room}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = room / "nginx.conf"
    # Without this, nginx that root starts gives its workers to another user, which cannot
    # write into the folder.
    user = "user root;" if os.getuid() == 0 else ""
    configuration.write_text(f"""
        {user}
        daemon off;
        worker_processes 1;
        pid {room}/nginx.pid;
        error_log {room}/stderr warn;
        events {{ worker_connections 4096; }}
        http {{ access_log off; {places} {servers} }}
    """)
    return ["nginx", "-c", str(configuration), "-e", str(room / "stderr")]


def await_port(port, process, errors):
    deadline = time.monotonic() + PATIENCE
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(
                f"{process.args[0]} did not start:\n" + errors.read_text(errors="replace")
            )
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(command, port, room, name):
    """Runs a server other than keyward for as long as the `with` lasts."""
    errors = room / f"{name}.stderr"
    with open(errors, "wb") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
        try:
            await_port(port, process, errors)
            yield process
        finally:
            stop(process)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="kw") as name:
        yield pathlib.Path(name)


def until(what, look, patience=PATIENCE):
    """What `look` finds, once it does."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {patience} s for {what}, which did not come"
        time.sleep(0.01)
    return found


def run(checks, at_most, front_of=lambda: None):
    """Runs the checks: functions whose first line of documentation says what holds. The first that
    fails ends the process.

    Of the command line: `--all` goes on after a failure, other words behind the program choose the
    checks whose name holds one of them. `at_most` seconds may pass, then all stacks are shown and
    the process ends.
    """
    faulthandler.dump_traceback_later(at_most, exit=True)
    chosen = [word for word in sys.argv[2:] if not word.startswith("-")]
    failed = 0
    for check in checks:
        if chosen and not any(word in check.__name__ for word in chosen):
            continue
        says = " ".join(check.__doc__.split("\n\n")[0].split()).rstrip(".")
        began = time.monotonic()
        try:
            check()
            print(f"{says}: {time.monotonic() - began:.1f} s", flush=True)
        except Exception as fault:
            failed += 1
            where = traceback.extract_tb(fault.__traceback__)
            line = next(
                (frame for frame in reversed(where) if "black_box" in frame.filename), where[-1]
            )
            words = str(fault) or type(fault).__name__
            if not isinstance(fault, AssertionError):
                words = f"{type(fault).__name__}: {words}"
            print(
                f"NOT SO: {says}\n"
                f"    {check.__name__}, line {line.lineno} ({line.line})\n    {words}",
                flush=True,
            )
            if server := front_of():
                print(
                    f"    the last lines of {server.process.args[0]}:\n{server.last_words()}",
                    flush=True,
                )
            if "--all" not in sys.argv:
                sys.exit(1)
    faulthandler.cancel_dump_traceback_later()
    sys.exit(1 if failed else 0)
