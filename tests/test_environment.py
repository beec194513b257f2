"""The sources of settings: the environment, `.env`, files of secrets, and variables of others."""

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

from shop import config, create_app
from shop.config import Settings
from shop.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service

DATABASE = {"DATABASE_URL": "postgresql://shop@localhost/shop"}
SECRETS = ("ADMIN_API_KEY", "METRICS_TOKEN", "SECRET_KEY", "REDIS_PASSWORD")
SECRET = "0123456789abcdef"


def read(**environment: str) -> Settings:
    return Settings.from_environment(DATABASE | environment)


def refusal(**environment: str) -> str:
    """Return the one line that refuses an environment."""
    with pytest.raises(SettingError) as refused:
        read(**environment)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def held(settings: Settings, name: str) -> str | None:
    """Return a secret as the settings hold it."""
    if name == "REDIS_PASSWORD":
        return settings.redis_url.removeprefix("redis://:").partition("@")[0]
    value: str = getattr(settings, name.lower())
    return value


# Service links


@pytest.mark.parametrize(
    "link",
    [
        "tcp://10.96.0.7:6379", "udp://10.96.0.7:6379", "sctp://10.96.0.7:6379",
        "tcp://[fd00::7]:6379", " tcp://10.96.0.7:6379\n",
    ],
)  # fmt: skip
def test_a_service_link_is_not_a_setting(link: str) -> None:
    """Kubernetes sets the variable for a service that is called `redis`."""
    settings = read(REDIS_HOST="cache", REDIS_PORT=link)
    assert settings.redis_url == "redis://cache:6379/0"
    [remark] = settings.remarks()
    assert remark.startswith("REDIS_PORT is a service link")
    assert read(REDIS_HOST="cache", REDIS_PORT="6380").remarks() == []


def test_a_service_link_hides_no_setting_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("REDIS_PORT=6380\n")
    monkeypatch.setattr(config, "FILES", [tmp_path / ".env"])
    settings = read(REDIS_PORT="tcp://10.96.0.7:6379")
    assert settings.redis_url == "redis://localhost:6380/0"


@pytest.mark.parametrize(
    ("name", "value"), [("REDIS_URL", "tcp://10.96.0.7:6379"), ("DATABASE_URL", "tcp://h/d")]
)
def test_a_setting_that_no_platform_injects_is_refused_with_a_service_link_value(
    name: str, value: str
) -> None:
    with pytest.raises(SettingError, match=f"^{name} must begin with"):
        create_app(DATABASE | {name: value})


def test_an_ignored_service_link_is_logged_once(
    serve: Callable[..., Service], settings: dict[str, str]
) -> None:
    service = serve(WEB_CONCURRENCY="2", REDIS_PORT="tcp://10.96.0.7:6379")
    assert service.get("/products").ok
    assert service.log.read_text().count("REDIS_PORT is a service link") == 1


