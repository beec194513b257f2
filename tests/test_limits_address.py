"""The quota that an address and all its sessions share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import records
import redis
from conftest import ADMIN_KEY, await_true
from ports import free_cluster_port

from shop.keys import service as keys
from shop.redis import redis_connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Make, MakeRelay, Shop, StartRedis

    from dev.embedded.servers import Redis

HERE = "127.0.0.1"


@pytest.fixture(params=["true", "false"], ids=["with the edge", "without it"])
def edge(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"EDGE_ENABLED": request.param}


def used(redis_cli: Any, client: str = HERE) -> dict[str, str]:
    """Return what Redis keeps of a client: `{policy: "used/quota"}`."""
    return records.used(redis_cli.get(f"rate_limit:{client}"))


def sessions_of(shop: Shop, number: int) -> list[dict[str, str]]:
    """Open sessions at the administrator's expense, and let the cache know them."""
    sessions = [shop.open_session() for _ in range(number)]
    for session in sessions:
        shop.get("/rate_limit", headers=session)
    return sessions


def client_of(shop: Shop, session: dict[str, str]) -> str:
    client: str = shop.get("/rate_limit", headers=session).get_json()["client"]
    return client


def passed(shop: Shop, requests: Sequence[dict[str, str]], path: str = "/products") -> int:
    return [shop.get(path, headers=headers).status_code for headers in requests].count(200)


def test_ten_sessions_of_one_address_have_its_quota_together(
    make_shop: Make, redis_cli: Any, edge: dict[str, str]
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="5", ADDRESS_LIMIT_CALLS="12", **edge)
    sessions = sessions_of(shop, 10)
    assert passed(shop, 4 * sessions) == 12
    assert passed(shop, [{}]) == 0
    answer = shop.get("/products", headers=sessions[0])
    assert answer.status_code == 429
    assert answer.get_json()["violated-policies"] == ["address"]
    assert answer.get_json()["detail"] == (
        "More than 12 requests of an address with all its sessions in 60 seconds (policy address)."
    )
    assert answer.headers["RateLimit-Policy"] == '"default";q=5;w=60, "address";q=12;w=60'
    assert answer.headers["RateLimit"].endswith(f'"address";r=0;t={answer.headers["Retry-After"]}')
    assert used(redis_cli) == {"address": "12/12"}


def test_another_address_has_a_quota_of_its_own(make_shop: Make) -> None:
    """A session that was used from the first address has the quota of the second there."""
    shop = make_shop(RATE_LIMIT_CALLS="9", ADDRESS_LIMIT_CALLS="2", TRUSTED_PROXIES="1")
    [session] = sessions_of(shop, 1)
    one, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    assert passed(shop, 3 * [session | one]) == 2
    assert passed(shop, [one]) == 0
    assert passed(shop, 3 * [session | other]) == 2


def test_an_address_has_ten_times_the_quota_of_a_client_by_default(make_shop: Make) -> None:
    for settings, quota in (
        ({"RATE_LIMIT_CALLS": "7"}, 70),
        ({"RATE_LIMIT_CALLS": "999999"}, 1_000_000),
        ({"RATE_LIMIT_CALLS": "7", "ADDRESS_LIMIT_CALLS": "3"}, 3),
    ):
        answer = make_shop(**settings).get("/products")
        assert f'"address";q={quota};w=60' in answer.headers["RateLimit-Policy"]


def test_a_request_that_one_record_refuses_is_charged_to_neither(
    make_shop: Make, redis_cli: Any, edge: dict[str, str]
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="3", ADDRESS_LIMIT_CALLS="5", **edge)
    one, other = sessions_of(shop, 2)
    assert passed(shop, 5 * [one]) == 3
    assert (used(redis_cli, client_of(shop, one)), used(redis_cli)) == (
        {"default": "3/3"},
        {"address": "3/5"},
    )
    assert passed(shop, 5 * [other]) == 2
    assert (used(redis_cli, client_of(shop, other)), used(redis_cli)) == (
        {"default": "2/3"},
        {"address": "5/5"},
    )


