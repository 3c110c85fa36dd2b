"""The units in deploy/: systemd's own checks of them, and keyward in the sandbox that the service
asks for, with the sockets of the other, through the life of a token, a reload, another binary and a
stop. No call that the unit forbids is made, and no file is missed.

usage: systemd_unit.py KEYWARD [--all] [WORD …]
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

from containers import alone
from echo_server import Echo
from running_keyward import ask, call, replaced
from running_servers import folder, run, until
from unit_sandbox import PYTHON, Sandbox, settings

SOURCE = pathlib.Path(__file__).parents[2]
SERVICE, SOCKET = SOURCE / "deploy/keyward.service", SOURCE / "deploy/keyward.socket"
KEYWARD = pathlib.Path(sys.argv[1]).resolve()
MOST_EXPOSED = 2.0
# A user that nobody is.
USER = 64_001
INSTALLED = "/usr/local/bin/keyward"
CONFIGURATION = """
[[listener]]
address = "127.0.0.1:8080"
[[listener]]
address = "127.0.0.1:80"
[[listener]]
address = "unix:/run/keyward/web.sock"
[admin]
address = "127.0.0.1:9090"
[limits]
memory = "1GiB"
[[token_api]]
name = "keys"
style = "allowlist-jwt"
mount = "/keys/{organization}/{username}"
[[token_api]]
name = "accounts"
style = "accounts"
mount = "/v1/auth"
[[upstream]]
name = "app"
endpoints = ["http://localhost:PORT"]
[[route]]
path = "/{*rest}"
upstream = "app"
accept = ["keys"]
compression = {}
"""
# The keys of [Service] that the sandbox makes something of, those that only systemd can keep, and
# those that forbid what the filter and the missing capabilities forbid.
KEPT = """User Group StateDirectory StateDirectoryMode WorkingDirectory RuntimeDirectory ExecStart
    LimitNOFILE UMask AmbientCapabilities CapabilityBoundingSet ProtectSystem ProtectHome PrivateTmp
    PrivateDevices ProtectControlGroups ProtectProc ProcSubset NoNewPrivileges
    RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID LockPersonality
    MemoryDenyWriteExecute SystemCallArchitectures SystemCallFilter SystemCallErrorNumber LimitCORE
    Type NotifyAccess WatchdogSec""".split()
OF_SYSTEMD = "Restart RestartSec TimeoutStopSec RemoveIPC".split()
FORBIDDEN_ANYWAY = """ProtectClock ProtectHostname ProtectKernelLogs ProtectKernelModules
    ProtectKernelTunables""".split()


def analyze(*words):
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def version():
    return int(re.search(r"systemd (\d+)", analyze("--version")[1])[1])


def the_service_exposes_little():
    """systemd finds an exposure of at most 2.0"""
    code, words = analyze("security", "--offline=true", str(SERVICE))
    exposure = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", words)
    assert code == 0 and exposure, words
    assert float(exposure[1]) <= MOST_EXPOSED, words
    print(f"    exposure {exposure[1]}, by systemd {version()}", flush=True)


def by_hand(room):
    """The service as one installs it without a package, in a folder."""
    unit = room / "keyward.service"
    unit.write_text(replaced(SERVICE.read_text(), "=/usr/bin/keyward ", f"={INSTALLED} "))
    return unit


def systemd_understands_every_line():
    """systemd finds no fault in the units, but for a type that is younger than itself"""
    with installed(), folder() as room:
        by_hand(room)
        shutil.copy(SOCKET, room)
        for name in ("keyward.service", "keyward.socket"):
            code, words = analyze("verify", "--recursive-errors=no", str(room / name))
            lines = [line for line in words.splitlines() if line.strip()]
            if version() < 253:
                young = "Failed to parse service type, ignoring: notify-reload"
                assert name.endswith(".socket") or any(young in line for line in lines), words
                lines = [line for line in lines if young not in line]
            assert not lines and (code == 0 or version() < 253), words
    types = [value for key, value in settings(SERVICE, "Service") if key == "Type"]
    assert types == ["notify", "notify-reload"], "where the second is not known, the first holds"


def every_line_of_the_service_is_tried():
    """Each key of the service is known to this test"""
    keys = {key for key, _ in settings(SERVICE, "Service")}
    known = {*KEPT, *OF_SYSTEMD, *FORBIDDEN_ANYWAY}
    assert keys == known, keys ^ known


@contextlib.contextmanager
def installed():
    """keyward is where the unit looks for it, for this test alone."""
    subprocess.run(["mount", "-t", "tmpfs", "bin", "/usr/local/bin"], check=True)
    try:
        shutil.copy(KEYWARD, INSTALLED)
        yield
    finally:
        subprocess.run(["umount", "--lazy", "/usr/local/bin"], check=True)


class Service:
    """keyward as systemd would run it. Runs for as long as the `with` lasts."""

    def __init__(self, room, echo):
        self.room = room
        configuration = room / "keyward.toml"
        configuration.write_text(CONFIGURATION.replace("PORT", str(echo.port)))
        configuration.chmod(0o644)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(room / "notify"))
        self.notices.setblocking(False)
        (room / "notify").chmod(0o777)
        self.heard = []
        binds = [
            (configuration, "/etc/keyward/keyward.toml"),
            (room / "notify", "/run/systemd/notify"),
            (INSTALLED, INSTALLED),
        ]
        self.service = settings(by_hand(room), "Service")
        self.sandbox = Sandbox(self.service, room, USER, binds)
        self.output = room / "output"

    def __enter__(self):
        listening = []
        for key, address in settings(SOCKET, "Socket"):
            if key != "ListenStream":
                continue
            host, _, port = address.rpartition(":")
            listening.append(socket.create_server((host, int(port))))
        environment = {
            "NOTIFY_SOCKET": "/run/systemd/notify",
            "STATE_DIRECTORY": "/var/lib/keyward",
            "RUNTIME_DIRECTORY": "/run/keyward",
            # The unit's is too long to be waited for.
            "WATCHDOG_USEC": "1000000",
        }
        command = dict(self.service)["ExecStart"].split()
        sockets = [one.fileno() for one in listening]
        with open(self.output, "ab") as output:
            self.process = self.sandbox.start(command, output, sockets, environment)
        for one in listening:
            one.close()
        self.pids = [self.process.pid]
        return self

    def hear(self, words):
        """The next message of keyward's with these words."""

        def look():
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.heard.append(self.notices.recv(4096).decode())
            for at, message in enumerate(self.heard):
                if words in message:
                    del self.heard[: at + 1]
                    return message
            ended = self.process.poll()
            assert ended is None or len(self.pids) > 1, f"it ended with {ended}: {self.said()}"
            return None

        return until(f"{words} of keyward's", look)

    def said(self):
        return self.output.read_text(errors="replace")

    def command(self, *words, text=None):
        """keyward's command line as the same user, from its folder."""
        privileges = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        done = subprocess.run(
            [*privileges, INSTALLED, "-c", str(self.room / "keyward.toml"), *words],
            cwd=self.room / "StateDirectory", capture_output=True, text=True, input=text,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def __exit__(self, *_):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.notices.close()


def status(token=None, port=8080):
    return ask(f"http://127.0.0.1:{port}/hello", token)[0]


def through_the_life_of_a_token(service):
    identity = ["--sub", "u-1", "--username", "alice", "--organization", "acme", "--role", "user"]
    bootstrap = service.command("bootstrap", "create", "--token-api", "keys", *identity)
    origin = "http://127.0.0.1:8080"
    issued = call(
        f"{origin}/keys/acme/alice/auth/issue-token", "POST", bootstrap,
        {"name": "laptop", "expires_in_minutes": 60},
    )
    token = issued["data"]["token"]
    assert status(token) == 200 and status(token, 80) == 200 and status() == 401
    assert "alice" in service.command("token", "list")
    call(f"{origin}/keys/acme/alice/auth/revoke", "POST", token)
    assert status(token) == 401
    # Passwords are hashed by threads that stand back.
    new = {"username": f"bob{len(service.pids)}", "password": "correct horse battery staple 9"}
    account = {**new, "full_name": "Bob", "email": f"bob{len(service.pids)}@example.com"}
    call(f"{origin}/v1/auth/register", "POST", None, account)
    call(f"{origin}/v1/auth/login", "POST", None, new)
    service.command("store", "check")
    assert service.command("health") == "ready"


def keyward_does_all_it_does_within_the_sandbox():
    """In the unit's sandbox keyward starts, serves, reloads, changes its binary and ends, and makes
    no call that the unit forbids
    """
    with folder() as room, Echo() as echo, installed():
        room.chmod(0o755)
        with Service(room, echo) as service:
            service.hear("READY=1")
            lines = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
            said = ["Seccomp:\t2", "NoNewPrivs:\t1", f"Uid:\t{USER}\t", f"CapEff:\t{1 << 10:016x}"]
            for line in said:
                assert line in lines, (line, lines)
            through_the_life_of_a_token(service)
            service.hear("WATCHDOG=1")
            metrics = ask("http://127.0.0.1:9090/metrics")[1]
            memory = re.search(r"(?m)^keyward_memory_bytes (\d+)", metrics)
            assert int(memory[1]) > 1 << 20, "what /proc says of its memory is not seen"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(room / "RuntimeDirectory/web.sock"))
                client.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 401 ")
            os.kill(service.process.pid, signal.SIGHUP)
            service.hear("RELOADING=1")
            service.hear("READY=1")
            change_the_binary(service)
            os.kill(service.pids[-1], signal.SIGTERM)
            service.hear("STOPPING=1")
            until("the end", lambda: not pathlib.Path(f"/proc/{service.pids[-1]}").exists())
        assert "panicked" not in service.said(), service.said()


