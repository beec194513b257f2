"""The manifests of deploy/kubernetes/, as kubectl renders them, against schemas and the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
from manifests import EXAMPLE, MANIFESTS, environment_of, one, pods, render, with_component
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from ruamel.yaml import YAML

from dev.settings import setting_names
from shop import create_app
from shop.config import DATABASE_POOL, ROOT, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from manifests import Manifest

VERSIONS = ("1.30", "1.37")  # of Kubernetes
OF_OPERATORS = "monitoring.coreos.com/"  # whose schemas are not those of Kubernetes
POSTGRES_CONNECTIONS = 97  # that a server gives to roles without special rights, by default
SECRET = re.compile("PASSWORD|TOKEN|SECRET|ADMIN_API_KEY|AUTH")
NOWHERE = {"DATABASE_URL": "postgresql://nowhere/none", "REDIS_ENABLED": "false"}
COMPONENTS = ("cached-reads", "purge")  # that the example has not


@pytest.fixture(params=["example", "example/migrate", *COMPONENTS])
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    if request.param not in COMPONENTS:
        return render(EXAMPLE.parent / request.param)
    return with_component(request.param)


def api() -> Manifest:
    return one(render(EXAMPLE), "Deployment", "shop-api")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Read the settings as a pod does, with the files of its volumes elsewhere."""
    for name in ("database", "redis"):
        (tmp_path / f"{name}_password").write_text("a word\n")
    for name in ("admin_api_key", "metrics_token", "secret_key"):
        (tmp_path / name).write_text("0123456789abcdef\n")
    shutil.copy(DEFAULT_CA_BUNDLE_PATH, tmp_path / "ca.crt")
    environment = environment_of(render(EXAMPLE), api()["spec"]["template"])
    here = {
        name: value.replace("/run/secrets/shop", str(tmp_path)).replace("/run/ca", str(tmp_path))
        for name, value in environment.items()
    }
    return Settings.from_environment(here)


# Kubernetes takes them


@pytest.mark.parametrize("version", VERSIONS)
def test_each_manifest_is_of_the_api_of_kubernetes(
    manifests: tuple[Manifest, ...], version: str
) -> None:
    own = [each for each in manifests if not each["apiVersion"].startswith(OF_OPERATORS)]
    assert len(own) >= len(manifests) - 1
    for each in own:
        kubernetes_validate.validate(each, version, strict=True)


