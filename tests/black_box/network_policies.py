"""What NetworkPolicies let through, by the rules of the API: a pod that no policy selects takes
every connection; one that is selected takes what one of its policies allows.
"""

ANY_NAMESPACE = {"kubernetes.io/metadata.name": "elsewhere"}


def selects(selector, labels):
    """Whether a label selector holds for labels; an empty one does for all."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        name, values = rule["key"], rule.get("values", [])
        holds = {
            "Exists": name in labels,
            "DoesNotExist": name not in labels,
            "In": labels.get(name) in values,
            "NotIn": labels.get(name) not in values,
        }
        if not holds[rule["operator"]]:
            return False
    return True


def lets_in(peer, source, of_namespace, same_namespace):
    """Whether an item of `from` names a pod with these labels, in a namespace with those."""
    if "ipBlock" in peer:
        return True
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], of_namespace):
            return False
    elif not same_namespace:
        return False
    return selects(peer.get("podSelector", {}), source)


def admitted(policies, target, port, source, of_namespace=None):
    """Whether a pod with the labels `source` may connect to a port of one with the labels `target`.
    Without `of_namespace` (its labels) it is of the same namespace.
    """
    mine = [one["spec"] for one in policies if selects(one["spec"]["podSelector"], target)]
    mine = [one for one in mine if "Ingress" in one.get("policyTypes", ["Ingress"])]
    if not mine:
        return True
    same = of_namespace is None
    for policy in mine:
        for rule in policy.get("ingress", []):
            ports = [one.get("port") for one in rule.get("ports", [])]
            if ports and port not in ports:
                continue
            peers = rule.get("from")
            if not peers or any(lets_in(one, source, of_namespace or {}, same) for one in peers):
                return True
    return False
