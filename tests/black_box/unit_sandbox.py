"""The sandbox of a systemd unit without systemd as process 1: the file system, the privileges, the
limits and the filters of system calls that a [Service] asks for. Needs root, a C compiler's headers
and systemd-analyze. Nothing but the standard library.

systemd answers a call that the unit forbids with EPERM, and keyward might live with that. Here the
kernel kills keyward for it, so that nothing goes unseen.
"""

import base64
import ctypes
import functools
import os
import pathlib
import platform
import re
import resource
import shlex
import struct
import subprocess
import sys

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ENOSYS, EAFNOSUPPORT = 38, 97
# What systemd gives to services.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Debian's: that of a virtual environment may lie where the sandbox does not lead.
PYTHON = "/usr/bin/python3"
# By platform.machine(): how the kernel names the architecture (linux/audit.h).
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# linux/filter.h
LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
CLONE_NEW = 0x7E020080  # every CLONE_NEW… of sched.h
SUID_SGID = 0o6000
# What is not real-time: SCHED_OTHER, SCHED_BATCH, SCHED_IDLE.
POLICIES = [0, 3, 5]
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}


def settings(path, section):
    """(key, value) in a section of a unit, in order."""
    found, inside = [], False
    for line in path.read_text().splitlines():
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and "=" in line and line[0] not in "#;":
            found.append(tuple(line.split("=", 1)))
    return found


