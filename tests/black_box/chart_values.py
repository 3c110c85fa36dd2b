"""Values for the chart: good ones in combinations, and bad ones, each of which must be refused."""

TLS = 'tls = { certificate = "/etc/keyward-tls/tls.crt", key = "/etc/keyward-tls/tls.key" }'

# What a person may set, in combinations.
GOOD_VALUES = {
    "none": {},
    "monitored": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "fixed": {"autoscaling": {"enabled": False}, "replicas": 3, "fullnameOverride": "gate"},
    "balanced": {
        "service": {
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "nodePort": 30080,
            "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"],
            "loadBalancerClass": "example.com/internal",
            "loadBalancerSourceRanges": ["203.0.113.0/24", "2001:db8::/32"],
            "annotations": {"example.com/kind": "network"},
        },
    },
    "placed": {
        "image": {"repository": "registry.example.com:5000/keyward", "digest": "sha256:" + "a" * 64,
                  "pullSecrets": ["registry"]},
        "podLabels": {"team": "edge"}, "podAnnotations": {"a": "b"}, "nodeSelector": {"x": "y"},
        "tolerations": [{"key": "edge", "operator": "Exists"}], "priorityClassName": "high",
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "env": [{"name": "REALM", "value": "main"}],
        "mounts": [{"secret": "redis-ca", "path": "/etc/keyward-redis-ca"},
                   {"configMap": "root-ca", "path": "/etc/keyward-root-ca"}],
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"},
                      "limits": {"cpu": "4", "memory": "1Gi"}},
    },
    "tls": {"tls": {"secret": "keyward-tls"}, "config": lambda text: text.replace(
        "trusted_proxies = []", TLS)},
    "ports": {"ports": {"http": 8443, "admin": 9443}, "config": lambda text: text.replace(
        ":8080", ":8443").replace(":9090", ":9443")},
    "two listeners": {
        "ports": {"http": 8443}, "service": {"type": "NodePort", "port": 443},
        "listeners": [{"name": "redirect", "port": 8080, "servicePort": 80, "nodePort": 30081}],
        "config": lambda text: text.replace("[admin]", '[[listener]]\naddress = "[::]:8443"\n\n'
                                            "[admin]")},
    # As YAML has numbers.
    "numbers": {"autoscaling": {"cpu": 0.5}, "resources": {"requests": {"cpu": 0.25},
                                                            "limits": {"cpu": 2}}},
    # Spaces, quotes, what YAML and templates have a meaning for.
    "indented": {"config": lambda text: f"  # {{{{ .Values }}}} 'a' \"b\" <c> & é: |-\n\n{text}"},
}  # fmt: skip

# Names that YAML takes for something else where they are not quoted, or no Service may have.
RELEASES = ["123", "true", "1e3", "a.b", "keyward", "my-keyward"]
ODD_NAMES = {
    "fullnameOverride": "null", "keys": {"secret": "123"},
    "redis": {"secret": "true", "key": "0x1"}, "tls": {"secret": "1e3"},
    "mounts": [{"secret": "no", "path": "/etc/ca"}],
    "image": {"pullSecrets": ["0"]}, "priorityClassName": "1",
    "serviceMonitor": {"enabled": True},
}  # fmt: skip

# Labels in the place of those of values.yaml: where in the values, and what is given.
NEW_LABELS = [
    (("behindKeyward", "podLabels"), {"behind-keyward": None, "tier": "backend"}),
    (("networkPolicy", "prometheus", "podLabels"), {"app.kubernetes.io/name": None, "app": "p"}),
    (("networkPolicy", "prometheus", "namespaceLabels"),
     {"kubernetes.io/metadata.name": None, "team": "watch"}),
]  # fmt: skip

