"""What must hold of times: how long a pod stays in its Service, and how it ends. Each rule yields
what is not so, in words.
"""

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
# Within so many seconds a failover of Redis is over: docs/fleet.md.
FAILOVER = 30


def seconds(duration):
    parts = re.findall(r"(\d+)(ms|s|m|h)", duration)
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def stays(deployed, keyward):
    """All pods are unready together while Redis is away, and each from SIGTERM on."""
    probe = keyward.container.get("readinessProbe", {})
    # The first failure may come at once.
    least = probe.get("periodSeconds", 10) * (probe.get("failureThreshold", 3) - 1)
    if least < FAILOVER:
        yield f"a failover of more than {least} s leaves its Service without a pod"
    delay = seconds(keyward.config["server"].get("shutdown_delay", "0s"))
    if least <= delay:
        yield f"it is out of its Service {least} s after SIGTERM, before shutdown_delay is over"


def ends_in_time(deployed, keyward):
    server = keyward.config["server"]
    delay = seconds(server.get("shutdown_delay", "0s"))
    needed = delay + seconds(server.get("shutdown_grace", "30s"))
    most = keyward.pod.get("terminationGracePeriodSeconds", 30)
    if delay < 5:
        yield "shutdown_delay is too short: the cluster still sends clients"
    if not keyward.is_sidecar:
        sleep = keyward.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        if sleep.get("seconds", 0) + needed >= most:
            yield f"it may need {needed} s to end, and is killed after {most} s"
        return
    if keyward.container not in keyward.pod.get("initContainers", []):
        yield "keyward is no native sidecar"
    elif keyward.container.get("restartPolicy") != "Always":
        yield "keyward is no native sidecar: the app would never start"
    hook = keyward.container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
    if hook.get("command") != ["/bin/sh", "-c", "kill -TERM 1"]:
        yield "clients are not asked to leave before the app ends"
    for app in keyward.apps:
        sleep = app.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if sleep < needed:
            yield f"the app ends after {sleep} s, while keyward forwards to it for {needed} s"
        if sleep + 10 > most:
            yield f"the app sleeps for {sleep} s, and is killed after {most} s"
