"""The compose files of deploy/compose/, each added to docker-compose.production.yaml."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from dev.settings import setting_names
from shop.config import ROOT

if TYPE_CHECKING:
    from pathlib import Path

BASE = ROOT / "docker-compose.production.yaml"
FILES = sorted((ROOT / "deploy" / "compose").glob("*.yaml"))
PINNED = re.compile(r"[a-z/]+:v?\d+\.\d+(\.\d+)?[\w.-]*")
SECRET = re.compile("PASSWORD|TOKEN|SECRET|ADMIN_API_KEY|AUTH")
# Settings of the other programs that containers run.
OF_OTHERS = re.compile("PG|DATA_SOURCE|REDIS_ADDR|REDIS_EXPORTER")

Compose = dict[str, Any]


def read(path: Path) -> Compose:
    content: Compose = YAML(typ="safe").load(path.read_text().replace("!reset", ""))
    return content


def names(value: Any) -> list[str]:
    """Return the names in a list, or those of a mapping."""
    return list(value or [])


@pytest.fixture
def base() -> Compose:
    return read(BASE)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def added(request: pytest.FixtureRequest) -> Compose:
    return read(request.param)


def test_what_it_refers_to_is_there(base: Compose, added: Compose) -> None:
    services = base["services"].keys() | added["services"].keys()
    networks = base["networks"].keys() | added.get("networks", {}).keys()
    volumes = base["volumes"].keys() | added.get("volumes", {}).keys()
    for service in added["services"].values():
        assert set(names(service.get("depends_on"))) <= services
        assert set(names(service.get("networks"))) <= networks
        assert set(names(service.get("secrets"))) <= base["secrets"].keys()
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            is_made = source.startswith("./secrets/tls")
            assert is_made or source in volumes or (ROOT / source).exists()


def test_a_container_of_the_base_stays_what_it_is(base: Compose, added: Compose) -> None:
    """A command that replaces another has the options of that one."""
    for name in base["services"].keys() & added["services"].keys():
        here, there = added["services"][name], base["services"][name]
        assert not {"image", "cap_drop", "read_only", "security_opt"} & here.keys()
        if "command" in here:
            assert set(there["command"]) <= set(here["command"])


def test_a_container_of_its_own_is_confined(base: Compose, added: Compose) -> None:
    for name in added["services"].keys() - base["services"].keys():
        service = added["services"][name]
        assert PINNED.fullmatch(service["image"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["logging"]["options"]
        assert service["pids_limit"]
        assert service["mem_limit"]
        assert service["cpus"]
        assert name == "nginx" or "ports" not in service


def test_images_of_a_server_are_of_one_version(base: Compose, added: Compose) -> None:
    versions = {
        service["image"]
        for service in [*base["services"].values(), *added["services"].values()]
        if re.match("redis:|postgres:", service.get("image", ""))
    }
    assert len(versions) == 2


def test_settings_are_those_of_the_service_and_hold_no_secret(added: Compose) -> None:
    for service in added["services"].values():
        for name, value in service.get("environment", {}).items():
            assert name in setting_names() or OF_OTHERS.match(name)
            assert not SECRET.search(name)
            assert not re.search("://[^/]*:[^/]*@", str(value))


def test_each_command_of_a_container_is_a_script_that_it_has(added: Compose) -> None:
    for service in added["services"].values():
        words = [*names(service.get("entrypoint")), *names(service.get("command"))]
        inside = [mount.split(":")[1] for mount in service.get("volumes", [])]
        scripts = [word for word in words if word.startswith("/usr/local/")]
        assert set(scripts) - {"/usr/local/bin/redis.sh"} <= set(inside)
