"""Features are discovered: a package with a `feature.py` and a migration make one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, ROOT

from shop.extensions import cache

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

BIN = Path(sys.executable).parent
# Publishes a review, reads it twice and looks for another one.
USE = f"""
import json
from shop import create_app
from shop.extensions import db
from shop.reviews.models import Review

app = create_app()
with app.app_context():
    Review.__table__.create(db.engine)
try:
    client = app.test_client()
    key = {{"Authorization": "Bearer {ADMIN_KEY}"}}
    answers = [
        client.post("/reviews", json={{"product_id": 1, "text": "It is sharp."}}, headers=key),
        client.post("/reviews", json={{"product_id": 1, "text": "It is sharp."}}),
        client.get("/reviews/1"),
        client.get("/reviews/1"),
        client.get("/reviews/2"),
    ]
    documented = list(client.get("/openapi.json").get_json()["paths"])
    told = [[one.status_code, one.headers.get("X-Cache"), one.get_json()] for one in answers]
    print(json.dumps([told, documented]))
finally:
    with app.app_context():
        Review.__table__.drop(db.engine)
"""


@pytest.fixture
def run(tmp_path: Path, settings: dict[str, str]) -> Callable[..., str]:
    """Run a program in a copy of the project to which a feature is added."""
    for name in ("shop", "dev"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tests" / "reviews", tmp_path / "shop" / "reviews")
    for name in ("wsgi.py", ".flaskenv"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_architecture.py", tmp_path / "tests")

    def run_there(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [BIN / program, *arguments],
            cwd=tmp_path,
            env={**os.environ, **settings, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_there


def test_a_new_feature_is_served_and_cached(run: Callable[..., str], a_shop: Shop) -> None:
    a_shop.create_product()
    told, documented = json.loads(run("python", "-c", USE))
    review = {"id": 1, "product_id": 1, "text": "It is sharp."}
    assert told[0] == [201, None, review]
    assert told[1][0] == 401
    assert told[2:4] == [[200, "MISS", review], [200, "HIT", review]]
    assert told[4][0] == 404
    assert {"/reviews", "/reviews/{review_id}"} <= set(documented)


def test_commands_know_a_new_feature(run: Callable[..., str]) -> None:
    assert "|reviews:write|" in run("flask", "keys", "create", "--help")
    assert "|reviews|" in run("flask", "cache", "clear", "--help")


def test_the_rules_of_imports_hold_for_a_new_feature(run: Callable[..., str]) -> None:
    output = run("python", "-m", "pytest", "-q", "-p", "no:valkey", "tests/test_architecture.py")
    assert "routes-reviews" in run(
        "python", "-m", "pytest", "--collect-only", "-q", "-p", "no:valkey", "tests"
    )
    assert "failed" not in output


@pytest.fixture
def declare(declarations: None) -> Callable[..., Any]:
    """Declare memoized functions, for the time of a test."""

    def declare_one(key: str, name: str, family: str | None = None) -> Any:
        def function(one: int) -> bytes:
            return b"%d" % one

        function.__name__ = name
        return cache.memoize(key=key, ttl="redis_cache_ttl", tables=[], family=family)(function)

    return declare_one


@pytest.mark.parametrize(
    ("key", "name", "told"),
    [
        ("things:id:{number}", "second", "second and .* have the same key"),
        ("things:id:{one}:of:{two}", "second", "second and .* have one family"),
        ("others:id:{one}", "first", "two memoized functions are called .*first"),
        ("values:id:{one}", "second", "begin with values are not for memoized functions"),
        ("rate_limit:{one}", "second", "begin with rate_limit are not for memoized functions"),
    ],
)
def test_functions_that_collide_are_refused(
    declare: Callable[..., Any], key: str, name: str, told: str
) -> None:
    declare("things:id:{one}", "first")
    with pytest.raises(ValueError, match=told):
        declare(key, name)


def test_a_family_is_shared_by_declaration(declare: Callable[..., Any]) -> None:
    first = declare("things:id:{one}", "first")
    second = declare("things:name:{one}", "second", family="things:id")
    assert first.generation_key == second.generation_key
