"""Processes: started on one core, timed, ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# Program → Debian package.
PACKAGES = {
    "h2load": "nghttp2-client",
    "haproxy": "haproxy",
    "nghttp": "nghttp2-client",
    "nginx": "nginx",
    "openssl": "openssl",
    "perf": "linux-perf",
    "redis-server": "redis-server",
    "strace": "strace",
    "valgrind": "valgrind",
    "wrk": "wrk",
}


class CannotRun(Exception):
    """The command cannot go on; the message says why, for the user."""


class Refused(Exception):
    """A measurement that must not count; the message says why."""


def say(text):
    """Prints progress to standard error; standard output has the result alone."""
    print(text, file=sys.stderr, flush=True)


def require(programs):
    """Fails with all missing programs at once."""
    if faults := [
        f"{name} is missing: install the Debian package {PACKAGES[name]}"
        for name in programs
        if shutil.which(name) is None
    ]:
        raise CannotRun("\n".join(faults))


def run(command, seconds):
    """Runs a command to its end, within a time."""
    try:
        return subprocess.run(
            command, timeout=seconds, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRun(f"{command[0]} did not end within {seconds} s") from error


class Child:
    """A process in a session of its own, pinned to one core, at the highest priority permitted."""

    def __init__(self, name, command, core, directory):
        self.name, self.output = name, directory / f"{name}.out"
        allowed, nice = os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)
        with open(self.output, "wb") as output:
            os.sched_setaffinity(0, {core})  # both are inherited by the child, then taken back
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, -20)
            try:
                streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
                self.process = subprocess.Popen(
                    command, **streams, start_new_session=True, cwd=directory
                )
            finally:
                os.sched_setaffinity(0, allowed)
                os.setpriority(os.PRIO_PROCESS, 0, nice)
        with contextlib.suppress(OSError):  # where the kernel weighs sessions rather than processes
            Path(f"/proc/{self.process.pid}/autogroup").write_text("-20")

    def tree(self):
        """The process and its descendants, as pids."""
        parents = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parents[int(entry.name)] = int(stat_fields(int(entry.name))[1])
        tree = [self.process.pid]
        for pid in tree:  # grows while it is walked
            tree.extend(child for child, parent in parents.items() if parent == pid)
        return tree

    def cpu_seconds(self):
        """User and system time of the whole tree so far, all threads included."""
        try:
            return (
                sum(int(ticks) for pid in self.tree() for ticks in stat_fields(pid)[11:13])
                / TICKS_PER_SECOND
            )
        except OSError as error:
            raise Refused(f"a process of {self.name} ended during the measurement") from error

    def resident_bytes(self):
        """Resident memory of the whole tree."""
        total = 0
        try:
            for pid in self.tree():
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        total += int(line.split()[1]) * 1024
        except OSError as error:
            raise Refused(f"a process of {self.name} ended during the measurement") from error
        return total

    def said(self):
        """The last lines of its output and log, for a fault message."""
        text = self.output.read_text(errors="replace")
        log = self.output.with_suffix(".log")
        text += log.read_text(errors="replace") if log.exists() else ""
        return "\n".join(text.splitlines()[-15:])

    def end(self):
        """Asks it to end; after five seconds ends its session."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


def stat_fields(pid):
    """/proc/PID/stat from the third field on (the name may hold anything): state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def core_times(core):
    """(busy, idle, stolen) seconds of a core since boot; busy is the time of all processes."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, idle, iowait, irq, softirq, steal = (
                int(value) / TICKS_PER_SECOND for value in line.split()[1:9]
            )
            return user + nice + system + irq + softirq, idle + iowait, steal
    raise CannotRun(f"/proc/stat does not list core {core}")


def separate_cores():
    """Cores for proxy, generator and upstream; two threads of one core only for want of others."""
    allowed, first, second = sorted(os.sched_getaffinity(0)), {}, []
    for core in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        key = siblings.read_text() if siblings.exists() else core
        if first.setdefault(key, core) != core:
            second.append(core)
    cores = [*first.values(), *second]
    if len(cores) < 2:
        raise CannotRun("two cores are needed: one for the proxy, one for generator and upstream")
    if len(first) < 2:
        say(
            "there is one physical core: proxy and generator, two threads of it, disturb each other"
        )
    return cores[0], cores[1], cores[2] if len(first) > 2 else cores[1]
