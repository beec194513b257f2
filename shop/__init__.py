"""An e-commerce catalogue API with cached reads and exact rate limits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import without_opentelemetry  # noqa: F401  (before any library imports redis-py)

# isort: split
from . import (
    cors,
    errors,
    identification,
    index_page,
    limits,
    logs,
    ops_page,
    options,
    problem_pages,
    responses,
)
from .application import Application
from .cache.collisions import check_prefix
from .config import BODY_MAX, Settings
from .database.connections import engine_options
from .extensions import api, cache, db, migrate
from .features import features
from .limits import routes as rate_limit
from .ops import (
    cache_commands,
    installation_commands,
    limit_commands,
    metrics,
    probes,
    purge_command,
    worker,
)
from .orders import leaderboard
from .redis import RedisConnection, parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check all settings, before anything is made of them.

    Raises SettingError for the first that is missing or wrong.
    """
    settings = Settings.from_environment(environment)
    parse_redis_url(settings.redis_url)
    check_prefix(settings.redis_key_prefix, cache.memoized)
    return settings


def create_app(environment: Mapping[str, str] | None = None) -> Flask:
    """Return the application for the settings in `environment`, by default the process's.

    Raises SettingError.
    """
    settings = read_settings(os.environ if environment is None else environment)
    app = Application(__name__)
    # The router makes redirects of the request's Host, so it makes none: see each `strict_slashes`.
    app.url_map.merge_slashes = app.url_map.redirect_defaults = False
    app.config["SETTINGS"] = settings
    app.config["SECRET_KEY"] = settings.secret_key
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings.database_url)
    app.config["CACHE_TYPE"] = "shop.cache.backend.make_backend"
    app.extensions["shop.redis"] = RedisConnection(settings)

    logs.init_app(app)
    metrics.init_app(app)
    responses.init_app(app)
    errors.init_app(app)
    options.init_app(app)
    probes.init_app(app)

    db.init_app(app)
    migrate.init_app(app, db)
    cache.init_app(app)
    identification.init_app(app)
    limits.init_app(app)
    leaderboard.init_app(app)
    api.init_app(app)

    app.register_blueprint(index_page.blueprint)
    app.register_blueprint(problem_pages.blueprint)
    if settings.ops_page:
        app.register_blueprint(ops_page.blueprint)
    for feature in features().values():
        if feature.blueprint and (feature.switch is None or getattr(settings, feature.switch)):
            api.register_blueprint(feature.blueprint)
        for command in feature.commands:
            app.cli.add_command(command)
    api.register_blueprint(rate_limit.blueprint)

    for commands in (cache_commands.cache, limit_commands.limits):
        app.cli.add_command(commands)
    app.cli.add_command(installation_commands.db_identity)
    for command in (purge_command.purge, worker.worker):
        app.cli.add_command(command)

    cors.init_app(app)
    return app