# Each is refused by the schema; the second member by a template alone.
BAD_VALUES = [
    ({"unknown": 1}, False), ({"image": {"name": "x"}}, False), ({"config": {"a": 1}}, False),
    ({"image": {"tag": "latest"}}, False), ({"image": {"digest": "sha256:1"}}, False),
    ({"image": {"pullPolicy": "Sometimes"}}, False), ({"image": {"repository": ""}}, False),
    ({"keys": {"secret": ""}}, False), ({"keys": {"secret": "Keys"}}, False),
    ({"keys": {"existing": "x"}}, False), ({"redis": {"key": "a/b"}}, False),
    ({"redis": {"password": "x"}}, False), ({"tls": {"secret": 1}}, False),
    ({"ports": {"http": 80}}, False), ({"ports": {"admin": "9090"}}, False),
    ({"ports": {"http": 70000}}, False), ({"service": {"type": "External"}}, False),
    ({"service": {"port": 0}}, False), ({"service": {"annotations": {"a": 1}}}, False),
    ({"service": {"externalTrafficPolicy": "local"}}, False), ({"replicas": 0}, False),
    ({"service": {"loadBalancerSourceRanges": ["everywhere"]}}, False), ({"replicas": "2"}, False),
    ({"autoscaling": {"enabled": "yes"}}, False), ({"autoscaling": {"cpu": 0}}, False),
    ({"autoscaling": {"target": 70}}, False), ({"disruptionBudget": {"minAvailable": 1}}, False),
    ({"disruptionBudget": {"maxUnavailable": 0}}, False), ({"podLabels": {"a": True}}, False),
    ({"terminationGracePeriodSeconds": 0}, False), ({"tolerations": {}}, False),
    ({"resources": {"limits": {"cpu": "2", "memory": "lots"}}}, False),
    ({"resources": {"limits": {"gpu": "1"}}}, False), ({"resources": {"limits": None}}, False),
    ({"networkPolicy": {"prometheus": {"podLabels": None}}}, False),
    ({"networkPolicy": {"allow": []}}, False), ({"networkPolicy": {"enabled": 1}}, False),
    ({"behindKeyward": {"podLabels": None}}, False), ({"serviceMonitor": {"path": "/"}}, False),
    ({"serviceMonitor": {"interval": "30"}}, False), ({"env": [{"name": "A"}]}, False),
    ({"env": [{"name": "A", "value": "a", "valueFrom": {}}]}, False), ({"env": ["A=a"]}, False),
    ({"mounts": [{"secret": "a"}]}, False), ({"mounts": [{"secret": "a", "path": "b"}]}, False),
    ({"fullnameOverride": "A B"}, False), ({"fullnameOverride": "1a"}, False),
    ({"fullnameOverride": "a.b"}, False),
    ({"behindKeyward": {"podLabels": {"behind-keyward": None}}}, False),
    # A number would be another tag: 1.10 is 1.1, and 1234567 is 1.234567e+06.
    ({"image": {"tag": 1.1}}, False), ({"enabled": "yes"}, False), ({"enabled": False}, True),
    # What a template has already would be there twice.
    ({"podLabels": {"keyward": "x"}}, False), ({"podAnnotations": {"keyward.toml": ""}}, False),
    ({"podLabels": {"app.kubernetes.io/component": "x"}}, False),
    ({"serviceMonitor": {"labels": {"helm.sh/chart": "x"}}}, False),
    ({"mounts": [{"secret": "a", "path": "/etc/keyward"}]}, False),
    ({"mounts": [{"secret": "a", "path": "/var/lib/keyward/"}]}, False),
    ({"mounts": [{"secret": "a", "configMap": "a", "path": "/ca"}]}, False),
    ({"networkPolicy": {"clients": [{}]}}, False),
    ({"networkPolicy": {"clients": [{"pods": {}}]}}, False),
    ({"service": {"ipFamilyPolicy": "Dual"}}, False), ({"service": {"nodePort": -1}}, False),
    ({"service": {"ipFamilies": ["IPv4", "IPv4"]}}, False),
    ({"listeners": [{"name": "x", "port": 8443}]}, False),
    ({"listeners": [{"name": "x", "port": 80, "servicePort": 443}]}, False),
    ({"listeners": [{"name": "x", "port": 8080, "servicePort": 443}]}, True),
    ({"listeners": [{"name": "x", "port": 9090, "servicePort": 443}]}, True),
    ({"listeners": [{"name": "x", "port": 8443, "servicePort": 80}]}, True),
    ({"listeners": [{"name": "admin", "port": 8443, "servicePort": 443}]}, True),
    ({"listeners": [{"name": "x", "port": 8443, "servicePort": 443, "nodePort": 30000}]}, True),
    ({"service": {"nodePort": 30000}}, True), ({"service": {"loadBalancerClass": "a/b"}}, True),
    ({"autoscaling": {"cpu": "2"}}, True), ({"autoscaling": {"cpu": 2.5}}, True),
    ({"autoscaling": {"cpu": "500m"}, "resources": {"limits": {"cpu": 0.5}}}, True),
    ({"exampleConfig": False}, True), ({"exampleConfig": True, "config": "x"}, True),
    ({"config": " \n", "exampleConfig": False}, True), ({"config": "x" * 200_001}, True),
    ({"autoscaling": {"min": 7}}, True), ({"ports": {"http": 9090}}, True),
    ({"disruptionBudget": {"maxUnavailable": 2}}, True),
    ({"service": {"externalTrafficPolicy": "Local"}}, True),
    ({"service": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}, True),
]  # fmt: skip


def merged(values, over):
    """As Helm puts values over others: `None` removes one."""
    result = dict(values)
    for name, value in over.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result
