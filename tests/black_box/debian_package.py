"""The Debian package: its fields and files, and its life on a system: installed, run as its unit
says, installed again over a changed configuration, removed, purged. The system is this machine's
own, seen through an overlay, which is left as it was. Nothing but the standard library.

usage: debian_package.py PACKAGE [--all] [WORD …]
"""

import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys

from containers import alone
from echo_server import Echo
from running_keyward import ask, call
from running_servers import folder, run, until

PACKAGE = pathlib.Path(sys.argv[1]).resolve()
CONFIGURATION = "/etc/keyward/keyward.toml"
AS_KEYWARD = ["setpriv", "--reuid=keyward", "--regid=keyward", "--clear-groups"]
# What only an installed system has, beside the documents.
FILES = {
    "/usr/bin/keyward",
    CONFIGURATION,
    "/usr/lib/systemd/system/keyward.service",
    "/usr/lib/systemd/system/keyward.socket",
    "/usr/lib/sysusers.d/keyward.conf",
}


def output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def the_package_says_what_it_is_and_needs():
    """Name, version, architecture and what it depends on; its configuration is the owner's"""
    field = lambda name: output("dpkg-deb", "--field", PACKAGE, name).strip()
    assert field("Package") == "keyward"
    version = field("Version")
    assert re.fullmatch(r"\d+\.\d+\.\d+-1", version), version
    assert field("Architecture") == output("dpkg", "--print-architecture").strip()
    needs = re.split(r", |\s\|\s", field("Depends"))
    assert any(need.startswith("libc6 (>= ") for need in needs), needs
    assert {"ca-certificates", "systemd", "systemd-standalone-sysusers"} <= set(needs), needs
    assert output("dpkg-deb", "--info", PACKAGE, "conffiles").split() == [CONFIGURATION]


def its_files_are_roots_and_none_is_setuid():
    """The files are those that are listed, root's, writable for root alone, without setuid"""
    listed = output("dpkg-deb", "--contents", PACKAGE).splitlines()
    paths = set()
    for line in listed:
        mode, owner, *_, path = line.split()
        assert owner in ("0/0", "root/root"), line
        assert re.fullmatch(r"[-d]rw[-x]r-[-x]r-[-x]", mode), line
        if mode.startswith("-"):
            paths.add(path.removeprefix("."))
    documents = {path for path in paths if path.startswith("/usr/share/doc/keyward/")}
    assert paths - documents == FILES, paths
    names = {path.removeprefix("/usr/share/doc/keyward/") for path in documents}
    assert {"copyright", "README.md", "examples/config.example.toml"} <= names, names
    assert "docs/operation.md" in names, names


