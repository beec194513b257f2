"""Drills: another version beside this one, on one Redis and one PostgreSQL, as in an upgrade."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from conftest import ROOT
from drilling import note
from hosts import BEHIND, HOSTS
from ports import free_port
from proxies import nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Service
    from load import Load

    from dev.embedded.home import Home

QUOTA = 100
ASKED = 300


@pytest.fixture
def before() -> Path:
    """A checkout of the other version."""
    found = Path(os.environ.get("BEFORE", "")).absolute()
    if not os.environ.get("BEFORE") or not (found / "wsgi.py").exists():
        pytest.fail("BEFORE is to be a checkout: git worktree add DIR REVISION, then BEFORE=DIR")
    return found


def test_hosts_of_both_versions(
    request: pytest.FixtureRequest,
    home: Home,
    serve: Callable[..., Service],
    load: Callable[[Sequence[str]], Load],
    before: Path,
) -> None:
    """Each host is replaced by one of the other version, and back."""
    ports = [free_port() for _ in range(HOSTS)]
    proxy = nginx(home, ports)
    request.addfinalizer(proxy.stop)
    hosts = {port: serve(port=port, directory=before, **BEHIND) for port in ports}
    one = load([proxy.url])
    with one:
        for directory in (ROOT, before, ROOT):
            for port, host in hosts.items():
                host.program.stop()
                hosts[port] = serve(port=port, directory=directory, **BEHIND)
                one.await_well()
    assert one.saw.stale == []
    assert not [what for what in one.saw.failed if what.startswith("GET")]


def test_versions_count_together(
    request: pytest.FixtureRequest, serve: Callable[..., Service], before: Path
) -> None:
    settings = {"RATE_LIMIT_CALLS": str(QUOTA), "RATE_LIMIT_PERIOD": "3600"}
    services = [serve(directory=before, **settings), serve(**settings)]
    urls = [f"{service.url}/products" for service in services] * (ASKED // 2)
    with ThreadPoolExecutor(10) as pool:
        statuses = Counter(answer.status_code for answer in pool.map(requests.get, urls))
    note(request.node.name, f"{ASKED}", passed=f"{statuses[HTTPStatus.OK]}")
    assert statuses == {HTTPStatus.OK: QUOTA, HTTPStatus.TOO_MANY_REQUESTS: ASKED - QUOTA}