def test_a_write_of_a_session_is_charged_to_three_policies_on_two_records(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="9", WRITE_LIMIT_CALLS="1", ADDRESS_LIMIT_CALLS="20")
    [session] = sessions_of(shop, 1)
    statuses = [
        shop.request("DELETE", "/cart/items/1", headers=session).status_code for _ in range(2)
    ]
    assert statuses == [404, 429]
    assert used(redis_cli, client_of(shop, session)) == {"default": "1/9", "write": "1/1"}
    assert used(redis_cli) == {"address": "1/20"}


def test_the_holder_of_a_key_is_not_charged_for_its_address(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="9", ADDRESS_LIMIT_CALLS="2")
    with shop.app.app_context():
        headers = {"Authorization": f"Bearer {keys.create_key('tests', [])}"}
    assert passed(shop, [headers]) == 1
    assert passed(shop, 3 * [{}]) == 2
    assert passed(shop, 8 * [headers]) == 8
    answer = shop.get("/rate_limit", headers=headers)
    assert "address" not in answer.headers["RateLimit-Policy"]
    assert used(redis_cli) == {"default": "2/9", "address": "2/2"}


def test_a_session_sees_its_own_quotas_and_those_of_its_address(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="9", SESSION_LIMIT_CALLS="4", ADDRESS_LIMIT_CALLS="20")
    [session] = sessions_of(shop, 1)
    assert shop.client.post("/sessions").status_code == 201
    shop.get("/products", headers=session)
    told = shop.get("/rate_limit", headers=session).get_json()["policies"]
    assert [(one["policy"], one["quota"], one["remaining"]) for one in told] == [
        ("default", 9, 8),
        ("address", 20, 18),
        ("session", 4, 3),
        ("write", 100_000, 100_000),
    ]


def test_cost_of_a_page_is_charged_to_the_address(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="50", ADDRESS_LIMIT_CALLS="100")
    [session] = sessions_of(shop, 1)
    shop.get("/categories?limit=1000", headers=session)
    assert used(redis_cli) == {"address": "10/100"}


def test_commands_show_and_reset_either_record(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="5", ADDRESS_LIMIT_CALLS="3")
    [session] = sessions_of(shop, 1)
    assert passed(shop, 4 * [session]) == 3
    client = client_of(shop, session)
    assert "address       3 of 3" in shop.command("limits", "show", HERE).output
    assert "address" not in shop.command("limits", "show", client).output
    top = shop.command("limits", "top").output
    assert f"  {HERE:<28}address       3 of 3 in 60 s" in top
    assert f"  {client:<28}default       3 of 5 in 60 s" in top
    assert shop.command("limits", "reset", HERE).output == f"reset rate_limit:{HERE}\n"
    assert passed(shop, 3 * [session]) == 2
    listed = [line.split() for line in shop.command("limits", "list").output.splitlines()]
    assert ["address", "3", "-"] in listed


def test_without_redis_a_worker_counts_both_records(make_shop: Make) -> None:
    shop = make_shop(
        RATE_LIMIT_CALLS="10", ADDRESS_LIMIT_CALLS="14", REDIS_ENABLED="false", WEB_CONCURRENCY="2"
    )
    sessions = sessions_of(shop, 3)
    counts = [passed(shop, 9 * [session]) for session in sessions]
    assert counts == [5, 2, 0]
    told = shop.get("/rate_limit", headers=sessions[1]).get_json()["policies"]
    assert [(one["policy"], one["remaining"]) for one in told][:2] == [
        ("default", 3),
        ("address", 0),
    ]


