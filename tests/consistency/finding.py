"""Judge lists, searches, facets and totals of products that change sides.

A rover is a product that its owner brings from one side to the other and back: from cheap to dear,
from one category to another, from in stock to sold out. From one acknowledgement to the next change
every read that asks for its side must find it, as it is there, and none that asks for the other.
A count must be between the rovers that certainly are on a side and those that may be.
"""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from checker import Client, Report, Shared

OF_EACH = 3  # rovers of a kind
# What a turn is, divided by 4: a rover stays on a side when it is even.
HERE, LEAVING, THERE, RETURNING = range(4)
STOCK = 3  # of a rover; an order buys all of it
PAUSES = [0, 0.01, 0.05, 0.2]  # seconds between two moves: what is stale is to be seen, too
TURN = 0.5  # seconds in which one kind moves, and most readers look at it

Fields = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Rovers that change sides in one way. {a} and {b} are two categories of their own.

    Each has the word in its name, and {id} is its id.
    """

    word: str
    sides: tuple[Fields, Fields]  # what they have there
    finds: tuple[list[str], list[str]]  # queries that find those of a side, and of the other none
    counts: Mapping[str, int]  # reads that count rovers, and the side of those
    ordered: tuple[str, ...] = ()  # queries that sort them by price
    sold: bool = False  # by orders that buy them, and are cancelled


KINDS = [
    Kind(
        "quartz",
        ({"price": "5.00"}, {"price": "50.00"}),
        (
            ["category_id={a}&max_price=10", "max_price=10&sort=-price&min_price=4",
             "q=quartz&max_price=49.99&sort=price", "min_price=4&max_price=9&sort=name"],
            ["category_id={a}&min_price=20", "min_price=20&sort=price&in_stock=true"],
        ),
        {
            "category_id={a}&max_price=10&total=true": 0,
            "category_id={a}&facets=price": 1,
            "min_price=20&facets=category": 1,
        },
        ordered=("category_id={a}&sort=price", "q=quartz&sort=price", "sort=price"),
    ),
    Kind(
        "walnut",
        ({"category_id": "{a}"}, {"category_id": "{b}"}),
        (
            ["category_id={a}", "category_id={a}&sort=name", "q=walnut&category_id={a}"],
            ["category_id={b}&sort=price", "category_id={b}&in_stock=true&sort=-created_at"],
        ),
        {
            "category_id={a}&total=true": 0,
            "q=walnut&facets=category": 0,
            "facets=category": 0,
            "/categories?include=counts": 0,
        },
    ),
    Kind(
        "velvet",
        ({"stock": STOCK}, {"stock": 0}),
        (
            ["in_stock=true&category_id={a}", "in_stock=true", "q=velvet&in_stock=true"],
            ["in_stock=false&category_id={a}&sort=price", "in_stock=false&sort=name"],
        ),
        {"in_stock=true&category_id={a}&total=true": 0, "category_id={a}&facets=in_stock": 1},
    ),
    Kind(
        "cinder",
        ({"stock": STOCK}, {"stock": 0}),
        (
            ["in_stock=true&category_id={a}", "in_stock=true&sort=price", "q=cinder&in_stock=true"],
            ["in_stock=false&category_id={a}", "in_stock=false&category_id={a},{b}"],
        ),
        {"in_stock=false&q=cinder&total=true": 1, "category_id={a}&facets=in_stock": 1},
        sold=True,
    ),
    Kind(
        "saffron",
        ({"active": True}, {"active": False}),
        (
            ["category_id={a}", "q=saffron", "sort=-created_at", "id={id}", "sku=saffron-{id}"],
            ["active=false", "active=false&category_id={a}&sort=price", "q=saffron&active=false"],
        ),
        {
            "category_id={a}&total=true": 0,
            "active=false&category_id={a}&total=true": 1,
            "facets=category": 0,
            "/categories?include=counts": 0,
        },
    ),
    Kind(
        "bamboo",
        ({"name": "bamboo marble {id}"}, {"name": "bamboo copper {id}"}),
        (
            ["q=marble", "q=marb&category_id={a}", "/search/suggest?q=marb"],
            ["q=copper", "q=bamboo%20copper&sort=name", "/search/suggest?q=copp"],
        ),
        {"q=marble&total=true": 0, "q=copper&facets=category": 1},
    ),
    Kind(
        "linen",
        ({"sku": "flax-{id}"}, {"sku": "hemp-{id}"}),
        (["sku=flax-{id}", "q=flax"], ["sku=hemp-{id},none", "q=hemp&category_id={a}"]),
        {"q=flax&total=true": 0},
    ),
]  # fmt: skip
ROVERS = len(KINDS) * OF_EACH


class Rovers:
    """The rovers of one catalogue, and what is to be found of them."""

    def __init__(self, first_row: int, first_category: int) -> None:
        self._first_row = first_row
        self._first_category = first_category

    def prepare(self, client: Client) -> None:
        """Make the rovers, each on its first side, in an empty part of the catalogue."""
        for number in range(2 * len(KINDS)):
            name = f"rovers {number}"
            assert client.request("POST", "/categories", {"name": name})[0] == 201
        for rover in range(ROVERS):
            kind = KINDS[rover // OF_EACH]
            made = {
                "name": f"{kind.word} {self.id(rover)}",
                "sku": f"{kind.word}-{self.id(rover)}",
                "price": "2.00",
                "stock": STOCK,
                "category_id": self._categories(rover)[0],
            }
            fields = made | self.side(rover, 0)
            assert client.request("POST", "/products", fields)[0] == 201

    def id(self, rover: int) -> int:
        return self._first_row + rover

    def side(self, rover: int, side: int) -> Fields:
        fields = {
            name: self.written(rover, value) if isinstance(value, str) else value
            for name, value in KINDS[rover // OF_EACH].sides[side].items()
        }
        if "category_id" in fields:
            fields["category_id"] = int(fields["category_id"])
        return fields

    def written(self, rover: int, text: str) -> str:
        a, b = self._categories(rover)
        return text.format(a=a, b=b, id=self.id(rover))

    def address(self, rover: int, query: str) -> str:
        written = self.written(rover, query)
        if written.startswith("/"):
            return written
        return f"/products?{'' if written.startswith(('id=', 'sku=')) else 'limit=100&'}{written}"

    def _categories(self, rover: int) -> tuple[int, int]:
        first = self._first_category + 2 * (rover // OF_EACH)
        return first, first + 1

    def rove(self, client: Client, shared: Shared, number: int, report: Report) -> None:
        """Move rovers of a kind from one side to the other until the end."""
        orders: dict[int, int] = {}

        def stopped() -> bool:
            return bool(shared.stop[0])

        while not stopped():
            if _now_moving() != number:
                time.sleep(TURN / 10)
                continue
            rover = number * OF_EACH + random.randrange(OF_EACH)
            shared.rover[rover] += 1
            side = int(shared.rover[rover] % 4 == LEAVING)
            if KINDS[number].sold:
                status = self._sell(client, orders, rover, stopped, gone=bool(side))
            else:
                path, fields = f"/products/{self.id(rover)}", self.side(rover, side)
                status = client.persist("PATCH", path, fields, stopped)[0]
            if status in {200, 201}:
                shared.rover[rover] += 1
                report.writes += 1
            elif status:
                report.stale.append(f"{KINDS[number].word} {rover} to side {side}: {status}")
            time.sleep(random.choice(PAUSES))

    def _sell(
        self,
        client: Client,
        orders: dict[int, int],
        rover: int,
        stopped: Callable[[], bool],
        *,
        gone: bool,
    ) -> int:
        """Sell all units of a rover, or cancel the order that did."""
        lines = [{"product_id": self.id(rover), "quantity": STOCK}]
        customer = {"name": "Rover", "email": "rover@example.com"}
        path = "/orders" if gone else f"/orders/{orders[rover]}/cancel"
        body = {"customer": customer, "lines": lines} if gone else {}
        key = {"Idempotency-Key": secrets.token_hex(8)}
        while not stopped():
            status, order, _ = client.request("POST", path, body, client.key | key)
            if status in {200, 201}:
                orders[rover] = order["id"]
                return status
            if status not in {0, 409} and status < 500:
                return status
        return 0

    def read(self, client: Client, shared: Shared, report: Report) -> None:
        """Read a list or a count, and judge what it says of the rovers of a kind."""
        number = random.randrange(len(KINDS)) if random.random() < 0.2 else _now_moving()
        if KINDS[number].sold and not shared.sales[0]:
            return
        rovers = range(number * OF_EACH, (number + 1) * OF_EACH)
        random.choice((self._read_list, self._read_list, self._read_count))(
            client, shared, report, rovers
        )

    def _ask(
        self, client: Client, shared: Shared, report: Report, address: str, rovers: range
    ) -> tuple[Any, dict[int, int | None]]:
        """Return an answer, and of each rover the side on which it was all the while."""
        before = [shared.rover[one] for one in rovers]
        key = client.key if "active=" in address else {}
        status, document, _ = client.request("GET", address, more=key)
        after = [shared.rover[one] for one in rovers]
        report.requests += 1
        if status != 200:
            if status and status < 500:
                report.stale.append(f"GET {address}: {status}")
            return None, {}
        sides = {
            rover: then % 4 // 2 if then == now and then % 2 == 0 else None
            for rover, then, now in zip(rovers, before, after, strict=True)
        }
        report.reads += len(sides)
        report.racing += sum(side is None for side in sides.values())
        return document, sides

    def _read_list(self, client: Client, shared: Shared, report: Report, rovers: range) -> None:
        kind = KINDS[rovers[0] // OF_EACH]
        side = random.randrange(2)
        query = random.choice([*kind.finds[side], *kind.ordered])
        one = random.choice(rovers)
        asked = range(one, one + 1) if "{id}" in query else rovers
        address = self.address(one, query)
        document, sides = self._ask(client, shared, report, address, asked)
        if document is None:
            return
        if query in kind.ordered:
            self._judge_order(document["items"], sides, address, report)
            return
        found = {item["id"]: item for item in document["items"] if item.get("kind") != "category"}
        for rover, was in sides.items():
            item = found.get(self.id(rover))
            if was is not None and (was == side) != (item is not None):
                report.stale.append(f"{time.strftime('%T')} {rover} on side {was}: GET {address}")
            elif item and was is not None and "kind" not in item:
                wrong = self.side(rover, side).items() - item.items()
                if wrong:
                    report.stale.append(f"{time.strftime('%T')} {wrong} of {item}: GET {address}")

    def _judge_order(
        self, items: list[Fields], sides: Mapping[int, int | None], address: str, report: Report
    ) -> None:
        """Judge the order of rovers that stay as they are: others are between two places."""
        still = {self.id(rover) for rover, side in sides.items() if side is not None}
        shown = [(float(item["price"]), item["id"]) for item in items if item["id"] in still]
        if still - {row for _, row in shown} or any(a > b for a, b in pairwise(shown)):
            report.stale.append(f"{time.strftime('%T')} {shown} of {still}: GET {address}")

    def _read_count(self, client: Client, shared: Shared, report: Report, rovers: range) -> None:
        kind = KINDS[rovers[0] // OF_EACH]
        query, side = random.choice(list(kind.counts.items()))
        address = self.address(rovers[0], query)
        document, sides = self._ask(client, shared, report, address, rovers)
        if document is None:
            return
        count = self._count(document, rovers[0], side)
        least = sum(was == side for was in sides.values())
        most = sum(was in {side, None} for was in sides.values())
        if not least <= count <= most:
            text = f"{time.strftime('%T')} {count}, not {least} to {most}: GET {address}"
            report.stale.append(text)

    def _count(self, document: Any, rover: int, side: int) -> int:
        """Return how many rovers an answer counts on a side."""
        if "total" in document:
            total: int = document["total"]["count"]
            return total
        if "facets" not in document:
            return _number(document["items"], "product_count", id=self._categories(rover)[0])
        facets = document["facets"]
        if "in_stock" in facets:
            there: int = facets["in_stock"]["false" if side else "true"]
            return there
        if "price" in facets:
            return _number(facets["price"], "count", **{"from": self.side(rover, side)["price"]})
        moves = "category_id" in KINDS[rover // OF_EACH].sides[0]
        return _number(facets["category"], "count", id=self._categories(rover)[moves and side])


def _now_moving() -> int:
    """Return the kind whose turn it is, in all processes."""
    return int(time.monotonic() / TURN) % len(KINDS)


def _number(items: Iterable[Fields], member: str, **wanted: Any) -> int:
    return sum(item[member] for item in items if wanted.items() <= item.items())
