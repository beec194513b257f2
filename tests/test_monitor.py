"""`make monitor`: it says what is missing, and uses the files of deploy/monitoring/ as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from dev.monitor.__main__ import _write_configuration
from dev.monitor.programs import known_programs
from shop import read_settings
from shop.config import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"DATABASE_URL": "postgresql://shop@/shop?host=/sockets", "PORT": "8123"}


def test_without_prometheus_one_line_says_what_to_install(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": str(tmp_path)}
    command = [sys.executable, "-m", "dev.monitor"]
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 1
    assert run.stderr.startswith("make monitor: no prometheus here: install it")
    assert run.stderr.count("\n") == 1


def test_prometheus_finds_all_that_is_installed_and_nothing_else(tmp_path: Path) -> None:
    settings = read_settings(SETTINGS)
    programs = known_programs(settings)
    for port, program in enumerate(programs, 9001):
        program.port = 0 if "redis" in program.name else port
    _write_configuration(tmp_path, settings, programs)
    text = (tmp_path / "prometheus.yml").read_text()
    assert 'targets: ["127.0.0.1:8123"]' in text
    assert 'targets: ["127.0.0.1:9002"]' in text
    assert 'replacement: "127.0.0.1:9004"' in text
    assert 'job_name: postgresql\n    static_configs: [{targets: ["127.0.0.1:9003"]}]' in text
    assert "job_name: redis\n    static_configs: [{targets: []}]" in text
    assert "http://127.0.0.1:8123/livez" in (tmp_path / "front.yml").read_text()
    assert (tmp_path / "metrics_token").stat().st_mode & 0o077 == 0
