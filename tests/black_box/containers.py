"""Containers without a container engine: programs in namespaces of their own, with a root file
system, volumes, a network and a user as an image or a Compose file says. Needs root, util-linux and
iproute2. Nothing but the standard library.
"""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

from running_keyward import PATIENCE

ALONE = "KEYWARD_TEST_IS_ALONE"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def alone():
    """Goes on in this script with a network and mounts of its own: only its loopback is up, and
    nothing that it mounts is seen outside. Ends the script where that cannot be.
    """
    if ALONE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if os.geteuid() != 0:
        # In CI it is root.
        name = pathlib.Path(sys.argv[0]).name
        print(f"NOT CHECKED: {name} makes namespaces, and needs root for that")
        sys.exit(1 if os.environ.get("CI") else 0)
    command = ["unshare", "--net", "--mount", "--propagation", "private"]
    os.environ[ALONE] = "yes"
    os.execvp("unshare", [*command, sys.executable, *sys.argv])


class Container:
    """A program as process 1 of a container. Runs for as long as the `with` lasts."""

    def __init__(self, root, room, argv, user="0:0", directory="/", **settings):
        """`root` is what it sees as /, itself unchanged: what is written there is gone afterwards.
        `room` is a folder for what the test needs for it.

        Settings: `mounts`, (source, target, is writable) each; `environment`; `network`, a
        Namespace (absent: that of this script); `hosts`, addresses by name, for /etc/hosts, which
        engines write; `is_writable`, of the root.
        """
        self.root, self.room, self.argv = pathlib.Path(root), pathlib.Path(room), argv
        self.user, self.directory = user, directory
        self.mounts, self.hosts = list(settings.get("mounts", [])), settings.get("hosts", {})
        self.environment = {"PATH": PATH, **settings.get("environment", {})}
        self.network = settings.get("network")
        self.is_writable = settings.get("is_writable", False)

    def __enter__(self):
        self.room.mkdir(parents=True, exist_ok=True)
        hosts = {"localhost": "127.0.0.1", **self.hosts}
        lines = "".join(f"{address}\t{name}\n" for name, address in hosts.items())
        for name, text in (("hosts", lines), ("resolv.conf", "")):
            (self.room / name).write_text(text)
            self.mounts.append((self.room / name, f"/etc/{name}", False))
        self.output = self.room / "output"
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        return self

    def command(self):
        """`unshare` stays outside as the parent; its end is the end of all that is inside."""
        where = ["nsenter", f"--net={self.network.path}"] if self.network else []
        kinds = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL"]
        return [*where, "unshare", *kinds, "sh", "-euc", self.script()]

    def script(self):
        """The mounts, and the change of root and user."""
        room, quote = self.room.resolve() / "layers", shlex.quote
        room.mkdir(exist_ok=True)
        top = room / "root"
        lines = [
            "mount --make-rprivate /",
            f"mount -t tmpfs layers {room}",
            f"mkdir {room}/above {room}/work {top}",
            f"mount -t overlay -o lowerdir={self.root},upperdir={room}/above,workdir={room}/work"
            f" overlay {top}",
            f"mkdir -p {top}/proc {top}/dev",
            f"mount -t proc -o nosuid,nodev,noexec proc {top}/proc",
            f"mount -t tmpfs -o nosuid,noexec,mode=755,size=64k dev {top}/dev",
        ]
        for device in ("null", "zero", "random", "urandom"):
            lines.append(f"touch {top}/dev/{device}")
            lines.append(f"mount --bind /dev/{device} {top}/dev/{device}")
        for source, target, is_writable in self.mounts:
            source, place = pathlib.Path(source).resolve(), quote(f"{top}{target}")
            if source.is_dir():
                lines.append(f"mkdir -p {place}")
            else:
                # A folder of this machine may be closed to the user; that of an image is not.
                lines.append(f"mkdir -p $(dirname {place}); chmod go+rx $(dirname {place})")
                lines.append(f"touch {place}")
            lines.append(f"mount --bind {quote(str(source))} {place}")
            if not is_writable:
                lines.append(f"mount -o remount,bind,ro {place}")
        if not self.is_writable:
            lines.append(f"mount -o remount,bind,ro {top}")
        user, group = self.user.split(":")
        lines.append(
            f"exec env -i {self.variables()} setpriv --no-new-privs unshare --root={top}"
            f" --wd={quote(self.directory)} --setgid={group} --setuid={user}"
            f" {shlex.join(self.argv)}"
        )
        return "\n".join(lines)

    def variables(self):
        return shlex.join(f"{name}={value}" for name, value in self.environment.items())

    def first(self):
        """The id of its process 1, as it is outside: none when it has ended, or before it is what
        it shall be.
        """
        pid = self.process.pid
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            root = os.readlink(f"/proc/{children[0]}/root")
        except (OSError, IndexError):
            return None
        return int(children[0]) if root != "/" else None

    def status(self, field):
        """A line of /proc/…/status of its process 1."""
        lines = pathlib.Path(f"/proc/{self.first()}/status").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(field + ":"))

    def execute(self, argv, **options):
        """Runs another program in it, as `docker exec` does: (exit code, standard output, standard
        error).
        """
        user, group = self.user.split(":")
        command = ["env", "-i", *(f"{name}={value}" for name, value in self.environment.items())]
        command += ["nsenter", "--target", str(self.first()), "--mount", "--pid", "--net", "--ipc"]
        command += ["--root", f"--wd=/proc/{self.first()}/cwd", f"--setgid={group}"]
        command += [f"--setuid={user}", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
        return done.returncode, done.stdout, done.stderr

    def signal(self, number):
        os.kill(self.first(), number)

    def ended(self, patience=PATIENCE):
        """Its exit code."""
        return self.process.wait(patience)

    def stop(self, patience=PATIENCE):
        """Ends it as engines do: (exit code, seconds)."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        return self.ended(patience), time.monotonic() - began

    def said(self):
        return self.output.read_text(errors="replace")

    def __exit__(self, *_):
        if self.process.poll() is None:
            # The one inside first: `unshare` ends after it, and with it all that it had open.
            first = self.first()
            if first is None:
                self.process.kill()
            else:
                os.kill(first, signal.SIGKILL)
            self.process.wait()
