"""The image: the root file system that deploy/image/rootfs makes of a binary, run as the last stage
of deploy/Dockerfile says, in namespaces; the archive of deploy/image/archive; the Dockerfile.
With a Docker engine, the image is built and run by it, too.

usage: image.py KEYWARD [--all] [WORD …]
"""

import functools
import hashlib
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tarfile

from containers import Container, alone
from echo_server import Echo
from running_keyward import ask, call
from running_servers import folder, run, until

SOURCE = pathlib.Path(__file__).parents[2]
DOCKERFILE = SOURCE / "deploy/Dockerfile"
KEYWARD = pathlib.Path(sys.argv[1]).resolve()
ID = 10001
# Libraries, loader and certificates: what is not keyward itself.
MOST_BYTES_BESIDE = 6 << 20
CONFIGURATION = """
[[listener]]
address = "0.0.0.0:8080"
[admin]
address = "0.0.0.0:9090"
[[token_api]]
name = "keys"
style = "allowlist-jwt"
mount = "/keys/{organization}/{username}"
[[upstream]]
name = "app"
endpoints = ["http://localhost:PORT"]
[[route]]
path = "/{*rest}"
upstream = "app"
accept = ["keys"]
"""
BOOTSTRAP = "bootstrap create --token-api keys --sub u-1 --username alice --organization acme"
BOOTSTRAP = (BOOTSTRAP + " --role user").split()


def script(name):
    """A script of deploy/image as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(SOURCE / "deploy/image" / name))
    spec = importlib.util.spec_from_loader(name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@functools.cache
def config():
    """What an engine knows of the image."""
    return script("archive").configuration(DOCKERFILE.read_text(), {"REVISION": "abc"})


@functools.cache
def root():
    """The root file system, made once."""
    path = ROOM / "rootfs"
    subprocess.run([SOURCE / "deploy/image/rootfs", KEYWARD, path], check=True)
    return path


def entries():
    return [path for path in root().rglob("*")]


def the_image_has_what_keyward_needs_and_no_shell():
    """The root file system has keyward, its libraries, certificates, names of users; no shell"""
    files = [path for path in entries() if path.is_file() and path.stat().st_mode & 0o111]
    programs = {path.name for path in files if not re.search(r"\.so(\.|$)", path.name)}
    assert programs == {"keyward"}, programs
    needed = subprocess.run(["ldd", KEYWARD], stdout=subprocess.PIPE, text=True, check=True)
    libraries = re.findall(r"(/\S+) \(0x", needed.stdout)
    assert len(libraries) >= 3, needed.stdout
    for library in libraries:
        assert (root() / library[1:]).is_file(), library
    others = {str(path.relative_to(root())) for path in entries() if path.is_file()}
    others -= {library[1:] for library in libraries}
    etc = ["group", "nsswitch.conf", "passwd", "ssl/certs/ca-certificates.crt"]
    assert others == {"usr/local/bin/keyward", *(f"etc/{name}" for name in etc)}, others
    certificates = (root() / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert certificates.count("BEGIN CERTIFICATE") > 50
    assert f"keyward:x:{ID}:{ID}:" in (root() / "etc/passwd").read_text()


def nothing_is_writable_and_nothing_is_setuid():
    """Every file is root's and writable for root alone, but for keyward's folder; none is setuid"""
    for path in entries():
        found, name = path.lstat(), str(path.relative_to(root()))
        own = ID if name == "var/lib/keyward" else 0
        assert (found.st_uid, found.st_gid) == (own, own), f"{name} is of {found.st_uid}"
        mode = stat.S_IMODE(found.st_mode)
        assert not mode & 0o7022, f"{name}: {mode:o}"
        assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode), f"{name} is no file"
        assert mode & 0o044 == 0o044 or own == ID, f"{name}: {mode:o}"
    assert stat.S_IMODE((root() / "var/lib/keyward").stat().st_mode) == 0o700


def the_image_is_small():
    """What is beside keyward takes at most 6 MiB, and keyward has lost what debuggers read"""
    sizes = {path: path.stat().st_size for path in entries() if path.is_file()}
    own = sizes.pop(root() / "usr/local/bin/keyward")
    beside = sum(sizes.values())
    assert beside < MOST_BYTES_BESIDE, beside
    assert own < KEYWARD.stat().st_size
    sections = subprocess.run(
        ["readelf", "-SW", root() / "usr/local/bin/keyward"], stdout=subprocess.PIPE, check=True
    ).stdout
    assert b".debug_info" not in sections and b".symtab" in sections
    print(f"    {(own + beside) / 1e6:.1f} MB, of which keyward is {own / 1e6:.1f} MB", flush=True)


def a_debian_gets_what_it_does_not_have():
    """With --base, a Debian keeps its users and gets keyward's, its folders and the binary"""
    base = ROOM / "base"
    (base / "etc").mkdir(parents=True)
    (base / "usr/local/bin").mkdir(parents=True)
    for name, line in (("passwd", "root:x:0:0:root:/root:/bin/bash\n"), ("group", "root:x:0:\n")):
        (base / "etc" / name).write_text(line)
    command = [SOURCE / "deploy/image/rootfs", "--base", root() / "usr/local/bin/keyward", base]
    for _ in range(2):  # a second time changes nothing
        subprocess.run(command, check=True)
        passwd = (base / "etc/passwd").read_text().splitlines()
        assert [line.split(":")[:3] for line in passwd] == [
            ["root", "x", "0"], ["keyward", "x", str(ID)],
        ]
    assert not (base / "lib").exists(), "it has libraries of its own"
    made = {"usr/local/bin/keyward", "etc/ssl/certs/ca-certificates.crt", "etc/keyward"}
    assert all((base / name).exists() for name in made)
    assert (base / "var/lib/keyward").stat().st_uid == ID
    refused = subprocess.run([*command[:-1], ROOM / "none"], capture_output=True, text=True)
    assert refused.returncode == 1 and "is no system" in refused.stderr, refused
    refused = subprocess.run([command[0], KEYWARD, base], capture_output=True, text=True)
    assert refused.returncode == 1 and "is not empty" in refused.stderr, refused


