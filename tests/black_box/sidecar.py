"""keyward as a sidecar, in network namespaces: a pod with an app and keyward, a client, and an
intruder that is root in a namespace of its own. The app is reached through keyward alone, and what
happens to keyward opens nothing.

usage: sidecar.py KEYWARD [--all] [WORD …]

As root. Of Debian: iproute2, nftables.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

from namespaces import CannotBeMade
from pod import APP, CARELESS, FRONT, FRONT6, KEYWARD, OWN, POD, SHARED, STRANGER, Pod
from running_servers import folder, run, until

SOURCE = pathlib.Path(__file__).parents[2]
RULES = SOURCE / "deploy/sidecar/keyward.nft"
OF_THE_APP = SOURCE / "examples/app.nft"
WITHOUT_RULES = "delete table inet keyward_sidecar"

FORGED = [
    (name, "mallory")
    for name in (
        "X-Keyward-Subject",
        "x-keyward-subject",
        "X_Keyward_Subject",
        "X.Keyward.Subject",
        "X-Keyward-Username",
        "X-KEYWARD-ROLE",
        "X-Keyward-Credential",
        "X-Keyward-Anything",
        "X-Forwarded-User",
        "X-Forwarded-For",
        "X-Real-IP",
        "Forwarded",
        "X-Request-Id",
    )
]


def targets(*ports, addresses=POD):
    return [(address, port) for address in addresses for port in ports]


class Checks:
    def __init__(self, pod):
        self.pod = pod
        self.bearer = [("Authorization", f"Bearer {pod.token()}")]

    def serves(self):
        for target in (FRONT, FRONT6):
            for path in ("loopback", "loopback6", "socket", "careless"):
                status, body = self.pod.client.ask(target, f"/{path}/x", self.bearer)
                assert status == 200, (target, path, status, body)
                seen = {name.lower(): value for name, value in json.loads(body)["headers"]}
                who = [seen.get(f"x-keyward-{name}") for name in ("subject", "username", "role")]
                assert who == ["u-1", "alice", "user"], (target, path, seen)

    def reaches_nothing(self, *allowed):
        """No connection from outside is open, to any port that is listened on in the pod, but those
        that are `allowed`; and no request has come to the app.
        """
        before = self.pod.seen()
        listening = sorted({port for _, port in self.pod.pod.listening()} | {OWN, CARELESS, 9090})
        everywhere = targets(*listening)
        for other in (self.pod.client, self.pod.intruder):
            found = other.outcomes(everywhere)
            opened = {target for target, what in found.items() if what == "open"}
            assert opened <= set(allowed), f"{other.name}: {opened}"
        assert self.pod.seen() == before, "a request has come to the app"
        return listening

    def through_keyward(self):
        """With a token the app is reached over IPv4, IPv6 and a Unix socket, and told the caller;
        without one, or with another, the answer is 401.
        """
        self.serves()
        before = self.pod.seen()
        for target in (FRONT, FRONT6):
            for path in ("loopback", "loopback6", "socket", "careless"):
                for credential in ([], [("Authorization", "Bearer " + "x" * 40)]):
                    status, _ = self.pod.client.ask(target, f"/{path}/x", credential)
                    assert status == 401, (target, path, status)
        assert self.pod.seen() == before, "a refused request has come to the app"

    def forged(self):
        """Identity headers that a client writes do not reach the app, in no spelling, with a token,
        without one, and where the route is public.
        """
        for path, credential, subject in (
            ("/loopback/x", self.bearer, ["u-1"]),
            ("/socket/x", self.bearer, ["u-1"]),
            ("/public/x", [], []),
            ("/public/x", self.bearer, []),
        ):
            for forged in [[one] for one in FORGED] + [FORGED]:
                status, body = self.pod.client.ask(FRONT, path, credential + forged)
                assert status == 200, (path, forged, status, body)
                headers = json.loads(body)["headers"]
                assert not any("mallory" in value for _, value in headers), (path, headers)
                found = [
                    value
                    for name, value in headers
                    if name.lower().replace("_", "-").replace(".", "-") == "x-keyward-subject"
                ]
                assert found == subject, (path, forged, headers)

    def loopback(self):
        """An app on loopback is refused on every address of the pod, and so is the admin address;
        nothing but keyward and the app that listens everywhere is open.
        """
        everywhere = targets(CARELESS)
        listening = self.reaches_nothing(FRONT, FRONT6, *everywhere)
        assert set(listening) == {OWN, CARELESS, 8080, 9090}, listening
        for other in (self.pod.client, self.pod.intruder):
            found = other.outcomes(targets(OWN, 9090))
            assert set(found.values()) == {"refused"}, (other.name, found)
        # The client's own loopback and "this host" are not the pod's.
        own = targets(OWN, CARELESS, 9090, addresses=["127.0.0.1", "0.0.0.0", "::1", "::"])
        found = self.pod.client.outcomes(own)
        assert set(found.values()) == {"refused"}, found

    def martians(self):
        """Packets to 127.0.0.1 and ::1 that come from outside are dropped by the kernel, as long as
        `route_localnet` is 0; with 1 the rules drop them.
        """
        pod, intruder = self.pod.pod, self.pod.intruder
        own = targets(OWN, CARELESS, 9090, addresses=["127.0.0.1", "::1"])
        before = self.pod.seen()
        found = intruder.outcomes(own)
        assert "open" not in found.values(), found
        # Loose source routing (RFC 791) by the pod to its loopback address.
        hop = socket.inet_aton("198.51.100.1")
        route = (socket.IPPROTO_IP, socket.IP_OPTIONS, bytes([131, 7, 4]) + hop + b"\x01")
        found = intruder.outcomes(targets(OWN, CARELESS, addresses=["127.0.0.1"]), [route])
        assert "open" not in found.values(), found
        # That the intruder could do it: what the checks above find is not its own inability.
        pod.set("ipv4.conf.intruder.route_localnet", 1)
        try:
            found = intruder.outcomes(targets(OWN, addresses=["127.0.0.1"]))
            assert set(found.values()) == {"open"}, found
            with self.rules():
                found = intruder.outcomes(own)
                assert "open" not in found.values(), found
        finally:
            pod.set("ipv4.conf.intruder.route_localnet", 0)
        assert self.pod.seen() == before, "a request has come to the app"

    def unix_sockets(self):
        """An app on a Unix socket, and keyward's admin socket, are closed to other users of the
        machine.
        """
        script = (
            "import socket, sys\n"
            "for path in sys.argv[1:]:\n"
            "    try: socket.socket(socket.AF_UNIX).connect(path); print('open')\n"
            "    except OSError as fault: print(type(fault).__name__)\n"
        )
        paths = [self.pod.socket, self.pod.home / "keyward-data/admin.sock"]
        command = ["/usr/bin/env", "python3", "-c", script, *map(str, paths)]

        def tried(user, groups):
            with self.pod.pod.inside():
                who = {"user": user, "group": user, "extra_groups": groups}
                return subprocess.check_output(command, text=True, timeout=30, **who).split()

        assert tried(STRANGER, []) == ["PermissionError", "PermissionError"]
        assert tried(APP, []) == ["open", "PermissionError"], "the admin socket is keyward's own"
        assert tried(KEYWARD, [SHARED]) == ["open", "open"], "so both are there"

    @contextlib.contextmanager
    def rules(self):
        """Loads the rules of deploy/sidecar for as long as the `with` lasts."""
        self.pod.pod.run("nft", "-f", RULES)
        try:
            yield
        finally:
            self.pod.pod.run("nft", WITHOUT_RULES)

    def careless(self):
        """An app that listens on all addresses can be told anything past keyward; with the rules of
        deploy/sidecar/keyward.nft it is reached through keyward alone, and its own calls go on.
        """
        pod, forged = self.pod, [("X-Keyward-Subject", "mallory")]
        for other in (pod.client, pod.intruder):
            status, body = other.ask((POD[0], CARELESS), "/x", forged)
            assert status == 200 and b"mallory" in body, (status, body)
        with self.rules():
            # To load them again is no fault.
            pod.pod.run("nft", "-f", RULES)
            self.reaches_nothing(FRONT, FRONT6)
            for other in (pod.client, pod.intruder):
                found = other.outcomes(targets(OWN, CARELESS, 9090))
                assert set(found.values()) == {"silent"}, (other.name, found)
            # The addresses of neighbours are still learned.
            for namespace in (pod.pod, pod.client):
                namespace.ip("neigh flush all")
            self.serves()
            with pod.client.inside(), socket.create_server(("192.0.2.2", 0)) as server:
                port = server.getsockname()[1]
                server.settimeout(10)
                with pod.pod.inside():
                    called = socket.create_connection(("192.0.2.2", port), 10)
                with called, server.accept()[0] as accepted:
                    accepted.sendall(b"an answer")
                    assert called.recv(100) == b"an answer"

    def on_another_machine(self):
        """With the rules of examples/app.nft an app that listens on all addresses takes connections
        from keyward's address alone, and from its own machine; a machine needs no rules before.
        """
        pod, there = self.pod, (POD[0], CARELESS)
        for rules, opened in (
            # As it stands, keyward is elsewhere.
            ({}, ()),
            ({"10.0.0.5": "192.0.2.2"}, ("client",)),
            ({"10.0.0.5": "198.51.100.2"}, ("intruder",)),
        ):
            text = OF_THE_APP.read_text().replace("app_port = 3000", f"app_port = {CARELESS}")
            for shown, meant in rules.items():
                text = text.replace(shown, meant)
            file = pod.room / "app.nft"
            file.write_text(text)
            pod.pod.run("nft", "-f", file)
            pod.pod.run("nft", "-f", file)
            try:
                for other, address, address6 in (
                    (pod.client, POD[0], POD[2]), (pod.intruder, POD[1], POD[3]),
                ):  # fmt: skip
                    found = other.outcomes([(address, CARELESS), (address6, CARELESS)])
                    wanted = "open" if other.name in opened else "silent"
                    assert list(found.values()) == [wanted, "silent"], (other.name, found)
                assert set(pod.pod.outcomes([there]).values()) == {"open"}
                # What is not the app's is as before.
                self.serves()
            finally:
                pod.pod.run("nft", "delete table inet keyward_app")

    def killed(self):
        """While keyward is dead, nothing is open but an app that listens everywhere, and with the
        rules nothing at all; it serves again when it is started again.
        """
        self.pod.kill()
        self.reaches_nothing(*targets(CARELESS))
        found = self.pod.client.outcomes([FRONT, FRONT6])
        assert set(found.values()) == {"refused"}, found
        with self.rules():
            self.reaches_nothing()
            self.pod.start()
            self.serves()
        self.through_keyward()

    def frozen(self):
        """While keyward stands still (SIGSTOP), requests get no answer and the app gets none of
        them; afterwards it serves.
        """
        before = self.pod.seen()
        self.freeze()
        try:
            for target in (FRONT, FRONT6):
                for path in ("/loopback/x", "/public/x", "/socket/x"):
                    try:
                        answer = self.pod.client.ask(target, path, self.bearer, timeout=0.5)
                    except TimeoutError:
                        continue
                    raise AssertionError(f"{target} {path}: {answer}")
            self.reaches_nothing(FRONT, FRONT6, *targets(CARELESS))
            with self.rules():
                self.reaches_nothing(FRONT, FRONT6)
            assert self.pod.seen() == before, "a request has come to the app"
        finally:
            self.pod.keyward.send_signal(signal.SIGCONT)
        self.serves()
        # Killed while it stands still.
        self.freeze()
        self.pod.kill()
        self.reaches_nothing(*targets(CARELESS))
        self.pod.start()
        self.through_keyward()

    def freeze(self):
        self.pod.keyward.send_signal(signal.SIGSTOP)

        def stands_still():
            status = pathlib.Path(f"/proc/{self.pod.keyward.pid}/stat").read_text()
            return status.rsplit(")", 1)[1].split()[0] == "T"

        until("it to stand still", stands_still)


def main():
    program = pathlib.Path(sys.argv[1]).absolute()
    # So that what is opened is closed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.geteuid() != 0:
        sys.exit("sidecar.py: it makes network namespaces and users of its own: run it as root")
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            sys.exit(f"sidecar.py: {tool} is missing: install {package}")
    with contextlib.ExitStack() as opened:
        try:
            pod = opened.enter_context(Pod(program, opened.enter_context(folder())))
        except CannotBeMade as fault:
            sys.exit(f"sidecar.py: {fault}")
        checks = Checks(pod)
        run(
            [
                checks.through_keyward,
                checks.forged,
                checks.loopback,
                checks.martians,
                checks.unix_sockets,
                checks.careless,
                checks.on_another_machine,
                checks.killed,
                checks.frozen,
            ],
            at_most=180,
            front_of=lambda: pod,
        )


if __name__ == "__main__":
    main()
