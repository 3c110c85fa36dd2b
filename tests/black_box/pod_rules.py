"""What must hold for the pods of every workload, whatever runs in them: each rule yields what is
not so, in words.
"""

import json
import pathlib
import re

from network_policies import selects

KEYWARD_USER = 10001
DOCKERFILE = pathlib.Path(__file__).parents[2] / "deploy/Dockerfile"
# Of images by their names: a runtime may mount a writable folder at each, whatever the root is.
IMAGE_VOLUMES = {
    "keyward": json.loads(re.search(r"^VOLUME (.*)", DOCKERFILE.read_text(), re.M)[1]),
    "redis": ["/data"],
    "python": [],
    "app": [],
}


def amount(quantity):
    """Cores or bytes."""
    number, unit = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|)", str(quantity)).groups()
    return float(number) * {"m": 0.001, "": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]


def annotations_at(template, volume):
    """The files that a volume makes of annotations of the pod."""
    annotations, files = template["metadata"].get("annotations", {}), {}
    for item in volume["downwardAPI"]["items"]:
        name = re.fullmatch(r"metadata\.annotations\['(.*)'\]", item["fieldRef"]["fieldPath"])[1]
        files[item["path"]] = annotations[name]
    return files


def selector_fits(deployed, workload):
    labels = workload["spec"]["template"]["metadata"]["labels"]
    if not selects(workload["spec"]["selector"], labels):
        yield "its selector does not hold for its pods"
    for constraint in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
        if not selects(constraint["labelSelector"], labels):
            yield "topologySpreadConstraints do not hold for its pods"


def restricted(deployed, workload):
    """The standard "restricted" of Kubernetes, and what it leaves out."""
    pod = workload["spec"]["template"]["spec"]
    context = pod.get("securityContext", {})
    if pod.get("automountServiceAccountToken") is not False:
        yield "a token of the service account is mounted"
    if pod.get("enableServiceLinks") is not False:
        yield "Services become variables of the environment"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is on"
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a folder of the node"
    for container in pod.get("initContainers", []) + pod["containers"]:
        own = container.get("securityContext", {})
        name = f"container {container['name']}"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{name} may gain privileges"
        if own.get("capabilities", {}) != {"drop": ["ALL"]}:
            yield f"{name} has capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its root file system"
        profile = own.get("seccompProfile", context.get("seccompProfile", {})).get("type")
        if profile != "RuntimeDefault":
            yield f"{name} has no seccomp profile"
        user = own.get("runAsUser", context.get("runAsUser"))
        if own.get("runAsNonRoot", context.get("runAsNonRoot")) is not True or user == 0:
            yield f"{name} may run as root"
        if container.get("command") == ["keyward"]:
            group = own.get("runAsGroup", context.get("runAsGroup"))
            if (user, group) != (KEYWARD_USER, KEYWARD_USER):
                yield f"{name} does not run as the image's user {KEYWARD_USER}"
        _, colon, tag = container["image"].rpartition(":")
        # The base of the sidecar names no app.
        if (not colon or tag == "latest") and container["image"] != "app":
            yield f"{name}: image {container['image']} has no version"


def covers_volumes(deployed, workload):
    """What an image has as VOLUME is writable, unless something else is mounted there."""
    pod = workload["spec"]["template"]["spec"]
    for container in pod.get("initContainers", []) + pod["containers"]:
        image = re.split("[:@]", container["image"].rpartition("/")[2])[0]
        mounts = {one["mountPath"]: one for one in container.get("volumeMounts", [])}
        for path in IMAGE_VOLUMES.get(image, []):
            mount = mounts.get(path)
            if mount is None or image == "keyward" and not mount.get("readOnly"):
                yield f"container {container['name']} may write to {path}, a volume of its image"


def bounded(deployed, workload):
    pod = workload["spec"]["template"]["spec"]
    for container in pod.get("initContainers", []) + pod["containers"]:
        resources = container.get("resources", {})
        for what in ("cpu", "memory"):
            asked, most = (resources.get(kind, {}).get(what) for kind in ("requests", "limits"))
            if asked is None or most is None:
                yield f"container {container['name']} has no request or no limit of {what}"
            elif amount(asked) > amount(most):
                yield f"container {container['name']} requests more {what} than its limit"


def volumes_fit(deployed, workload):
    pod = workload["spec"]["template"]["spec"]
    volumes = {one["name"]: one for one in pod.get("volumes", [])}
    claims = {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])}
    used = set()
    for container in pod.get("initContainers", []) + pod["containers"]:
        for mount in container.get("volumeMounts", []):
            used.add(mount["name"])
            if mount["name"] not in volumes.keys() | claims:
                yield f"there is no volume {mount['name']}"
            volume = volumes.get(mount["name"], {})
            kinds = {"secret", "configMap", "downwardAPI"}
            if kinds & volume.keys() and not mount.get("readOnly"):
                yield f"{mount['mountPath']} is not mounted read-only"
    for name in volumes.keys() - used:
        yield f"volume {name} is mounted nowhere"
    for volume in volumes.values():
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            if deployed.named("ConfigMap", name) is None:
                yield f"there is no ConfigMap {name}"
        if "secret" in volume:
            if volume["secret"].get("defaultMode") != 0o400:
                yield f"the files of Secret {volume['secret']['secretName']} are not of mode 0400"
            if "fsGroup" not in pod.get("securityContext", {}):
                yield "without fsGroup it cannot read its Secrets"


RULES = [selector_fits, restricted, covers_volumes, bounded, volumes_fit]
