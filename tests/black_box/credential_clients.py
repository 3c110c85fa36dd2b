"""Clients that send a credential in a way of their own, through keyward: git, pip, wget, curl and
docker with a password, Chromium with the protocols of a WebSocket.

usage: credential_clients.py KEYWARD [--all] [WORD …]
"""

import base64
import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import zipfile

from running_servers import Certificates, Route, Upstream, folder, front, run

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BASIC = 'credentials.basic = true\nchallenge = "basic"\nrealm = "the files"'


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, the first answer of a registry, and WebSockets that say one word."""

    protocol_version = "HTTP/1.1"
    seen = []

    def do_GET(self):
        self.seen.append((self.path, dict(self.headers.items())))
        if self.headers.get("Upgrade") == "websocket":
            self.websocket()
        elif self.path == "/v2/":
            self.answer(b"{}")
        else:
            super().do_GET()

    def answer(self, body):
        self.send_response(200)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        if "chat" in self.headers.get("Sec-WebSocket-Protocol", ""):
            self.send_header("Sec-WebSocket-Protocol", "chat")
        self.end_headers()
        # "hello", and a close with the code 1000.
        self.wfile.write(b"\x81\x05hello\x88\x02\x03\xe8")
        self.close_connection = True

    def log_message(self, *_):
        pass


class Checks:
    def __init__(self, program, room):
        self.room, self.files = room, room / "files"
        self.files.mkdir()
        self.home = room / "home"
        self.home.mkdir()
        handler = functools.partial(Files, directory=str(self.files))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        routes = [
            Route("/files/", "files", further=BASIC),
            Route("/v2/", "files", further=BASIC),
            Route("/page/", "files", public=True),
            Route("/live/", "files", further="credentials.websocket_protocol = true"),
        ]
        upstreams = [Upstream("files", f"http://127.0.0.1:{self.server.server_address[1]}")]
        self.front = front(program, Certificates(room), upstreams, routes)

    def __enter__(self):
        self.front.__enter__()
        self.key, _ = self.front.token()
        self.host = f"127.0.0.1:{self.front.clear}"
        self.url = f"http://{self.host}"
        return self

    def __exit__(self, *_):
        self.front.__exit__()
        self.server.shutdown()

    def client(self, *words, check=True, **more):
        """Runs a client that knows of nothing but what is said."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / "docker"),
            "GIT_TERMINAL_PROMPT": "0",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
        }
        words = [str(word) for word in words]
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=120,
            **more,
        )
        said = done.stdout.decode(errors="replace")
        if check:
            assert done.returncode == 0, f"{words[:2]} ended with {done.returncode}:\n{said}"
        else:
            assert done.returncode != 0, f"{words[:2]} got through:\n{said}"
        self.hidden()
        return said

    def hidden(self):
        """Neither the upstream nor a log has the key."""
        encoded = base64.b64encode(f"me:{self.key}".encode()).decode()
        for name in ("access.log", "stderr"):
            text = (self.front.room / name).read_text()
            assert self.key not in text and encoded not in text, f"{name} has the key"
        for path, fields in Files.seen:
            assert self.key not in f"{path} {fields}", f"the upstream saw {path} {fields}"
            assert "Authorization" not in fields, f"the upstream saw {path} {fields}"

    def curl(self):
        """curl sends a password at once, or when it is asked for Basic."""
        (self.files / "files").mkdir(exist_ok=True)
        (self.files / "files/plain.txt").write_text("plain")
        url = f"{self.url}/files/plain.txt"
        for words in (["-u", f"me:{self.key}"], ["--anyauth", "-u", f"me:{self.key}"]):
            assert self.client("curl", "-sSf", *words, url) == "plain"
        assert self.client("curl", "-sSf", "-u", f"{self.key}:", url) == "plain"
        bearer = f"Authorization: Bearer {self.key}"
        assert self.client("curl", "-sSf", "-H", bearer, url) == "plain"
        self.client("curl", "-sSf", "-u", "me:wrong", url, check=False)
        self.client("curl", "-sSf", url, check=False)

    def wget(self):
        """wget asks without a password first, and repeats the request."""
        (self.files / "files").mkdir(exist_ok=True)
        (self.files / "files/plain.txt").write_text("plain")
        url = f"{self.url}/files/plain.txt"
        said = ["wget", "-q", "-O", "-", "--user", "me", "--password"]
        assert self.client(*said, self.key, url) == "plain"
        self.client(*said, "wrong", url, check=False)

    def git(self):
        """git clones with the key in a credential helper, and is refused without it."""
        work, bare = self.room / "work", self.files / "files/project.git"
        author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        self.client("git", "init", "-q", work)
        (work / "file").write_text("content")
        self.client("git", "-C", work, "add", "file")
        self.client("git", "-C", work, *author, "commit", "-q", "-m", "first")
        self.client("git", "clone", "-q", "--bare", work, bare)
        self.client("git", "-C", bare, "update-server-info")
        passwords = self.room / "passwords"
        passwords.write_text(f"{self.url.replace('://', f'://me:{self.key}@')}\n")
        url = f"{self.url}/files/project.git"
        helper = ["-c", f"credential.helper=store --file={passwords}"]
        self.client("git", *helper, "clone", "-q", url, self.room / "cloned")
        assert (self.room / "cloned/file").read_text() == "content"
        # A password that was good is kept, one that was refused is forgotten: both by the 401.
        assert self.key in passwords.read_text()
        self.client("git", "clone", "-q", url, self.room / "refused", check=False)
        passwords.write_text(f"{self.url.replace('://', '://me:wrong@')}\n")
        self.client("git", *helper, "clone", "-q", url, self.room / "wrong", check=False)
        assert "wrong" not in passwords.read_text()

    def pip(self):
        """pip takes a package from an index with the key in its address."""
        index = self.files / "files/simple/parcel"
        index.mkdir(parents=True)
        wheel = index / "parcel-1.0-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("parcel.py", "")
            head = "parcel-1.0.dist-info"
            metadata = "Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\n"
            archive.writestr(f"{head}/METADATA", metadata)
            archive.writestr(
                f"{head}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            archive.writestr(f"{head}/RECORD", "")
        (index / "index.html").write_text(
            f'<!DOCTYPE html><html><body><a href="{wheel.name}">{wheel.name}</a></body></html>'
        )
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
        for number, user_info in enumerate((f"me:{self.key}", f"__token__:{self.key}")):
            target = self.room / f"downloaded-{number}"
            address = f"http://{user_info}@{self.host}/files/simple/"
            self.client(*pip, "-d", target, "--index-url", address, "parcel==1.0")
            assert (target / wheel.name).read_bytes() == wheel.read_bytes()
        address = f"http://me:wrong@{self.host}/files/simple/"
        target = self.room / "refused-download"
        self.client(*pip, "-d", target, "--index-url", address, "parcel==1.0", check=False)

    def docker(self):
        """docker logs in, by the client itself where no daemon runs."""
        login = ["docker", "--host", "unix:///nonexistent/docker.sock", "login", "--username", "me"]
        said = self.client(*login, "--password-stdin", self.host, input=self.key.encode())
        assert "Login Succeeded" in said, said
        self.client(*login, "--password-stdin", self.host, input=b"wrong", check=False)

    def chromium(self):
        """Chromium opens a WebSocket with the key behind "bearer", whether or not the upstream
        chooses another protocol, and not without.
        """
        from walk_through import Browser

        script = """
            const [url, protocols, done] = arguments;
            const socket = new WebSocket(url, protocols);
            const got = [];
            socket.onmessage = (event) => got.push(event.data);
            socket.onclose = (event) => done([got, event.code, socket.protocol]);
        """
        with Browser(insecure=True) as browser:
            for web, socket in (
                (self.url.replace("127.0.0.1", "localhost"), f"ws://localhost:{self.front.clear}"),
                (f"https://localhost:{self.front.tls}", f"wss://localhost:{self.front.tls}"),
            ):
                browser.open(f"{web}/page/")
                for protocols, chosen in (
                    (["bearer", self.key], "bearer"),
                    (["bearer", self.key, "chat"], "chat"),
                    (["mqtt", "bearer", self.key], "bearer"),
                ):
                    arguments = [f"{socket}/live/x", protocols]
                    body = {"script": script, "args": arguments}
                    got = browser.ask("POST", "/execute/async", body)
                    assert got == [["hello"], 1000, chosen], f"{socket} {protocols[0]}: {got}"
                body = {"script": script, "args": [f"{socket}/live/x", ["bearer", "wrong"]]}
                got = browser.ask("POST", "/execute/async", body)
                assert got[:2] == [[], 1006], got
        self.hidden()

    def all(self):
        yield from (self.curl, self.wget, self.git, self.pip)
        if shutil.which("docker"):
            yield self.docker
        else:
            print("docker login: NOT CHECKED: there is no docker here", flush=True)
        yield self.chromium


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
