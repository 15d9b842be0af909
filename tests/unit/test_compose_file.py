"""docker-compose.yaml and its files: valid, complete, and without a secret."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from aem_guides import __version__
from emulator.__main__ import parse_arguments, read_settings
from tests.support.compose import (
    DOCKERFILE,
    ROOT,
    UnsetError,
    documents,
    interpolate,
    read_text,
    services,
)
from tests.support.pages import flowing

SECRETS = {
    "AIRFLOW_ADMIN_PASSWORD": "canary-admin",
    "POSTGRES_PASSWORD": "canary-postgres",
    "BROKER_PASSWORD": "canary-broker",
    "JWT_SECRET": "canary-jwt",
    "API_SECRET_KEY": "canary-session",
    "FERNET_KEY": "canary-fernet",
}
LASTING = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
AIRFLOW = (*LASTING, "migrate", "prune")
# docker-compose.yaml says what each secret can do, where it is set.
REACHES = {
    "AIRFLOW_ADMIN_PASSWORD": {"migrate"},
    "POSTGRES_PASSWORD": {"postgres", *AIRFLOW},
    "BROKER_PASSWORD": {"broker", "scheduler", "worker"},
    "JWT_SECRET": {"api-server", "scheduler"},
    "API_SECRET_KEY": {*LASTING},
    "FERNET_KEY": {"migrate", "api-server", "scheduler", "dag-processor", "triggerer"},
    "EMULATOR_PASSWORD": {"emulator", "triggerer", "worker"},
    "AIRFLOW_CONN_AEM_GUIDES_DEFAULT": {"triggerer", "worker"},
    "AIRFLOW_CONN_AEM_GUIDES_ARCHIVE": {"api-server", "triggerer", "worker"},
}
STEP_DOWN = {"CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID"}


@pytest.mark.parametrize("missing", SECRETS)
def test_it_does_not_start_without_a_secret_and_has_none_of_its_own(missing: str) -> None:
    with pytest.raises(UnsetError, match=missing):
        services({name: value for name, value in SECRETS.items() if name != missing})


def test_whatever_sounds_like_a_secret_comes_from_a_variable() -> None:
    for name, raw in documents()["services"].items():
        environment = raw.get("environment") or {}
        assert isinstance(environment, dict)
        for variable, value in environment.items():
            if re.search("PASSWORD$|SECRET|KEY|CONN_|BROKER_URL|BACKEND", variable):
                assert "${" in str(value), f"{name}: {variable}"


def test_no_process_gets_a_secret_as_an_argument() -> None:
    for service in services(SECRETS).values():
        assert "canary" not in " ".join([*service.command, *service.health]), service.name


def test_the_topology_is_the_one_that_the_readme_promises() -> None:
    composed = services(SECRETS)
    assert set(composed) == {"postgres", "broker", "emulator", *AIRFLOW}
    assert {name: composed[name].replicas for name in LASTING} == {
        "api-server": 1,
        "scheduler": 1,
        "dag-processor": 1,
        "triggerer": 2,
        "worker": 2,
    }
    assert services(SECRETS | {"AIRFLOW_WORKERS": "7"})["worker"].replicas == 7
    assert [name for name, service in composed.items() if service.profiles] == ["emulator"]


def test_every_service_says_how_it_is_limited_and_restarted_and_what_is_its_health() -> None:
    for name, service in services(SECRETS).items():
        assert set(service.limits) == {"cpus", "memory"}, name
        once = name == "migrate"
        assert service.raw["restart"] == ("on-failure" if once else "unless-stopped"), name
        assert bool(service.health) is not once, name
    for name in (*LASTING, "prune"):
        waits = services(SECRETS)[name].raw["depends_on"]
        assert isinstance(waits, dict)
        assert waits["migrate"] == {"condition": "service_completed_successfully"}, name


def test_no_service_fills_the_disk_with_its_output() -> None:
    for name, service in services(SECRETS).items():
        logging = service.raw["logging"]
        assert isinstance(logging, dict), name
        assert logging["driver"] == "json-file", name
        assert logging["options"] == {"max-size": "20m", "max-file": "5"}, name


def test_workers_end_before_what_their_tasks_need_and_all_have_the_time_they_take() -> None:
    composed = services(SECRETS)
    needed = composed["worker"].raw["depends_on"]
    assert isinstance(needed, dict)
    assert needed.keys() == {"migrate", "postgres", "broker", "api-server"}
    graces = {
        name: service.raw["stop_grace_period"] for name, service in composed.items() if "stop_grace" in str(service.raw)
    }
    assert graces == {"postgres": "60s", "triggerer": "60s", "worker": "10m"}


def test_the_image_has_the_tag_of_the_version() -> None:
    assert services(SECRETS)["scheduler"].image == f"aem-guides-airflow:{__version__}"


def test_the_pages_say_how_much_memory_the_services_may_use() -> None:
    lasting = [service for name, service in services(SECRETS).items() if name not in ("migrate", "emulator")]
    gigabytes = sum(int(service.limits["memory"].removesuffix("g")) * service.replicas for service in lasting)
    processors = max(int(service.limits["cpus"]) for service in lasting)
    assert f"at least {processors} processors" in flowing()
    assert f"up to {gigabytes} GB of memory" in flowing()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://localhost:8080"),
        ({"AIRFLOW_PORT": "8090"}, "http://localhost:8090"),
        ({"AIRFLOW_PORT": "8090", "AIRFLOW_URL": "https://airflow.example.com"}, "https://airflow.example.com"),
    ],
)
def test_airflow_gets_the_address_at_which_it_is_reached(given: dict[str, str], address: str) -> None:
    assert services(SECRETS | given)["api-server"].environment["AIRFLOW__API__BASE_URL"] == address


def test_all_of_airflow_runs_one_image_with_the_same_settings_except_secrets() -> None:
    composed = services(SECRETS)
    assert len({composed[name].image for name in (*AIRFLOW, "emulator")}) == 1
    options = documents()["x-options"]
    assert {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW__AEM_GUIDES__ARCHIVE_URI"} <= options.keys()
    assert "canary" not in interpolate(str(options), SECRETS)
    for name in AIRFLOW:
        reported = composed[name].environment
        assert options.keys() <= reported.keys(), name
        assert all(reported[option] == composed["scheduler"].environment[option] for option in options), name


@pytest.mark.parametrize("secret", REACHES)
def test_a_secret_reaches_those_services_alone_that_need_it(secret: str) -> None:
    given = {**SECRETS, secret: "canary-of-its-own"}
    reached = {
        name
        for name, service in services(given).items()
        if any("canary-of-its-own" in value for value in service.environment.values())
    }
    assert reached == REACHES[secret]


def test_whatever_is_a_secret_in_the_example_is_held_to_be_one_here() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))
    assert {name for name in named if re.search("PASSWORD$|SECRET|KEY$|CONN_", name)} == REACHES.keys()


def test_no_service_has_a_capability_but_to_step_down_from_root_or_a_way_to_one() -> None:
    added = {}
    for name, service in services(SECRETS).items():
        assert service.raw["cap_drop"] == ["ALL"], name
        assert service.raw["security_opt"] == ["no-new-privileges:true"], name
        added[name] = service.raw.get("cap_add", [])
    given = {name: set(map(str, caps)) for name, caps in added.items() if isinstance(caps, list) and caps}
    assert given == {"broker": STEP_DOWN, "postgres": STEP_DOWN | {"FOWNER"}}


def test_the_broker_goes_through_the_entry_point_that_steps_down_from_root() -> None:
    """The entry point steps down only for a command whose first word is the server."""
    shell, flag, line = services(SECRETS)["broker"].command
    assert (shell, flag) == ("sh", "-c")
    assert line.startswith("exec docker-entrypoint.sh valkey-server - ")


def test_file_systems_are_read_only_where_that_works() -> None:
    composed = services(SECRETS)
    sealed = {name for name, service in composed.items() if service.raw.get("read_only") is True}
    assert sealed == composed.keys() - {"postgres", "worker"}
    for name in sealed:
        assert composed[name].raw["tmpfs"] == ["/tmp"], name  # noqa: S108  # the container's own folder
    assert "\nRUN touch /opt/airflow/airflow.cfg\n" in DOCKERFILE.read_text()
    for name in ("postgres", "worker"):
        comment = read_text().partition(f"\n  {name}:\n")[0].rpartition("\n\n")[2]
        assert "read_only" in comment, f"{name}: why not?"


def test_the_image_is_built_without_asking_a_registry_for_its_syntax() -> None:
    assert "# syntax=" not in DOCKERFILE.read_text()


def test_a_pull_passes_over_the_image_that_was_built_here() -> None:
    """`--ignore-buildable` passes over services that build; a policy, over those whose image is there."""
    composed = services(SECRETS)
    assert [name for name, service in composed.items() if "build" in service.raw] == ["migrate"], (
        "at once, they collide"
    )
    for name in (*AIRFLOW, "emulator"):
        assert "build" in composed[name].raw or composed[name].raw["pull_policy"] == "missing", name
    for name in ("postgres", "broker"):
        assert not {"build", "pull_policy"} & composed[name].raw.keys(), name


def test_logs_and_rows_are_pruned_after_the_configured_days() -> None:
    composed = services(SECRETS)
    assert composed["prune"].environment["KEEP_DAYS"] == "90"
    assert services(SECRETS | {"AIRFLOW_KEEP_DAYS": "7"})["prune"].environment["KEEP_DAYS"] == "7"
    script = composed["prune"].command[2]
    assert "airflow db clean --yes --skip-archive" in script
    assert script.count("$KEEP_DAYS") == 3
    assert all(folder.startswith("/opt/airflow/logs ") for folder in re.findall(r"find (.+)", script))


def test_every_airflow_service_and_no_other_takes_further_variables_from_a_file_that_may_be_missing() -> None:
    given = {name: service.raw.get("env_file") for name, service in services(SECRETS).items()}
    further = [{"path": "airflow.env", "required": False}]
    assert given == {name: further if name in AIRFLOW else None for name in given}


@pytest.mark.parametrize("name", [".env", "airflow.env", "secrets.yaml"])
def test_files_with_secrets_come_neither_into_the_repository_nor_into_the_image(name: str) -> None:
    assert f"\n{name}\n" in (ROOT / ".gitignore").read_text()
    ignored = (ROOT / ".dockerignore").read_text()
    assert f"\n**/{name}\n" in ignored
    assert f"!{name}" not in ignored


def test_the_emulator_takes_its_arguments() -> None:
    command = services(SECRETS)["emulator"].command
    assert command[:3] == ["python", "-m", "emulator"]
    options = parse_arguments(command[3:])
    assert (options.host, options.port) == ("0.0.0.0", 4502)  # noqa: S104  # in a container of its own
    assert read_settings(options).rate == 2.0


def test_without_another_instance_airflow_talks_to_the_emulator() -> None:
    shown = services(SECRETS | {"EMULATOR_PASSWORD": "canary-emulator"})["worker"].environment
    assert shown["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"] == "aem-guides://admin:canary-emulator@emulator:4502/http"
    own = '{"conn_type": "aem_guides", "host": "https://author.example.com", "password": "a$b"}'
    shown = services(SECRETS | {"AIRFLOW_CONN_AEM_GUIDES_DEFAULT": own})["worker"].environment
    assert shown["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"] == own


@pytest.mark.parametrize("given", [{}, {"EMULATOR_PASSWORD": "canary-emulator"}])
def test_the_emulator_has_the_password_that_airflow_gives_it(given: dict[str, str]) -> None:
    composed = services(SECRETS | given)
    password = composed["emulator"].environment["EMULATOR_PASSWORD"]
    assert password
    assert f"//admin:{password}@" in composed["worker"].environment["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"]


def test_the_database_is_not_ready_before_the_ledgers_database_is_made() -> None:
    """The image makes databases with a server that answers on its socket only; over TCP it answers afterwards."""
    assert "--host" in services(SECRETS)["postgres"].health


@pytest.mark.parametrize("name", ["broker", *LASTING])
def test_a_service_that_lasts_is_a_single_process_that_hears_the_signal_to_end(name: str) -> None:
    command = services(SECRETS)[name].command
    if command[0] in ("sh", "bash"):
        assert command[2].startswith("exec ")
        assert "|" not in command[2]


def test_the_example_of_the_environment_names_every_variable_of_the_file() -> None:
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", read_text()))
    assert named == used - {"AEM_GUIDES_IMAGE"}
    filled = [line for line in example.splitlines() if re.match(r"[A-Z_]+=.", line)]
    assert filled == []


def test_the_image_is_built_from_what_is_there_and_installs_nothing_later() -> None:
    dockerfile = DOCKERFILE.read_text()
    builds = [service["build"] for service in yaml.safe_load(read_text())["services"].values() if "build" in service]
    assert builds
    assert all(ROOT / build["context"] / build["dockerfile"] == DOCKERFILE for build in builds)
    copied = {
        source
        for line in re.findall(r"^COPY --chown=\S+ (.+) \S+$", dockerfile, re.MULTILINE)
        for source in line.split()
    }
    ignored = (ROOT / ".dockerignore").read_text()
    for source in copied - {"/tmp/wheels"}:  # noqa: S108  # a folder of the image
        assert (ROOT / source).exists(), source
        assert f"!{Path(source).parts[0]}\n" in ignored
    extras = re.findall(r"\[([\w,]+)\]\"", dockerfile)[0].split(",")
    offered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= set(offered)
    assert "--constraint /opt/airflow/constraints.txt" in dockerfile
    for service in services(SECRETS).values():
        assert not re.search(r"\bpip\b|\bapt", " ".join(service.command)), service.name


def test_every_volume_that_airflow_mounts_is_a_folder_of_the_image() -> None:
    made = DOCKERFILE.read_text().rpartition("RUN mkdir -p")[2]
    for name in (*AIRFLOW, "emulator"):
        for mount in yaml.safe_load(read_text())["services"][name]["volumes"]:
            assert mount.partition(":")[2] in made, f"{name}: {mount}"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "a"),
        ("${B}", ""),
        ("${B:-b}", "b"),
        ("x${B:-${A}-${C:-c}}y", "xa-cy"),
        ("$$A $${A}", "$A ${A}"),
        ("${D}", "$A ${A}"),
    ],
)
def test_variables_are_put_in_as_compose_does(text: str, result: str) -> None:
    assert interpolate(text, {"A": "a", "D": "$A ${A}"}) == result
