"""The Autobahn test suite, its clients before an echo of `wsproto`, directly and through keyward:
what holds directly must hold through it. Not a part of `make black-box`: the suite needs Python
2.7, which Debian no longer has.

usage: autobahn.py KEYWARD WSTEST [CASES]
WSTEST is the suite's program, CASES as in "1.*,2.*": all but the slow groups 9, 12, 13
"""

import json
import subprocess
import sys

from running_servers import Certificates, Route, Upstream, folder, front
from websocket_calls import Upstreams

CASES = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*,12.1.1,12.2.1,9.1.1,9.1.2,9.1.3,9.2.1,9.2.2,9.2.3"
CASES += ",9.3.1,9.4.1,9.5.1,9.6.1,9.7.1,9.8.1"
FINE = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")


def main():
    program, wstest, cases = sys.argv[1], sys.argv[2], (sys.argv[3] if len(sys.argv) > 3 else CASES)
    port = Upstreams().strict_port
    upstreams = [Upstream("echo", f"http://127.0.0.1:{port}")]
    with (
        folder() as room,
        front(
            program, Certificates(room), upstreams, [Route("/open/", "echo", public=True)]
        ) as server,
    ):
        agents = {
            "directly": f"ws://127.0.0.1:{port}/open/x",
            "in clear": f"ws://127.0.0.1:{server.clear}/open/x",
            "over TLS": f"wss://localhost:{server.tls}/open/x",
        }
        told = [
            {"agent": agent, "url": url, "options": {"version": 18}}
            for agent, url in agents.items()
        ]
        specification = {
            "outdir": str(room / "reports"),
            "servers": told,
            "cases": cases.split(","),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (room / "specification.json").write_text(json.dumps(specification))
        subprocess.run(
            [wstest, "-m", "fuzzingclient", "-s", room / "specification.json"],
            check=True,
            cwd=room,
            stdout=subprocess.DEVNULL,
        )
        report = json.loads((room / "reports" / "index.json").read_text())
    direct, worse = report["directly"], []
    for agent in ("in clear", "over TLS"):
        outcomes = report.get(agent, {})
        for case, outcome in direct.items():
            got = outcomes.get(case, {"behavior": "NOT RUN", "behaviorClose": "NOT RUN"})
            for kind in ("behavior", "behaviorClose"):
                if got[kind] != outcome[kind] and (got[kind] not in FINE or outcome[kind] == "OK"):
                    worse.append(
                        f"{agent}, case {case}: {kind} {got[kind]}, directly {outcome[kind]}"
                    )
        fine = sum(outcome["behavior"] in FINE for outcome in outcomes.values())
        print(f"{agent}: {fine} of {len(outcomes)} cases", flush=True)
    wrong = [
        f"{case} {outcome['behavior']}"
        for case, outcome in direct.items()
        if outcome["behavior"] not in FINE
    ]
    print(f"directly: all but {wrong}", flush=True)
    print("\n".join(worse) or f"all {len(direct)} cases hold through keyward as they do directly")
    sys.exit(1 if worse or not direct else 0)


if __name__ == "__main__":
    main()
