"""System calls and instructions per request, counted in runs of their own, not in timed ones."""

import contextlib
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .load import generate
from .process import CannotRun, Refused, run, say
from .setting import wait_until


def tracer_attached(pids):
    """Whether every thread of these processes has a tracer."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            if "\nTracerPid:\t0\n" in (task / "status").read_text():
                return False
    return True


def interrupt(setting, child):
    """Ends a tracer by the signal upon which it prints its summary."""
    if child.process.poll() is None:
        child.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(10)
    child.end()
    setting.children.remove(child)


def trace(setting, proxy, load, seconds):
    """(requests, {system call: count}) of one traced run."""
    summary = setting.directory / "strace.txt"
    pids = proxy.child.tree()
    command = [
        "strace",
        "-c",
        "-f",
        "-o",
        str(summary),
        *(part for pid in pids for part in ("-p", str(pid))),
    ]
    strace = setting.start("strace", command, setting.generator_core)
    try:
        wait_until(strace, proxy.port, lambda: None if tracer_attached(pids) else "not attached")
        requests, _ = generate(setting, proxy, load, seconds)
    finally:
        interrupt(setting, strace)
    counts = {}
    for line in summary.read_text().splitlines():
        fields = line.split()  # % time, seconds, usecs/call, calls, errors or nothing, system call
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            counts[fields[-1]] = int(fields[3])
    return requests, counts


def syscalls(setting, proxy, load):
    """System calls per request, by name: a long run less a short one, without set-up and end."""
    for attempt in range(3):
        try:
            few, before = trace(setting, proxy, load, 1)
            many, after = trace(setting, proxy, load, 4)
        except Refused as error:
            say(f"system calls of {proxy.name}, attempt {attempt + 1}: {error}")
            continue
        if many - few >= 1000:
            each = {
                name: (count - before.get(name, 0)) / (many - few) for name, count in after.items()
            }
            return dict(sorted(each.items(), key=lambda item: -item[1]))
    raise Refused("no usable run of strace")


def perf_fault():
    """None if perf can count instructions here, else why not."""
    if shutil.which("perf") is None:
        return "perf is missing: install the Debian package linux-perf"
    try:
        probe = run(["perf", "stat", "-x,", "-e", "instructions", "true"], 10)
    except CannotRun as error:
        return str(error)
    counted = [
        line
        for line in probe.stderr.splitlines()
        if "instructions" in line and line.split(",")[0].isdigit()
    ]
    return (
        None
        if counted
        else "perf counts no instructions on this machine (no hardware counters, or no permission)"
    )


def instructions(setting, proxy, load):
    """Instructions per request, the kernel's included where perf may see them."""
    pids = ",".join(str(pid) for pid in proxy.child.tree())
    output = setting.directory / "perf.txt"
    command = ["perf", "stat", "-x,", "-e", "instructions", "-o", str(output), "-p", pids]
    perf = setting.start("perf", command, setting.generator_core)
    try:
        time.sleep(
            0.5
        )  # perf does not say when it counts; half a second without requests changes nothing
        requests, _ = generate(setting, proxy, load, 2)
    finally:
        interrupt(setting, perf)
    for line in output.read_text().splitlines():
        if "instructions" in line and line.split(",")[0].isdigit():
            return int(line.split(",")[0]) / requests
    raise Refused("perf printed no count")
