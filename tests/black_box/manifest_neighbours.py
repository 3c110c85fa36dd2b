"""What must hold between two deployments: of one and the same before and after a change, and of two
that are in one namespace.
"""

from manifest_rules import Deployed
from network_policies import selects


def selectors(deployed):
    """What chooses the pods of a deployment as its own: kind, name and selector. What an app's pods
    are guarded by is for pods of others.
    """
    for workload in deployed.workloads:
        yield workload, workload["spec"]["selector"]
        spreads = workload["spec"]["template"]["spec"].get("topologySpreadConstraints", [])
        yield from ((workload, one["labelSelector"]) for one in spreads)
    for service in deployed.of("Service"):
        yield service, {"matchLabels": service["spec"]["selector"]}
    for budget in deployed.of("PodDisruptionBudget"):
        yield budget, budget["spec"]["selector"]
    for policy in deployed.policies:
        yield policy, policy["spec"]["podSelector"]


def mistaken(ours, theirs):
    """What in one deployment takes the pods of another for its own, in either direction."""
    for one, other in ((ours, theirs), (theirs, ours)):
        one, other = Deployed(one), Deployed(other)
        pods = [w["spec"]["template"]["metadata"]["labels"] for w in other.workloads]
        for chooser, selector in selectors(one):
            for labels in pods:
                if selects(selector, labels):
                    name = f"{chooser['kind']} {chooser['metadata']['name']}"
                    yield f"{name} takes the pods with {labels} for its own"


def disturbed(before, after):
    """What old pods that start anew would read otherwise than before: while a rollout has stopped,
    or when one is taken back. What is of the same name is replaced.
    """
    objects = {(one["kind"], one["metadata"]["name"]): one for one in before}
    objects |= {(one["kind"], one["metadata"]["name"]): one for one in after}
    for old in Deployed(before).keywards():
        text = old.configuration()
        old.deployed = Deployed(list(objects.values()))
        if old.configuration() != text:
            yield f"the old pods of {old.workload['metadata']['name']} read what the new ones do"