def test_both_records_are_paid_when_redis_is_back(
    make_shop: Make, relay: MakeRelay, own_redis: Redis, edge: dict[str, str]
) -> None:
    way = relay(own_redis.socket)
    shop = make_shop(
        REDIS_URL=f"redis://127.0.0.1:{way.port}/0", RATE_LIMIT_CALLS="20", WEB_CONCURRENCY="1",
        **edge,
    )  # fmt: skip
    one, other = sessions_of(shop, 2)
    assert passed(shop, 3 * [one]) == 3
    way.close()
    assert passed(shop, 2 * [one] + 4 * [other] + [{}]) == 7
    way.open()
    counter = shop.app.extensions["shop.limits"].counter
    await_true(lambda: not counter.in_fallback)
    with redis.Redis(unix_socket_path=str(own_redis.socket), decode_responses=True) as client:
        await_true(lambda: used(client) == {"default": "1/20", "address": "10/200"})
        assert used(client, client_of(shop, one)) == {"default": "5/20"}
        assert used(client, client_of(shop, other)) == {"default": "4/20"}


@pytest.fixture
def two_nodes(start_redis: StartRedis) -> list[int]:
    """A cluster of two masters, with half of the slots each; their ports."""
    ports = [free_cluster_port() for _ in range(2)]
    clients: list[Any] = []
    for port, (first, last) in zip(ports, ((0, 8191), (8192, 16383)), strict=True):
        start_redis("--cluster-enabled", "yes", port=port)
        clients.append(redis.Redis(port=port))
        clients[-1].execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
    clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1])
    for client in clients:
        await_true(lambda: client.cluster("info")["cluster_state"] == "ok")  # noqa: B023
        await_true(lambda: client.cluster("info")["cluster_known_nodes"] == "2")  # noqa: B023
    for client in clients:
        client.close()
    return ports


def apart(shop: Shop) -> dict[str, str]:
    """Open sessions until one has its record on another node than its address."""
    cluster = redis_connection(shop.app).client
    while True:
        [session] = sessions_of(shop, 1)
        keys_of = (f"rate_limit:{HERE}", f"rate_limit:{client_of(shop, session)}")
        nodes = {cluster.get_node_from_key(key).port for key in keys_of}
        if len(nodes) == 2:
            return session


def test_a_cluster_node_repays_a_charge_that_another_node_refuses(
    make_shop: Make, two_nodes: list[int], edge: dict[str, str]
) -> None:
    shop = make_shop(
        REDIS_URL=f"redis+cluster://127.0.0.1:{two_nodes[0]}",
        RATE_LIMIT_CALLS="4",
        ADDRESS_LIMIT_CALLS="6",
        TRUSTED_PROXIES="0",
        **edge,
    )
    one, other = apart(shop), apart(shop)
    cluster = redis_connection(shop.app).client

    def record(client: str) -> dict[str, records.Counted]:
        return records.counted((cluster.get(f"rate_limit:{client}") or b"").decode())

    assert passed(shop, 3 * [one]) == 3
    assert passed(shop, 3 * [other]) == 3
    before = record(client_of(shop, one)), record(HERE)
    refused = shop.get("/products", headers=one)  # by the address alone
    assert refused.get_json()["violated-policies"] == ["address"]
    assert refused.headers["RateLimit"].startswith('"default";r=1;t=')
    assert record(client_of(shop, one)) == before[0]
    assert record(HERE) == {"address": before[1]["address"]._replace(refused=1)}

    assert shop.command("limits", "reset", HERE).exit_code == 0
    assert passed(shop, 3 * [one]) == 1
    refused = shop.get("/products", headers=one)  # by the session alone
    assert refused.get_json()["violated-policies"] == ["default"]
    assert record(HERE)["address"][:2] == ("1/6", 0)

    assert passed(shop, [other]) == 1
    assert shop.command("limits", "reset", HERE).exit_code == 0
    assert passed(shop, 9 * [{"Authorization": f"Bearer {ADMIN_KEY}"}]) == 9
    assert passed(shop, 9 * [{}]) == 4