class System:
    """This machine's file system, through an overlay: what is changed is gone afterwards."""

    def __init__(self, room):
        self.room, self.root = room, room / "layers/root"

    def __enter__(self):
        layers = self.room / "layers"
        layers.mkdir()
        mount = lambda *words: subprocess.run(["mount", *map(str, words)], check=True)
        mount("-t", "tmpfs", "layers", layers)
        for name in ("above", "work", "root"):
            (layers / name).mkdir()
        options = f"lowerdir=/,upperdir={layers}/above,workdir={layers}/work"
        mount("-t", "overlay", "-o", options, "overlay", self.root)
        mount("-t", "proc", "proc", self.root / "proc")
        mount("--rbind", "/dev", self.root / "dev")
        # A copy: below an overlay nothing may change, as it would by an installation meanwhile.
        shutil.copytree("/var/lib/dpkg", layers / "dpkg", symlinks=True)
        mount("--bind", layers / "dpkg", self.root / "var/lib/dpkg")
        (self.root / "package.deb").touch()
        mount("--bind", PACKAGE, self.root / "package.deb")
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--recursive", "--lazy", self.room / "layers"], check=True)

    def run(self, *command, succeeds=True, **options):
        """What a command prints in the system."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            ["chroot", self.root, *command], capture_output=True, text=True, env=environment,
            timeout=120, **options,
        )
        assert (done.returncode == 0) == succeeds, (command, done.stdout, done.stderr)
        return done.stdout

    def has(self, path):
        return os.path.lexists(f"{self.root}{path}")

    def note_calls_of_systemctl(self):
        """From here on systemd seems to run, and says yes to everything. What it was asked."""
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        script = self.root / "usr/bin/systemctl"
        script.unlink(missing_ok=True)
        script.write_text('#!/bin/sh\necho "$*" >> /calls\n')
        script.chmod(0o755)
        return lambda: (self.root / "calls").read_text().splitlines()

    def install(self):
        self.run("dpkg", "--install", "--force-confdef", "--force-confold", "/package.deb")


def it_lives_on_a_system():
    """It is installed with a user of its own and neither enabled nor started, runs as its unit
    says, keeps a changed configuration, hands over to a new binary, and is gone when it is purged
    """
    with folder() as room, System(room) as system, Echo() as echo:
        assert not system.has("/usr/bin/keyward"), "this machine has the package already"
        system.install()
        user = system.run("getent", "passwd", "keyward").strip().split(":")
        assert user[5:] == ["/var/lib/keyward", "/usr/sbin/nologin"] and int(user[2]) < 1000, user
        wants = system.run("find", "/etc/systemd/system", "-name", "keyward*")
        assert wants == "", f"it is enabled: {wants}"
        verified = subprocess.run(
            ["chroot", system.root, "systemd-analyze", "verify", "--recursive-errors=no",
             "/usr/lib/systemd/system/keyward.service", "/usr/lib/systemd/system/keyward.socket"],
            capture_output=True, text=True,
        )
        words = verified.stdout + verified.stderr
        # systemd before 253 does not know the type.
        words = [line for line in words.splitlines() if "notify-reload" not in line]
        assert not words, words
        assert system.run("keyward", "version").startswith("keyward ")
        a_token_is_issued_used_and_revoked(system, echo)
        changed = pathlib.Path(f"{system.root}{CONFIGURATION}")
        changed.write_text(changed.read_text() + "# changed\n")
        calls = system.note_calls_of_systemctl()
        system.install()
        assert changed.read_text().endswith("# changed\n"), "a changed configuration is replaced"
        hand_over = "kill --kill-whom=main --signal=SIGUSR2 keyward.service"
        assert hand_over in calls(), "an upgrade does not let the new binary take over"
        assert not any(word in line for line in calls() for word in ("stop", "restart")), calls()
        system.run("dpkg", "--remove", "keyward")
        assert changed.exists() and not system.has("/usr/bin/keyward")
        system.run("dpkg", "--purge", "keyward")
        assert not changed.exists()
        assert not system.has("/usr/lib/systemd/system/keyward.service")


def a_token_is_issued_used_and_revoked(system, echo):
    """By the configuration of the package, as the unit starts it, but for systemd."""
    configuration = pathlib.Path(f"{system.root}{CONFIGURATION}")
    shipped = configuration.read_text()
    configuration.write_text(shipped.replace("127.0.0.1:3000", f"127.0.0.1:{echo.port}"))
    unit = pathlib.Path(f"{system.root}/usr/lib/systemd/system/keyward.service").read_text()
    start = re.search(r"(?m)^ExecStart=(.*)", unit)[1].split()
    home = "/var/lib/keyward"
    system.run("install", "-d", "-o", "keyward", "-g", "keyward", "-m", "0700", home)
    chroot = ["chroot", system.root, "env", "-C", home, *AS_KEYWARD]
    with open(system.room / "output", "wb") as log:
        process = subprocess.Popen([*chroot, *start], stdout=log, stderr=log)
    try:
        keyward = lambda *words: system.run("env", "-C", home, *AS_KEYWARD, *start[:3], *words)

        def ready():
            assert process.poll() is None, (system.room / "output").read_text()
            with contextlib.suppress(OSError):
                return ask("http://127.0.0.1:9090/readyz")[0] == 200

        until("a keyward that is ready", ready)
        assert keyward("health") == "ready\n"
        keyward("validate")
        identity = "--sub u-1 --username alice --organization acme --role user"
        made = keyward("bootstrap", "create", "--token-api", "keys", *shlex.split(identity)).strip()
        origin = "http://127.0.0.1:8080"
        body = {"name": "laptop", "expires_in_minutes": 60}
        issued = call(f"{origin}/keys/acme/alice/auth/issue-token", "POST", made, body)
        token = issued["data"]["token"]
        assert ask(f"{origin}/x", token)[0] == 200 and ask(f"{origin}/x")[0] == 401
        call(f"{origin}/keys/acme/alice/auth/revoke", "POST", token)
        assert ask(f"{origin}/x", token)[0] == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        configuration.write_text(shipped)


CHECKS = [
    the_package_says_what_it_is_and_needs,
    its_files_are_roots_and_none_is_setuid,
    it_lives_on_a_system,
]

if __name__ == "__main__":
    alone()
    run(CHECKS, at_most=300)
