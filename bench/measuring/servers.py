"""The upstream and the proxies that are compared: their configurations, and how each is started.

Every proxy but those named "plain" and the relay does the same work for a request: it keeps
connections on both sides, sends the upstream the same header fields, removes the credential, and
writes an access log into a buffer. HAProxy has no buffered log to a file; it runs without a log,
which is to its advantage. Every proxy but the relay listens three times: in clear for HTTP/1.1, in
clear for HTTP/2 by prior knowledge, and with TLS 1.3 (ECDSA P-256) for both versions by ALPN.
keyward takes both versions on one clear listener.
"""

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from .process import CannotRun, Child, run
from .setting import call, free_ports, most_files, wait_until

BODY = '{"status":"success","message":"the benchmark answers","data":null}'  # 66 bytes
LARGE = {"/64k": 64 * 1024, "/1m": 1024 * 1024}  # path → size of the answer in bytes

# What each proxy does for a request.
DOES = {
    "relay": "no parsing: the least that is possible",
    "nginx": "plain proxy that adds keyward's header fields as constants; buffered access log",
    "nginx-plain": "plain proxy that adds one header field; buffered access log",
    "nginx-large-buffers": "as nginx, with 16 × 16 KiB for an answer; the default is 8 × 4 KiB",
    "haproxy": "plain proxy that adds keyward's header fields as constants; no log",
    "haproxy-plain": "plain proxy that adds one header field; no log",
    "nginx-lua-redis": "key from Redis, remembered for 5 s; the rest as nginx; buffered access log",
    "keyward": "token check, identity header fields, metrics, buffered access log",
    "relay-again": "the relay again: its ratio to the relay (A/A) should be 1.00",
}

# Proxies that run the same program.
PROGRAMS = {"nginx-plain": "nginx", "nginx-large-buffers": "nginx", "haproxy-plain": "haproxy"}

NGINX_MAIN = """
daemon off; worker_processes 1; worker_rlimit_nofile {files};
pid {dir}/{name}.pid; error_log {dir}/{name}.log warn;
{main}
events {{ worker_connections {connections}; }}
http {{
  keepalive_requests 100000000; keepalive_timeout 1h; tcp_nodelay on;
  client_body_temp_path {dir}/{name}.body; proxy_temp_path {dir}/{name}.proxy;
  fastcgi_temp_path {dir}/{name}.fastcgi; uwsgi_temp_path {dir}/{name}.uwsgi;
  scgi_temp_path {dir}/{name}.scgi;
  {http}
}}
"""

UPSTREAM = """
  access_log off; default_type application/json; sendfile on; client_max_body_size 1m;
  server {{
    listen 127.0.0.1:{port} reuseport backlog=1024; root {dir}/large;
    open_file_cache max=16; open_file_cache_valid 1h;
    location / {{ return 200 '{body}'; }}
    location = /64k {{ }}
    location = /1m {{ }}
    location = /chunked {{ gzip on; gzip_comp_level 1; gzip_types *; try_files /64k =404; }}
  }}
"""

# Buffers are of the default size; without temporary files, which the default allows, bodies cost
# nginx less.
NGINX_PROXY = """
  access_log {log} combined buffer=64k flush=1s;
  upstream app {{
    server 127.0.0.1:{upstream};
    keepalive 256; keepalive_requests 100000000; keepalive_timeout 1h;
  }}
  ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; ssl_protocols TLSv1.3;
  proxy_http_version 1.1; proxy_max_temp_file_size 0;
  {preamble}
  server {{
    listen 127.0.0.1:{http1} reuseport backlog=1024;
    listen 127.0.0.1:{http2} http2 reuseport backlog=1024;
    listen 127.0.0.1:{tls} ssl http2 reuseport backlog=1024;
    location / {{
      {fields}
      proxy_set_header Connection "";
      proxy_pass http://app;
    }}
  }}
"""

NGINX_LARGE_BUFFERS = "proxy_buffers 16 16k; proxy_buffer_size 16k;"

