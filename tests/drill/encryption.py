"""Drills: Redis with TLS, alone, behind sentinels and in a cluster, and a user of few rights."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from conftest import CUSTOMER, ROOT, await_true
from redis_servers import Cluster, Group, Node

from shop import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Service
    from load import Load

    from dev.embedded.home import Home

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]

COMMANDS = (
    "cache stats",
    "cache warm",
    "cache show products:id:1",
    "cache replay",
    "cache clear all",
    "limits list",
    "limits show 127.0.0.1",
    "limits reset 127.0.0.1",
)
USER = re.compile(r"redis-cli ACL SETUSER (shop (?:.*\\\n)*.*)")


@pytest.fixture(scope="module")
def authority(home: Home) -> Authority:
    return Authority(home, "drill")


def documented_user() -> list[str]:
    """Return the user of docs/redis.md, whose password is PASSWORD."""
    [found] = USER.findall((ROOT / "docs" / "redis.md").read_text())
    return shlex.split(found.replace("\\\n", ""))


@pytest.mark.parametrize("asked", ["no", "yes"], ids=["server certificate", "both certificates"])
def test_tls_redis_killed(
    home: Home, authority: Authority, serve: Serve, load: Loads, asked: str
) -> None:
    node = Node(home, "--tls-auth-clients", asked, authority=authority)
    certificate, key = authority.client
    url = f"rediss://127.0.0.1:{node.port}/0?ssl_ca_certs={authority.certificate}"
    if asked == "yes":
        url += f"&ssl_certfile={certificate}&ssl_keyfile={key}"
    one = load([serve(REDIS_URL=url).url])
    try:
        with one:
            node.kill()
            node.start()
            one.await_well()
    finally:
        node.stop()
    assert one.saw.stale == []
    assert not one.saw.failed


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        pytest.param("no", "rediss://127.0.0.1:{port}", id="an unknown authority"),
        pytest.param("no", "rediss://127.0.0.1:{port}?ssl_ca_certs={other}", id="another one"),
        pytest.param("no", "rediss://localhost:{port}?ssl_ca_certs={own}", id="another host"),
        pytest.param("yes", "rediss://127.0.0.1:{port}?ssl_ca_certs={own}", id="no certificate"),
        pytest.param("no", "redis://127.0.0.1:{port}", id="plaintext"),
    ],
)
def test_tls_that_is_not_right_is_refused(
    home: Home, authority: Authority, serve: Serve, asked: str, url: str
) -> None:
    """The shop reads nothing from a Redis that cannot be verified, and sends it nothing."""
    node = Node(home, "--tls-auth-clients", asked, authority=authority)
    other = Authority(home, f"other-{node.port}").certificate
    try:
        service = serve(
            REDIS_URL=url.format(port=node.port, own=authority.certificate, other=other)
        )
        assert service.get("/categories").headers["X-Cache"] == "BYPASS"
        assert service.get("/health_check").json()["redis"] == "unreachable"
        assert node.call("DBSIZE") == 0
    finally:
        node.stop()


def test_a_user_of_few_rights(
    home: Home, settings: dict[str, str], serve: Serve, load: Loads
) -> None:
    """The user of docs/redis.md may all that a shop does, and its commands do."""
    node = Node(home)
    node.call("ACL", "SETUSER", *documented_user())
    url = f"redis://shop:PASSWORD@127.0.0.1:{node.port}/0"
    service = serve(REDIS_URL=url)
    one = load([service.url])
    try:
        with one:
            session = service.write("POST", "/sessions").json()["token"]
            owner = {"Authorization": f"Bearer {session}"}
            assert service.get("/cart", headers=owner).ok
            # A product of its own: the load is the only writer of the others.
            own = service.write(
                "POST", "/products", name="Rake", price=1, stock=1, category_id=1
            ).json()["id"]
            lines = [{"product_id": own, "quantity": 1}]
            service.write("POST", "/orders", customer=CUSTOMER, lines=lines)
            for path in ("/products/top-selling", "/products/trending", "/products?q=drill"):
                assert service.get(path).ok
            one.await_well()
        command = create_app(settings | {"REDIS_URL": url}).test_cli_runner().invoke
        for line in COMMANDS:
            ran = command(args=line.split())
            assert ran.exit_code == 0, ran.output
        denied = node.call("ACL", "LOG")
    finally:
        node.stop()
    assert denied == []
    assert one.saw.stale == []


def test_tls_sentinels_master_killed(
    home: Home, authority: Authority, serve: Serve, load: Loads
) -> None:
    """Each connection is encrypted; sentinels and servers have passwords of their own."""
    options = ("--tls-auth-clients", "no", "--user", *documented_user())
    group = Group(home, *options, password="of-sentinels", authority=authority)
    own = f"ssl_ca_certs={authority.certificate}&sentinel_password=of-sentinels"
    url = f"rediss+sentinel://shop:PASSWORD@{group.hosts}/main/0?{own}"
    one = load([serve(REDIS_URL=url).url])
    try:
        with one:
            group.master.kill()
            await_true(lambda: group.master_port() != group.master.port, seconds=30)
            one.await_well()
    finally:
        group.stop()
    assert one.saw.stale == []
    assert not [what for what in one.saw.failed if what.startswith("GET")]


def test_tls_cluster_master_killed(
    home: Home, authority: Authority, serve: Serve, load: Loads
) -> None:
    cluster = Cluster(home, authority)
    url = f"{cluster.url}?ssl_ca_certs={authority.certificate}".replace("redis+", "rediss+")
    one = load([serve(REDIS_URL=url).url])
    try:
        with one:
            lost, witness = cluster.masters[0], cluster.masters[1]
            lost.kill()
            await_true(lambda: cluster.has_failed(witness, lost), seconds=30)
            one.await_well()
    finally:
        cluster.stop()
    assert one.saw.stale == []
    assert not [what for what in one.saw.failed if what.startswith("GET")]
