"""A database that begins anew for each episode, and whose times are those of its history."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import flask_migrate
import psycopg2
from conftest import ROOT, close

from shop import create_app
from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

# A row is made at a time that its id tells, and each change of it is a second later: two databases
# with the same history hold the same documents, so that their ETags are the same, too.
TIMES = """
CREATE FUNCTION tell_times() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    NEW.created_at := timestamptz '2030-01-01 00:00:00+00' + NEW.id * interval '1 second';
    NEW.updated_at := NEW.created_at;
  ELSE
    NEW.updated_at := OLD.updated_at + interval '1 second';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER times BEFORE INSERT OR UPDATE ON products
  FOR EACH ROW EXECUTE FUNCTION tell_times();
CREATE TRIGGER times BEFORE INSERT OR UPDATE ON categories
  FOR EACH ROW EXECUTE FUNCTION tell_times();
CREATE TRIGGER times BEFORE INSERT OR UPDATE ON orders
  FOR EACH ROW EXECUTE FUNCTION tell_times();
"""
# Tokens of sessions: one that is open, one that is to be renewed, one that has ended, and none.
SESSIONS = {
    "session": f"session_{'a' * 43}",
    "old session": f"session_{'b' * 43}",
    "ended session": f"session_{'c' * 43}",
    "no session": f"session_{'d' * 43}",
}
BEGINNING = """
TRUNCATE products, categories, orders, order_lines, sessions, cart_items, cache_outbox, search_words
  RESTART IDENTITY;
INSERT INTO sessions (token_hash, expires_at)
  SELECT encode(sha256(convert_to('session_' || repeat(letter, 43), 'UTF8')), 'hex'), now() + rest
  FROM (VALUES ('a', interval '1000 days'), ('b', '1 hour'), ('c', '-1 s')) AS made (letter, rest);
INSERT INTO categories (name) SELECT 'Garden ' || n FROM generate_series(1, 3) n;
INSERT INTO products (name, price, stock, category_id, active, sku, currency)
  SELECT CASE WHEN n % 5 = 0 THEN 'Café table ' ELSE 'Rake ' END || n, n % 40 + 0.5, n % 7,
    1 + n % 3, n NOT IN (3, 12, 60), CASE WHEN n < 50 THEN 'SKU-' || n END,
    CASE WHEN n % 3 = 2 THEN 'USD' ELSE 'EUR' END
  FROM generate_series(1, 110) n;
UPDATE api_keys SET revoked_at = NULL WHERE name <> 'revoked';
"""
KEYS = {
    "writer": ["--scope", "catalog:write"],
    "doomed": ["--scope", "catalog:write"],
    "partner": ["--scope", "catalog:write", "--tier", "partner"],
    "unlimited": ["--tier", "unlimited"],
    "reader": [],
    "revoked": ["--scope", "catalog:write"],
}


def prefix_of(key: str) -> str:
    return key.split("_")[1]


class History:
    """One database and its commands."""

    def __init__(self, server: str, name: str, settings: Mapping[str, str]) -> None:
        """Make the database `name` of the server at the URL `server`."""
        with closing(psycopg2.connect(server)) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        self.url = server.replace("/shop?", f"/{name}?")
        self._settings = {**settings, "DATABASE_URL": self.url}
        self._app = create_app(self._settings)
        with self._app.app_context():
            flask_migrate.upgrade(str(ROOT / "migrations"))
        self._connection = psycopg2.connect(self.url)
        self._execute(TIMES)

    def close(self) -> None:
        self._connection.close()
        with self._app.app_context():
            db.engine.dispose()

    def begin(self) -> None:
        self._execute(BEGINNING)

    def command(self, *arguments: str, app: Flask | None = None) -> str:
        """Run a `flask` command, and return what it prints."""
        result = (app or self._app).test_cli_runner().invoke(args=arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def make_keys(self) -> dict[str, str]:
        """Make a key of each kind, and return them by name."""
        keys = {
            name: self.command("keys", "create", "--name", name, *options)
            for name, options in KEYS.items()
        }
        self.command("keys", "revoke", prefix_of(keys["revoked"]))
        return keys | SESSIONS

    def revoke(self, key: str, redis_url: str) -> None:
        """Revoke a key, and have the service forget it that has this Redis."""
        app = create_app({**self._settings, "REDIS_URL": redis_url})
        self.command("keys", "revoke", prefix_of(key), app=app)
        close([app])

    def copy_keys(self, other: History) -> None:
        """Take the keys of another database: their secrets are random."""
        columns = "name, prefix, secret_hash, scopes, tier, revoked_at"
        for row in other._execute(f"SELECT {columns} FROM api_keys ORDER BY id"):
            self._execute(f"INSERT INTO api_keys ({columns}) VALUES (%s, %s, %s, %s, %s, %s)", row)

    def _execute(self, statements: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(statements, values or None)
            return cursor.fetchall() if cursor.description else []
