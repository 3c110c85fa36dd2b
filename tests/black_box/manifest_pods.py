"""The containers of a pod, without a cluster: each has a root file system of its own that it cannot
write to, its user, no capabilities, a process namespace in which it is the first process, and its
volumes as the kubelet lays them out. All pods of the test share one network, which is not the
machine's: ports are those of the manifests, and a name of a Service is an address of loopback.

Needs root, util-linux, and that the caller is in namespaces of its own: see `alone`.
"""

import base64
import fcntl
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

from pod_rules import annotations_at
from running_keyward import PATIENCE
from running_servers import until

MARK = "KEYWARD_TEST_ALONE"
# Where the roots are, on a file system that ends with the table of mounts: nothing below it is ever
# removed file by file, as it shows folders of the machine.
ROOTS = pathlib.Path("/mnt")
CHROOT = shutil.which("chroot", path="/usr/sbin:/sbin:/usr/bin:/bin")
# A pod's address: what is bound to 127.0.0.1 does not answer at it, what is bound to all does.
POD = "127.0.0.2"


def alone():
    """Runs this process anew in a network, a table of mounts and a tree of processes of its own:
    they end with it, and the machine sees none of the mounts.
    """
    if os.environ.get(MARK) != "1":
        os.environ[MARK] = "1"
        command = ["unshare", "--mount-proc", "--pid", "--net", "--fork", "--kill-child"]
        command += [sys.executable]
        os.execvp("unshare", command + sys.argv)
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", ROOTS)
    with socket.socket() as handle:
        request = bytearray(struct.pack("16sh", b"lo", 0).ljust(40, b"\0"))
        flags = struct.unpack_from("h", fcntl.ioctl(handle, 0x8913, bytes(request)), 16)[0]
        struct.pack_into("h", request, 16, flags | 1)
        fcntl.ioctl(handle, 0x8914, bytes(request))


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


class Pod:
    """`programs` says which file a command is: keyward, redis-server, python3."""

    def __init__(self, room, template, objects, programs, claims=()):
        self.room, self.programs = room, programs
        self.template, self.spec = template, template["spec"]
        self.context = self.spec.get("securityContext", {})
        self.group = self.context.get("fsGroup", 0)
        self.volumes = {}
        for volume in self.spec.get("volumes", []):
            self.volumes[volume["name"]] = self.volume(volume, objects)
        for claim in claims:
            name = claim["metadata"]["name"]
            self.volumes[name] = self.folder(name, 0o2775)

    def folder(self, name, mode):
        folder = self.room / name
        folder.mkdir(parents=True)
        os.chown(folder, 0, self.group)
        folder.chmod(mode)
        return folder

    def volume(self, volume, objects):
        name = volume["name"]
        if "emptyDir" in volume:
            in_memory = volume["emptyDir"].get("medium") == "Memory"
            return self.folder(name, 0o3777 if in_memory else 0o2777)
        folder = self.folder(name, 0o3777)
        self.lay_out(folder, *self.files(volume, objects))
        return folder

    def files(self, volume, objects):
        """What is mounted, and with which mode."""
        if "downwardAPI" in volume:
            files = annotations_at(self.template, volume)
            return {path: text.encode() for path, text in files.items()}, 0o644
        if "configMap" in volume:
            data = objects["ConfigMap", volume["configMap"]["name"]]["data"]
            files = {key: text.encode() for key, text in data.items()}
            return files, volume["configMap"].get("defaultMode", 0o644)
        data = objects["Secret", volume["secret"]["secretName"]]["data"]
        files = {key: base64.b64decode(text) for key, text in data.items()}
        if items := volume["secret"].get("items"):
            files = {item["path"]: files[item["key"]] for item in items}
        return files, volume["secret"].get("defaultMode", 0o644)

    def renew(self, objects):
        """Secrets that have changed change in their mounts, too."""
        for volume in self.spec.get("volumes", []):
            if "secret" in volume:
                self.lay_out(self.volumes[volume["name"]], *self.files(volume, objects))

    def lay_out(self, folder, files, mode):
        """Behind links, so that all files change at once; with fsGroup its group may read."""
        number = len(list(folder.glob("..2*"))) + 1
        version = folder / f"..2027_06_25_10_00_00.{number}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
            os.chown(version / name, 0, self.group)
            (version / name).chmod(mode | 0o440 if self.group else mode)
        os.chown(version, 0, self.group)
        version.chmod(0o2755)
        (folder / "..data_tmp").symlink_to(version.name)
        (folder / "..data_tmp").rename(folder / "..data")
        for name in files:
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        for link in folder.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()

    def container(self, name):
        everything = self.spec.get("initContainers", []) + self.spec["containers"]
        return Container(self, next(one for one in everything if one["name"] == name))


