"""The generators: wrk for HTTP/1.1 in clear, h2load for HTTP/2 and for TLS."""

import re
import subprocess
from dataclasses import dataclass

from .process import CannotRun, Refused
from .servers import serves, serves_http2

WRK_SCRIPT = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("figures %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.connect, e.read, e.write, e.timeout, e.status))
end
"""

# All proxies must use this one: a cheaper cipher would be an advantage.
CIPHER = "TLS_AES_128_GCM_SHA256"


@dataclass(frozen=True)
class Load:
    """What a generator sends."""

    connections: int = 64
    streams: int = 1  # requests at a time on each connection; above 1 with HTTP/2 only
    http2: bool = False
    tls: bool = False
    path: str = "/bench"

    @property
    def listener(self):
        """Which of a proxy's ports it goes to."""
        return "tls" if self.tls else "http2" if self.http2 else "http1"

    def fault(self, proxy, token):
        """None if the proxy answers what this load would ask, else what it answers instead."""
        probe = serves_http2 if self.http2 else serves
        return probe(proxy.ports[self.listener], token, self.tls)


def generate(setting, proxy, load=Load(), seconds=None):
    """Puts a proxy under load; returns (requests, seconds). `Refused` if any request fails."""
    seconds = setting.seconds if seconds is None else seconds
    if load.http2 or load.tls:
        return h2load(setting, proxy, load, ["-D", str(seconds)], seconds + 20)
    return wrk(setting, proxy, load, seconds)


def generator(setting, name, command, seconds, against):
    """Runs a generator to its end and returns what it printed."""
    child = setting.start(name, command, setting.generator_core)
    try:
        child.process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise CannotRun(f"{name} did not end in time against {against}") from error
    finally:
        child.end()
        setting.children.remove(child)
    if child.process.returncode != 0:
        raise CannotRun(f"{name} failed against {against}: {child.said()}")
    return child.output.read_text(errors="replace")


def wrk(setting, proxy, load, seconds):
    """One run of wrk."""
    script = setting.write("wrk.lua", WRK_SCRIPT)
    command = [
        "wrk",
        "-t1",
        f"-c{load.connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        script,
    ]
    command += [
        "-H",
        f"Authorization: Bearer {setting.token}",
        f"http://127.0.0.1:{proxy.port}{load.path}",
    ]
    printed = generator(setting, "wrk", command, seconds + 20, proxy.name)
    figures = [line.split()[1:] for line in printed.splitlines() if line.startswith("figures ")]
    if not figures:
        raise CannotRun(f"wrk printed no figures against {proxy.name}: {printed[-500:]}")
    requests, microseconds, *faults = (int(value) for value in figures[0])
    if any(faults):
        names = (
            "failed to connect",
            "failed to read",
            "failed to write",
            "timed out",
            "were answered with an error",
        )
        raise Refused(", ".join(f"{count} {what}" for count, what in zip(faults, names) if count))
    if requests == 0:
        raise Refused("no request was answered")
    return requests, microseconds / 1e6


def h2load(setting, proxy, load, length, seconds):
    """One run of h2load of this length (`-D seconds` or `-n requests`), within `seconds`."""
    scheme = "https" if load.tls else "http"
    command = ["h2load", "-t1", f"-c{load.connections}", f"-m{load.streams}", *length]
    command += [] if load.http2 else ["--h1"]
    command += [f"--tls13-ciphers={CIPHER}"] if load.tls else []
    command += ["-H", f"authorization: Bearer {setting.token}"]
    url = f"{scheme}://127.0.0.1:{proxy.ports[load.listener]}{load.path}"
    printed = generator(setting, "h2load", [*command, url], seconds, proxy.name)
    counts = re.search(
        r"^requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
        printed,
        re.M,
    )
    statuses = re.search(
        r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", printed, re.M
    )
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s)", printed, re.M)
    if not (counts and statuses and finished):
        raise CannotRun(f"h2load printed no figures against {proxy.name}: {printed[-500:]}")
    protocol = re.search(r"^Application protocol: (\S+)", printed, re.M)
    expected = "h2" if load.http2 else "http/1.1"
    if load.tls and (not protocol or protocol[1] != expected):
        raise CannotRun(f"{proxy.name} does not speak {expected} over TLS")
    done, succeeded, *faults = (int(count) for count in counts.groups())
    others = [int(count) for count in statuses.groups()[1:]]
    if any(faults) or any(others) or succeeded != done:
        raise Refused(f"{done} requests, {succeeded} succeeded: {counts[0]}; {statuses[0]}")
    if done == 0:
        raise Refused("no request was answered")
    return done, float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[finished[2]]
