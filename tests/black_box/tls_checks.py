"""TLS as `openssl s_client` sees it: versions, suites, ALPN, resumption, renegotiation, and
certificates of clients.

usage: tls_checks.py KEYWARD [--all] [WORD …]
KEYWARD may be "nginx", to try the test itself
"""

import concurrent.futures
import json
import re
import socket
import subprocess
import sys

from echo_server import Echo
from running_keyward import free_port
from running_servers import Certificates, Route, Upstream, await_port, folder, front, run

ASK = b"GET /open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
STRONG = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
}
# So that OpenSSL itself offers what is obsolete.
ANYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
VERSIONS = ("-tls1_2", "-tls1_3")


class Outcome:
    """What s_client printed."""

    def __init__(self, process):
        self.code = process.returncode
        self.text = process.stdout.decode(errors="replace")
        self.errors = process.stderr.decode(errors="replace")

    def __str__(self):
        return f"s_client ended with {self.code}: {self.errors[-600:]} {self.text[-300:]}"

    @property
    def shaken(self):
        """(version, suite) of a finished handshake."""
        found = re.search(r"^(?:New|Reused), (TLS\S+|SSL\S+), Cipher is (\S+)", self.text, re.M)
        version = re.search(r"^    Protocol *: (\S+)", self.text, re.M)
        if not found or found[2] == "(NONE)":
            return None
        return (version[1] if version else found[1], found[2])

    @property
    def resumed(self):
        return re.search(r"^Reused, ", self.text, re.M) is not None

    @property
    def protocol(self):
        found = re.search(r"^ALPN protocol: (\S+)", self.text, re.M)
        return found and found[1]

    @property
    def status(self):
        found = re.search(r"HTTP/1\.[01] (\d+)", self.text, re.M)
        return found and int(found[1])

    @property
    def seen(self):
        """The fields that the upstream saw."""
        found = re.search(r'\{"method".*?\}', self.text, re.M)
        assert found, f"no answer of the upstream: {self}"
        return {name: value for name, value in json.loads(found[0])["fields"]}


