"""The apps of examples/ behind keyward: each is started by the line in examples/README.md, has the
examples' keyward.toml in front of it, and names the caller rightly, never a forged one. Asked
directly, each refuses what keyward does not send.

usage: example_apps.py KEYWARD [--all] [WORD …]
"""

import concurrent.futures
import contextlib
import http.client
import pathlib
import re
import shutil
import signal
import sys

from running_examples import (
    ALICE,
    BUILT,
    COMMA,
    EXAMPLES,
    NAMES,
    PAGE,
    PEOPLE,
    ROOT,
    RUNTIMES,
    App,
    ask,
    commands,
    described,
    environment,
    section,
    send,
)
from running_keyward import PATIENCE
from running_servers import folder, run, until

# These two see two fields as one with a comma.
JOINING = ("django", "php")
# Other spellings of /admin/report, to those that decode or resolve; some begin as a public path.
DETOURS = (
    "/public/..;/admin/report",
    "/public/../admin/report",
    "/public/%2e%2e/admin/report",
    "/public/whoami/..;x=y/../admin/report",
    "/public;/../admin/report",
    "//admin//report;x=y",
    "/admin/./report",
    "/%61dmin/report",
    "/admin%2Freport",
)
# Fields that make /admin/report of another path, to servers that heed them.
ELSEWHERE = (
    ("/public/admin/report", "SCRIPT_NAME", "/public"),
    ("/public/admin/report", "Script-Name", "/public"),
    ("/public/admin/report", "X-Script-Name", "/public"),
    ("/public/admin/report", "X_Script_Name", "/public"),
    ("/public/whoami", "PATH_INFO", "/admin/report"),
    ("/public/whoami", "Path-Info", "/admin/report"),
    ("/public/whoami", "X-Original-URL", "/admin/report"),
    ("/public/whoami", "X-Rewrite-URL", "/admin/report"),
    ("/public/whoami", "X-Forwarded-Prefix", "/public"),
)
# What names the caller to other programs, and may to an app or to what is in front of it.
OTHERS = ("Remote-User", "REMOTE_USER", "X-Remote-User", "X-Auth-Request-User")
# Every way to write a name, by what could be read as it.
SPELLINGS = (
    "X-Keyward-{}",
    "x-keyward-{}",
    "X-KEYWARD-{}",
    "x_keyward_{}",
    "X_Keyward_{}",
    "X-Keyward_{}",
    "X_Keyward-{}",
    "x.keyward.{}",
    "X-Keyward.{}",
)


