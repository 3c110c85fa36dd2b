"""Holds a running keyward to its OpenAPI document, and the document to keyward: schemathesis, with every check it has, on the
embedded store and on Redis.

usage: openapi.py KEYWARD [FURTHER ARGUMENTS OF SCHEMATHESIS]
"""

import json
import os
import pathlib
import subprocess
import sys

from running_keyward import Keyward, Redis, call

HERE = pathlib.Path(__file__).parent
SEED = "20260601"
MOST_EXAMPLES = "30"


def hold(program, further, redis=None):
    """0, if nothing was found."""
    with Keyward(program, redis) as keyward:
        served = call(keyward.origin + "/api/v1/openapi.json")
        printed = subprocess.run(
            [program, "--config", str(keyward.configuration), "openapi"], stdout=subprocess.PIPE, check=True
        )
        assert json.loads(printed.stdout) == served, "what is printed is not what is served"
        environment = os.environ | {
            "KEYWARD_ORIGIN": keyward.origin,
            "KEYWARD_BOOTSTRAP": keyward.bootstrap_token(),
            "PYTHONPATH": str(HERE),
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        }
        schemathesis = [os.path.join(os.path.dirname(sys.executable), "schemathesis")]
        schemathesis += ["--config-file", str(HERE / "schemathesis.toml"), "run", keyward.origin + "/api/v1/openapi.json"]
        schemathesis += ["--checks", "all", "--max-examples", MOST_EXAMPLES, "--seed", SEED]
        schemathesis += ["--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"]
        outcome = subprocess.run(schemathesis + further, env=environment, cwd=keyward.folder.name)
        return outcome.returncode


def main():
    program, further = sys.argv[1], sys.argv[2:]
    embedded = hold(program, further)
    print("schemathesis, on Redis:", flush=True)
    with Redis() as redis:
        return embedded or hold(program, further, redis)


if __name__ == "__main__":
    sys.exit(main())