class Container:
    """Runs for as long as the `with` lasts."""

    def __init__(self, pod, spec):
        self.pod, self.spec = pod, spec
        self.root = ROOTS / f"{pod.room.parent.name}-{pod.room.name}-{spec['name']}"
        own = spec["securityContext"]
        self.user = own.get("runAsUser", pod.context.get("runAsUser"))
        self.main_group = own.get("runAsGroup", pod.context.get("runAsGroup", 0))
        self.errors = pod.room / f"{spec['name']}.stderr"
        self.output = pod.room / f"{spec['name']}.stdout"

    def make_root(self, hosts):
        root = self.root
        root.mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
        for name in ("usr", "etc", "proc", "dev", "opt/bin", "run", "tmp"):
            (root / name).mkdir(parents=True)
        (root / "dev/stdin").symlink_to("/proc/self/fd/0")
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        shown = ["/usr"]
        for name, program in self.pod.programs.items():
            program = pathlib.Path(program).resolve()
            if name == "keyward":
                shutil.copy(program, root / "opt/bin/keyward")
                continue
            (root / "opt/bin" / name).symlink_to(program)
            if not program.is_relative_to("/usr"):
                # An interpreter that was built apart from Debian's.
                shown.append(str(program.parents[1]))
        for folder in dict.fromkeys(shown):
            self.bind(folder, root / folder.lstrip("/"), read_only=True)
        (root / "etc/hosts").write_text(hosts)
        (root / "etc/nsswitch.conf").write_text("hosts: files\n")
        for mount in self.spec.get("volumeMounts", []):
            folder = self.pod.volumes[mount["name"]]
            place = root / mount["mountPath"].lstrip("/")
            self.bind(folder, place, mount.get("readOnly", False))
        if self.spec["securityContext"]["readOnlyRootFilesystem"]:
            run("mount", "-o", "remount,ro", root)

    @staticmethod
    def bind(folder, place, read_only):
        place.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", folder, place)
        if read_only:
            run("mount", "-o", "remount,bind,ro", place)

    def inside(self, command):
        groups = ",".join(str(one) for one in dict.fromkeys([self.main_group, self.pod.group]))
        limits = ["setpriv", f"--reuid={self.user}", f"--regid={self.main_group}"]
        limits += [f"--groups={groups}", "--no-new-privs", "--bounding-set=-all"]
        return [CHROOT, str(self.root), *limits, "--inh-caps=-all", *command]

    def environment(self):
        own = {one["name"]: one["value"] for one in self.spec.get("env", [])}
        return {"PATH": "/opt/bin:/usr/bin:/bin", "HOSTNAME": "pod", **own}

    def start(self, hosts):
        self.make_root(hosts)
        command = ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc"]
        command += self.inside([*self.spec["command"], *self.spec.get("args", [])])
        with open(self.errors, "wb") as errors, open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors,
            )  # fmt: skip
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Not by its parent: a process that has become another user ends no more with that.
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.end()

    def end(self):
        self.process.wait(PATIENCE)
        # What is still mounted is the machine's.
        run("umount", "--recursive", "--lazy", self.root)

    def restart(self, hosts):
        """As the kubelet does it, with the same volumes."""
        self.signal()
        self.end()
        self.start(hosts)

    def first_process(self):
        """Its id, as it is seen from here."""
        path = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(until("the first process", lambda: path.read_text().split())[0])

    def execute(self, *command, stdin=None):
        """What `kubectl exec` does, with a short text for standard input."""
        enter = ["nsenter", f"--target={self.first_process()}", "--pid", "--mount"]
        reader, writer = os.pipe()
        # The runtime gives it to the user of the container, which may open it by its name, too.
        os.fchown(reader, self.user, self.main_group)
        os.write(writer, (stdin or "").encode())
        os.close(writer)
        try:
            return subprocess.run(
                enter + self.inside(list(command)),
                env=self.environment(), stdin=reader, capture_output=True, text=True,
                timeout=PATIENCE,
            )  # fmt: skip
        finally:
            os.close(reader)

    def signal(self, number=signal.SIGTERM):
        os.kill(self.first_process(), number)

    def last_words(self):
        return self.errors.read_text(errors="replace")[-3000:]

    def probe(self, name):
        """The status of a probe over HTTP, or none if nothing answers; of others 200: success."""
        probe = self.spec[name]
        if "exec" in probe:
            return 200 if self.execute(*probe["exec"]["command"]).returncode == 0 else None
        ports = {one["name"]: one["containerPort"] for one in self.spec["ports"]}
        if "tcpSocket" in probe:
            try:
                socket.create_connection((POD, ports[probe["tcpSocket"]["port"]]), 1).close()
                return 200
            except OSError:
                return None
        asked = probe["httpGet"]
        return ask(ports[asked["port"]], asked["path"])[0]

    def await_probe(self, name):
        deadline = time.monotonic() + PATIENCE
        while self.probe(name) != 200:
            dead = self.process.poll() is not None
            assert not dead and time.monotonic() < deadline, (
                f"{self.spec['name']}: {name} is not answered:\n{self.last_words()}"
            )
            time.sleep(0.02)


def ask(port, path, method="GET", token=None, body=None, address=POD):
    """Status, headers and body of an answer; none, if there is no answer."""
    request = urllib.request.Request(f"http://{address}:{port}{path}", body, method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()
    except OSError:
        return None, {}, ""