class Checks:
    def __init__(self, program, room):
        self.room, self.program = room, pathlib.Path(program).absolute()
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        for name, (program, how) in RUNTIMES.items():
            found = shutil.which(program, path=environment()["PATH"])
            assert found, f"examples/{name} needs {program}, which is not there: {how}"
        lines = commands()
        assert lines.keys() == RUNTIMES.keys(), f"the page starts {sorted(lines)}"
        # The lines of the page install beside the app, so they are run on a copy. What a former
        # run has installed and built is kept.
        beside = shutil.ignore_patterns("node_modules", "target", "keyward-data", "__pycache__")
        shutil.copytree(EXAMPLES, BUILT / "examples", ignore=beside, dirs_exist_ok=True)
        self.sources = set(EXAMPLES.rglob("*"))
        self.apps = [App(name, line, self.program, self.room) for name, line in lines.items()]
        stacks = [self.stack.enter_context(contextlib.ExitStack()) for _ in self.apps]
        try:
            with concurrent.futures.ThreadPoolExecutor(len(self.apps)) as pool:
                list(pool.map(App.start, self.apps, stacks))
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def of_each(self, check):
        """Makes a check of all apps at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(self.apps)) as pool:
            list(pool.map(check, self.apps))

    def pins(self):
        """The manifests of the apps name the versions that are tested."""
        tested = (ROOT / "tests/black_box/requirements.txt").read_text().lower().splitlines()
        for file in EXAMPLES.glob("*/requirements.txt"):
            for line in file.read_text().splitlines():
                assert line in tested, f"{file}: {line}"
        lock = (EXAMPLES / "express/package-lock.json").read_text()
        assert '"resolved"' not in lock and lock.count('"integrity"') > 20

    def page(self):
        """The lines of the page print what it shows, before each app."""
        text = PAGE.split("\n## Try it\n")[1].split("\n## ")[0]
        pastes = text.split("```sh\n")[1:]
        start, make, tries = (block.split("```")[0] for block in pastes)
        assert start == "keyward validate\nkeyward run\n", start
        shown = section("Try it", "text")

        def walk(app):
            app.shell("keyward validate")
            said = app.shell(make + tries)
            assert said == shown, f"{app.name}: {said}"

        self.of_each(walk)

    def names(self):
        """Each app names the caller, in every script, and nobody on a public route."""

        def check(app):
            for person in PEOPLE:
                app.assert_is(app.ask("/whoami", person), 200, described(person))
                app.assert_is(app.ask("/public/whoami", person), 200, "nobody\n")
            answer = app.ask("/whoami", COMMA)
            if app.name in JOINING:
                app.assert_is(answer, 500, "X-Keyward-Subject is not as keyward sends it\n")
            else:
                app.assert_is(answer, 200, described(COMMA))
            app.assert_is(app.ask("/whoami"), 401)
            app.assert_is(app.ask("/public/whoami"), 200, "nobody\n")

        self.of_each(check)

    def forged(self):
        """No app believes an identity that a client sends, however it is spelt."""
        sets = [[(way.format(name), "admin") for name in NAMES] for way in SPELLINGS]
        sets.append([(way.format(name), "admin") for way in SPELLINGS for name in NAMES])
        sets.append([("X-Keyward-Subject", "admin")] * 2 + [("X-Keyward-Role", "admin")] * 2)
        sets.append([("X-Keyward-Subject", "u-1, admin"), ("X-Keyward-Role", "user,admin")])
        # A proxy that removes what Connection names may remove its own.
        own = ", ".join(f"x-keyward-{name.lower()}" for name in NAMES)
        sets.append([("Connection", own), ("X-Keyward-Subject", "admin")])
        sets.append([(name, "admin") for name in OTHERS])
        sets += [[(name, value)] for _, name, value in ELSEWHERE if value == "/public"]
        ids = [(name, "forged") for name in ("X-Request-Id", "X_Request_Id")]
        sets.append([("Connection", "close"), *ids])

        def check(app):
            for fields in sets:
                said = app.ask("/whoami", ALICE, fields)
                app.assert_is(said, 200, described(ALICE))
                app.assert_is(app.ask("/admin/report", ALICE, fields), 403)
                app.assert_is(app.ask("/public/whoami", None, fields), 200, "nobody\n")
                app.assert_is(app.ask("/public/whoami", ALICE, fields), 200, "nobody\n")
                app.assert_is(app.ask("/whoami", None, fields), 401)
            assert "forged" not in app.app.said(), app.app.said()[-2000:]

        self.of_each(check)

    def roles(self):
        """Each app opens what is an administrator's to that role alone."""

        def check(app):
            for person in PEOPLE:
                subject, _, _, role = person
                answer = app.ask("/admin/report", person)
                if role == "admin":
                    app.assert_is(answer, 200, f"a report for {subject}\n")
                else:
                    app.assert_is(answer, 403)
            app.assert_is(app.ask("/admin/report"), 401)

        self.of_each(check)

    def paths(self):
        """However a path is written, no app opens what is an administrator's to another one."""
        role = [("X-Keyward-Role", "admin")]

        def check(app):
            for path in DETOURS:
                said = [app.ask(path), app.ask(path, ALICE), app.ask_directly(path, *role)]
                for answer in said:
                    # Go leads to a path of one reading.
                    is_so = answer.status >= 300 and "a report" not in answer.text
                    assert is_so, f"{app.name}: {answer.status} {answer.text!r} for {path}"
            for path, *field in ELSEWHERE:
                field = tuple(field)
                said = [app.ask(path, None, [field]), app.ask(path, ALICE, [field])]
                # Asked directly, too, the app takes no path from a header.
                said.append(app.ask_directly(path, field, ("X-Keyward-Subject", "u-2"), *role))
                for answer in said:
                    # What asks for the role has been led to the report.
                    is_so = "a report" not in answer.text and "the role" not in answer.text
                    assert is_so, f"{app.name}: {answer.status} {answer.text!r} for {field}"
            if app.name == "java":
                # Its container makes another path of it, and that page asks who calls.
                caller = [("X-Keyward-Subject", "u-2"), *role]
                app.assert_is(app.ask_directly(DETOURS[0], *caller), 200, "a report for u-2\n")

        self.of_each(check)

    def logs(self):
        """The id that keyward gave a request is in the app's log and in keyward's."""

        def check(app):
            for person in (ALICE, None):
                answer = app.ask("/whoami" if person else "/public/whoami", person)
                request_id = answer.headers["X-Request-Id"]
                assert re.fullmatch("[0-9a-f]{32}", request_id), request_id
                subject = f"\"?'?{person[0]}\\b" if person else ""
                line = rf"request_id={request_id} subject=.*{subject}"
                until(f"{line} of {app.name}", lambda: re.search(line, app.app.said()))
                until("the access log", lambda: request_id in app.keyward.said())

        self.of_each(check)

    def bodies(self):
        """A body arrives whole, and a connection serves request after request.

        A body that does not say its length is refused by Django under WSGI.
        """
        text = "Grüße, 世界! " * 2_000

        def check(app):
            connection = http.client.HTTPConnection("127.0.0.1", app.front, timeout=PATIENCE)
            with contextlib.closing(connection):
                socket = None
                for person in (*PEOPLE, ALICE):
                    fields = [("Authorization", f"Bearer {app.tokens[person]}")]
                    fields.append(("Content-Type", "text/plain; charset=utf-8"))
                    answer = send(connection, "POST", "/notes", fields, text.encode())
                    app.assert_is(answer, 200, f"{person[0]} wrote: {text}\n")
                    assert socket in (None, connection.sock), "another connection"
                    socket = connection.sock
                    assert socket is not None, f"{app.name}: the connection was closed"
            fields = [("Authorization", f"Bearer {app.tokens[ALICE]}")]
            answer = ask(app.front, "POST", "/notes", fields, [text.encode()])
            if app.name == "django":
                app.assert_is(answer, 411)
            else:
                app.assert_is(answer, 200, f"u-1 wrote: {text}\n")

        self.of_each(check)

    def strict(self):
        """Asked directly, each app refuses what keyward does not send, and guesses nothing."""
        good = [(f"X-Keyward-{name}", word) for name, word in zip(NAMES, ALICE)]
        faults = [[*good, field] for field in good]
        faults += [[*good, (name, "other")] for name, _ in good]
        faults += [[*good, (name, "")] for name, _ in good]
        faults.append([("X-Keyward-Subject", "u-1"), ("x-keyward-subject", "u-2")])
        faults.append([*good, ("X-Request-Id", "1"), ("X-Request-Id", "2")])
        # A byte of Latin-1, UTF-8 as it is, half an escape, none, what is no UTF-8, a space.
        words = ("Zo\xeb".encode("latin-1"), "Zoë".encode(), "a%4", "a%zz", "a%E9", "%C0%AF", "a b")
        faults += [[*good[:1], ("X-Keyward-Username", word)] for word in words]

        def check(app):
            app.assert_is(app.ask_directly("/whoami", *good), 200, described(ALICE))
            for fields in faults:
                for path in ("/whoami", "/public/whoami", "/admin/report"):
                    answer = app.ask_directly(path, *fields)
                    wanted = f"{fields[-1][0]} is not as keyward sends it".lower()
                    is_so = answer.status == 500 and wanted in answer.text.lower()
                    assert is_so, f"{app.name}: {answer.status} {answer.text} for {fields}"
            assert "Traceback" not in app.app.said(), app.app.said()[-2000:]
            # What says a role, and not who has it.
            nobody = [("X-Keyward-Subject", "")]
            for path, fields in (
                ("/whoami", good[1:]),
                ("/admin/report", [("X-Keyward-Role", "admin")]),
                ("/admin/report", [*nobody, ("X-Keyward-Role", "admin")]),
                ("/whoami", []),
                ("/whoami", nobody),
            ):
                answer = app.ask_directly(path, *fields)
                app.assert_is(answer, 401)
                # RFC 9110, section 15.5.2.
                assert answer.headers["WWW-Authenticate"] == "Bearer", f"{app.name}: no challenge"
            # An empty field is none.
            app.assert_is(app.ask_directly("/public/whoami", *nobody), 200, "nobody\n")
            some = [*good[:1], ("X-Keyward-Username", ""), ("X-Keyward-Role", "0")]
            app.assert_is(app.ask_directly("/whoami", *some), 200, "Subject: u-1\nRole: 0\n")
            if app.name == "php":
                # Why keyward removes each spelling: it is the same name to some.
                folded = app.ask_directly("/whoami", ("x_keyward_subject", "u-1"))
                app.assert_is(folded, 200, "Subject: u-1\n")

        self.of_each(check)

    def alone(self):
        """Each app listens on loopback alone."""
        # Field 2 is the address, field 4 the state: /proc/net/tcp of Linux.
        for app in self.apps:
            end = f":{app.port:04X}"
            places = set()
            for kind in ("tcp", "tcp6"):
                for line in pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
                    fields = line.split()
                    if fields[1].endswith(end) and fields[3] == "0A":
                        places.add(fields[1].removesuffix(end))
            loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
            assert places and places <= loopback, f"{app.name}: {places}"

    def on_socket(self):
        """An app on a Unix socket names the caller, and takes no connection on a port."""
        line = commands()["django"]
        app = App("django-on-a-socket", line, self.program, self.room, is_on_socket=True)
        with contextlib.ExitStack() as stack:
            app.start(stack)
            app.assert_is(app.ask("/whoami", ALICE), 200, described(ALICE))
            forged = [("X-Keyward-Subject", "admin"), ("X_Keyward_Role", "admin")]
            app.assert_is(app.ask("/public/whoami", None, forged), 200, "nobody\n")
            try:
                app.ask_directly("/whoami")
            except ConnectionRefusedError:
                return
            raise AssertionError("it listens on the port")

    def tidy(self):
        """Nothing is written beside the sources."""
        written = set(EXAMPLES.rglob("*")) - self.sources
        assert not written, written

    def all(self):
        return (
            self.pins,
            self.page,
            self.names,
            self.forged,
            self.roles,
            self.paths,
            self.logs,
            self.bodies,
            self.strict,
            self.alone,
            self.on_socket,
            self.tidy,
        )


def main():
    # What is running is in sessions of its own: it ends with the `with` alone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 240)


if __name__ == "__main__":
    main()
