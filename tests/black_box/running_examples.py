"""The apps of examples/, each with a keyward in front, and requests whose fields are sent as they
are written. Nothing but the standard library.
"""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.parse

from running_keyward import PATIENCE, free_port, replaced
from running_servers import until

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (EXAMPLES / "README.md").read_text()
# What is built and installed stays here, below the folder of builds.
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "black_box"
# axum is compiled, express is fetched.
INSTALLING = 600
# The program that runs each app, and how it is had.
RUNTIMES = {
    "fastapi": ("uvicorn", "pip install -r tests/black_box/requirements.txt"),
    "django": ("gunicorn", "pip install -r tests/black_box/requirements.txt"),
    "express": ("npm", "apt-get install nodejs npm"),
    "go": ("go", "apt-get install golang-go"),
    "java": ("javac", "apt-get install default-jdk-headless libtomcat10-embed-java"),
    "axum": ("cargo", "install Rust"),
    "php": ("php", "apt-get install php-cli"),
}
# (subject, username, organization, role) of tokens.
ALICE = ("u-1", "alice", "acme", "user")
PEOPLE = (
    ALICE,
    ("u-2", "Zoë", "Café Ω", "admin"),
    ('auth0|3+4 %41 <"\\', "李+1", "a&b", "rôle"),
    ("\N{GRINNING FACE}", "Ζωή", "acme", "admin "),
    # False in some languages.
    ("0", "0", "0", "0"),
)
COMMA = ("cn=a,dc=b", "a, b", "acme", "user")
NAMES = ("Subject", "Username", "Organization", "Role")


def commands():
    """The line that starts each app, as the page shows it; the app takes the shell's place."""
    shown = section("Start one", "sh")
    _, *parts = re.split(r"^# (\w+).*\n", shown, flags=re.MULTILINE)
    lines = {}
    for name, line in zip(parts[::2], parts[1::2]):
        # What installs, if the line has such a part, and what starts.
        *installs, starts = line.strip().rsplit("&&", 1)
        lines[name] = " && ".join([*installs, f"exec {starts.strip()}"])
    return lines