# Files of secrets


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n", f"\ufeff{SECRET}", f"{SECRET}\r\n", f"\r\n \t{SECRET}\n\n", SECRET,
    ],
)  # fmt: skip
def test_a_secret_file_is_read_without_byte_order_mark_and_newline(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / "secret").write_bytes(content.encode())
    settings = read(**{f"{name}_FILE": str(tmp_path / "secret")})
    assert held(settings, name) == SECRET


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"), (b" \r\n", "is empty"), (b"\xef\xbb\xbf", "is empty"),
        (b"hidden-\xff-0123456789", "is not text in UTF-8"),
        ("hidden-0123456789".encode("utf-16"), "is not text in UTF-8"),
        ("hidden-0123456789".encode("utf-16-le"), "must be one line without control characters"),
        (b"hidden-\0-0123456789", "must be one line without control characters"),
        (b"hidden-0123456789\nhidden-0123456789", "must be one line without control characters"),
        (b"hidden-\x1b-0123456789", "must be one line without control characters"),
        (b"hidden-" * 10_000, "has more than 65536 bytes"),
    ],
)  # fmt: skip
def test_an_unreadable_secret_file_is_reported_by_setting_and_path_alone(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    line = refusal(**{f"{name}_FILE": str(path)})
    assert line.startswith(f"{name}_FILE")
    assert str(path) in line
    assert reason in line
    assert "hidden" not in line.replace("\\x00", "")


@pytest.mark.parametrize("name", SECRETS)
def test_an_unreadable_secret_path_is_reported_with_its_reason(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place, reason in {
        "": "is not a file",
        "pipe": "is not a file",  # a second process would wait for it, or find it empty
        "nothing": "No such file or directory",
        "loop": "symbolic links",
        "two\nlines": "No such file or directory",
    }.items():
        line = refusal(**{f"{name}_FILE": str(tmp_path / place)})
        assert line.startswith(f"{name}_FILE ")
        assert str(tmp_path) in line
        assert reason in line


def test_a_secret_in_the_environment_goes_before_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of-the-file-0123456789")
    path = str(tmp_path / "secret")
    assert read(SECRET_KEY=SECRET, SECRET_KEY_FILE=path).secret_key == SECRET
    assert read(SECRET_KEY="", SECRET_KEY_FILE=path).secret_key == "of-the-file-0123456789"


def test_a_secret_of_the_environment_goes_before_those_of_files_in_either_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / ".env").write_text("SECRET_KEY=another-0123456789\n")
    monkeypatch.setattr(config, "FILES", [tmp_path / ".env"])
    assert read().secret_key == "another-0123456789"
    assert read(SECRET_KEY_FILE=str(tmp_path / "secret")).secret_key == SECRET


@pytest.mark.parametrize("name", [*SECRETS, "REDIS_URL", "LOG_LEVEL", "CORS_ORIGINS"])
def test_a_secret_that_is_not_text_is_refused_and_not_quoted(name: str) -> None:
    """Bytes outside of UTF-8 are surrogates in the environment; NUL can come from a file."""
    for value in ("hidden-0123456789\udcff", "hidden-0123456789\0"):
        line = refusal(**{name: value})
        assert line == f"{name} must be text in UTF-8 without NUL characters"


def test_a_refused_value_is_quoted_in_one_line_of_bounded_length() -> None:
    assert refusal(PORT="80\n80").endswith(r"not 80\n80")
    assert len(refusal(PORT="8" * 100_000)) < 1000


# Files of settings


def test_values_of_a_file_are_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setattr(config, "FILES", [tmp_path / ".env"])
    for value in ("a$b${HOME}c$HOME-0123", "${NOTHING}0123456789abcdef", "$$0123456789abcdef"):
        for quoted in (value, f"'{value}'", f'"{value}"'):
            (tmp_path / ".env").write_text(f"SECRET_KEY={quoted}\n")
            assert read().secret_key == value


def test_a_file_of_settings_may_begin_with_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("\ufeffREDIS_HOST=cache\r\nLOG_LEVEL=ERROR\r\n")
    monkeypatch.setattr(config, "FILES", [tmp_path / ".env"])
    assert (read().redis_url, read().log_level) == ("redis://cache:6379/0", "ERROR")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of what serves, with a place for an `.env` of its own."""
    for name in ("shop", "dev"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("wsgi.py", "gunicorn.conf.py", ".flaskenv"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(directory: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = re.compile("DATABASE_URL|REDIS_|METRICS_|SECRET_KEY")
    environment = {name: one for name, one in os.environ.items() if not settings.match(name)}
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


GUNICORN = ("gunicorn", "--check-config", "wsgi:app")
EMBEDDED = ("python", "-m", "dev.embedded")
FLASK = ("flask", "routes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (GUNICORN, ".env"), (EMBEDDED, ".env"), (GUNICORN, "instance/running.env"),
        (FLASK, "instance/running.env"),  # it reads `.env` itself, before the application
    ],
    ids=str,
)  # fmt: skip
def test_a_file_of_settings_that_is_no_text_stops_the_start_with_one_line(
    copy: Path, command: tuple[str, ...], file: str
) -> None:
    (copy / "instance").mkdir()
    (copy / file).write_bytes(b"SECRET_KEY=hidden-\xff\n")
    done = run(copy, *command)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert line.endswith(f"{copy / file} is not text in UTF-8")


@pytest.mark.slow
def test_every_command_reads_a_file_of_settings_alike(copy: Path) -> None:
    """`${…}` is no variable to any of them: what it stands for would be too short."""
    url = DATABASE["DATABASE_URL"]
    (copy / ".env").write_text(f"DATABASE_URL={url}\nMETRICS_TOKEN=${{NOTHING}}0123456789\n")
    for command in (FLASK, GUNICORN):
        done = run(copy, *command)
        assert done.returncode == 0, done.stderr