class Checks:
    def __init__(self, program, room):
        self.room = room
        self.certificates = files = Certificates(room)
        self.required, self.optional, self.rsa = free_port(), free_port(), free_port()
        self.rsa_pair = files.make("rsa", "keyward.test", files.names, "ca", rsa=True)
        self.echo = Echo()
        further = ""
        for port, (certificate, key), mode in (
            (self.required, (files.certificate, files.key), "required"),
            (self.optional, (files.certificate, files.key), "optional"),
            (self.rsa, self.rsa_pair, None),
        ):
            if program == "nginx":
                verify = {"required": "on", "optional": "optional", None: "off"}[mode]
                further += f"""server {{
                    listen 127.0.0.1:{port} ssl http2;
                    ssl_certificate {certificate};
                    ssl_certificate_key {key};
                    ssl_verify_client {verify}; ssl_client_certificate {files.ca};
                    proxy_set_header X-Keyward-Certificate $ssl_client_s_dn;
                    location / {{ proxy_pass http://echo; }}
                }}\n"""
            else:
                further += f'[[listener]]\naddress = "127.0.0.1:{port}"\n'
                further += f'tls = {{ certificate = "{certificate}", key = "{key}" }}\n'
                if mode is not None:
                    further += (
                        f'client_certificates = {{ ca_file = "{files.ca}", mode = "{mode}" }}\n'
                    )
        upstreams = [Upstream("echo", f"http://127.0.0.1:{self.echo.port}")]
        self.front = front(
            program, files, upstreams, [Route("/open/", "echo", public=True)], further
        )

    def __enter__(self):
        self.echo.__enter__()
        self.front.__enter__()
        for port in (self.required, self.optional, self.rsa):
            await_port(port, self.front.process, self.front.errors)
        return self

    def __exit__(self, *_):
        self.front.__exit__()
        self.echo.__exit__()

    def shake(self, port, *arguments, name="localhost", send=None):
        """A handshake; with `send`, what is answered to it until the server closes."""
        named = ["-noservername"] if name is None else ["-servername", name]
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{port}",
            "-CAfile",
            str(self.certificates.ca),
        ]
        command += ["-verify_return_error", *named, *(["-ign_eof"] if send else []), *arguments]
        return Outcome(subprocess.run(command, input=send or b"", capture_output=True, timeout=20))

    def versions(self):
        """TLS 1.2 and 1.3 are spoken; 1.0 and 1.1 are refused with an alert."""
        for port in (self.front.tls, self.rsa):
            for version, name in zip(VERSIONS, ("TLSv1.2", "TLSv1.3")):
                outcome = self.shake(port, version, send=ASK)
                assert outcome.shaken and outcome.shaken[0] == name and outcome.status == 200, (
                    f"{version}: {outcome}"
                )
                assert "Verify return code: 0 (ok)" in outcome.text, f"{version}: {outcome}"
            for version in ("-tls1", "-tls1_1"):
                outcome = self.shake(port, version, "-cipher", "DEFAULT:@SECLEVEL=0", send=ASK)
                assert not outcome.shaken and outcome.status is None, (
                    f"{version} was spoken: {outcome}"
                )
                # The refusal is the server's, not OpenSSL's own.
                assert "SSL alert number" in outcome.errors, (
                    f"{version}: no alert of the server: {outcome}"
                )

    def suites(self):
        """No weak suite is accepted, whichever is offered alone."""
        listed = lambda *more: subprocess.run(
            ["openssl", "ciphers", "-s", *more], check=True, capture_output=True
        ).stdout.decode()
        # Those of TLS 1.3 are listed in any case.
        old = [
            name
            for name in listed("-tls1_2", ANYTHING).strip().split(":")
            if not name.startswith("TLS_")
        ]
        new = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
        new += ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"]
        assert len(old) > 50 and "AES128-SHA" in old, f"OpenSSL offers only {old}"
        offers = [("-tls1_2", "-cipher", f"{name}:@SECLEVEL=0") for name in old] + [
            ("-tls1_3", "-ciphersuites", name) for name in new
        ]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for port in (self.front.tls, self.rsa):
                outcomes = list(pool.map(lambda offer: self.shake(port, *offer), offers))
                accepted = {outcome.shaken[1] for outcome in outcomes if outcome.shaken}
                assert not accepted - STRONG, (
                    f"weak suites were accepted: {sorted(accepted - STRONG)}"
                )
                kind = "RSA" if port == self.rsa else "ECDSA"
                for needed in (f"ECDHE-{kind}-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"):
                    assert needed in accepted, f"{needed} was not accepted, but {sorted(accepted)}"

    def signatures(self):
        """No signature with SHA-1, and no compression."""
        for port, kind in ((self.front.tls, "ECDSA"), (self.rsa, "RSA")):
            outcome = self.shake(
                port, "-tls1_2", "-sigalgs", f"{kind}+SHA1", "-cipher", "DEFAULT:@SECLEVEL=0"
            )
            assert not outcome.shaken, f"a signature with SHA-1 was made: {outcome}"
            outcome = self.shake(port, "-tls1_2", "-comp")
            assert outcome.shaken and "Compression: NONE" in outcome.text, str(outcome)

    def protocols(self):
        """ALPN: h2 is preferred, http/1.1 and http/1.0 are taken, an unknown protocol alone is
        refused, none means HTTP/1.1.
        """
        for version in VERSIONS:
            for offered, chosen in (
                ("h2,http/1.1", "h2"),
                ("http/1.1,h2", "h2"),
                ("h2", "h2"),
                ("spdy/3,h2", "h2"),
            ):
                outcome = self.shake(self.front.tls, version, "-alpn", offered)
                assert outcome.protocol == chosen, (
                    f"{version}, offered {offered}: chosen {outcome.protocol}"
                )
            for offered, chosen in (
                ("http/1.1", "http/1.1"),
                ("http/1.0,http/1.1", "http/1.1"),
                ("http/1.0", "http/1.0"),
            ):
                outcome = self.shake(self.front.tls, version, "-alpn", offered, send=ASK)
                assert outcome.protocol == chosen and outcome.status == 200, (
                    f"{version}, offered {offered}: {outcome}"
                )
            outcome = self.shake(self.front.tls, version, "-alpn", "spdy/3,imap", send=ASK)
            # In TLS 1.3 the alert comes behind the server's first flight.
            assert "alert no application protocol" in outcome.errors and outcome.status is None, (
                f"{version}, nothing known offered: {outcome}"
            )
            outcome = self.shake(self.front.tls, version, send=ASK)
            assert outcome.protocol is None and outcome.status == 200, (
                f"{version}, nothing offered: {outcome}"
            )

    def resumption(self):
        """A session is resumed, in TLS 1.2 and 1.3, and early data is not taken."""
        early = self.room / "early"
        early.write_bytes(ASK)
        for version in VERSIONS:
            session = self.room / f"session{version}"
            first = self.shake(self.front.tls, version, "-sess_out", session, send=ASK)
            assert first.shaken and not first.resumed and first.status == 200, f"{version}: {first}"
            for _ in range(2):
                # In TLS 1.3 a ticket is good for one use: each answer brings another.
                again = self.shake(
                    self.front.tls, version, "-sess_in", session, "-sess_out", session, send=ASK
                )
                assert again.resumed and again.status == 200, f"{version}: not resumed: {again}"
        outcome = self.shake(
            self.front.tls, "-tls1_3", "-sess_in", session, "-early_data", early, send=ASK
        )
        assert "Early data was accepted" not in outcome.text, (
            "early data was taken, which can be replayed"
        )
        assert outcome.status == 200, f"after early data: {outcome}"

    def renegotiation(self):
        """Renegotiation that a client begins is refused, and secure renegotiation (RFC 5746) is
        announced.
        """
        outcome = self.shake(self.front.tls, "-tls1_2", send=None)
        assert "Secure Renegotiation IS supported" in outcome.text, str(outcome)
        # The command "R" must be all that s_client reads, and is none with -ign_eof.
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{self.front.tls}",
            "-CAfile",
            str(self.certificates.ca),
            "-tls1_2",
        ]
        client = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        client.stdin.write(b"R\n")
        client.stdin.flush()
        words = ""
        while "RENEGOTIATING" not in words and (line := client.stdout.readline()):
            words += line.decode(errors="replace")
        try:
            after = client.communicate(ASK, 2)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            client.kill()
            after = client.communicate()[0].decode(errors="replace")
        assert "RENEGOTIATING" in words, f"s_client did not try: {words}"
        assert "verify return:1" not in after, f"it was renegotiated: {after[-600:]}"
        assert self.shake(self.front.tls, "-tls1_2", send=ASK).status == 200, (
            "no other connection is served after it"
        )

    def required_certificate(self):
        """Where a client's certificate is required, there is no answer without one, whatever the
        name that it asks for.
        """
        files = self.certificates
        known = ("-cert", files.client_certificate, "-key", files.client_key)
        foreign = ("-cert", files.stranger_certificate, "-key", files.stranger_key)
        names = (
            None,
            "localhost",
            "LOCALHOST",
            "LocalHost",
            "localhost.",
            "keyward.test",
            "unknown.example",
            "127.0.0.1",
            "x" * 60 + ".test",
        )
        for version in VERSIONS:
            for name in names:
                for what, pair in (
                    ("no certificate", ()),
                    ("another authority's certificate", foreign),
                ):
                    outcome = self.shake(self.required, version, *pair, name=name, send=ASK)
                    assert outcome.status in (None, 400), (
                        f"{version}, the name {name}, {what}: answered {outcome.status}"
                    )
                    if self.front.judges:
                        assert outcome.status is None, (
                            f"{version}, the name {name}, {what}: "
                            f"the handshake was not refused: {outcome}"
                        )
            for name in (None, "localhost", "LOCALHOST", "keyward.test"):
                outcome = self.shake(self.required, version, *known, name=name, send=ASK)
                assert outcome.status == 200, (
                    f"{version}, the name {name}, with a certificate: {outcome}"
                )
                told = [
                    value
                    for field, value in outcome.seen.items()
                    if field.startswith("x-keyward-") and "alice" in value
                ]
                assert told, (
                    f"{version}: the upstream is not told whose certificate it was: {outcome.seen}"
                )

    def required_on_resumption(self):
        """A session that was made without a certificate opens nothing where one is required; a
        resumed one is the same client.
        """
        files = self.certificates
        known = ("-cert", files.client_certificate, "-key", files.client_key)
        strip = lambda fields: {
            name: value
            for name, value in fields.items()
            if name not in ("x-request-id", "traceparent")
        }
        for version in VERSIONS:
            session = self.room / f"client-session{version}"
            for name, port in (
                ("no certificates", self.front.tls),
                ("optional certificates", self.optional),
            ):
                without = self.shake(port, version, "-sess_out", session, send=ASK)
                assert without.status == 200, f"{version}, {name}: {without}"
                for sni in ("localhost", None, "LOCALHOST", "localhost.", "unknown.example"):
                    outcome = self.shake(
                        self.required, version, "-sess_in", session, name=sni, send=ASK
                    )
                    assert outcome.status in (None, 400), (
                        f"{version}: a session from the listener with {name} "
                        f"opened this one (SNI {sni})"
                    )
            for port in (self.required, self.optional):
                full = self.shake(port, version, *known, "-sess_out", session, send=ASK)
                assert full.status == 200, f"{version}: {full}"
                again = self.shake(port, version, *known, "-sess_in", session, send=ASK)
                assert again.status == 200, f"{version}, the same session again: {again}"
                assert strip(again.seen) == strip(full.seen), (
                    f"{version}, resumed {again.resumed}: {again.seen}, at first {full.seen}"
                )
                # Without the certificate, the session's key proves the client: the same or none.
                bare = self.shake(port, version, "-sess_in", session, send=ASK)
                if bare.status == 200 and bare.resumed:
                    assert strip(bare.seen) == strip(full.seen), (
                        f"{version}: {bare.seen}, at first {full.seen}"
                    )
                elif port == self.required:
                    assert bare.status in (None, 400), f"{version}: {bare}"

    def optional_certificate(self):
        """Where a certificate is optional, there is an answer without one, which tells of none, and
        none for a foreign one.
        """
        files = self.certificates
        for version in VERSIONS:
            outcome = self.shake(self.optional, version, send=ASK)
            assert outcome.status == 200, f"{version}: {outcome}"
            assert not [name for name, value in outcome.seen.items() if "alice" in value], (
                f"{version}: {outcome.seen}"
            )
            pair = ("-cert", files.client_certificate, "-key", files.client_key)
            outcome = self.shake(self.optional, version, *pair, send=ASK)
            assert outcome.status == 200 and [
                value for value in outcome.seen.values() if "alice" in value
            ], f"{version}: {outcome}"
            pair = ("-cert", files.stranger_certificate, "-key", files.stranger_key)
            outcome = self.shake(self.optional, version, *pair, send=ASK)
            assert outcome.status in (None, 400), (
                f"{version}, another authority's certificate: {outcome}"
            )

    def not_tls(self):
        """What is no TLS is not served on a listener with TLS, and the connection is closed."""

        def answer(data):
            with socket.create_connection(("127.0.0.1", self.front.tls), 15) as connection:
                connection.sendall(data)
                got = b""
                try:
                    while piece := connection.recv(4096):
                        got += piece
                except ConnectionResetError:
                    pass
                return got

        several = (
            ASK,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x00\x02\xff\xff",
            bytes(64),
        )
        with concurrent.futures.ThreadPoolExecutor(len(several)) as pool:
            for data, got in zip(several, pool.map(answer, several)):
                assert b" 200 " not in got[:20], f"{data[:20]}: {got[:200]}"

    def all(self):
        yield from (
            self.versions,
            self.suites,
            self.signatures,
            self.protocols,
            self.resumption,
            self.renegotiation,
        )
        yield from (
            self.required_certificate,
            self.required_on_resumption,
            self.optional_certificate,
            self.not_tls,
        )


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
