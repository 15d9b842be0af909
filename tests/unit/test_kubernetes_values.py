"""include/kubernetes/ says the same as docker-compose.yaml, except where a difference is named here with its reason."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.chart import (
    CHART_VERSION,
    KUBERNETES,
    ROOT,
    Node,
    arguments,
    at,
    known_type,
    kubernetes_quantity,
    leaves,
    merged,
    options,
    read_manifests,
    read_values,
    secret_environment,
)
from tests.support.compose import DOCKERFILE, services
from tests.support.pages import page

COMPOSE_SECRETS = {
    name: f"canary-{name.lower()}"
    for name in (
        "AIRFLOW_ADMIN_PASSWORD",
        "POSTGRES_PASSWORD",
        "BROKER_PASSWORD",
        "JWT_SECRET",
        "API_SECRET_KEY",
        "FERNET_KEY",
        "EMULATOR_PASSWORD",
    )
}
COMPOSED = services(COMPOSE_SECRETS)
VALUES = read_values()
ON_S3 = merged(VALUES, read_values("s3.yaml"))

# The chart's components, by the corresponding services.
COMPONENTS = {
    "api-server": "apiServer",
    "scheduler": "scheduler",
    "dag-processor": "dagProcessor",
    "triggerer": "triggerer",
    "worker": "workers.celery",
    "migrate": "migrateDatabaseJob",
    "prune": "databaseCleanup",
}
REPLICAS = {
    "api-server": "apiServer.replicas",
    "scheduler": "scheduler.replicas",
    "dag-processor": "dagProcessor.replicas",
    "triggerer": "triggerer.replicas",
    "worker": "workers.celery.replicas",
}
# Environment that only one of them has, or with different values, and the reason.
COMPOSED_ENVIRONMENT = {name: value for service in COMPONENTS for name, value in COMPOSED[service].environment.items()}
ONLY_COMPOSE = {
    "AIRFLOW__CELERY__RESULT_BACKEND": "not set, it is Airflow's database, which is what Compose names",
}
ONLY_KUBERNETES = {
    "AIRFLOW__CORE__AUTH_MANAGER": "the chart sets the FAB auth manager; without it this one is Airflow's default",
}
OTHER_VALUE = {
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "the API server's service has the name of the release before its own",
}
OWN_ENVIRONMENT = {
    "DUMB_INIT_SETSID": "the chart sets the same for workers",
    "AIRFLOW_ADMIN_PASSWORD": "the file that it is for is a Secret",
    "KEEP_DAYS": "values of their own",
}


def test_every_value_is_one_that_the_chart_has_and_is_of_its_type() -> None:
    for name in ("values.yaml", "s3.yaml"):
        for path, value in leaves(read_values(name)):
            known = known_type(path)
            assert known is not None, f"{name}: chart {CHART_VERSION} has no {path}"
            assert isinstance(value, known), f"{name}: {path}"
            assert known is not int or not isinstance(value, bool), f"{name}: {path}"


def test_the_version_of_the_chart_and_of_airflow_are_those_that_the_project_pins() -> None:
    for text in ((KUBERNETES / "values.yaml").read_text(), page("deploy.md")):
        assert CHART_VERSION in text
        assert "Helm 3.19" in text
    assert f"--version {CHART_VERSION} " in page("deploy.md")
    pinned = re.search(r"^apache-airflow==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert VALUES["airflowVersion"] == pinned[1]


def test_every_component_runs_the_image_of_the_compose_file() -> None:
    image = f"{VALUES['defaultAirflowRepository']}:{VALUES['defaultAirflowTag']}"
    for service in (*COMPONENTS, "emulator"):
        assert COMPOSED[service].image == image, service
    assert at(_emulator_container(), "image") == image


@pytest.mark.parametrize("service", ["api-server", "scheduler", "dag-processor", "triggerer", "worker"])
def test_every_component_runs_the_command_of_the_compose_file(service: str) -> None:
    shell, flag, line = arguments(VALUES, COMPONENTS[service])
    assert (shell, flag) == ("bash", "-c")
    *before, command = line.split(" && ")
    given = " ".join(COMPOSED[service].command)
    if service == "api-server":
        assert before == ["install -m 600 /opt/airflow/login/passwords.json /opt/airflow/auth/passwords.json"]
        given = given.removesuffix(" --port 8080")  # Airflow's default, and the port to which the chart's service leads
    else:
        assert before == []
    assert command == f"exec {given}"


def test_the_migrations_are_those_of_the_compose_file() -> None:
    _, _, composed = COMPOSED["migrate"].command
    umask, airflow, ledger, login = composed.split(" && ")
    assert umask.startswith("umask")
    assert login.startswith("printf")
    _, _, line = arguments(VALUES, "migrateDatabaseJob")
    assert line == f"{airflow} && exec {ledger}"


def test_replicas_are_those_of_the_compose_file() -> None:
    assert {service: at(VALUES, path) for service, path in REPLICAS.items()} == {
        service: COMPOSED[service].replicas for service in REPLICAS
    }


@pytest.mark.parametrize("service", [*COMPONENTS, "broker"])
def test_limits_are_those_of_the_compose_file(service: str) -> None:
    limits = at(VALUES, f"{COMPONENTS.get(service, 'redis')}.resources.limits")
    composed = COMPOSED[service].limits
    assert limits == {"cpu": composed["cpus"], "memory": kubernetes_quantity(composed["memory"])}


def test_options_are_those_of_the_compose_file() -> None:
    kubernetes = options(VALUES)
    secrets = secret_environment(VALUES)
    composed = {name: value for name, value in COMPOSED_ENVIRONMENT.items() if name not in OWN_ENVIRONMENT}
    assert kubernetes.keys() & secrets.keys() == set()
    assert composed.keys() - kubernetes.keys() - secrets.keys() == ONLY_COMPOSE.keys()
    assert (kubernetes.keys() | secrets.keys()) - composed.keys() == ONLY_KUBERNETES.keys()
    other = {name for name in kubernetes.keys() & composed.keys() if kubernetes[name] != composed[name]}
    assert other == OTHER_VALUE.keys()
    assert kubernetes["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == composed[
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"
    ].replace("//api-server", "//airflow-api-server")


def test_each_variable_named_as_own_is_in_one_service_only() -> None:
    for name in OWN_ENVIRONMENT:
        assert len([service for service in COMPONENTS if name in COMPOSED[service].environment]) == 1, name


def test_the_derived_result_backend_is_the_one_that_the_compose_file_names() -> None:
    composed = COMPOSED["worker"].environment
    derived = "db+" + composed["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert composed["AIRFLOW__CELERY__RESULT_BACKEND"] == derived
    assert "resultBackendSecretName" not in str(VALUES)


def test_a_secret_comes_from_a_secret_of_kubernetes() -> None:
    composed = COMPOSED_ENVIRONMENT
    secret = {name for name, value in composed.items() if "canary" in value}
    secret -= ONLY_COMPOSE.keys() | OWN_ENVIRONMENT.keys()
    assert secret <= secret_environment(VALUES).keys()
    for file in KUBERNETES.iterdir():
        assert not re.search(r"://\w*:(?!PASSWORD@)[^@/\s]+@", file.read_text()), file


def test_the_example_has_every_secret_that_is_asked_for_and_no_value() -> None:
    asked = set(secret_environment(VALUES).values()) | {
        (str(at(VALUES, "redis.passwordSecretName")), "password"),
        (str(at(_first(at(VALUES, "apiServer.extraVolumes")), "secret.secretName")), "passwords.json"),
        ("aem-guides-emulator", "password"),
    }
    offered = {
        (str(at(secret, "metadata.name")), path.removeprefix("stringData.")): str(value)
        for secret in read_manifests("secrets.example.yaml")
        for path, value in leaves(secret)
        if path.startswith("stringData.")
    }
    assert offered.keys() == asked
    for key, value in offered.items():
        assert re.search(r"\b(PASSWORD|KEY)\b", value), key


def test_the_connections_of_the_example_are_of_the_types_of_the_compose_file() -> None:
    (connections,) = (
        secret
        for secret in read_manifests("secrets.example.yaml")
        if at(secret, "metadata.name") == "aem-guides-connections"
    )
    for key in ("default", "archive"):
        given = json.loads(str(at(connections, f"stringData.{key}")))
        composed = COMPOSED["worker"].environment[f"AIRFLOW_CONN_AEM_GUIDES_{key.upper()}"]
        assert given["conn_type"].replace("_", "-") == composed.partition("://")[0]
    ledger = COMPOSED["worker"].environment["AIRFLOW_CONN_AEM_GUIDES_LEDGER"]
    expected = ledger.replace("canary-postgres_password", "PASSWORD").replace("@postgres:", "@HOST:")
    assert at(connections, "stringData.ledger") == expected


def test_the_login_is_where_airflow_looks_for_it() -> None:
    volume = _first(at(VALUES, "apiServer.extraVolumes"))
    mount = _first(at(VALUES, "apiServer.extraVolumeMounts"))
    assert at(volume, "name") == at(mount, "name")
    _, _, line = arguments(VALUES, "apiServer")
    source, target = line.split(" && ")[0].split()[-2:]
    assert source == f"{at(mount, 'mountPath')}/passwords.json"
    assert target == options(VALUES)["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]
    assert f"chmod 700 {target.rpartition('/')[0]}" in DOCKERFILE.read_text()


def test_the_archive_lies_on_the_claim_that_all_pods_share() -> None:
    volume = _first(VALUES["volumes"])
    mount = _first(VALUES["volumeMounts"])
    (claim,) = read_manifests("archive.yaml")
    assert at(volume, "name") == at(mount, "name")
    assert at(volume, "persistentVolumeClaim.claimName") == at(claim, "metadata.name")
    assert at(claim, "spec.accessModes") == ["ReadWriteMany"]
    assert options(VALUES)["AIRFLOW__AEM_GUIDES__ARCHIVE_URI"] == f"file://{at(mount, 'mountPath')}"
    assert f"archive:{at(mount, 'mountPath')}" in str(COMPOSED["worker"].raw["volumes"])


def test_on_s3_there_is_no_shared_volume_and_the_archive_names_its_connection() -> None:
    assert (ON_S3["volumes"], ON_S3["volumeMounts"], at(ON_S3, "logs.persistence.enabled")) == ([], [], False)
    connection = "aem_guides_archive"
    assert f"AIRFLOW_CONN_{connection.upper()}" in secret_environment(ON_S3)
    on_s3 = options(ON_S3)
    assert on_s3["AIRFLOW__AEM_GUIDES__ARCHIVE_URI"].startswith(f"s3://{connection}@")
    assert on_s3["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == connection
    kept = options(VALUES).items() - on_s3.items()
    assert {name for name, _ in kept} == {"AIRFLOW__AEM_GUIDES__ARCHIVE_URI"}


def test_other_components_of_the_chart_are_switched_off() -> None:
    for path in ("postgresql.enabled", "createUserJob.enabled", "statsd.enabled"):
        assert at(VALUES, path) is False, path
    for component in ("dagProcessor", "triggerer", "workers.celery"):
        assert at(VALUES, f"{component}.logGroomerSidecar.enabled") is False, component


def test_workers_have_as_long_to_end_as_in_the_compose_file() -> None:
    assert COMPOSED["worker"].raw["stop_grace_period"] == "10m"
    assert at(VALUES, "workers.celery.terminationGracePeriodSeconds") == 600


def test_nothing_is_set_where_the_chart_has_it_for_both_executors_and_warns_of_it() -> None:
    assert at(VALUES, "workers").keys() == {"celery"}  # type: ignore[union-attr]  # fails where it is no mapping


def test_runs_and_logs_are_kept_as_long_as_in_the_compose_file() -> None:
    days = int(COMPOSED["prune"].environment["KEEP_DAYS"])
    for component in ("databaseCleanup", "scheduler.logGroomerSidecar"):
        assert at(VALUES, f"{component}.enabled") is True
        assert at(VALUES, f"{component}.retentionDays") == days
    assert "--skip-archive" in COMPOSED["prune"].command[2]
    assert at(VALUES, "databaseCleanup.skipArchive") is True


def test_the_emulator_is_the_one_of_the_compose_file() -> None:
    composed = COMPOSED["emulator"]
    container = _emulator_container()
    assert at(container, "args") == composed.command
    assert at(container, "resources.limits") == {
        "cpu": composed.limits["cpus"],
        "memory": kubernetes_quantity(composed.limits["memory"]),
    }
    assert at(container, "securityContext") == {
        "allowPrivilegeEscalation": "no-new-privileges:true" not in str(composed.raw["security_opt"]),
        "readOnlyRootFilesystem": composed.raw["read_only"],
        "capabilities": {"drop": composed.raw["cap_drop"]},
    }
    mounts = at(container, "volumeMounts")
    assert isinstance(mounts, list)
    assert [at(mount, "mountPath") for mount in mounts] == ["/opt/airflow/emulator", "/tmp"]  # noqa: S108  # the container's own
    environment = at(container, "env")
    assert isinstance(environment, list)
    assert {at(item, "name") for item in environment} == composed.environment.keys()
    assert composed.environment["PYTHONPATH"] in str(environment)
    _, service = read_manifests("emulator.yaml")
    address = f"@{at(service, 'metadata.name')}:{at(_first(at(service, 'spec.ports')), 'port')}/"
    assert address in COMPOSED["worker"].environment["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"]
    path = str(at(container, "readinessProbe.httpGet.path"))
    assert f":4502{path}" in composed.health[-1]


def _emulator_container() -> Node:
    deployment, _ = read_manifests("emulator.yaml")
    return _first(at(deployment, "spec.template.spec.containers"))


def _first(node: Node) -> Node:
    assert isinstance(node, list)
    return node[0]
