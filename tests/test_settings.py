"""The lists of settings are those of shop/config.py; `make settings` writes them anew."""

from __future__ import annotations

import pytest
from dotenv import dotenv_values

from dev import settings
from dev.embedded.__main__ import SHARED_SETTINGS
from dev.meanings import MEANINGS
from shop.config import ROOT, Settings

OF_COMPOSE_ALONE = {"HOST_ADDRESS", "API_CPUS", "POSTGRES_CPUS"}
PLAIN = [setting for setting in settings.all_settings() if not setting.secret]


def test_every_setting_is_explained() -> None:
    recorder = settings.Recorder()
    Settings.from_reader(recorder)
    assert set(recorder.settings) == set(MEANINGS)


def test_the_table_of_the_document_is_that_of_the_code() -> None:
    document = settings.DOCUMENT.read_text()
    assert settings.render_table() in document
    assert settings.update_table(document) == document


def test_the_compose_file_passes_every_setting_on() -> None:
    compose = settings.COMPOSE.read_text()
    assert settings.render_compose_block() in compose
    assert settings.update_compose_block(compose) == compose
    secrets = {f"{one.name}_FILE" for one in settings.all_settings() if one.secret}
    for name in settings.SET_BY_COMPOSE | secrets:
        assert f"  {name}: " in compose


@pytest.mark.parametrize("setting", PLAIN, ids=lambda setting: setting.name)
def test_the_example_has_each_setting_with_its_default(setting: settings.Setting) -> None:
    example = dotenv_values(ROOT / ".env.production.example")
    assert setting.name in example
    if setting.name not in {*settings.SET_BY_COMPOSE, *settings.DEFAULTS}:
        assert example[setting.name] == setting.default


def test_the_example_has_no_unknown_setting_and_no_secret() -> None:
    example = dotenv_values(ROOT / ".env.production.example")
    assert set(example) == {setting.name for setting in PLAIN} | OF_COMPOSE_ALONE


def test_commands_beside_make_run_get_the_names_of_its_redis() -> None:
    assert {"REDIS_KEY_PREFIX", "REDIS_PASSWORD_FILE", "REDIS_TIMEOUT"} <= set(SHARED_SETTINGS)
    assert not {"ADMIN_API_KEY", "SECRET_KEY"} & set(SHARED_SETTINGS)