def section(title, language):
    """The first block of a section of the page in this language."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return text.split(f"```{language}\n")[1].split("```")[0]


def environment(**further):
    """What apps and keyward run with: nothing is written into the sources or the home."""
    return {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "CARGO_TARGET_DIR": str(BUILT / "axum"),
        "GOCACHE": str(BUILT / "go"),
        "GOFLAGS": "",
        "npm_config_cache": str(BUILT / "npm"),
        "npm_config_audit": "false",
        "npm_config_update_notifier": "false",
        **further,
    }


class Group:
    """A command of a shell and all that it starts. Runs for as long as the `with` lasts."""

    def __init__(self, command, place, log, **variables):
        self.command, self.place, self.log, self.variables = command, place, log, variables

    def __enter__(self):
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                ["sh", "-c", self.command],
                cwd=self.place,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)

    def said(self):
        return self.log.read_text(errors="replace")


class App:
    """One of the apps, with a keyward of its own in front."""

    def __init__(self, name, command, program, room, is_on_socket=False):
        """`is_on_socket`: on a Unix socket, in place of the port in the command and in keyward's
        configuration.
        """
        self.name, self.program, self.room = name, program, room / name
        self.room.mkdir()
        (self.room / "bin").mkdir()
        (self.room / "bin/keyward").symlink_to(program)
        self.ports = {shown: free_port() for shown in ("3000", "8080", "9090")}
        self.port, self.front = self.ports["3000"], self.ports["8080"]
        configuration = (EXAMPLES / "keyward.toml").read_text()
        assert all(f":{shown}" in configuration for shown in self.ports), "it has other ports"
        self.socket = self.room / "app.sock" if is_on_socket else None
        if is_on_socket:
            place = f"unix:{self.socket}"
            configuration = replaced(configuration, "http://127.0.0.1:3000", place)
            command = replaced(command, "127.0.0.1:${PORT:-3000}", place)
        # A busy machine is not an outage.
        configuration += '\n[store]\ntimeout = "10s"\n'
        (self.room / "keyward.toml").write_text(self.with_ports(configuration))
        port = str(self.port)
        self.app = Group(command, BUILT / "examples", self.room / "app.log", PORT=port)
        access = self.room / "keyward.log"
        self.keyward = Group("exec bin/keyward run", self.room, access)
        self.tokens = {}

    def with_ports(self, text):
        for shown, port in self.ports.items():
            text = re.sub(rf"\b{shown}\b", str(port), text)
        return text

    def start(self, stack):
        stack.enter_context(self.app)
        stack.enter_context(self.keyward)
        until(f"keyward before {self.name}", lambda: self.is_up(self.keyward, self.front))
        until(self.name, lambda: self.is_up(self.app, self.port, self.socket), INSTALLING)
        for person in (*PEOPLE, COMMA):
            self.tokens[person] = self.token(*person)

    def is_up(self, group, port, socket=None):
        ended = group.process.poll() is not None
        assert not ended, f"{self.name}: `{group.command}` ended:\n{group.said()[-2000:]}"
        if socket is not None:
            return socket.exists()
        try:
            ask(port, "GET", "/public/whoami")
            return True
        except OSError:
            return False

    def shell(self, lines):
        """What these lines print, where keyward's configuration is."""
        path = f"{self.room}/bin:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-euc", self.with_ports(lines)],
            cwd=self.room,
            env=environment(PATH=path),
            capture_output=True,
            timeout=PATIENCE * 3,
        )
        assert done.returncode == 0, f"{self.name}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode()

    def token(self, subject, username, organization, role):
        words = {"sub": subject, "username": username, "organization": organization, "role": role}
        command = [self.program, "bootstrap", "create", "--token-api", "keys"]
        command += [f"--{name}={word}" for name, word in words.items()]
        made = subprocess.run(command, cwd=self.room, capture_output=True, timeout=PATIENCE)
        assert made.returncode == 0, made.stderr.decode(errors="replace")
        place = "/".join(urllib.parse.quote(word, safe="") for word in (organization, username))
        fields = [("Authorization", "Bearer " + made.stdout.decode().strip())]
        fields.append(("Content-Type", "application/json"))
        body = b'{"name": "a key", "expires_in_minutes": 60}'
        answer = ask(self.front, "POST", f"/keys/{place}/auth/issue-token", fields, body)
        found = re.search(r'"token":"([^"]+)"', answer.text)
        assert found, (answer.status, answer.text)
        return found[1]

    def ask(self, path, person=None, fields=(), method="GET", body=None):
        """The answer through keyward, with the token of this person."""
        bearer = [("Authorization", f"Bearer {self.tokens[person]}")] if person else []
        return ask(self.front, method, path, [*bearer, *fields], body)

    def ask_directly(self, path, *fields):
        """The answer to what did not pass keyward."""
        return ask(self.port, "GET", path, fields)

    def assert_is(self, answer, status, text=None):
        is_so = answer.status == status and (text is None or answer.text == text)
        wanted = (status, text)
        assert is_so, f"{self.name}: {answer.status} {answer.text!r} instead of {wanted}"


class Answer:
    def __init__(self, response):
        self.status, self.headers = response.status, response.headers
        self.text = response.read().decode()


def send(connection, method, path, fields, body=None):
    """A request with each of these fields as it is written here; a body of pieces is chunked."""
    connection.putrequest(method, path)
    for name, value in fields:
        connection.putheader(name, value)
    if isinstance(body, bytes):
        connection.putheader("Content-Length", str(len(body)))
    elif body is not None:
        connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(body, encode_chunked=not isinstance(body, bytes))
    return Answer(connection.getresponse())


def ask(port, method, path, fields=(), body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        return send(connection, method, path, fields, body)


def described(person):
    return "".join(f"{name}: {value}\n" for name, value in zip(NAMES, person))
