"""deploy/compose: its Compose file by Docker Compose, its files by the programs that read them,
and the whole set running without Docker: each service in namespaces, with the users, networks,
volumes, commands and health checks of the file. The lines of README.md and docs/deployment.md go
through it.

usage: compose.py KEYWARD [--all] [WORD …]
"""

import contextlib
import functools
import ipaddress
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import yaml

from composed import Composed, program
from containers import alone
from running_keyward import ask, call
from running_servers import folder, run, until

SOURCE = pathlib.Path(__file__).parents[2]
FILE = SOURCE / "deploy/compose/compose.yaml"
PARSED = yaml.safe_load(FILE.read_text())
SERVICES = PARSED["services"]
KEYWARD = pathlib.Path(sys.argv[1]).resolve()
ONCE = ("setup", "keys")
ALIAS = "alias keyward='docker compose exec -T keyward-1 keyward -c /etc/keyward/keyward.toml'"


def judge(text):
    """What Docker Compose, which needs no engine for it, says against a file."""
    program = pathlib.Path(sys.executable).parent / "docker-compose"
    command = [program, "--project-directory", FILE.parent, "-f", "-", "config", "--quiet"]
    return subprocess.run(command, input=text, capture_output=True, text=True).stderr


def docker_compose_takes_the_file():
    """Docker Compose finds no fault in the file, and its names lead somewhere"""
    text = FILE.read_text()
    assert judge(text) == ""
    for right, wrong in (
        ("restart: unless-stopped", "restrat: unless-stopped"),
        ("interval: 2s", "interval: 2 parsecs"),
        ("service_healthy", "service_happy"),
        ("networks:\n      store: {}", "networks:\n      stores: {}"),
    ):
        assert right in text and judge(text.replace(right, wrong)), f"it takes {wrong!r}"
    for name, service in SERVICES.items():
        for network in service.get("networks", {}):
            assert network in PARSED["networks"], (name, network)
        for other, how in service.get("depends_on", {}).items():
            ends = how["condition"] == "service_completed_successfully"
            assert ends == (other in ONCE), (name, other)
        for text in service.get("volumes", []):
            source, target, *mode = text.split(":")
            assert target.startswith("/") and mode in ([], ["ro"]), text
            if source.startswith("."):
                assert (FILE.parent / source).exists(), f"{name}: there is no {source}"
                assert mode == ["ro"], text
            else:
                assert source in PARSED["volumes"], (name, source)


def every_service_is_hardened_and_its_image_pinned():
    """Images have exact versions; roots are read-only, privileges gone, logs bounded; what is
    published is on loopback
    """
    for name, service in SERVICES.items():
        if "build" in service:
            build = service["build"]
            assert (FILE.parent / build["context"] / build["dockerfile"]).is_file()
            assert (FILE.parent / build["context"]).resolve() == SOURCE
        elif service["image"] == "keyward:local":
            # Built before, by "keys"; no registry is asked for it.
            assert service["pull_policy"] == "never" and "keys" in service["depends_on"], name
        else:
            assert re.search(r":v?\d+\.\d+\.\d+(-alpine)?$", service["image"]), service["image"]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name
        assert re.fullmatch(r"\d+:\d+", service["user"]), name
        assert service["user"] != "0:0" or name == "setup", f"{name} is root"
        assert ("cap_add" in service) == (name == "setup"), name
        if name in ONCE:
            assert service["network_mode"] == "none" and "restart" not in service, name
        else:
            assert service["restart"] == "unless-stopped" and service["healthcheck"], name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), port
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == [
        "balancer", "prometheus", "grafana",
    ]
    grace = SERVICES["keyward-1"]["stop_grace_period"]
    settings = (FILE.parent / "keyward.toml").read_text()
    times = re.findall(r'(?m)^shutdown_(?:delay|grace) = "(\d+)s"', settings)
    assert len(times) == 2 and int(grace.removesuffix("s")) > sum(map(int, times))


def each_image_is_built_once():
    """No two services build one tag, which in parallel fails; addresses are none of Docker's own"""
    built = [service["image"] for service in SERVICES.values() if "build" in service]
    assert built == ["keyward:local"], built
    subnets = re.findall(r"subnet: (\S+) ", FILE.read_text())
    assert subnets, "the networks of the file have no addresses of their own"
    for subnet in map(ipaddress.ip_network, subnets):
        pools = map(ipaddress.ip_network, ("172.16.0.0/12", "192.168.0.0/16"))
        assert subnet.is_private and not any(map(subnet.overlaps, pools)), subnet