# What keyward sends besides the identity.
NGINX_FIELDS = """
      proxy_set_header Authorization "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header Forwarded 'for=$remote_addr;host="$http_host";proto=$scheme';
      proxy_set_header Via "1.1 nginx";
"""

IDENTITY = {
    "Subject": "auth0|bench",
    "Username": "bench",
    "Organization": "acme",
    "Role": "user",
    "Token-Id": "80aa49ef-dc30-44c0-acf0-fac51c41da6b",
    "Credential": "jarvispy",
}

LUA_MAIN = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
"""

# A cache in the worker's own memory costs less than a shared dictionary, and a Lua table less than
# a text to take apart.
LUA_PREAMBLE = """
  lua_package_path "/usr/share/lua/5.1/?.lua;;";
  init_by_lua_block {
    redis = require "nginx.redis"
    remembered = require("resty.lrucache").new(10000)
  }
"""

LUA_IDENTITY = """
      set $subject ""; set $username ""; set $organization "";
      set $role ""; set $token_id ""; set $credential "";
      access_by_lua_block {{
        local header = ngx.var.http_authorization
        if not header or string.sub(header, 1, 7) ~= "Bearer " then return ngx.exit(401) end
        local identity = remembered:get(header)
        if not identity then
          local connection = redis:new()
          connection:set_timeout(1000)
          if not connection:connect("127.0.0.1", {redis}) then return ngx.exit(503) end
          local record, fault = connection:get("token:" .. string.sub(header, 8))
          if fault then return ngx.exit(503) end
          connection:set_keepalive(60000, 16)
          if not record or record == ngx.null then return ngx.exit(401) end
          identity = {{}}
          for value in string.gmatch(record, "[^\\n]+") do identity[#identity + 1] = value end
          remembered:set(header, identity, 5)
        end
        local var = ngx.var
        var.subject, var.username, var.organization = identity[1], identity[2], identity[3]
        var.role, var.token_id, var.credential = identity[4], identity[5], identity[6]
      }}
"""

HAPROXY = """
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:{http1} backlog 1024
  bind 127.0.0.1:{http2} backlog 1024 proto h2
  bind 127.0.0.1:{tls} backlog 1024 ssl crt {dir}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
{fields}
  default_backend app
backend app
  server app 127.0.0.1:{upstream}
"""

HAPROXY_FIELDS = """
  http-request del-header Authorization
  http-request set-header X-Request-Id %[uuid()]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header Forwarded "for=%[src];host=\\"%[req.hdr(host)]\\";proto=http"
  http-request set-header Via "1.1 haproxy"
"""

# All that a user has on: token check, identity header fields, metrics, a buffered access log.
KEYWARD = """
[server]
workers = 1
pin = false
shutdown_grace = "1s"
[log]
level = "warn"
access = "{log}"
[admin]
address = "127.0.0.1:{admin}"
socket = "{dir}/admin.sock"
[store]
kind = "embedded"
path = "{dir}/keyward.db"
[keys]
directory = "{dir}/keys"
[timeouts]
idle = "1h"
[[listener]]
address = "127.0.0.1:{port}"
[[token_api]]
name = "jarvispy"
style = "allowlist-jwt"
mount = "/jarvispy/{{organization}}/{{username}}/api/v1"
[[upstream]]
name = "app"
endpoints = ["http://127.0.0.1:{upstream}"]
[[route]]
path = "/{{*rest}}"
upstream = "app"
accept = ["jarvispy"]
"""

KEYWARD_TLS = """
[limits]
connections = {connections}
[[listener]]
address = "127.0.0.1:{tls}"
tls = {{ certificate = "{dir}/cert.pem", key = "{dir}/key.pem" }}
"""


@dataclass
class Proxy:
    """One of the things compared, running."""

    name: str
    child: Child
    ports: dict  # "http1", "http2" and "tls" → port
    access_log: Path | None = None
    token: str = ""  # one that it lets through

    @property
    def port(self):
        """Where it listens for HTTP/1.1 in clear."""
        return self.ports["http1"]


def start_nginx(setting, name, core, http_block, main="", connections=4096):
    user = (
        "user root;" if os.geteuid() == 0 else ""
    )  # the temporary directory is open to its owner only
    values = {
        "dir": setting.directory,
        "name": name,
        "connections": connections,
        "files": most_files(),
    }
    config = setting.write(
        f"{name}.conf", NGINX_MAIN.format(**values, main=main + user, http=http_block)
    )
    log = str(setting.directory / f"{name}.log")
    return setting.start(
        name, ["nginx", "-p", str(setting.directory), "-e", log, "-c", config], core
    )


def start_upstream(setting):
    """Starts the server behind all proxies, and waits until it answers."""
    (setting.upstream,) = free_ports(1)
    large = setting.directory / "large"
    large.mkdir()
    for path, size in LARGE.items():
        # Lines that differ, so that compressing them is work.
        (large / path.strip("/")).write_text("".join(f"{at:>63}\n" for at in range(size // 64)))
    block = UPSTREAM.format(port=setting.upstream, body=BODY, dir=setting.directory)
    upstream = start_nginx(setting, "upstream", setting.upstream_core, block)
    wait_until(upstream, setting.upstream, lambda: serves(setting.upstream, setting.token))
    return upstream


def start_redis(setting):
    """Starts a Redis that keeps what it is told, and waits until it answers."""
    (setting.redis,) = free_ports(1)
    command = [
        "redis-server",
        "--port",
        str(setting.redis),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(setting.directory),
    ]
    command += ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
    child = setting.start("redis-server", command, setting.upstream_core)
    wait_until(
        child, setting.redis, lambda: None if redis(setting.redis, "PING") == "PONG" else "no PONG"
    )


def redis(port, *words):
    """One command of Redis; returns text."""
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with (
        socket.create_connection(("127.0.0.1", port), 5) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(request.encode())
        line = answer.readline().decode().rstrip()
        return answer.read(int(line[1:])).decode() if line.startswith("$") else line[1:]


def start_proxy(setting, name, programs, connections=4096, under=()):
    """Starts one proxy for at most this many connections, and waits until it serves; `under` is a
    command that runs keyward under its supervision."""
    http1, http2, tls, admin = free_ports(4)
    log = setting.directory / f"{name}-access.log"
    ports = {"http1": http1, "http2": http2, "tls": tls}
    values = {
        **ports,
        "upstream": setting.upstream,
        "dir": setting.directory,
        "log": log,
        "connections": connections,
    }
    core = setting.proxy_core
    if name in ("relay", "relay-again"):
        command = [str(programs["relay"]), f"127.0.0.1:{http1}", f"127.0.0.1:{setting.upstream}"]
        proxy = Proxy(name, setting.start(name, command, core), {"http1": http1})
    elif name == "nginx-lua-redis":
        proxy = Proxy(name, start_lua(setting, name, values), ports, log)
    elif PROGRAMS.get(name, name) == "nginx":
        block = NGINX_PROXY.format(
            **values,
            preamble=NGINX_LARGE_BUFFERS if name == "nginx-large-buffers" else "",
            fields=nginx_fields(
                {"Subject": IDENTITY["Subject"]} if name == "nginx-plain" else IDENTITY
            )
            + ("" if name == "nginx-plain" else NGINX_FIELDS),
        )
        proxy = Proxy(name, start_nginx(setting, name, core, block, "", connections), ports, log)
    elif PROGRAMS.get(name, name) == "haproxy":
        identity = {"Subject": IDENTITY["Subject"]} if name == "haproxy-plain" else IDENTITY
        fields = "".join(
            f'  http-request set-header X-Keyward-{one} "{value}"\n'
            for one, value in identity.items()
        )
        fields += "" if name == "haproxy-plain" else HAPROXY_FIELDS
        values["connections"] = min(
            connections, (most_files() - 100) // 2
        )  # it reserves two files for each
        config = setting.write(f"{name}.conf", HAPROXY.format(**values, fields=fields))
        proxy = Proxy(
            name, setting.start(name, ["haproxy", "-db", "-q", "-f", config], core), ports
        )
    else:
        text = KEYWARD.format(**values, port=http1, admin=admin) + KEYWARD_TLS.format(**values)
        config = setting.write("keyward.toml", text)
        child = setting.start(name, [*under, str(programs["keyward"]), "run", "-c", config], core)
        if not setting.issued:
            setting.token, setting.issued = (
                keyward_token(programs["keyward"], config, child, http1),
                True,
            )
        proxy = Proxy(name, child, {"http1": http1, "http2": http1, "tls": tls}, log)
    wait_until(proxy.child, http1, lambda: serves(http1, setting.token))
    return proxy


def nginx_fields(identity):
    return "\n".join(
        f'proxy_set_header X-Keyward-{field} "{value}";' for field, value in identity.items()
    )


def start_lua(setting, name, values):
    """nginx that asks Redis for tokens; the one that is used is put there."""
    modules = next(
        (
            path
            for path in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
            if os.path.isdir(path)
        ),
        None,
    )
    if modules is None:
        raise CannotRun(
            "nginx has no Lua: install the Debian packages libnginx-mod-http-lua lua-nginx-redis"
        )
    redis(setting.redis, "SET", f"token:{setting.token}", "\n".join(IDENTITY.values()))
    variables = {field: f"${field.lower().replace('-', '_')}" for field in IDENTITY}
    fields = LUA_IDENTITY.format(redis=setting.redis) + nginx_fields(variables) + NGINX_FIELDS
    block = NGINX_PROXY.format(**values, preamble=LUA_PREAMBLE, fields=fields)
    return start_nginx(setting, name, setting.proxy_core, block, LUA_MAIN.format(modules=modules))


def serves(port, token, tls=False):
    """None if the upstream's answer comes over HTTP/1.1 from `port`, else what came."""
    status, body = call(port, token, tls=tls)
    return None if (status, body) == (200, BODY) else f"{status} {body[:200]}"


def serves_http2(port, token, tls=False):
    """None if the upstream's answer comes over HTTP/2 from `port`, else what came."""
    scheme = "https" if tls else "http"
    command = [
        "nghttp",
        "-t",
        "5",
        "-H",
        f"authorization: Bearer {token}",
        f"{scheme}://127.0.0.1:{port}/bench",
    ]
    asked = run(command, 10)
    return (
        None
        if asked.stdout == BODY
        else f"no HTTP/2 answer: {asked.stdout[:200]}{asked.stderr[:200]}".strip()
    )


@contextlib.contextmanager
def all_started(setting, names, programs):
    """Starts the proxies, and ends them."""
    before = len(setting.children)
    try:
        # keyward first: its token is then the one that all get, so that all parse the same request.
        in_order = sorted(names, key=lambda name: name != "keyward")
        started = {name: start_proxy(setting, name, programs) for name in in_order}
        yield [started[name] for name in names]
    finally:
        setting.end_children(before)


def bootstrap_token(keyward, config, mints=1):
    """A token that makes so many keys, by command."""
    command = [str(keyward), "bootstrap", "create", "-c", config, "--token-api", "jarvispy"]
    command += ["--sub", "auth0|bench", "--username", "bench", "--organization", "acme"]
    made = run([*command, "--role", "user", "--mints", str(mints)], 30)
    if made.returncode != 0 or not made.stdout.strip():
        raise CannotRun(f"keyward bootstrap create failed ({made.returncode}): {made.stderr}")
    return made.stdout.split()[-1]


def keyward_token(keyward, config, child, port):
    """Mints a bootstrap token by command and exchanges it for an API key, as a user would."""
    wait_until(
        child,
        port,
        lambda: None if call(port, "none")[0] == 401 else "a wrong token is not refused",
    )
    bootstrap = bootstrap_token(keyward, config)
    status, body = call(port, bootstrap, "POST", "/jarvispy/acme/bench/api/v1/auth/issue-token")
    if status != 200:
        raise CannotRun(f"keyward issued no token: {status} {body}")
    return json.loads(body)["data"]["token"]
