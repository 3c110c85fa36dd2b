"""A Compose file without a container engine: its services in namespaces, in its networks, with its
volumes, users, commands, health checks and order, by the programs of this machine in the place of
images. Needs root. Nothing but the standard library and a parsed file.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

from containers import Container
from namespaces import Namespace
from running_keyward import PATIENCE


DOCKER = """#!/bin/sh -eu
[ "$1 $2 $3" = "compose exec -T" ] || {{ echo "docker $*?" >&2; exit 1; }}
read -r pid user group < {pids}/"$4"
shift 4
exec env -i PATH=/usr/local/bin:/usr/bin:/bin nsenter --target "$pid" --mount --pid --net --ipc \\
    --root --wd=/proc/"$pid"/cwd --setgid="$group" --setuid="$user" "$@"
"""


class Composed:
    """The services of a file. They run for as long as the `with` lasts.

    `images` says of what each image consists here: a function of a service's name and what the file
    says of it, which returns (root, mounts, directory, entrypoint), or None for a service that is
    left out.
    """

    def __init__(self, file, parsed, room, images):
        self.folder, self.parsed, self.room, self.images = file.parent, parsed, room, images
        self.stack = contextlib.ExitStack()
        self.running, self.networks, self.members, self.left_out = {}, {}, {}, []

    def __enter__(self):
        try:
            self.start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_all(self):
        for number, (name, network) in enumerate(self.parsed["networks"].items()):
            configured = (network or {}).get("ipam", {}).get("config", [{}])[0].get("subnet")
            subnet = configured or f"10.201.{number}.0/24"
            self.networks[name] = Bridge(f"br{number}", subnet)
        # All have their addresses before the first one runs, so that names are known.
        for name, service in self.parsed["services"].items():
            self.members[name] = Member(name, service, self.networks)
        for name in self.order():
            self.start(name)

    def __exit__(self, *_):
        self.stack.close()
        for bridge in self.networks.values():
            bridge.remove()

    def order(self):
        """By depends_on, each after what it depends on."""
        ordered = []

        def add(name):
            for earlier in self.parsed["services"][name].get("depends_on", {}):
                add(earlier)
            if name not in ordered:
                ordered.append(name)

        for name in self.parsed["services"]:
            add(name)
        return ordered

    def start(self, name):
        """Starts a service when what it depends on is as the file says."""
        service = self.parsed["services"][name]
        image = self.images(name, service)
        if image is None:
            self.left_out.append(name)
            return
        for earlier, how in service.get("depends_on", {}).items():
            self.await_condition(earlier, how["condition"])
        root, mounts, directory, entrypoint = image
        entrypoint = service.get("entrypoint", entrypoint)
        member = self.members[name]
        container = Container(
            root,
            self.room / name,
            entrypoint + service.get("command", []),
            service["user"],
            directory,
            mounts=mounts + [self.mount(text) for text in service.get("volumes", [])],
            environment=service.get("environment", {}),
            network=member.namespace,
            hosts=self.names(name),
        )
        self.running[name] = self.stack.enter_context(container)

    def mount(self, text):
        source, target, *mode = text.split(":")
        if source.startswith("."):
            return (self.folder / source).resolve(), target, mode != ["ro"]
        assert source in self.parsed["volumes"], source
        return self.volume(source), target, mode != ["ro"]

    def volume(self, name):
        """A folder; engines give it the owner of the image's folder in its place."""
        path = self.room / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            owner = next(
                service["user"].split(":")
                for service in self.parsed["services"].values()
                if any(text.startswith(f"{name}:") for text in service.get("volumes", []))
            )
            os.chown(path, *map(int, owner))
        return path

    def names(self, name):
        """The addresses of those that share a network with it."""
        found = {}
        for other, member in self.members.items():
            for network, address in member.addresses.items():
                if network in self.members[name].addresses:
                    found.setdefault(other, address)
        return found

    def await_condition(self, name, condition):
        running = self.running[name]
        if condition == "service_completed_successfully":
            code = running.ended()
            assert code == 0, f"{name} ended with {code}: {running.said()}"
        elif condition == "service_healthy":
            self.await_health(name)
        else:
            assert condition == "service_started", condition

    def await_health(self, name):
        """Until its health check succeeds, for as long as the file allows."""
        check = self.parsed["services"][name]["healthcheck"]
        allowed = seconds(check["start_period"]) + seconds(check["interval"]) * check["retries"]
        deadline = time.monotonic() + max(allowed, PATIENCE)
        while not self.is_healthy(name):
            running = self.running[name]
            assert running.process.poll() is None, f"{name} ended: {running.said()}"
            assert time.monotonic() < deadline, f"{name} does not get healthy: {running.said()}"
            time.sleep(0.05)

    def is_healthy(self, name):
        kind, *command = self.parsed["services"][name]["healthcheck"]["test"]
        assert kind == "CMD", kind
        running = self.running[name]
        return running.first() is not None and running.execute(command)[0] == 0

    def stop(self, name):
        """As engines do: (exit code, seconds), within the grace of the file."""
        grace = self.parsed["services"][name].get("stop_grace_period", "10s")
        return self.running[name].stop(seconds(grace))

    def write_docker(self, path):
        """A program in the place of `docker`, which knows `docker compose exec -T SERVICE …`."""
        pids = path.parent / "pids"
        pids.mkdir(parents=True)
        for name, running in self.running.items():
            (pids / name).write_text(f"{running.first() or 0} {running.user.replace(':', ' ')}\n")
        path.write_text(DOCKER.format(pids=pids))
        path.chmod(0o755)

    def publish(self, name):
        """Forwards the published ports of a service, as an engine does on its host."""
        for text in self.parsed["services"][name]["ports"]:
            host, port, inner = text.split(":")
            self.stack.enter_context(
                Forwarder((host, int(port)), (self.members[name].reached_at(), int(inner)))
            )


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", text).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