def grafana_finds_its_dashboard():
    """Grafana's provisioning names the Prometheus of the file and the folder of the dashboard"""
    mounted = {target: FILE.parent / source for source, target in
               (text.split(":")[:2] for text in SERVICES["grafana"]["volumes"])}
    parts = mounted["/etc/grafana/provisioning"]
    sources, providers = (
        [entry for path in sorted((parts / kind).glob("*.yml"))
         for entry in yaml.safe_load(path.read_text())[entries]]
        for kind, entries in (("datasources", "datasources"), ("dashboards", "providers"))
    )
    assert [source["url"] for source in sources] == ["http://prometheus:9090"]
    folders = [provider["options"]["path"] for provider in providers]
    found = [path for target, path in mounted.items() if target.rpartition("/")[0] in folders]
    assert [json.loads(path.read_text())["title"] for path in found], "there is no dashboard"
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])


def images(name, service):
    """Programs of this machine in the place of images."""
    here = pathlib.Path("/")
    image = service["image"].split(":")[0]
    if image == "keyward" and name == "keys":
        # It needs a shell.
        return here, [(KEYWARD, "/usr/local/bin/keyward", False)], "/", []
    if image == "keyward":
        volume = ROOM / f"anonymous-{name}"
        volume.mkdir(exist_ok=True)
        os.chown(volume, 10001, 10001)
        entrypoint = ["keyward", "-c", "/etc/keyward/keyward.toml"]
        return root(), [(volume, "/var/lib/keyward", True)], "/var/lib/keyward", entrypoint
    is_missing = image == "prom/prometheus" and program("prometheus") is None
    if is_missing or image == "grafana/grafana":
        return None
    return here, [], "/", []


@functools.cache
def root():
    path = ROOM / "rootfs"
    subprocess.run([SOURCE / "deploy/image/rootfs", KEYWARD, path], check=True)
    return path


class Set:
    """The set, once for all checks."""

    composed = None

    @classmethod
    def start(cls):
        if cls.composed is None:
            cls.composed = STACK.enter_context(Composed(FILE, PARSED, ROOM / "set", images))
            for name in ("balancer", "app"):
                cls.composed.await_health(name)
            cls.composed.publish("balancer")
            cls.composed.write_docker(ROOM / "bin/docker")
        return cls.composed


def shell(lines):
    """What the lines print, where `docker` means the set."""
    path = f"{ROOM}/bin:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", lines], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": path}, cwd=ROOM,
    )
    assert done.returncode == 0, (lines, done.stdout, done.stderr)
    return done.stdout


def blocks(page, title):
    """The fenced blocks of shell in a section of a page."""
    _, rest = (SOURCE / page).read_text().split(f"\n## {title}\n", 1)
    return re.findall(r"```sh\n(.*?)```", rest.split("\n## ")[0], re.S)


def at(path, token=None):
    """(status, text) of the app, through balancer and keyward."""
    return ask(f"http://127.0.0.1:8080{path}", token)


def a_token():
    """A new one. On a busy machine Redis may take longer than the time that the set allows it."""

    def attempt():
        made = shell(f"""{ALIAS}
            keyward bootstrap create --token-api keys \\
              --sub u-1 --username alice --organization acme --role user || true""").strip()
        url = "http://127.0.0.1:8080/keys/acme/alice/auth/issue-token"
        body = {"name": "laptop", "expires_in_minutes": 1440}
        try:
            return made and call(url, "POST", made, body)["data"]["token"]
        except urllib.error.HTTPError as refusal:
            assert refusal.code == 503, refusal
            return None

    return until("a new token", attempt)


