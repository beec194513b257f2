"""Read the manifests that `kubectl apply --kustomize` would apply of deploy/kubernetes/."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from shop.config import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
EXAMPLE = MANIFESTS / "overlays" / "example"

Manifest = dict[str, Any]


@cache
def render(directory: Path) -> tuple[Manifest, ...]:
    """Return the resources of a directory."""
    kubectl = Path(sys.executable).parent / "kubectl"
    ran = subprocess.run(
        [kubectl, "kustomize", directory], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""  # it warns of what is out of date
    return tuple(YAML(typ="safe").load_all(ran.stdout))


@cache
def with_component(name: str) -> tuple[Manifest, ...]:
    """Return the resources of the example with one more component."""
    with TemporaryDirectory() as directory:
        place = Path(directory).resolve()
        here = {
            "resources": [os.path.relpath(EXAMPLE, place)],
            "components": [os.path.relpath(MANIFESTS / "components" / name, place)],
        }
        YAML().dump(here, place / "kustomization.yaml")
        return render(place)


def one(manifests: tuple[Manifest, ...], kind: str, name: str = "") -> Manifest:
    [found] = (
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"].startswith(name)
    )
    return found


def pods(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    """Return the templates of all pods."""
    specs = [
        each["spec"].get("jobTemplate", each)["spec"]
        for each in manifests
        if each["kind"] in {"Deployment", "Job", "CronJob"}
    ]
    return [spec["template"] for spec in specs]


def environment_of(manifests: tuple[Manifest, ...], pod: Manifest) -> dict[str, str]:
    [container] = pod["spec"]["containers"]
    assert "env" not in container
    [source] = container["envFrom"]
    environment: dict[str, str] = one(manifests, "ConfigMap", source["configMapRef"]["name"])[
        "data"
    ]
    return environment
