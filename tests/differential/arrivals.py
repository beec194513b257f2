"""Requests as they may arrive: most are plain reads, some are writes, the rest is odd.

They depend on the random numbers, on the keys, and on the ETags and the next pages that have been
answered so far, and on nothing else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from . import oddities, searches
from .history import SESSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from random import Random

    from .oddities import Header

T = TypeVar("T")

HOST = b"shop.test"
CLIENTS = [b"198.51.100.%d" % n for n in range(1, 6)]
SPENT = b"198.51.100.99"  # the address of one that has used its quota
UNKNOWN_KEY = b"shop_0123456789ab_" + b"x" * 43
READS = [
    *(b"/products/%d" % n for n in (1, 2, 3, 7, 101)),
    *(b"/categories/%d" % n for n in (1, 2, 3)),
    b"/products",
    b"/products?skip=0&limit=10",
    b"/products?limit=10",
    b"/products?skip=10&limit=10",
    b"/products?skip=3",
    b"/products?limit=50",
    b"/products?limit=51",
    b"/products?limit=100",
    b"/products?skip=100&limit=100",
    b"/products?skip=5000",
    b"/categories",
    b"/categories?skip=1&limit=1",
    b"/categories?limit=1000",
    b"/products/999",
    b"/categories/999",
]
# Lists that are filtered, sorted, searched, counted, or chosen one by one. In category 3 prices are
# in a currency of its own, so that over all categories they can be compared in one currency only.
FOUND = [
    b"/products?category_id=1",
    b"/products?category_id=2,1&limit=5",
    b"/products?category_id=1%2C2&limit=5",
    b"/products?category_id=999",
    b"/products?sort=price&currency=EUR",
    b"/products?sort=price",
    b"/products?category_id=1&sort=-price&limit=7",
    b"/products?min_price=3.50&max_price=20&category_id=2&limit=100",
    b"/products?currency=USD&limit=51",
    b"/products?sort=name&limit=20",
    b"/products?sort=-created_at",
    b"/products?sort=created_at&skip=3&limit=4",
    b"/products?in_stock=true&limit=30",
    b"/products?in_stock=false&total=true",
    b"/products?total=true&limit=1",
    b"/products?facets=category,price,in_stock",
    b"/products?facets=in_stock&category_id=1&total=true&limit=3",
    b"/products?fields=id,name",
    b"/products?fields=category_id&include=category&limit=100",
    b"/products?include=category&category_id=3&limit=2",
    b"/products?q=rake",
    b"/products?q=Caf%C3%A9+tab&limit=4",
    b"/products?q=cafe%20table&sort=price&currency=EUR",
    b"/products?q=raek&category_id=1",
    b"/products?q=garden+2&total=true&facets=price",
    b"/products?q=nothing+of+the+kind",
    b"/products?q=%22",
    b"/products?id=5,3,999,3",
    b"/products?id=3",
    b"/products?id=101,1&fields=id,price",
    b"/products?sku=SKU-7,SKU-3,none,SKU-1",
    b"/products?sku=SKU-3",
    b"/products?id=2&sku=SKU-2,SKU-4&include=category",
    b"/products?active=false",
    b"/products?active=true&category_id=1",
    b"/categories?include=counts",
    b"/categories?include=counts&limit=1&skip=1",
    b"/search/suggest?q=ra",
    b"/search/suggest?q=caf%C3%A9",
    b"/search/suggest?q=gard",
    b"/search/suggest?q=xyz",
]
FINDS = (b"/products?", b"/search/", b"/categories?")
LISTS = [b"/products?", b"/categories?"]
OTHERS = [b"/health_check", b"/rate_limit", b"/openapi.json", b"/docs", b"/", b"/nothing"]
OTHERS += [b"/cart", b"/sessions/current", b"/products/1/stock", b"/orders", b"/orders/1"]
READERS = ["admin", "writer", "reader"]  # keys; the first two see inactive products


class Request(NamedTuple):
    raw: bytes
    to_head: bool = False
    fresh: bool = False  # over a new connection
    read: bytes | None = None  # the address, if the answer's ETag is that of a document


class Revocation(NamedTuple):
    """The key of this name ends between two requests."""

    name: str


class Answered:
    """The parts of answers that later requests may use."""

    def __init__(self) -> None:
        self.etags: dict[bytes, bytes] = {}  # by address
        self.next_pages: list[bytes] = []  # addresses


if TYPE_CHECKING:
    Step = Request | Revocation | Callable[[], None]


class Arrivals:
    """Requests of a few clients, for a few addresses, in a shop with some products."""

    def __init__(
        self, random: Random, keys: Mapping[str, str], answered: Answered, proxies: int
    ) -> None:
        """`keys`: API keys by name."""
        self._random = random
        self._keys = keys
        self._answered = answered
        self._proxies = proxies
        self._reads = [*random.sample(READS, 3), *random.sample(FOUND, 2)]
        self._odd = random.choice(oddities.PATHS)

    def steps(self, number: int) -> Iterator[Step]:
        """Draw so many requests, and what happens between them."""
        kinds = (self.plain, self._write, self._odd_address, self._odd_headers, self._odd_method)
        revoked_before = self._random.randrange(2 * number)
        for n in range(number):
            if n == revoked_before:
                yield Revocation("doomed")
            yield self._random.choices(kinds, weights=(60, 8, 12, 16, 4))[0]()

    def sweep(self) -> Iterator[Step]:
        """Draw everything odd, in any order.

        Each address comes twice, for the first may be learnt, and then from a client that has no
        quota left.
        """
        reads = self._reads = [b"/products/1", b"/categories/1", b"/products?skip=10&limit=10"]
        reads.append(b"/products?category_id=1&sort=-price&limit=7")
        addresses = [b"/products/" + one for one in oddities.IDS] + oddities.PATHS + OTHERS
        addresses += [name + one for name in LISTS for one in oddities.QUERIES]
        addresses += [b"/products?" + one for one in searches.SEARCHES] + FOUND
        addresses += [b"/search/suggest?" + one for one in searches.SUGGESTIONS]
        addresses += [one for read in reads for one in oddities.near(read)]
        clients = (b"10.0.%d.%d" % divmod(n, 256) for n in range(256 * 256))
        for address in self._shuffled(addresses):
            yield self.plain()
            yield self._request(b"GET", address, [], client=next(clients))
            yield self._request(b"GET", address, [], client=next(clients))
            yield self._request(b"GET", address, [], client=SPENT)
        for read in reads:
            key = self._random.choice(list(self._keys.values())).encode()
            exact, other = self._etag(read), self._etag(self._random.choice(reads))
            for headers in self._shuffled(oddities.headers(exact, other, key, UNKNOWN_KEY)):
                yield self._request(b"GET", read, headers, client=next(clients))

    def _shuffled(self, items: list[T]) -> list[T]:
        return self._random.sample(items, len(items))

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def plain(self) -> Request:
        """A read as most are."""
        next_pages = self._answered.next_pages if self._chance(8) else []
        target = self._random.choice(next_pages or self._reads)
        headers = [(b"If-None-Match", self._etag(target))] if self._chance(70) else []
        if self._chance(13):
            holders = [*SESSIONS, *SESSIONS, *SESSIONS, *READERS]
            headers.append(bearer(self._keys[self._random.choice(holders)]))
        return self._request(b"HEAD" if self._chance(8) else b"GET", target, headers)

    def _odd_address(self) -> Request:
        """An address that may not be one, often for a second time: it may have been learnt."""
        if self._chance(60):
            read = self._random.choice(self._reads)
            self._odd = self._random.choice(
                (
                    *self._random.sample(oddities.near(read), 3),
                    b"/products/" + self._random.choice(oddities.IDS),
                    self._random.choice(LISTS) + self._random.choice(oddities.QUERIES),
                    b"/products?" + self._random.choice(searches.SEARCHES),
                    b"/search/suggest?" + self._random.choice(searches.SUGGESTIONS),
                    self._random.choice(oddities.PATHS + OTHERS),
                )
            )
        return self._request(b"GET", self._odd, self._some_headers() if self._chance(20) else [])

    def _odd_headers(self) -> Request:
        target = self._random.choice(self._reads)
        headers = [
            one for _ in range(self._random.choice((1, 1, 2))) for one in self._some_headers()
        ]
        body = self._random.choice((b"{}", b"a=b")) if self._chance(5) else b""
        chunked = not body and self._chance(4)
        if chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
            body = self._random.choice((b"0\r\n\r\n", b"3\r\na=b\r\n0\r\n\r\n"))
        return self._request(b"GET", target, headers, body, framed=not chunked)

    def _odd_method(self) -> Request:
        target = self._random.choice(self._reads)
        headers = self._some_headers() if self._chance(20) else []
        if self._chance(50):
            version = self._random.choice(oddities.VERSIONS)
            headers += [(b"Connection", b"keep-alive")] * self._chance(30)
            return self._request(b"GET", target, headers, version=version)
        method = self._random.choice(oddities.METHODS)
        headers += self._authorization() if self._chance(40) else []
        body = b"{}" if method in {b"POST", b"PUT", b"PATCH"} else b""
        return self._request(method, target, headers, body)

    def _write(self) -> Request:
        """A write of the catalogue, or a sale, most by those who may."""
        name = self._random.choices(("admin", "writer", "doomed", "partner"), (5, 2, 1, 1))[0]
        headers = [bearer(self._keys[name])] if self._chance(85) else self._authorization()
        product, category = self._address(b"/products"), self._address(b"/categories")
        shed = {"name": f"Shed {self._random.randrange(20)}"}
        writes: list[tuple[bytes, bytes, dict[str, object] | None]] = [
            (b"POST", b"/products", self._product()),
            (b"PUT", product, self._product()),
            (b"PATCH", product, {"stock": self._random.randrange(9)}),
            (b"PATCH", product, {"active": self._chance(50)}),
            (b"PATCH", product, {"category_id": self._random.randrange(1, 4)}),
            (b"PATCH", product, {"currency": self._random.choice(("EUR", "USD"))}),
            (b"PATCH", product + b"/stock", {"delta": self._random.randrange(-3, 4)}),
            (b"POST", b"/orders", self._order()),
            (b"PATCH", product, {"price": self._random.choice(("1.5", "-1"))}),
            (b"DELETE", product, None),
            (b"POST", b"/categories", {**shed}),
            (b"PATCH", category, {**shed}),
            (b"DELETE", category, None),
        ]
        method, target, fields = self._random.choice(writes)
        headers.append((b"Content-Type", b"application/json"))
        if self._chance(15):
            headers.append((b"If-Match", self._etag(target)))
        body = b"" if fields is None else json.dumps(fields).encode()
        return self._request(method, target, headers, body[: -1 if self._chance(5) else None])

    def _product(self) -> dict[str, object]:
        return {
            "name": self._random.choice(("Rake", "Café table", "Spade")),
            "price": self._random.choice((19.9, "0.01", 7)),
            "stock": self._random.randrange(9),
            "category_id": self._random.choice((1, 1, 2, 3, 99)),
            "active": self._chance(80),
        }

    def _order(self) -> dict[str, object]:
        bought = self._random.sample((1, 2, 3, 7, 101, 999), 2)
        lines = [{"product_id": one, "quantity": self._random.randrange(1, 4)} for one in bought]
        return {"customer": {"name": "A", "email": "a@example.com"}, "lines": lines}

    def _address(self, table: bytes) -> bytes:
        """Return a URL of one row, mostly of a row that is read here."""
        read = [one for one in self._reads if one.startswith(table + b"/")]
        return self._random.choice(
            [*read, *read, b"%b/%d" % (table, self._random.randrange(1, 115))]
        )

    def _some_headers(self) -> list[Header]:
        draw = self._random.choice
        kind = draw((None, None, "Authorization", "X-Request-ID", "X-Forwarded-For", "Host", ""))
        if kind is None:
            return self._conditions()
        if kind == "Authorization":
            return self._authorization()
        if not kind:
            return draw(oddities.HEADERS)
        values = self._random.sample(oddities.VALUES[kind.encode()], 2 if self._chance(20) else 1)
        return [(kind.encode(), value) for value in values]

    def _conditions(self) -> list[Header]:
        """`If-None-Match`, well-formed or not."""
        exact = self._etag(self._random.choice(self._reads))
        other = self._etag(self._random.choice(self._reads))
        values = oddities.conditions(exact, other)
        headers = [(b"If-None-Match", self._random.choice(values))]
        if self._chance(15):
            headers.insert(
                self._random.randrange(2), (b"If-None-Match", self._random.choice(values))
            )
        if self._chance(10):
            headers = [
                (self._random.choice((name.upper(), name.lower())), v) for name, v in headers
            ]
        return headers

    def _authorization(self) -> list[Header]:
        name = self._random.choice(list(self._keys))
        values = oddities.authorizations(self._keys[name].encode(), UNKNOWN_KEY)
        headers = [(b"Authorization", self._random.choice(values))]
        return headers * 2 if self._chance(5) else headers

    def _etag(self, target: bytes) -> bytes:
        return self._answered.etags.get(target, b'"none"')

    def _sender(self, client: bytes) -> list[Header]:
        """Return `X-Forwarded-For` as proxies send it; without proxies it is not trusted."""
        if not self._proxies and self._chance(80):
            return []
        before = [b"192.0.2.9"] * self._chance(10)
        proxies = [b"203.0.113.%d" % n for n in range(1, self._proxies)]
        return [(b"X-Forwarded-For", b", ".join([*before, client, *proxies]))]

    def _request(  # noqa: PLR0913  (each is a part of a request)
        self,
        method: bytes,
        target: bytes,
        headers: list[Header],
        body: bytes = b"",
        *,
        version: bytes = b"HTTP/1.1",
        framed: bool = True,
        client: bytes | None = None,
    ) -> Request:
        names = {name for name, _ in headers}
        before: list[Header] = []
        if b"Host" not in names and not (version == b"HTTP/1.0" and self._chance(50)):
            before.append((b"Host", HOST))
        if b"X-Forwarded-For" not in names or self._chance(10):
            before += self._sender(client or self._random.choices(CLIENTS, (8, 4, 2, 2, 1))[0])
        if framed and b"Content-Length" in names:
            body = b""  # what is not announced would be read as the next request
        elif framed and body:
            headers = [*headers, (b"Content-Length", b"%d" % len(body))]
        lines = [b" ".join(filter(None, (method, target, version)))]
        lines += [b"%b: %b" % header for header in before + headers]
        raw = b"\r\n".join([*lines, b"", body])
        is_read = method == b"GET" and (target in READS or target.startswith(FINDS))
        return Request(raw, method == b"HEAD", self._chance(8), target if is_read else None)


def bearer(key: str) -> Header:
    return b"Authorization", b"Bearer " + key.encode()