def the_walk_through_of_the_readme_works():
    """The lines of README.md work against the set, and the app sees whose the token is"""
    Set.start()
    ours = blocks("docs/deployment.md", "Try a whole set")
    assert any(ALIAS in block for block in ours), "the page says another alias"
    lines = blocks("README.md", "In front of your own service")[-1]
    assert lines.startswith("keyward health\n") and lines.count("members.txt") == 3
    printed = shell(f"{ALIAS}\n{lines}").splitlines()
    assert printed[0] == "ready", printed
    assert [line for line in printed if re.fullmatch(r"\d{3}", line)] == ["401"] * 2, printed
    assert "GET /public/hello.txt HTTP/1.1" in printed and "GET /members.txt HTTP/1.1" in printed
    lowered = [line.lower() for line in printed]
    for field in ("subject: u-1", "username: alice", "organization: acme", "role: user"):
        assert f"x-keyward-{field}" in lowered, (field, printed)
    listed = next(line for line in printed if "laptop" in line)
    assert "alice" in listed and "acme" in listed
    assert any('"status":"revoked"' in line for line in printed), printed


def the_app_is_told_the_client():
    """The app sees the client's address, not the balancer's, and no one else's word for it"""
    Set.start()
    request = urllib.request.Request("http://127.0.0.1:8080/public/x")
    request.add_header("X-Forwarded-For", "192.0.2.7")
    seen = urllib.request.urlopen(request, timeout=30).read().decode()
    # The host of the set, which forwards published ports, is the balancer's client.
    assert re.search(r"(?m)^X-Forwarded-For: 10\.213\.47\.1$", seen, re.I), seen


def only_keyward_reaches_the_app_and_redis():
    """No network leads from the balancer to the app or Redis, nor from the app to Redis, and
    keyward takes no connection that is not the balancer's
    """
    composed = Set.start()
    members = composed.members
    places = {"app": ("app", 3000), "redis": ("redis", 6379)}
    for name in ("keyward-1", "keyward-2"):
        targets = [(composed.names(name)[to], port) for to, port in places.values()]
        assert set(members[name].namespace.outcomes(targets).values()) == {"open"}, name
    for name in ("balancer", "app"):
        assert "redis" not in composed.names(name)
        targets = [(address, port) for to, port in places.values() if to != name
                   for address in members[to].addresses.values()]
        outcomes = members[name].namespace.outcomes(targets)
        assert "open" not in outcomes.values(), (name, outcomes)
    # The app could write a PROXY header itself: it is not believed, and gets no answer.
    with members["app"].namespace.inside():
        instance = composed.names("app")["keyward-1"]
        head = "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\nGET /public/x HTTP/1.0\r\n\r\n"
        answered = subprocess.run(
            ["curl", "-sS", "--max-time", "5", f"telnet://{instance}:8080"],
            input=head, capture_output=True, text=True,
        )
        assert "HTTP/" not in answered.stdout, answered


def redis_knows_no_password_and_serves_keyward_alone():
    """Redis has only the digest of the password; without it nobody gets more than PONG; everything
    is kept and nothing evicted
    """
    composed = Set.start()
    secret = composed.volume("keyward-secrets") / "redis-password"
    password = secret.read_text().strip()
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    acl = composed.volume("redis-secrets") / "users.acl"
    assert password not in acl.read_text()
    for path, owner in ((secret, 10001), (acl, 999)):
        found = path.stat()
        assert (found.st_uid, found.st_mode & 0o777) == (owner, 0o600), path
    said = "".join(running.said() for running in composed.running.values())
    assert password not in said
    redis = composed.running["redis"]
    ask_redis = lambda *words: redis.execute(["redis-cli", "--no-auth-warning", *words])[1]
    assert "NOAUTH" in ask_redis("KEYS", "*")
    assert "NOAUTH" in ask_redis("--user", "default", "--pass", password, "KEYS", "*")
    assert "NOPERM" in ask_redis("--user", "health", "--pass", "x", "KEYS", "*")
    for words in ("CONFIG GET *", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "SCRIPT FLUSH", "GET other"):
        assert "NOPERM" in ask_redis("--user", "keyward", "--pass", password, *words.split()), words
    info = ask_redis("--user", "keyward", "--pass", password, "INFO")
    assert "maxmemory_policy:noeviction" in info and "aof_enabled:1" in info
    assert json.loads(shell(f"{ALIAS}\nkeyward store check --json"))