def test_what_selects_pods_selects_those_of_the_api() -> None:
    labels = api()["spec"]["template"]["metadata"]["labels"]
    service = one(render(EXAMPLE), "Service")
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["selector"] == api()["spec"]["selector"]["matchLabels"]
    budget = one(render(EXAMPLE), "PodDisruptionBudget")
    assert budget["spec"]["selector"] == api()["spec"]["selector"]
    target = one(render(EXAMPLE), "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", api()["metadata"]["name"])
    assert "replicas" not in api()["spec"]
    monitor = one(render(EXAMPLE), "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_job_is_named_by_the_version_that_the_api_has() -> None:
    job = one(render(EXAMPLE / "migrate"), "Job")
    [migrating] = job["spec"]["template"]["spec"]["containers"]
    [serving] = api()["spec"]["template"]["spec"]["containers"]
    assert migrating["image"] == serving["image"]
    assert job["metadata"]["name"] == f"shop-migrate-{serving['image'].rpartition(':')[2]}"


# Confinement


def test_every_pod_is_confined(manifests: tuple[Manifest, ...]) -> None:
    [uid] = set(re.findall(r"^USER (\d+):\1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        context = spec["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == int(uid)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        written = [each for each in container["volumeMounts"] if not each.get("readOnly")]
        assert [each["mountPath"] for each in written] == ["/tmp"]
        for volume in spec["volumes"]:
            assert volume.get("secret", {}).get("defaultMode", 0o440) == 0o440


def test_no_secret_is_in_a_setting(manifests: tuple[Manifest, ...]) -> None:
    assert not [each for each in manifests if each["kind"] == "Secret"]
    for pod in pods(manifests):
        for name, value in environment_of(manifests, pod).items():
            assert name.endswith("_FILE") or not SECRET.search(name)
            assert not re.search("://[^/]*:[^/]*@", value)


def test_each_file_that_a_setting_names_is_in_a_volume(manifests: tuple[Manifest, ...]) -> None:
    for pod in pods(manifests):
        paths = [mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
        for value in environment_of(manifests, pod).values():
            for path in re.findall(r"/run/[\w./]+", value):
                assert path.rpartition("/")[0] in paths


def test_the_password_of_the_owner_is_for_migrations_alone() -> None:
    secrets = {
        kind: {
            volume["secret"]["secretName"]
            for volume in pod["spec"]["volumes"]
            if "secret" in volume
        }
        for kind, where in (("service", EXAMPLE), ("migrations", EXAMPLE / "migrate"))
        for pod in pods(render(where))
    }
    assert secrets == {"service": {"shop-secrets"}, "migrations": {"shop-owner"}}


def test_every_pod_may_talk_to_its_servers_and_to_no_other(settings: Settings) -> None:
    policy = one(render(EXAMPLE), "NetworkPolicy", "shop-servers")["spec"]
    everybody = [*pods(render(EXAMPLE)), *pods(render(EXAMPLE / "migrate"))]
    for pod in everybody:
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert one(render(EXAMPLE), "NetworkPolicy", "deny-all")["spec"]["podSelector"] == {}
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    named = {
        int(port)
        for port in re.findall(r":(\d+)/", f"{settings.database_url} {settings.redis_url}")
    }
    assert ports == named | {53}
    assert all(rule["to"] for rule in policy["egress"])


# What the code says


def test_each_setting_is_one_of_the_service(manifests: tuple[Manifest, ...]) -> None:
    for pod in pods(manifests):
        assert environment_of(manifests, pod).keys() <= set(setting_names())


def test_the_service_starts_with_these_settings(settings: Settings) -> None:
    assert settings.redis_url.startswith("rediss://shop:a%20word@")
    assert settings.trusted_proxies == 1
    assert settings.metrics_token


def test_ports_are_those_of_the_settings(settings: Settings) -> None:
    [container] = api()["spec"]["template"]["spec"]["containers"]
    [port] = container["ports"]
    assert port["containerPort"] == settings.port
    [published] = one(render(EXAMPLE), "Service")["spec"]["ports"]
    assert published["targetPort"] == port["name"]
    probes = [container[f"{each}Probe"] for each in ("startup", "readiness", "liveness")]
    assert {probe["httpGet"]["port"] for probe in probes} == {port["name"]}


def test_probes_ask_for_what_the_service_answers() -> None:
    app = create_app(NOWHERE)
    known = {str(rule) for rule in app.url_map.iter_rules()}
    for manifests in (render(EXAMPLE), with_component("cached-reads")):
        [container] = one(manifests, "Deployment", "shop-api")["spec"]["template"]["spec"][
            "containers"
        ]
        asked = [
            container[f"{each}Probe"]["httpGet"]["path"]
            for each in ("startup", "readiness", "liveness")
        ]
        assert set(asked) == {"/livez", "/readyz"} <= known
        assert asked[2] == "/livez"


def test_a_pod_is_killed_after_its_requests_have_ended(settings: Settings) -> None:
    text = (ROOT / "gunicorn.conf.py").read_text()
    [seconds] = re.findall(
        r"^graceful_timeout = (\d+) \+ settings.drain_seconds", text, re.MULTILINE
    )
    longest = int(seconds) + settings.drain_seconds
    assert api()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > longest


def test_all_pods_together_have_connections_enough(settings: Settings) -> None:
    """The most pods of the API, those of an upgrade besides, the workers, and an upgrade's Job."""
    surge = api()["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    most = one(render(EXAMPLE), "HorizontalPodAutoscaler")["spec"]["maxReplicas"] + surge
    workers = most * settings.web_concurrency
    held = workers * (DATABASE_POOL["pool_size"] + DATABASE_POOL["max_overflow"])
    background = one(render(EXAMPLE), "Deployment", "shop-worker")["spec"]["replicas"]
    assert held + 2 * (background + 1) + 2 <= POSTGRES_CONNECTIONS


def test_each_command_is_one_of_flask(manifests: tuple[Manifest, ...]) -> None:
    run = create_app(NOWHERE).test_cli_runner().invoke
    for pod in pods(manifests):
        command = pod["spec"]["containers"][0].get("args", ["flask"])
        assert run(args=[*command[1:], "--help"]).exit_code == 0


def test_the_rules_of_the_operator_are_those_of_prometheus() -> None:
    printed = YAML(typ="safe").load_all(
        subprocess.check_output([MANIFESTS / "prometheus-rules.sh"])
    )
    for resource, name in zip(printed, ("recording", "alerts"), strict=True):
        rules = (ROOT / "deploy" / "monitoring" / f"{name}.yml").read_text()
        assert resource["kind"] == "PrometheusRule"
        assert resource["spec"] == YAML(typ="safe").load(rules)