def change_the_binary(service):
    """Another binary: the new process is the main one, and the old one ends with 0."""
    os.kill(service.process.pid, signal.SIGUSR2)
    service.pids.append(int(re.search(r"MAINPID=(\d+)", service.hear("MAINPID="))[1]))
    service.hear("READY=1")
    assert service.process.wait(60) == 0, service.said()
    filtered = pathlib.Path(f"/proc/{service.pids[-1]}/status").read_text()
    assert "Seccomp:\t2" in filtered
    through_the_life_of_a_token(service)


def what_the_unit_forbids_is_forbidden():
    """In the same sandbox other programs cannot do what the unit forbids: the test sees it"""
    tries = {
        "import os; os.setpriority(0, 0, 5)": 0,
        "import ctypes; ctypes.CDLL(None).unshare(0x10000000)": -signal.SIGSYS,
        "import ctypes; ctypes.CDLL(None).mount(0, b'/tmp', b'tmpfs', 0, 0)": -signal.SIGSYS,
        "import mmap; mmap.mmap(-1, 4096, prot=6)": -signal.SIGSYS,
        "import os; os.chmod('/var/lib/keyward', 0o4700)": -signal.SIGSYS,
        "import os; os.sched_setscheduler(0, 1, os.sched_param(1))": -signal.SIGSYS,
        "import os; os.sched_setscheduler(0, 5, os.sched_param(0))": 0,
        "import socket; socket.socket(socket.AF_PACKET)": 1,
        "open('/etc/x', 'w')": 1,
        "open('/var/lib/keyward/x', 'w')": 0,
        "open('/proc/meminfo')": 1,
        "open('/proc/self/status'), open('/proc/self/cgroup')": 0,
        "open('/dev/kmsg')": 1,
        "import os; os.kill(1, 0)": 1,
        "import os; exit(len(os.listdir('/root')))": 0,
    }
    with folder() as room:
        room.chmod(0o755)
        for number, (program, expected) in enumerate(tries.items()):
            place = room / str(number)
            place.mkdir(mode=0o755)
            sandbox = Sandbox(settings(SERVICE, "Service"), place, USER, [])
            with open(place / "output", "wb") as output:
                process = sandbox.start([PYTHON, "-c", program], output)
            code = process.wait(60)
            assert code == expected, (program, code, (place / "output").read_text())


CHECKS = [
    the_service_exposes_little,
    systemd_understands_every_line,
    every_line_of_the_service_is_tried,
    what_the_unit_forbids_is_forbidden,
    keyward_does_all_it_does_within_the_sandbox,
]

if __name__ == "__main__":
    alone()
    run(CHECKS, at_most=300)