@functools.cache
def call_numbers():
    """The numbers of system calls by name, as the C compiler has them."""
    include = "#include <sys/syscall.h>\n"
    macros = subprocess.run(
        [os.environ.get("CC", "cc"), "-E", "-dM", "-"],
        input=include, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout
    return {name: int(number) for name, number in re.findall(r"__NR_(\w+) (\d+)", macros)}


@functools.cache
def members(group):
    """The system calls in a group such as "@system-service", by systemd's own word."""
    if not group.startswith("@"):
        return {group}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    words = [line.strip() for line in listed.splitlines()[1:]]
    found = (members(word) for word in words if word and not word.startswith("#"))
    return set().union(*found)


def allowed_calls(values):
    """What SystemCallFilter= lines allow, one after the other; the first one allows."""
    allowed = set()
    for value in values:
        groups = value.removeprefix("~").split()
        named = set().union(*map(members, groups))
        allowed = allowed - named if value.startswith("~") else allowed | named
    # These are allowed in any case (systemd.exec(5)).
    return allowed | members("@default")


class Program:
    """A filter in the kernel's classic BPF."""

    def __init__(self):
        self.code = []

    def add(self, code, value, if_true=0, if_false=0):
        self.code.append(struct.pack("=HBBI", code, if_true, if_false, value))

    def on_call(self, number, *block):
        """What is done at this call: instructions, of which the last returns."""
        self.add(EQUAL, number, 0, len(block))
        for instruction in block:
            self.add(*instruction)


def argument(number):
    """Loads the low half of an argument (struct seccomp_data)."""
    return (LOAD, 16 + 8 * number)


def forbid_bits(number, bits):
    """Kills if an argument has one of these bits."""
    return [argument(number), (ANY_BIT, bits, 0, 1), (RETURN, KILL), (RETURN, ALLOW)]


def allow_values(number, values, otherwise):
    """Allows the call if the argument is one of these, and answers it so otherwise."""
    known = [(EQUAL, value, len(values) - at, 0) for at, value in enumerate(values)]
    return [argument(number), *known, (RETURN, otherwise), (RETURN, ALLOW)]


def filter_of(service):
    """The filter of a [Service], as bytes."""
    keys, numbers = dict(service), call_numbers()
    allowed = allowed_calls([value for key, value in service if key == "SystemCallFilter"])
    program = Program()
    program.add(LOAD, 4)
    program.add(EQUAL, AUDIT_ARCH[platform.machine()], 1, 0)
    program.add(RETURN, KILL)
    program.add(LOAD, 0)
    program.add(AT_LEAST, 0x40000000, 0, 1)  # x32
    program.add(RETURN, KILL)
    rules = {}
    if keys.get("MemoryDenyWriteExecute") == "yes":
        both = PROT_WRITE | PROT_EXEC
        rules["mmap"] = [
            argument(2), (AND, both), (EQUAL, both, 0, 1), (RETURN, KILL), (RETURN, ALLOW),
        ]
        rules["mprotect"] = rules["pkey_mprotect"] = forbid_bits(2, PROT_EXEC)
        rules["shmat"] = forbid_bits(2, SHM_EXEC)
    if keys.get("RestrictNamespaces") == "yes":
        rules["clone"] = forbid_bits(0, CLONE_NEW)
        # Its flags are in memory, where no filter looks; libc then takes clone.
        rules["clone3"] = [(RETURN, ERRNO | ENOSYS)]
        rules["unshare"] = rules["setns"] = [(RETURN, KILL)]
    if keys.get("RestrictRealtime") == "yes":
        rules["sched_setscheduler"] = allow_values(1, POLICIES, KILL)
    if keys.get("RestrictSUIDSGID") == "yes":
        for name in ("chmod", "fchmod", "fchmodat", "mkdir", "mkdirat"):
            rules[name] = forbid_bits(2 if name.endswith("at") else 1, SUID_SGID)
    if keys.get("LockPersonality") == "yes":
        rules["personality"] = [(RETURN, KILL)]
    # libc asks for others, and goes on without.
    families = [FAMILIES[name] for name in keys["RestrictAddressFamilies"].split()]
    rules["socket"] = allow_values(0, families, ERRNO | EAFNOSUPPORT)
    for name, block in rules.items():
        if name in numbers and name in allowed:
            program.on_call(numbers[name], *block)
    for name in sorted(allowed - rules.keys()):
        if name in numbers:
            program.on_call(numbers[name], (RETURN, ALLOW))
    program.add(RETURN, KILL)
    return b"".join(program.code)


def enter(encoded, sockets, argv):
    """Puts the filter in force for this process, gives it the sockets as systemd does, and becomes
    the program. Called in the sandbox, with sys.argv.
    """
    for number, descriptor in enumerate(map(int, filter(None, sockets.split(",")))):
        os.dup2(descriptor, 3 + number, inheritable=True)
    if sockets:
        os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(sockets.count(",") + 1)}
    code = base64.b64decode(encoded)

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
    program = Filter(len(code) // 8, code)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
        sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
    # By its name alone, as systemd does, where the unit names no path.
    os.execvp(argv[0], argv)


class Sandbox:
    """What a [Service] makes of a system. `room` is a folder for what lies behind it; `binds`
    are (source, target) besides, read-only.
    """

    def __init__(self, service, room, uid, binds):
        self.service, self.keys, self.room, self.uid = service, dict(service), room, uid
        self.binds = binds
        # What systemd makes, each for this user alone.
        self.folders = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run"}
        for key in self.folders:
            path = room / key
            path.mkdir(mode=0o700)
            os.chown(path, uid, uid)

    def place(self, key):
        return f"{self.folders[key]}/{self.keys[key]}"

    def mounts(self):
        """Lines of a shell; each is there because of a key."""
        keys, top = self.keys, self.room / "layers/root"
        empty = []
        if keys.get("ProtectHome") == "yes":
            empty += ["/home", "/root", "/run/user"]
        if keys.get("PrivateTmp") == "yes":
            empty += ["/tmp", "/var/tmp"]
        yield "mount --make-rprivate /"
        yield f"mount -t tmpfs layers {self.room}/layers"
        yield f"mkdir {top.parent}/above {top.parent}/work {top}"
        layers = f"lowerdir=/,upperdir={top.parent}/above,workdir={top.parent}/work"
        yield f"mount -t overlay -o {layers} overlay {top}"
        for path in empty:
            yield f"mkdir -p {top}{path}; mount -t tmpfs -o mode=1777 private {top}{path}"
        hide = {"invisible": "hidepid=invisible", None: "rw"}[keys.get("ProtectProc")]
        subset = {"pid": "subset=pid", None: "rw"}[keys.get("ProcSubset")]
        yield f"mount -t proc -o nosuid,nodev,noexec,{hide},{subset} proc {top}/proc"
        yield f"mount --rbind /sys {top}/sys"
        yield f"mount -o remount,bind,ro {top}/sys"
        assert keys.get("PrivateDevices") == "yes", "otherwise it sees all devices"
        yield f"mount -t tmpfs -o nosuid,noexec,mode=755 dev {top}/dev"
        for device in ("null", "zero", "full", "random", "urandom", "tty"):
            yield f"touch {top}/dev/{device}; mount --bind /dev/{device} {top}/dev/{device}"
        yield f"mkdir -p {top}/run/systemd"
        for source, target in self.binds:
            yield f"mkdir -p $(dirname {top}{target}); touch {top}{target}"
            yield f"mount --bind {source} {top}{target}"
        for key in self.folders:
            place = f"{top}{self.place(key)}"
            yield f"mkdir -p {place}; mount --bind {self.room}/{key} {place}"
        assert keys.get("ProtectSystem") == "strict", "otherwise it may write elsewhere"
        yield f"mount -o remount,bind,ro {top}"

    def script(self, argv, sockets):
        """All of it: mounts, limits, user, capabilities, filter."""
        keys, top = self.keys, self.room / "layers/root"
        (self.room / "layers").mkdir(exist_ok=True)
        capabilities = "-all"
        for name in keys["CapabilityBoundingSet"].split():
            capabilities += "," + name.replace("CAP_", "+").lower()
        assert keys["AmbientCapabilities"] == keys["CapabilityBoundingSet"]
        here = pathlib.Path(__file__).read_text()
        encoded = base64.b64encode(filter_of(self.service)).decode()
        enter = [PYTHON, "-c", here, encoded, ",".join(map(str, sockets)), *argv]
        privileges = [
            "setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups",
            f"--bounding-set={capabilities}", f"--inh-caps={capabilities}",
            f"--ambient-caps={capabilities}",
        ]
        assert keys.get("NoNewPrivileges") == "yes"
        privileges += ["--no-new-privs"]
        # Not every root may raise it.
        files = min(int(keys["LimitNOFILE"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        core = keys["LimitCORE"]
        return "\n".join([
            *self.mounts(),
            f"umask {keys['UMask']}",
            f"ulimit -n {files}; ulimit -c {core}",
            f"exec chroot {top} env -C {keys['WorkingDirectory']} {shlex.join(privileges + enter)}",
        ])

    def start(self, argv, output, sockets=(), environment=()):
        """The program in the sandbox, with the id that the result has."""
        command = ["unshare", "--mount", "--ipc", "bash", "-euc", self.script(argv, sockets)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=sockets,
            env={"PATH": PATH, **dict(environment)},
        )


if __name__ == "__main__":
    enter(sys.argv[1], sys.argv[2], sys.argv[3:])
