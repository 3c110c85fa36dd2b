"""Instances of keyward that share a folder of keys, and calls of them."""

import contextlib
import http.client
import json

from . import servers
from .process import CannotRun
from .setting import free_ports, wait_until

EMBEDDED = '[store]\nkind = "embedded"\npath = "{dir}/keyward.db"\n'
ON_REDIS = '[store]\nkind = "redis"\nurl = "redis://127.0.0.1:{redis}"\n'


def start_keyward(setting, keyward, name, store, route=""):
    """One instance; those of a fleet share the folder of keys. `route`: more lines of its route."""
    port, admin = free_ports(2)
    room = setting.directory / name
    room.mkdir()
    log = room / "access.log"
    values = {"port": port, "upstream": setting.upstream, "admin": admin, "dir": room, "log": log}
    text = servers.KEYWARD.format(**values).replace(
        EMBEDDED.format(dir=room), store.format(dir=room, redis=setting.redis)
    )
    text = text.replace(f'directory = "{room}/keys"', f'directory = "{setting.directory}/keys"')
    config = setting.write(f"{name}.toml", text + route)
    child = setting.start(name, [str(keyward), "run", "-c", config], setting.proxy_core)
    proxy = servers.Proxy(name, child, {"http1": port}, log)
    proxy.admin, proxy.config = admin, config
    wait_until(child, admin, lambda: ready(admin))
    return proxy


def ready(admin):
    """None if the instance with this admin listener is ready, else why it is not."""
    status, body = probe(admin, "/readyz")
    return None if status == 200 else f"it is not ready: {body[:200]}"


def probe(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def metric(proxy, name):
    lines = probe(proxy.admin, "/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def bootstrap(keyward, proxy, mints):
    """A token that makes so many keys at an instance."""
    return servers.bootstrap_token(keyward, proxy.config, mints)


class Client:
    """One kept connection to an instance."""

    def __init__(self, proxy):
        self.connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)

    def call(self, token, method="GET", path="/bench"):
        self.connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def issue(self, token):
        status, body = self.call(token, "POST", "/jarvispy/acme/bench/api/v1/auth/issue-token")
        if status != 200:
            raise CannotRun(f"keyward issued no token: {status} {body[:200]}")
        return json.loads(body)["data"]["token"]

    def revoke(self, token):
        return self.call(token, "POST", "/jarvispy/acme/bench/api/v1/auth/revoke")[0]