def the_dockerfile_holds():
    """hadolint finds nothing in the Dockerfile, its sources exist, and its tags are exact"""
    text = DOCKERFILE.read_text()
    for name, command in (("plain", "cargo build"), ("trained", "make release")):
        # cargo would take what was made of another tree for this one's, if that is older.
        [stage] = re.findall(rf"(?ms)^FROM rust AS build-{name}$.*?(?=^FROM )", text)
        assert f"id=keyward-{name}-${{TARGETARCH}},target=/src/target" in stage, stage
        copied = re.findall(r"(?m)^COPY (src|bench) ", stage)
        [touched] = re.findall(r"find (.*?) -exec touch \{\} \+", stage.split(command)[0])
        assert {"build.rs", *copied} == set(touched.split()) and "ARG TARGETARCH\n" in stage, stage
    hadolint = pathlib.Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", DOCKERFILE.read_text()))
    ignored = (SOURCE / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored and allowed
    sources = [
        source
        for words in re.findall(r"(?m)^COPY (?!--from)(.*)$", text)
        for source in words.split()[:-1]
    ]
    sources += re.findall(r"type=bind,source=([^,]+),", text)
    assert len(sources) > 8, sources
    for source in sources:
        assert (SOURCE / source).exists(), source
        assert source in allowed, f"{source} is not let in by .dockerignore"
    for name in allowed:
        assert name in sources, f"{name} is let in by .dockerignore, and nothing uses it"
    images = dict(re.findall(r"(?m)^ARG (RUST|DEBIAN)=(.*)$", text))
    oldest = re.search(r'rust-version = "(.*)"', (SOURCE / "Cargo.toml").read_text())[1]
    assert re.fullmatch(rf"rust:{re.escape(oldest)}\.\d+-slim-trixie", images["RUST"]), images
    assert re.fullmatch(r"debian:13\.\d+-slim", images["DEBIAN"]), images
    froms = re.findall(r"(?m)^FROM (\S+)(?: AS (\S+))?$", text)
    stages = {name for _, name in froms}
    for image, _ in froms:
        image = image.replace("${BUILD}", "plain").replace("${IMAGE}", "debian")
        assert image in stages | {"scratch", "${RUST}", "${DEBIAN}"}, image
    for build in ("plain", "trained", "given"):
        assert f"build-{build}" in stages
    assert text.count("/image/rootfs /built/keyward /rootfs") == 1
    assert text.count("/srv/rootfs --base ") == 1
    version = re.search(r'(?m)^version = "(.*)"', (SOURCE / "Cargo.toml").read_text())[1]
    assert config()["Labels"]["org.opencontainers.image.version"] == version


def an_engine_knows_how_to_run_it():
    """User, folder, volume, health check, signal, command and labels are those of the files"""
    known = config()
    assert known["User"] == f"{ID}:{ID}"
    assert known["WorkingDir"] == "/var/lib/keyward" and list(known["Volumes"]) == [
        "/var/lib/keyward"
    ]
    assert known["StopSignal"] == "SIGTERM"
    assert known["Entrypoint"] == ["keyward", "-c", "/etc/keyward/keyward.toml"]
    assert known["Cmd"] == ["run"]
    check = known["Healthcheck"]
    assert check["Test"] == ["CMD", *known["Entrypoint"], "health"]
    assert check["Interval"] == 10_000_000_000 and check["Timeout"] == 6_000_000_000
    assert known["Labels"]["org.opencontainers.image.revision"] == "abc"


def an_archive_is_the_same_image_each_time():
    """The archive is an OCI layout and a "docker save", its digests hold, and it is reproducible"""
    files = []
    for name in ("one.tar", "two.tar"):
        command = [SOURCE / "deploy/image/archive", KEYWARD, ROOM / name, "--tag", "keyward:0.1"]
        subprocess.run(command, check=True)
        with tarfile.open(ROOM / name) as tar:
            files.append({entry.name: tar.extractfile(entry).read() for entry in tar})
        (ROOM / name).unlink()
    first, second = files
    assert first == second
    for name, data in first.items():
        if name.startswith("blobs/"):
            assert name == "blobs/sha256/" + hashlib.sha256(data).hexdigest()
    blob = lambda of: first["blobs/" + of["digest"].replace(":", "/")]
    manifest = json.loads(blob(json.loads(first["index.json"])["manifests"][0]))
    image, layer = json.loads(blob(manifest["config"])), blob(manifest["layers"][0])
    saved = json.loads(first["manifest.json"])[0]
    assert saved["RepoTags"] == ["keyward:0.1"] and first[saved["Layers"][0]] == layer
    assert json.loads(first[saved["Config"]]) == image
    assert image["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert image["config"]["Healthcheck"] == config()["Healthcheck"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        packed = {entry.name: (entry.uid, entry.mode, entry.size) for entry in tar}
    there = {}
    for path in entries():
        found = path.lstat()
        size = found.st_size if path.is_file() else 0
        mode = stat.S_IMODE(found.st_mode)
        there[str(path.relative_to(root()))] = (found.st_uid, mode, size)
    assert packed == there


def volume():
    """A new named volume, as an engine makes it: owner and mode are those of the image's folder."""
    path = ROOM / f"volume-{len(list(ROOM.glob('volume-*')))}"
    path.mkdir(mode=0o700)
    os.chown(path, ID, ID)
    return path


def container(data, configuration=CONFIGURATION):
    """As the Dockerfile says, with a read-only root, without privileges."""
    known, mounts = config(), [(data, "/var/lib/keyward", True)]
    if configuration is not None:
        path = ROOM / "keyward.toml"
        path.write_text(configuration.replace("PORT", str(ECHO.port)))
        path.chmod(0o644)
        mounts.append((path, "/etc/keyward/keyward.toml", False))
    environment = dict(pair.split("=", 1) for pair in known["Env"])
    return Container(
        root(),
        ROOM / "container",
        known["Entrypoint"] + known["Cmd"],
        known["User"],
        known["WorkingDir"],
        mounts=mounts,
        environment=environment,
    )


def healthy(running):
    """Whether the image's health check succeeds."""
    assert running.process.poll() is None, running.said()
    if running.first() is None:
        return False
    return running.execute(config()["Healthcheck"]["Test"][1:])[0] == 0


def status(token):
    return ask("http://127.0.0.1:8080/hello", token)[0]


def issue(bootstrap):
    body = {"name": "laptop", "expires_in_minutes": 60}
    url = "http://127.0.0.1:8080/keys/acme/alice/auth/issue-token"
    return call(url, "POST", bootstrap, body)["data"]["token"]


def it_runs_with_a_read_only_root_as_a_user_of_its_own():
    """In namespaces it gets healthy, issues, accepts and revokes, and ends in time upon SIGTERM"""
    with container(volume()) as running:
        until("a healthy container", lambda: healthy(running))
        assert running.status("Uid").split() == [str(ID)] * 4
        assert running.status("Gid").split() == [str(ID)] * 4
        assert running.status("Groups") == ""
        assert running.status("NoNewPrivs") == "1"
        assert int(running.status("CapEff"), 16) == int(running.status("CapPrm"), 16) == 0
        assert running.status("NSpid").split()[-1] == "1"
        mounts = pathlib.Path(f"/proc/{running.first()}/mounts").read_text().splitlines()
        options = {line.split()[1]: line.split()[3].split(",") for line in mounts}
        assert "ro" in options["/"] and "rw" in options["/var/lib/keyward"], options
        code, _, complaint = running.execute(["sh", "-c", "true"])
        assert code != 0 and "sh" in complaint, "there is a shell"
        code, bootstrap, complaint = running.execute([*config()["Entrypoint"], *BOOTSTRAP])
        assert code == 0, complaint
        token = issue(bootstrap.strip())
        assert status(token) == 200, running.said()
        assert status("forged") == 401
        call("http://127.0.0.1:8080/keys/acme/alice/auth/revoke", "POST", token)
        assert status(token) == 401
        code, seconds = running.stop()
        assert code == 0 and seconds < 10, f"exit code {code} after {seconds:.1f} s"


def a_token_outlives_its_container():
    """What is in the volume is there for the next container: a token still works"""
    data = volume()
    with container(data) as running:
        until("a healthy container", lambda: healthy(running))
        code, bootstrap, complaint = running.execute([*config()["Entrypoint"], *BOOTSTRAP])
        assert code == 0, complaint
        token = issue(bootstrap.strip())
        running.stop()
    with container(data) as running:
        until("a healthy container", lambda: healthy(running))
        assert status(token) == 200
        running.stop()
    assert sorted(path.name for path in data.iterdir()) == ["keyward-data"]


def without_a_configuration_it_says_so():
    """A container without a configuration ends with 1, and says which file it wants"""
    with container(volume(), None) as running:
        assert running.ended() == 1
        assert "/etc/keyward/keyward.toml" in running.said(), running.said()


def docker(*words, **options):
    return subprocess.run(["docker", *words], capture_output=True, text=True, **options)


def with_an_engine_it_is_built_and_run():
    """Docker builds both images of this binary and runs them, if there is an engine"""
    if not shutil.which("docker") or docker("info").returncode != 0:
        print("    NOT CHECKED: there is no Docker engine, so Docker built no image", flush=True)
        return
    given = ROOM / "given"
    given.mkdir()
    shutil.copy(KEYWARD, given / "keyward")
    data = ROOM / "docker.toml"
    data.write_text(CONFIGURATION.replace("PORT", "3000"))
    data.chmod(0o644)
    for image in ("minimal", "debian"):
        name = f"keyward-test-{os.getpid()}-{image}"
        built = docker(
            "buildx", "build", "--load", "-q", "-f", DOCKERFILE, "-t", name,
            "--build-arg", "BUILD=given", "--build-arg", f"IMAGE={image}",
            "--build-context", f"binary={given}", SOURCE,
        )
        assert built.returncode == 0, built.stderr
        mount = f"{data}:/etc/keyward/keyward.toml:ro"
        started = docker("run", "-d", "--rm", "--read-only", "-v", mount, "--name", name, name)
        try:
            assert started.returncode == 0, started.stderr
            state = ["inspect", "-f", "{{.State.Health.Status}}", name]
            until("health", lambda: docker(*state).stdout.strip() == "healthy")
            made = docker("exec", name, *config()["Entrypoint"], *BOOTSTRAP)
            assert made.returncode == 0 and made.stdout.strip(), made.stderr
            assert docker("stop", "-t", "45", name).returncode == 0
        finally:
            docker("rm", "-f", "-v", name)
            docker("rmi", "-f", name)


CHECKS = [
    the_image_has_what_keyward_needs_and_no_shell,
    nothing_is_writable_and_nothing_is_setuid,
    the_image_is_small,
    a_debian_gets_what_it_does_not_have,
    the_dockerfile_holds,
    an_engine_knows_how_to_run_it,
    an_archive_is_the_same_image_each_time,
    it_runs_with_a_read_only_root_as_a_user_of_its_own,
    a_token_outlives_its_container,
    without_a_configuration_it_says_so,
    with_an_engine_it_is_built_and_run,
]

if __name__ == "__main__":
    alone()
    with folder() as ROOM, Echo() as ECHO:
        ROOM.chmod(0o755)
        run(CHECKS, at_most=300)