def prometheus_scrapes_both():
    """Prometheus, where it is installed, finds its configuration right and both instances up"""
    composed = Set.start()
    if "prometheus" in composed.left_out:
        print("    NOT CHECKED: there is no prometheus on this machine", flush=True)
        return
    composed.await_health("prometheus")
    composed.publish("prometheus")

    def targets():
        listed = json.loads(ask("http://127.0.0.1:9091/api/v1/targets")[1])["data"]["activeTargets"]
        return {one["labels"]["instance"]: one["health"] for one in listed}

    both = {"keyward-1:9090": "up", "keyward-2:9090": "up"}
    until("two instances that are up", lambda: targets() == both)
    rules = json.loads(ask("http://127.0.0.1:9091/api/v1/rules")[1])["data"]["groups"]
    assert rules, "the alert rules are not loaded"


def an_instance_ends_and_comes_back_without_a_failed_request():
    """While one instance is stopped and started again, no request fails, and tokens stay good"""
    composed = Set.start()
    token, failed, answered, over = a_token(), [], [], threading.Event()

    def load():
        while not over.is_set():
            try:
                status, body = at("/x", token)
            except OSError as fault:
                status, body = 0, str(fault)
            # On a busy machine Redis may be slower than the set allows.
            if "the service is temporarily unavailable" not in body:
                (answered if status == 200 else failed).append((status, body))

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        until("requests", lambda: len(answered) > 50)
        code, _ = composed.stop("keyward-2")
        assert code == 0, composed.running["keyward-2"].said()
        count = len(answered)
        until("requests by the other one", lambda: len(answered) > count + 50)
        said = composed.running["balancer"].said
        begin = len(said())
        composed.start("keyward-2")
        composed.await_health("keyward-2")
        is_up = "Server instances/keyward-2 is UP"
        until("a balancer that notices", lambda: is_up in said()[begin:])
        count = len(answered)
        until("requests by both", lambda: len(answered) > count + 50)
    finally:
        over.set()
        for client in clients:
            client.join(60)
    assert not failed, (len(failed), failed[:3])


def what_was_acknowledged_survives_redis():
    """Redis is killed: public routes are served and tokens get 503; it is started again on its
    volume: tokens and revocations are there
    """
    composed = Set.start()
    kept, revoked = a_token(), a_token()
    revocation = "http://127.0.0.1:8080/keys/acme/alice/auth/revoke"
    assert call(revocation, "POST", revoked)["data"]["status"] == "revoked"
    said = composed.running["balancer"].said
    begin = len(said())
    os.kill(composed.running["redis"].first(), 9)
    composed.running["redis"].ended()
    down = [f"Server instances/keyward-{number} is DOWN" for number in (1, 2)]
    until("a balancer that notices", lambda: all(line in said()[begin:] for line in down))
    assert (at("/public/x")[0], at("/x", kept)[0]) == (200, 503)
    composed.start("redis")
    composed.await_health("redis")
    until("a token that is accepted again", lambda: at("/x", kept)[0] == 200)

    def refused():
        # 503 from an instance that is not back yet.
        status = at("/x", revoked)[0]
        assert status in (401, 503), status
        return status == 401

    until("a token that is refused again", refused)


def a_second_start_keeps_keys_and_passwords():
    """The services that make keys and passwords do nothing when these are there"""
    composed = Set.start()
    volume = composed.volume("keyward-secrets")
    files = sorted(path for path in volume.rglob("*") if path.is_file())
    assert len(files) > 3
    before = [path.read_bytes() for path in files]
    for name in ONCE:
        composed.start(name)
        assert composed.running[name].ended() == 0, composed.running[name].said()
    assert [path.read_bytes() for path in files] == before
    assert sorted(path for path in volume.rglob("*") if path.is_file()) == files


CHECKS = [
    docker_compose_takes_the_file,
    every_service_is_hardened_and_its_image_pinned,
    each_image_is_built_once,
    grafana_finds_its_dashboard,
    the_walk_through_of_the_readme_works,
    the_app_is_told_the_client,
    only_keyward_reaches_the_app_and_redis,
    redis_knows_no_password_and_serves_keyward_alone,
    an_instance_ends_and_comes_back_without_a_failed_request,
    what_was_acknowledged_survives_redis,
    a_second_start_keeps_keys_and_passwords,
    prometheus_scrapes_both,
]

if __name__ == "__main__":
    alone()
    with folder() as ROOM, contextlib.ExitStack() as STACK:
        ROOM.chmod(0o755)
        run(CHECKS, at_most=400)