class Bridge:
    """A network: a bridge in this script's own namespace, which has its first address, as the host
    of an engine has.
    """

    def __init__(self, name, subnet):
        self.name, self.net = name, subnet.rsplit(".", 1)[0]
        assert subnet.endswith(".0/24"), subnet
        # What a file says itself begins below.
        self.last = 99
        ip(f"link add {name} type bridge")
        ip(f"addr add {self.net}.1/24 dev {name}")
        ip(f"link set {name} up")

    def next_address(self):
        self.last += 1
        return f"{self.net}.{self.last}"

    def remove(self):
        ip(f"link delete {self.name}")


class Member:
    """The network namespace of a service, with its addresses by network."""

    ends = 0

    def __init__(self, name, service, networks):
        self.name, self.addresses = name, {}
        self.namespace = Namespace(name)
        self.namespace.ip("link set lo up")
        wanted = service.get("networks", {})
        assert bool(wanted) != (service.get("network_mode") == "none"), f"{name} names no network"
        for network, how in wanted.items():
            bridge = networks[network]
            address = (how or {}).get("ipv4_address") or bridge.next_address()
            assert address.startswith(bridge.net + "."), (name, address)
            self.addresses[network] = address
            Member.ends += 1
            end, inside = f"v{Member.ends}", f"to-{bridge.name}"
            ip(f"link add {end} type veth peer name {inside} netns {self.namespace.path}")
            ip(f"link set {end} master {bridge.name} up")
            self.namespace.ip(f"addr add {address}/24 dev {inside}")
            self.namespace.ip(f"link set {inside} up")

    def reached_at(self):
        return next(iter(self.addresses.values()))


class Forwarder:
    """A published port. Forwards for as long as the `with` lasts."""

    def __init__(self, address, target):
        self.address, self.target = address, target

    def __enter__(self):
        self.listener = socket.create_server(self.address, backlog=128)
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        # Wakes the thread up, too.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        with contextlib.suppress(OSError), client:
            with socket.create_connection(self.target, 10) as server:
                server.settimeout(None)
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()


def pump(source, sink):
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def program(name):
    """Where a program of this machine is; none: it is not there."""
    found = shutil.which(name)
    return pathlib.Path(found) if found else None
