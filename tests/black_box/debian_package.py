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
    "/usr/share/keyward/before-systemd-253.conf",
}
# Where the package puts that, on an old systemd.
DROP_IN = "/etc/systemd/system/keyward.service.d/before-systemd-253.conf"


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
    assert {"copyright", "changelog.Debian.gz", "README.md"} <= names, names
    assert "examples/config.example.toml" in names, names
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

    def note_calls_of_systemctl(self, version):
        """From here on a systemd of this version seems to run, and says yes to everything. What it
        was asked.
        """
        (self.root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        script = self.root / "usr/bin/systemctl"
        script.unlink(missing_ok=True)
        said = f'[ "$1" != --version ] || echo "systemd {version} ({version}.1)"'
        script.write_text(f'#!/bin/sh\necho "$*" >> /calls\n{said}\n')
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
        wants = system.run("find", "/etc/systemd/system", "-type", "l", "-name", "keyward*")
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
        # Another program of this name, before it on the path, is not what the unit starts.
        other = pathlib.Path(f"{system.root}/usr/local/bin/keyward")
        other.write_text("#!/bin/sh\nexit 1\n")
        other.chmod(0o755)
        a_token_is_issued_used_and_revoked(system, echo)
        changed = pathlib.Path(f"{system.root}{CONFIGURATION}")
        changed.write_text(changed.read_text() + "# changed\n")
        calls = system.note_calls_of_systemctl(252)
        system.install()
        drop_in = pathlib.Path(f"{system.root}{DROP_IN}")
        assert "\nExecReload=kill -HUP $MAINPID\n" in drop_in.read_text(), "no reload before 253"
        # An upgrade of the system: there it would send the signal twice.
        system.note_calls_of_systemctl(257)
        system.install()
        assert not drop_in.exists(), "a new systemd reloads twice"
        system.note_calls_of_systemctl(252)
        system.install()
        assert changed.read_text().endswith("# changed\n"), "a changed configuration is replaced"
        hand_over = "kill --kill-who=main --signal=SIGUSR2 keyward.service"
        assert hand_over in calls(), "an upgrade does not let the new binary take over"
        assert not any(word in line for line in calls() for word in ("stop", "restart")), calls()
        system.run("dpkg", "--remove", "keyward")
        assert changed.exists() and not system.has("/usr/bin/keyward")
        assert not system.has(DROP_IN) and not system.has(pathlib.Path(DROP_IN).parent)
        kept = pathlib.Path(f"{system.root}/var/lib/keyward/keyward-data")
        assert (kept / "keys/store.key").exists() and (kept / "keyward.db").exists()
        system.run("dpkg", "--purge", "keyward")
        assert not changed.exists()
        assert not system.has("/var/lib/keyward"), "a purge leaves keys and records"
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


def a_purge_empties_a_folder_that_is_mounted():
    """A file system at /var/lib/keyward is emptied by a purge, and stays"""
    with folder() as room, System(room) as system:
        system.install()
        home = system.root / "var/lib/keyward"
        home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "state", home], check=True)
        (home / "keyward-data").mkdir()
        (home / "keyward-data/keyward.db").touch()
        system.run("dpkg", "--purge", "keyward")
        assert list(home.iterdir()) == []


def lintian_finds_nothing():
    """Debian's lintian, where it is installed, finds no fault that is not explained here"""
    program = shutil.which("lintian")
    if program is None:
        print("    NOT CHECKED: there is no lintian on this machine", flush=True)
        return
    done = subprocess.run(
        [program, "--no-tag-display-limit", PACKAGE], capture_output=True, text=True, timeout=240
    )
    found = [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]
    unknown = [line for line in found if line.split(": ", 2)[2].split()[0] not in EXPLAINED]
    assert not unknown, unknown


# What lintian says of it, and why that is so.
EXPLAINED = {
    "unstripped-binary-or-object": "names of functions stay, for whoever looks for what takes long",
    "initial-upload-closes-no-bugs": "it is not uploaded to Debian",
    "maintainer-script-calls-systemctl": "the new binary takes over; nothing is started or stopped",
    "no-manual-page": "keyward --help and the documents have it",
}


CHECKS = [
    the_package_says_what_it_is_and_needs,
    its_files_are_roots_and_none_is_setuid,
    it_lives_on_a_system,
    a_purge_empties_a_folder_that_is_mounted,
    lintian_finds_nothing,
]

if __name__ == "__main__":
    alone()
    run(CHECKS, at_most=300)
