"""gRPC through keyward, between a client and a server of grpcio: with and without TLS on each side.
Calls of every kind, deadlines, cancellation, large messages, and keyward's own refusals as
statuses.

usage: grpc_calls.py KEYWARD [--all] [WORD …]
KEYWARD may be "nginx", to try the test itself: it leaves out what only keyward does
"""

import concurrent.futures
import itertools
import json
import sys
import threading
import time

import grpc

from raw_http2 import Http2Client
from running_keyward import access_token, free_port
from running_servers import Certificates, Route, Upstream, folder, front, run, until

OPTIONS = [
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.max_receive_message_length", 16 << 20),
]
# Of each channel: it opens a connection of its own.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
LARGE = bytes(range(256)) * (4 * 4096)
WAIT = 20


class Server:
    """The methods of a service whose messages are plain bytes, under the names of two services:
    `kw.Clear` and `kw.Tls`.
    """

    def __init__(self, clear, tls, certificates, options=()):
        self.seen = {}
        self.pool = concurrent.futures.ThreadPoolExecutor(150)
        self.server = grpc.server(self.pool, options=[*OPTIONS, ("grpc.so_reuseport", 0), *options])
        methods = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Seen": grpc.unary_unary_rpc_method_handler(self.metadata),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Hang": grpc.unary_unary_rpc_method_handler(self.hang),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Endless": grpc.unary_stream_rpc_method_handler(self.endless),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }
        services = ("kw.Clear", "kw.Tls", "kw.Admin", "kw.Open")
        handlers = [grpc.method_handlers_generic_handler(name, methods) for name in services]
        self.server.add_generic_rpc_handlers(handlers)
        pair = (certificates.key.read_bytes(), certificates.certificate.read_bytes())
        assert self.server.add_insecure_port(f"127.0.0.1:{clear}"), (
            "the port of the test's server is taken"
        )
        assert self.server.add_secure_port(f"127.0.0.1:{tls}", grpc.ssl_server_credentials([pair]))
        self.server.start()

    def stop(self):
        self.server.stop(1).wait()
        self.pool.shutdown(wait=False)

    def echo(self, request, context):
        context.send_initial_metadata([("x-first", "of the answer")])
        context.set_trailing_metadata([("x-last", "after it"), ("x-last-bin", b"\x00\x01\xff")])
        return request

    def metadata(self, _, context):
        pairs = [
            (name, value) for name, value in context.invocation_metadata() if isinstance(value, str)
        ]
        return json.dumps([pairs, context.time_remaining(), context.peer()]).encode()

    def fail(self, _, context):
        context.set_trailing_metadata([("x-why", "it was asked for")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "100 % of it – naïve")

    def hang(self, request, context):
        """Until the call ends; what ended it is in `seen`, under the request."""
        over = threading.Event()
        self.seen[request] = ("waits", context.time_remaining())
        context.add_callback(over.set)
        if over.wait(WAIT):
            self.seen[request] = ("ended", time.monotonic())
        return b""

    def count(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def endless(self, request, context):
        over = threading.Event()
        context.add_callback(
            lambda: (self.seen.__setitem__(request, ("ended", time.monotonic())), over.set())
        )
        self.seen[request] = ("waits", None)
        yield b"first"
        over.wait(WAIT)

    def sum(self, requests, context):
        return b"%d" % sum(len(request) for request in requests)

    def chat(self, requests, context):
        yield b"hello"
        for request in requests:
            yield request[::-1]


class Client:
    """A channel, and the calls that it makes. `service` says to which server they go."""

    def __init__(self, channel, service, token):
        self.channel, self.service = channel, service
        self.fields = [("authorization", f"Bearer {token}")] if token else []

    def call(self, method, kind="unary_unary"):
        name = method if method.startswith("/") else f"/{self.service}/{method}"
        call = getattr(self.channel, kind)(name)
        # The three ways in which grpcio makes a call, with the credential.
        fields = self.fields

        class Call:
            def __call__(self, request, metadata=(), timeout=WAIT, **named):
                return call(request, timeout=timeout, metadata=[*fields, *metadata], **named)

            def with_call(self, request, metadata=(), timeout=WAIT, **named):
                return call.with_call(
                    request, timeout=timeout, metadata=[*fields, *metadata], **named
                )

            def future(self, request, timeout=WAIT):
                return call.future(request, timeout=timeout, metadata=fields)

        return Call()


def status_of(call, *arguments, **named):
    """The status with which a call ends, and its message."""
    try:
        answer = call(*arguments, **named)
        if hasattr(answer, "__next__"):
            for _ in answer:
                pass
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


class Checks:
    def __init__(self, program, room):
        self.certificates = Certificates(room)
        self.ports = (free_port(), free_port())
        self.aging_ports = (free_port(), free_port())
        self.server = Server(*self.ports, self.certificates)
        clear, tls = self.ports
        away = free_port()
        upstreams = [
            Upstream("clear", f"http://127.0.0.1:{clear}", "http2"),
            Upstream("tls", f"https://127.0.0.1:{tls}", "http2"),
            Upstream("aging", f"http://127.0.0.1:{self.aging_ports[0]}", "http2"),
            Upstream("away", f"http://127.0.0.1:{away}", "http2"),
        ]
        routes = [
            Route("/kw.Clear/", "clear"),
            Route("/kw.Tls/", "tls"),
            Route("/kw.Admin/", "clear", role="admin"),
            Route("/kw.Open/", "aging", public=True),
            Route("/kw.Away/", "away"),
        ]
        self.front = front(program, self.certificates, upstreams, routes)

    def __enter__(self):
        self.front.__enter__()
        return self

    def __exit__(self, *_):
        self.front.__exit__()
        self.server.stop()

    def channel(self, tls, options=()):
        options = [*OPTIONS, *OWN_CONNECTION, *options]
        if tls:
            trust = grpc.ssl_channel_credentials(self.certificates.ca.read_bytes())
            return grpc.secure_channel(f"localhost:{self.front.tls}", trust, options)
        return grpc.insecure_channel(f"127.0.0.1:{self.front.clear_http2}", options)

    def clients(self, token=None):
        """One for each pair of ways: with and without TLS to keyward, with and without TLS from
        there.
        """
        for tls, service in itertools.product((False, True), ("kw.Clear", "kw.Tls")):
            with self.channel(tls) as channel:
                way = f"{'TLS' if tls else 'clear'} to keyward, then {service[3:]}"
                yield way, Client(channel, service, token or access_token())

    def unary(self):
        """A unary call has its answer, its initial and its trailing metadata."""
        for way, client in self.clients():
            answer, call = client.call("Echo").with_call(b"hi")
            assert answer == b"hi" and call.code() == grpc.StatusCode.OK, (
                f"{way}: {answer} {call.code()}"
            )
            first = dict(call.initial_metadata())
            assert first.get("x-first") == "of the answer", f"{way}: initial metadata {first}"
            last = dict(call.trailing_metadata())
            assert last.get("x-last") == "after it" and last.get("x-last-bin") == b"\x00\x01\xff", (
                f"{way}: trailing metadata {last}"
            )
            assert client.call("Echo")(b"") == b"", way

    def compressed(self):
        """A compressed message passes."""
        for way, client in self.clients():
            answer = client.call("Echo")(LARGE[:100_000], compression=grpc.Compression.Gzip)
            assert answer == LARGE[:100_000], f"{way}: {len(answer)} bytes"

    def large(self):
        """Messages of 4 MiB pass both ways."""
        assert len(LARGE) == 4 << 20
        for way, client in self.clients():
            assert client.call("Echo")(LARGE) == LARGE, f"{way}: another answer than was sent"

    def server_streams(self):
        """A stream of 2,000 messages from the server arrives whole and in order."""
        for way, client in self.clients():
            got = list(client.call("Count", "unary_stream")(b"2000"))
            assert got == [b"%d" % number for number in range(2000)], (
                f"{way}: {len(got)} messages, the last {got[-1:]}"
            )
            assert list(client.call("Count", "unary_stream")(b"0")) == [], f"{way}: an empty stream"

    def client_streams(self):
        """A stream of messages from the client arrives whole: 500 small ones, and four of 1 MiB."""
        for way, client in self.clients():
            for messages in ([b"four"] * 500, [LARGE[: 1 << 20]] * 4, []):
                got = client.call("Sum", "stream_unary")(iter(messages))
                assert int(got) == sum(map(len, messages)), f"{way}: {got}"

    def both_stream(self):
        """Messages go back and forth on one call: each is answered before the next is sent."""
        for way, client in self.clients():
            answered = threading.Semaphore(0)

            def messages():
                for number in range(100):
                    assert answered.acquire(timeout=WAIT), "no answer to the message before"
                    yield b"%d" % number

            got = []
            for answer in client.call("Chat", "stream_stream")(messages()):
                got.append(answer)
                answered.release()
            expected = [b"hello"] + [(b"%d" % number)[::-1] for number in range(100)]
            assert got == expected, f"{way}: {len(got)} messages, the last {got[-1:]}"

    def statuses(self):
        """A status, its message and its metadata come from the server unchanged."""
        for way, client in self.clients():
            try:
                client.call("Fail")(b"")
                raise AssertionError(f"{way}: no error")
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, (
                    f"{way}: {error.code()} {error.details()}"
                )
                assert error.details() == "100 % of it – naïve", f"{way}: {error.details()!r}"
                assert dict(error.trailing_metadata()).get("x-why") == "it was asked for", (
                    f"{way}: {error.trailing_metadata()}"
                )
            code, words = status_of(client.call("NoSuchMethod"), b"")
            assert code == grpc.StatusCode.UNIMPLEMENTED, f"{way}: {code} {words}"

    def deadline(self):
        """A deadline reaches the server, and ends the call there: status 4 at the client."""
        for way, client in self.clients():
            name = f"deadline {way}".encode()
            code, words = status_of(client.call("Hang"), name, timeout=0.5)
            assert code == grpc.StatusCode.DEADLINE_EXCEEDED, f"{way}: {code} {words}"
            until(
                f"{way}: the call's end at the server",
                lambda: self.server.seen.get(name, [""])[0] == "ended",
                5,
            )
            _, remaining, _ = json.loads(client.call("Seen")(b"", timeout=7))
            assert remaining is not None and 0 < remaining < 7.5, (
                f"{way}: the server was told a deadline of {remaining} s"
            )

    def cancelled(self):
        """A call that the client cancels is cancelled at the server within a second."""
        for way, client in self.clients():
            name = f"cancelled {way}".encode()
            future = client.call("Hang").future(name)
            until(f"{way}: the call at the server", lambda: name in self.server.seen)
            began = time.monotonic()
            future.cancel()
            until(
                f"{way}: the cancellation at the server",
                lambda: self.server.seen[name][0] == "ended",
                5,
            )
            assert self.server.seen[name][1] - began < 1, (
                f"{way}: the server saw it {self.server.seen[name][1] - began:.1f} s later"
            )
            name += b" stream"
            stream = client.call("Endless", "unary_stream")(name)
            assert next(stream) == b"first", way
            began = time.monotonic()
            stream.cancel()
            until(
                f"{way}: a stream's cancellation at the server",
                lambda: self.server.seen[name][0] == "ended",
                5,
            )
            assert self.server.seen[name][1] - began < 1, (
                f"{way}: the server saw it {self.server.seen[name][1] - began:.1f} s later"
            )
            assert client.call("Echo")(b"after") == b"after", f"{way}: the connection goes on"

    def together(self):
        """300 calls at a time on one connection are all answered, each with its own."""
        for way, client in self.clients():
            echo = client.call("Echo")
            futures = [(b"%d" % number, echo.future(b"%d" % number)) for number in range(300)]
            for sent, future in futures:
                assert future.result() == sent, f"{way}: {sent} was answered with {future.result()}"

    def slow_reader(self):
        """A stream that is not read holds up no other call on its connection."""
        for way, client in self.clients():
            unread = client.call("Count", "unary_stream")(b"200000")
            next(unread)
            assert client.call("Echo")(LARGE[:1000], timeout=10) == LARGE[:1000], way
            unread.cancel()

    def restarted(self):
        """After the server's restart the next call is answered."""
        self.server.stop()
        self.server = Server(*self.ports, self.certificates)
        for way, client in self.clients():
            assert client.call("Echo")(b"again") == b"again", way

    def aging(self):
        """A server that ends its connections every 300 ms (GOAWAY) loses no call."""
        aging = [("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 2000)]
        server = Server(*self.aging_ports, self.certificates, aging)
        try:
            for tls in (False, True):
                with self.channel(tls) as channel:
                    echo, calls = Client(channel, "kw.Open", None).call("Echo"), 0
                    began = time.monotonic()
                    while time.monotonic() < began + 1.5:
                        assert echo(b"%d" % calls) == b"%d" % calls
                        calls += 1
        finally:
            server.stop()

    def identity(self):
        """The server gets the caller's identity, never the credential, and no forged identity."""
        forged = [
            ("x-keyward-role", "admin"),
            ("x_keyward_subject", "root"),
            ("x-keyward-subject", "root"),
        ]
        for way, client in self.clients():
            pairs, _, _ = json.loads(client.call("Seen")(b"", forged))
            seen = {}
            for name, value in pairs:
                seen.setdefault(name, []).append(value)
            assert seen.get("x-keyward-subject") == ["alice"], f"{way}: {seen}"
            assert "x-keyward-role" not in seen and "x_keyward_subject" not in seen, (
                f"{way}: {seen}"
            )
            assert "authorization" not in seen, f"{way}: the credential was forwarded"

    def refusals(self):
        """Refusals are statuses: no token or a wrong one 16, a forbidden route 7, an unknown path
        12, no upstream 14.
        """
        code = grpc.StatusCode
        revoked, token_id = self.front.token()
        for way, client in self.clients(revoked):
            assert client.call("Echo")(b"x") == b"x", way
        self.front.revoke(token_id)
        expected = [
            (None, "Echo", code.UNAUTHENTICATED),
            ("sk-made-up", "Echo", code.UNAUTHENTICATED),
            (revoked, "Echo", code.UNAUTHENTICATED),
            (access_token(lifetime=-3600), "Echo", code.UNAUTHENTICATED),
            (access_token(), "/kw.Admin/Echo", code.PERMISSION_DENIED),
            (access_token(), "/kw.Nowhere/Echo", code.UNIMPLEMENTED),
            (access_token(), "/kw.Away/Echo", code.UNAVAILABLE),
        ]
        for tls in (False, True):
            for token, method, status in expected:
                with self.channel(tls) as channel:
                    client = Client(channel, "kw.Clear", token)
                    for kind, request in (
                        ("unary_unary", b"x"),
                        ("unary_stream", b"1"),
                        ("unary_unary", LARGE),
                    ):
                        # The kind does not matter: the server never sees the call.
                        got, words = status_of(client.call(method, kind), request)
                        assert got == status, (
                            f"{method} with {(token or 'no token')[:9]}…, {kind}: "
                            f"{got} {words!r} instead of {status}"
                        )
                        assert words, f"{method}: a status without words"
                    endless = (b"x" * 1000 for _ in itertools.count())
                    got, words = status_of(client.call(method, "stream_unary"), endless)
                    assert got == status, (
                        f"{method}, while the client goes on sending: "
                        f"{got} {words!r} instead of {status}"
                    )

    def trailers_only(self):
        """A refusal is a response of trailers only: 200, application/grpc, grpc-status, and the
        stream's end in one.
        """
        for context, port in (
            (None, self.front.clear_http2),
            (self.certificates.client_context("h2"), self.front.tls),
        ):
            client = Http2Client(port, context)
            fields = [("content-type", "application/grpc"), ("te", "trailers")]
            for kind in ("application/grpc", "application/grpc+proto"):
                fields[0] = ("content-type", kind)
                stream = client.answer(client.ask("POST", "/kw.Clear/Echo", fields))
                said = f"{stream.status} {stream.fields} {bytes(stream.data)}"
                assert stream.status == 200 and stream.fields_ended_it and not stream.data, said
                assert stream.fields.get("content-type", "").startswith("application/grpc"), said
                assert stream.fields.get("grpc-status") == "16" and stream.fields.get(
                    "grpc-message"
                ), said
            # What is no gRPC gets the usual answer.
            stream = client.answer(
                client.ask("POST", "/kw.Clear/Echo", [("content-type", "text/plain")])
            )
            assert stream.status == 401 and "grpc-status" not in stream.fields, (
                f"{stream.status} {stream.fields}"
            )
            client.close()

    def revoked_streams(self):
        """A revoked token's streams end within a second; those of others on the same connection go
        on.
        """
        for tls, service in itertools.product((False, True), ("kw.Clear", "kw.Tls")):
            way = f"{'TLS' if tls else 'clear'}, {service}"
            with self.channel(tls) as channel:
                (one, one_id), (other, other_id) = self.front.token(), self.front.token()
                ended = threading.Event()
                name = f"revoked {way}".encode()
                streams = Client(channel, service, one).call("Endless", "unary_stream")(name)
                others = Client(channel, service, other).call("Chat", "stream_stream")
                sent = threading.Semaphore(0)

                def messages():
                    for number in range(2):
                        sent.acquire(timeout=WAIT)
                        yield b"%d" % number

                talk = others(messages())
                assert next(streams) == b"first" and next(talk) == b"hello", way
                streams.add_callback(ended.set)
                self.front.revoke(one_id)
                assert ended.wait(1), (
                    f"{way}: the stream was still open a second after its token was revoked"
                )
                assert streams.code() != grpc.StatusCode.OK, (
                    f"{way}: the stream ended as if it were complete"
                )
                until(
                    f"{way}: the end at the server", lambda: self.server.seen[name][0] == "ended", 2
                )
                sent.release()
                assert next(talk) == b"0", f"{way}: another token's stream on the same connection"
                sent.release()
                assert list(talk) == [b"1"], way
                self.front.revoke(other_id)

    def all(self):
        yield from (
            self.unary,
            self.compressed,
            self.large,
            self.server_streams,
            self.client_streams,
            self.both_stream,
        )
        yield from (
            self.statuses,
            self.deadline,
            self.cancelled,
            self.together,
            self.slow_reader,
            self.restarted,
            self.aging,
        )
        if self.front.judges:
            yield from (self.identity, self.refusals, self.trailers_only, self.revoked_streams)


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
