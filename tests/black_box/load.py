"""A steady load of clients that send no request twice, and what became of each request. Nothing but
the standard library.
"""

import contextlib
import http.client
import json
import threading
import time

from running_keyward import PATIENCE
from running_servers import until

BODY = b"b" * 2000
# How long a client thinks between two requests, and one that changes something.
PAUSE, PAUSE_OF_CHANGES = 0.005, 0.05


class Request:
    """One request: its kind, when it began and ended, and what became of it."""

    def __init__(self, kind, began, status, fields, words):
        self.kind, self.began, self.ended = kind, began, time.monotonic()
        self.status, self.fields, self.words = status, fields, words

    def is_good(self):
        return self.status is not None and 200 <= self.status < 300

    def __repr__(self):
        took = self.ended - self.began
        return f"{self.kind} at {self.began:.2f} for {took:.2f} s: {self.status} {self.words}"


class Client:
    """A connection that is kept, and made anew where the server closes it."""

    def __init__(self, port, note):
        self.port, self.note, self.connection = port, note, None

    def ask(self, kind, method, path, token=None, body=None, fields=()):
        headers = dict(fields)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        began, answered = time.monotonic(), b""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            answered = answer.read()
            made = Request(kind, began, answer.status, answer.headers, answered[:200])
        except (OSError, http.client.HTTPException) as fault:
            self.connection.close()
            self.connection = None
            made = Request(kind, began, None, {}, f"{type(fault).__name__}: {fault}")
        self.note(made)
        return made, answered


class Load:
    """Threads that call through the balancer, with tokens that are good, with new ones, and with
    none.
    """

    def __init__(self, port, instances, sign_in):
        self.port, self.instances, self.sign_in = port, instances, sign_in
        self.lock, self.is_over = threading.Lock(), threading.Event()
        self.requests, self.judged, self.faults, self.revoked = [], 0, [], []
        self.tokens, self.threads, self.windows = [], [], []

    def note(self, request):
        with self.lock:
            self.requests.append(request)

    def start(self):
        client = Client(self.port, self.note)
        for _ in range(5):
            token, _ = self.issue(client)
            assert token, self.requests
            self.tokens.append(token)
        for work in (self.get, self.get, self.post, self.without, self.change, self.change):
            thread = threading.Thread(target=self.guarded, args=(work,))
            self.threads.append(thread)
            thread.start()

    def guarded(self, work):
        client = Client(self.port, self.note)
        try:
            turn = 0
            while not self.is_over.is_set():
                work(client, self.tokens[turn % len(self.tokens)])
                turn += 1
                self.is_over.wait(PAUSE_OF_CHANGES if work == self.change else PAUSE)
        except Exception as fault:
            with self.lock:
                self.faults.append(f"{work.__name__}: {type(fault).__name__}: {fault}")

    def get(self, client, token):
        client.ask("GET", "GET", "/private/x", token)

    def post(self, client, token):
        client.ask("POST", "POST", "/private/x", token, BODY)

    def without(self, client, _):
        client.ask("public", "GET", "/public/x")

    def issue(self, client):
        """(token, id), or none if it was not made."""
        body = json.dumps({"name": "a key", "expiry_date": "2099-12-31T23:59:59Z"})
        made, answer = client.ask(
            "issue",
            "POST",
            "/api/v1/active/tokens/",
            self.sign_in(),
            body,
            {"Content-Type": "application/json"},
        )
        if not made.is_good():
            return None, None
        made = json.loads(answer)
        return made["token"], made["id"]

    def change(self, client, _):
        """A new token is good at once; when its revocation is answered, no instance takes it."""
        token, token_id = self.issue(client)
        if token is None:
            return
        client.ask("new token", "GET", "/private/x", token)
        while not self.is_over.is_set():
            path = f"/api/v1/active/tokens/{token_id}"
            made, _ = client.ask("revoke", "DELETE", path, self.sign_in())
            # One that was answered with 503 may have been made: it is repeated, and finds nothing.
            if made.is_good() or made.status == 404:
                break
            self.is_over.wait(0.1)
        else:
            return
        for one in self.instances:
            status = one.status_with(token)
            # Refused, "cannot tell", or no connection while it is restarted.
            assert status in (401, 503, None), f"{one.name} answers {status} to a revoked token"
        with self.lock:
            self.revoked.append(token)

    def goes_on(self):
        """Waits until each kind of request has been answered well again."""
        begin = time.monotonic()
        kinds = {"GET", "POST", "public", "issue", "new token", "revoke"}

        def all_answered():
            with self.lock:
                assert not self.faults, self.faults
                good = {one.kind for one in self.requests if one.began > begin and one.is_good()}
            return kinds <= good

        until("every kind of request to be answered", all_answered)

    def taken(self):
        """The requests that were not judged yet."""
        with self.lock:
            assert not self.faults, self.faults
            begin, self.judged = self.judged, len(self.requests)
            return self.requests[begin:]

    def judge(self, window=None):
        """No request has failed since the last time, but between the first and the last moment of a
        window, and then with 503 and Retry-After, and only what needs the store. The moment between
        is that at which another master was named. What of it is over afterwards is judged later.
        """
        if window is not None:
            self.windows.append(window)
        failed = [one for one in self.taken() if not one.is_good()]
        for one in failed:
            # A repeated revocation of one that was made finds nothing.
            is_gone = one.kind == "revoke" and one.status == 404
            is_said = one.status == 503 and "Retry-After" in one.fields
            assert one.kind != "public" and (is_said or is_gone), f"{one}, {self.windows}"
            assert any(
                one.ended >= begin and one.began <= end for begin, _, end in self.windows
            ), f"{one}, {self.windows}"
        if window is not None:
            begin, named, _ = window
            last = max((one.ended for one in failed), default=begin)
            print(
                f"    another master was named after {named - begin:.1f} s; {len(failed)} requests "
                f"failed in {last - begin:.1f} s",
                flush=True,
            )

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def summary(self):
        kinds = sorted({one.kind for one in self.requests})
        counts = [f"{sum(one.kind == kind for one in self.requests)} {kind}" for kind in kinds]
        return f"{', '.join(counts)}; {len(self.revoked)} tokens were revoked"
