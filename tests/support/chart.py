"""The effect of include/kubernetes/values.yaml on the official Helm chart: commands and environment of each
component."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "include" / "kubernetes"
CHART_VERSION = "1.22.0"
Node: TypeAlias = "str | int | float | bool | list[Node] | dict[str, Node] | None"

# The commands of the chart without our values (`args` of its values.yaml, with its templates filled in).
CHART_ARGS: Mapping[str, list[str]] = {
    "apiServer": ["bash", "-c", "exec airflow api-server"],
    "scheduler": ["bash", "-c", "exec airflow scheduler"],
    "dagProcessor": ["bash", "-c", "exec airflow dag-processor"],
    "triggerer": ["bash", "-c", "exec airflow triggerer"],
    "workers.celery": ["bash", "-c", "exec airflow celery worker"],
    "migrateDatabaseJob": ["bash", "-c", "exec airflow db migrate"],
}

# Every value of the chart that we rely on, and the type in its schema. `*`: any key.
CHART_VALUES: Mapping[str, type | tuple[type, ...]] = {
    "airflowVersion": str,
    "apiSecretKeySecretName": str,
    "apiServer.args": list,
    "apiServer.extraVolumeMounts": list,
    "apiServer.extraVolumes": list,
    "apiServer.replicas": int,
    "apiServer.resources.*": str,
    "apiServer.startupProbe.failureThreshold": int,
    "apiServer.startupProbe.periodSeconds": int,
    "config.*": (str, int),
    "createUserJob.enabled": bool,
    "dagProcessor.enabled": bool,
    "dagProcessor.logGroomerSidecar.enabled": bool,
    "dagProcessor.replicas": int,
    "dagProcessor.resources.*": str,
    "data.brokerUrlSecretName": str,
    "data.metadataSecretName": str,
    "databaseCleanup.enabled": bool,
    "databaseCleanup.resources.*": str,
    "databaseCleanup.retentionDays": int,
    "databaseCleanup.schedule": str,
    "databaseCleanup.skipArchive": bool,
    "defaultAirflowRepository": str,
    "defaultAirflowTag": str,
    "enableBuiltInSecretEnvVars.AIRFLOW_CONN_AIRFLOW_DB": bool,
    "executor": str,
    "extraEnv": str,
    "fernetKeySecretName": str,
    "images.migrationsWaitTimeout": int,
    "jwtSecretName": str,
    "logs.persistence.enabled": bool,
    "logs.persistence.size": str,
    "migrateDatabaseJob.args": list,
    "migrateDatabaseJob.resources.*": str,
    "postgresql.enabled": bool,
    "redis.enabled": bool,
    "redis.passwordSecretName": str,
    "redis.persistence.enabled": bool,
    "redis.persistence.size": str,
    "redis.resources.*": str,
    "scheduler.logGroomerSidecar.enabled": bool,
    "scheduler.logGroomerSidecar.retentionDays": int,
    "scheduler.replicas": int,
    "scheduler.resources.*": str,
    "scheduler.startupProbe.failureThreshold": int,
    "scheduler.startupProbe.periodSeconds": int,
    "secret": list,
    "statsd.enabled": bool,
    "triggerer.enabled": bool,
    "triggerer.logGroomerSidecar.enabled": bool,
    "triggerer.persistence.size": str,
    "triggerer.replicas": int,
    "triggerer.resources.*": str,
    "volumeMounts": list,
    "volumes": list,
    "workers.celery.logGroomerSidecar.enabled": bool,
    "workers.celery.persistence.size": str,
    "workers.celery.replicas": int,
    "workers.celery.resources.*": str,
    "workers.celery.terminationGracePeriodSeconds": int,
}

_RELEASE = "airflow"
_TEMPLATES = {'{{ include "airflow.fullname" . }}': _RELEASE, "{{ .Values.ports.apiServer }}": "8080"}


def read_values(name: str = "values.yaml") -> dict[str, Node]:
    """One of the files for `helm -f`."""
    return dict(yaml.safe_load((KUBERNETES / name).read_text()))


def read_manifests(name: str) -> list[dict[str, Node]]:
    """The documents of one of the files for `kubectl apply -f`."""
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def merged(base: dict[str, Node], over: dict[str, Node]) -> dict[str, Node]:
    """Two values files as Helm merges them: mappings key by key, everything else as a whole."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every value that is not a mapping, with its path. An empty mapping has none."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    else:
        yield path, node


def known_type(path: str) -> type | tuple[type, ...] | None:
    """The type that the chart's schema gives this path, or None if the chart has no such value."""
    parts = path.split(".")
    wildcards = (".".join([*parts[:length], "*"]) for length in range(1, len(parts)))
    return next((CHART_VALUES[known] for known in (path, *wildcards) if known in CHART_VALUES), None)


def at(node: Node, path: str) -> Node:
    """The value at a path. Raises KeyError."""
    for part in path.split("."):
        if not isinstance(node, dict):
            raise KeyError(path)
        node = node[part]
    return node


def arguments(values: dict[str, Node], component: str) -> list[str]:
    """The arguments with which a component's container is started."""
    own = at(values, component)
    assert isinstance(own, dict)
    args = own.get("args", list(CHART_ARGS[component]))
    assert isinstance(args, list)
    return [str(part) for part in args]


def options(values: dict[str, Node]) -> dict[str, str]:
    """The options that the values put into airflow.cfg, by the equivalent environment variables."""
    found = {}
    for path, value in leaves(values.get("config")):
        section, _, option = path.partition(".")
        text = str(value)
        for template, meant in _TEMPLATES.items():
            text = text.replace(template, meant)
        assert "{{" not in text, path
        found[f"AIRFLOW__{section.upper()}__{option.upper()}"] = text
    return found | {"AIRFLOW__CORE__EXECUTOR": str(values["executor"])}


def secret_environment(values: dict[str, Node]) -> dict[str, tuple[str, str]]:
    """Environment variables that come from a Secret: its name and key."""
    built_in = {
        "AIRFLOW__API__SECRET_KEY": ("apiSecretKeySecretName", "api-secret-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": ("jwtSecretName", "jwt-secret"),
        "AIRFLOW__CELERY__BROKER_URL": ("data.brokerUrlSecretName", "connection"),
        "AIRFLOW__CORE__FERNET_KEY": ("fernetKeySecretName", "fernet-key"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": ("data.metadataSecretName", "connection"),
    }
    found = {name: (str(at(values, path)), key) for name, (path, key) in built_in.items()}
    listed = values["secret"]
    assert isinstance(listed, list)
    for item in listed:
        found[str(at(item, "envName"))] = (str(at(item, "secretName")), str(at(item, "secretKey")))
    for item in yaml.safe_load(str(values["extraEnv"])):
        reference = item["valueFrom"]["secretKeyRef"]
        found[item["name"]] = (reference["name"], reference["key"])
    return found


def kubernetes_quantity(amount: str) -> str:
    """An amount of memory in the form of Compose (`2g`: 2 * 1024**3 bytes), in the form of Kubernetes."""
    found = re.fullmatch(r"(\d+)([gm])", amount)
    assert found, amount
    return f"{found[1]}{found[2].upper()}i"
