"""The files that the Dockerfile copies are all that the image's commands need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent
# Loads the application as a worker does, and prints what it has imported of `dev`.
LOAD = "import sys, wsgi; print(*sorted(name for name in sys.modules if name.startswith('dev.')))"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a directory with what the Dockerfile copies."""
    [*copies] = re.findall("^COPY ([^-].*) (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for sources, target in copies:
        for name in sources.split():
            (tmp_path / target).parent.mkdir(exist_ok=True)
            if (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, tmp_path / target, ignore=ignore)
            else:
                shutil.copy(ROOT / name, tmp_path / target)
    return tmp_path


@pytest.fixture
def run(image: Path, settings: dict[str, str]) -> Callable[..., str]:
    def run_there(program: str, *arguments: str) -> str:
        environment = {**os.environ, **settings}
        command = [str(BIN / program), *arguments]
        return subprocess.check_output(command, cwd=image, env=environment, text=True)

    return run_there


def test_the_image_has_nothing_else_of_development(image: Path) -> None:
    assert {path.name for path in (image / "dev").iterdir()} == {"__init__.py", "demo"}


@pytest.mark.usefixtures("a_shop")
def test_the_image_fills_an_empty_catalogue(run: Callable[..., str]) -> None:
    assert "Fill an empty catalogue with demo data." in run("flask", "seed", "--help")
    assert "20 categories, 30 products\n40 orders" in run(
        "flask", "seed", "--products", "30", "--orders", "40"
    )


def test_the_image_serves_without_loading_the_demo_data(run: Callable[..., str]) -> None:
    run("gunicorn", "--check-config", "wsgi:app")
    assert run("python", "-c", LOAD).split() == ["dev.demo", "dev.demo.seed"]
