"""Load for the shop: people who browse, who look for something, who keep the catalogue, who buy.

    make load                               400 users for 60 s, on what `make run` serves
    make load KIND=Buyer SECONDS=120        the same with people who buy, for longer
    make load KIND=Browser                  the same with people who filter, sort and search
    make load KIND="Shopper Buyer"          half of each
    make load-report                        Shoppers without Redis and with it, compared
    make load-search                        Browsers, while products are sold and prices change
    locust --host http://localhost:8000 Shopper
                                            a page at http://localhost:8089 to steer it

A Shopper browses, and of 50 requests one changes the catalogue. A Browser looks through categories
in the order that it likes, narrows them, types a few letters and looks at suggestions, searches,
sometimes mistypes, turns pages by their Link, and opens what it finds; it keeps pages with their
ETags, as a web browser does. A Buyer browses (70 % of what it does), minds a cart (20 %) and checks
it out (10 %), with some ten writes a minute. 20 Sellers and 5 Pricers are programs of the shop's:
each sells a product or changes a price by up to a tenth, once a second on average.

That a product is short of stock or inactive is an answer like others, shown under a name of its
own. Whatever else is refused is a failure, and so is a cart or an order that is not what the Buyer
has put together, a repeated checkout that is not answered as the first, and a page that has a
product twice.

Each user has an address of its own, sent as X-Forwarded-For: TRUSTED_PROXIES=1 lets the service
believe it. Otherwise all users are one client, and most of their requests are refused.

Changes of the catalogue, payments and Sellers need the administrator's key, from ADMIN_API_KEY or
from the `make run` of this checkout on this machine. They change stock and prices. The products
that Shoppers create they delete again; the orders stay.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter, deque
from contextlib import contextmanager
from decimal import Decimal
from http import HTTPStatus
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

from locust import FastHttpUser, between, events, task
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook
from locust.exception import RescheduleTask, ResponseError
from locust.runners import WorkerRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locust.contrib.fasthttp import FastResponse, ResponseContextManager
    from locust.env import Environment

HOST = "http://localhost:8000"
ADMIN_KEY = Path(__file__).parent / "instance" / "admin_api_key"
RUNNING = ADMIN_KEY.with_name("running.env")  # exists while `make run` runs

FAILURES_MAX = 0.01  # of all requests; a 429 is a failure
TIMEOUT = 10  # seconds

PRODUCTS_MAX = 1000  # that users look at, of however many there are
LARGEST_PAGE = 100
PAGE_SIZES = (10, 20, 100)
PAGE_SIZE_WEIGHTS = (80, 15, 5)
PAGES_TURNED = 2  # on average, beyond the first; few go far
PRICE_CHANGES = 0.3  # of all changes; the others are of stock
QUANTITIES = (1, 2, 3)
QUANTITY_WEIGHTS = (85, 10, 5)
PAID = 0.9  # of all orders, at once
REPEATED = 0.05  # of all checkouts
RESTOCKED = 0.2  # of the products that a checkout finds short
RESTOCK, BULK = 50, 1000  # units: of a Buyer's, of a Seller's

SORTS = ("", "best_selling", "price", "-created_at", "name", "-price")
SORT_WEIGHTS = (50, 15, 15, 10, 4, 6)  # most people take what they are shown first
PRICES = ("min_price=10&max_price=19.99", "min_price=20&max_price=49.99", "min_price=50")
IN_STOCK, PRICED, COUNTED = 0.2, 0.1, 0.15  # of category pages: filtered so, with total and facets
IN_CATEGORY, SORTED = 0.15, 0.1  # of searches
ONE_WORD, MISTYPED = 0.6, 0.1  # of searches
LISTED = 20  # products of a page
KEPT = 50  # pages that a Browser keeps
REPRICED = 0.1  # of a price, the most that a Pricer changes it by
PREFIXES = (2, 4)  # letters, after which it asks for suggestions

# The names of requests in the table.
PRODUCT = "/products/[id]"
PAGE = "/products?skip&limit"
CATEGORY_PAGE, PRICE_PAGE = "/products?category_id", "/products?category_id by price"
SEARCH, NEXT_PAGE = "/products?q", "/products?after"
FOUND = (CATEGORY_PAGE, PRICE_PAGE, SEARCH, NEXT_PAGE)
SUGGEST = "/search/suggest?q"
CONDITIONAL = " If-None-Match"
ITEM = "/cart/items/[id]"
ITEM_INACTIVE = f"{ITEM} refused: inactive"
CHECKOUT = "/cart/checkout"
CHECKOUT_SHORT = f"{CHECKOUT} refused: stock"
CHECKOUT_INACTIVE = f"{CHECKOUT} refused: inactive"
CHECKOUT_OVER_CAP = f"{CHECKOUT} refused: unpaid orders"
REPLAYED = "Idempotent-Replayed"

NO_ANSWER = "nothing answers at {host}: `make run` starts the service"
EMPTY = "there are no products: `flask seed` makes some"
ONE_CLIENT = (
    "the service takes all users for one client and will refuse most of their requests: "
    "start it with `TRUSTED_PROXIES=1 make run`"
)
NO_KEY = (
    "no product is changed and no order is paid: there is no ADMIN_API_KEY that the service accepts"
)

user_numbers = count(random.randrange(1 << 16))
cache_outcomes: Counter[tuple[str, str]] = Counter()  # by what was read, and X-Cache


def new_address(environment: Environment) -> str:
    """Return an address that no other user has, in this worker or another."""
    worker = getattr(environment.runner, "worker_index", -1) + 1
    number = next(user_numbers)
    return f"10.{worker % 256}.{number >> 8 & 255}.{number & 255}"


class Probe:
    """Requests that are not part of the load, nor counted as such."""

    def __init__(self, environment: Environment) -> None:
        self.host = environment.host
        self._environment = environment
        self._address = new_address(environment)
        self._session = FastHttpSession(
            self.host, EventHook(), user=None, network_timeout=TIMEOUT, connection_timeout=TIMEOUT
        )

    def complaint(self) -> str | None:
        """Return why a test of this service would mean little, if it would."""
        first, second = (
            self._get("/products?limit=1", new_address(self._environment)) for _ in range(2)
        )
        if not first.status_code:
            return NO_ANSWER.format(host=self.host)
        if HTTPStatus.TOO_MANY_REQUESTS in (first.status_code, second.status_code):
            return ONE_CLIENT
        left = [response.headers.get("X-RateLimit-Remaining") for response in (first, second)]
        return ONE_CLIENT if left[0] != left[1] else None

    def products(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for skip in range(0, PRODUCTS_MAX, LARGEST_PAGE):
            page = self._items(f"/products?skip={skip}&limit={LARGEST_PAGE}")
            found += page
            if len(page) < LARGEST_PAGE:
                break
        return found

    def category_ids(self) -> list[int]:
        return [category["id"] for category in self._items("/categories")]

    def admin_key(self) -> str | None:
        """Return the key that the service lets write, if one is known."""
        key = os.environ.get("ADMIN_API_KEY")
        is_here = urlsplit(self.host).hostname in {"localhost", "127.0.0.1", "::1"}
        if not key and is_here and RUNNING.exists() and ADMIN_KEY.exists():
            key = ADMIN_KEY.read_text(encoding="utf-8").strip()
        if not key:
            return None
        headers = {"X-Forwarded-For": self._address, "Authorization": f"Bearer {key}"}
        # Of a caller who may write it refuses the input alone.
        response = self._session.post("/products", json={}, headers=headers)
        return key if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY else None

    def _items(self, path: str) -> list[dict[str, Any]]:
        response = self._get(path, self._address)
        if response.status_code != HTTPStatus.OK:
            return []
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    def _get(self, path: str, address: str) -> FastResponse:
        return self._session.get(path, headers={"X-Forwarded-For": address})


class Catalogue:
    """What the service has to offer, as it was when the test began."""

    products: list[int]
    prices: dict[int, Decimal]  # of the products
    searches: list[list[str]]  # words that are searched for together
    categories: list[int]
    admin_key: str | None

    def learn(self, probe: Probe) -> None:
        products = probe.products()
        self.prices = {product["id"]: Decimal(product["price"]) for product in products}
        # By popularity, the same for all workers.
        chance = random.Random(1)
        chance.shuffle(products)
        self.products = [product["id"] for product in products]
        self._weights = _popularity(self.products)
        self.searches = _searches([product["name"] for product in products], chance)
        self._search_weights = _popularity(self.searches)
        self.categories = probe.category_ids()
        self._category_weights = _popularity(self.categories)
        self.admin_key = probe.admin_key()

    def popular_product(self) -> int:
        [product] = random.choices(self.products, cum_weights=self._weights)
        return product

    def popular_category(self) -> int:
        [category] = random.choices(self.categories, cum_weights=self._category_weights)
        return category

    def popular_search(self) -> list[str]:
        [words] = random.choices(self.searches, cum_weights=self._search_weights)
        return [*words]

    def page(self) -> str:
        """Return the path of a page of products, most often one of the first."""
        [limit] = random.choices(PAGE_SIZES, PAGE_SIZE_WEIGHTS)
        pages = max(1, len(self.products) // limit)
        skip = limit * (int(random.expovariate(1 / PAGES_TURNED)) % pages)
        return f"/products?skip={skip}&limit={limit}"


def _searches(names: list[str], chance: random.Random) -> list[list[str]]:
    """Return words to search for: one of each name, or two that stand beside each other."""
    found = {}
    for name in names:
        words = re.findall(r"\w{3,}", name)
        length = 1 if chance.random() < ONE_WORD else 2
        at = chance.randrange(max(1, len(words) + 1 - length))
        found[" ".join(words[at : at + length])] = words[at : at + length]
    return [words for words in found.values() if words]


def _popularity(things: list[Any]) -> list[float]:
    """Return weights, added up: the n-th is asked for 1/n as often as the first."""
    return list(accumulate(1 / rank for rank in range(1, len(things) + 1)))


catalogue = Catalogue()


class Visitor(FastHttpUser):
    """Somebody at a browser, who looks around without a session or a key."""

    abstract = True
    host = HOST
    wait_time = between(1, 3)
    network_timeout = TIMEOUT
    connection_timeout = TIMEOUT

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.address = new_address(environment)
        self.seen: deque[tuple[str, str, str]] = deque(maxlen=5)  # path, name, ETag

    # The weights of these five are 980 together; each kind of user adds its own to them.

    @task(350)
    def list_products(self) -> None:
        self.read(catalogue.page(), PAGE)

    @task(420)
    def open_product(self) -> None:
        if catalogue.products:
            self.read(f"/products/{catalogue.popular_product()}", PRODUCT)

    @task(80)
    def list_categories(self) -> None:
        self.read("/categories?skip=0&limit=100", "/categories?skip&limit")

    @task(50)
    def open_category(self) -> None:
        if catalogue.categories:
            self.read(f"/categories/{random.choice(catalogue.categories)}", "/categories/[id]")

    @task(80)
    def read_again(self) -> None:
        if self.seen:
            path, name, etag = random.choice(self.seen)
            self.read(path, name, etag)

    def read(self, path: str, name: str, etag: str | None = None) -> None:
        headers = self.headers()
        if etag:
            headers["If-None-Match"] = etag
        shown = name + CONDITIONAL if etag else name
        response = self.client.get(path, name=shown, headers=headers)
        if response.status_code == HTTPStatus.OK:
            self.seen.append((path, name, response.headers["ETag"]))

    def headers(self, token: str | None = None) -> dict[str, str]:
        address = {"X-Forwarded-For": self.address}
        return address | {"Authorization": f"Bearer {token}"} if token else address


class Shopper(Visitor):
    """Somebody who browses, and sometimes minds the shop."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.own: str | None = None  # the path of a product that this user has made

    def on_stop(self) -> None:
        if self.own:
            self.delete_own()

    @task(16)
    def change_product(self) -> None:
        if not (catalogue.admin_key and catalogue.products):
            self.open_product()
            return
        path = f"/products/{catalogue.popular_product()}"
        if random.random() < PRICE_CHANGES:
            price = random.randrange(1, 1000)  # which every currency has
            self.write("PATCH", path, {"price": str(price)})
        else:
            self.write("PATCH", path, {"stock": random.randrange(200)})

    @task(4)
    def make_or_delete_product(self) -> None:
        if self.own:
            self.delete_own()
        elif catalogue.admin_key and catalogue.categories:
            category = random.choice(catalogue.categories)
            product = {"name": "Load test", "price": "9.99", "stock": 1, "category_id": category}
            response = self.write("POST", "/products", product)
            if response.status_code == HTTPStatus.CREATED:
                self.own = response.headers["Location"]
        else:
            self.open_product()

    def delete_own(self) -> None:
        path, self.own = self.own, None
        self.write("DELETE", path)

    def write(self, method: str, path: str, values: dict[str, Any] | None = None) -> FastResponse:
        headers = self.headers(catalogue.admin_key)
        name = "/products" if method == "POST" else PRODUCT
        return self.client.request(method, path, name=name, json=values, headers=headers)


class Listing(NamedTuple):
    """A page as a Browser keeps it."""

    etag: str
    products: list[int]
    next: str | None  # the path of the page that follows


class Browser(Visitor):
    """Somebody who looks for something, and opens some of what is found.

    Of 2000 tasks 900 ask for a page that is filtered, sorted or searched, or for the next one.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.kept: dict[str, Listing] = {}  # by path
        self.page = Listing("", [], None)  # the one that is looked at

    @task(550)
    def open_category_page(self) -> None:
        if not catalogue.categories:
            return
        [sort] = random.choices(SORTS, SORT_WEIGHTS)
        by_price = ["total=true&facets=price,in_stock"] if random.random() < COUNTED else []
        by_price += [random.choice(PRICES)] if random.random() < PRICED else []
        query = [f"category_id={catalogue.popular_category()}", *by_price]
        query += [f"sort={sort}"] if sort else []
        query += ["in_stock=true"] if random.random() < IN_STOCK else []
        self.open_list(query, PRICE_PAGE if by_price or "price" in sort else CATEGORY_PAGE)

    @task(150)
    def search(self) -> None:
        if not catalogue.searches:
            return
        words = catalogue.popular_search()
        for letters in PREFIXES:
            self.read(f"/search/suggest?q={quote(words[0][:letters])}", SUGGEST)
        if random.random() < MISTYPED:
            words[0] = mistyped(words[0])
        query = [f"q={quote(' '.join(words))}"]
        if random.random() < IN_CATEGORY:
            query.append(f"category_id={catalogue.popular_category()}")
        query += ["sort=price"] if random.random() < SORTED else []
        self.open_list(query, SEARCH)

    @task(200)
    def turn_page(self) -> None:
        if self.page.next:
            self.open_page(self.page.next, NEXT_PAGE)
        else:
            self.open_category_page()

    @task(120)
    def open_listed_product(self) -> None:
        if self.page.products:
            self.read(f"/products/{random.choice(self.page.products)}", PRODUCT)
        else:
            self.open_product()

    def open_list(self, query: list[str], name: str) -> None:
        self.open_page(f"/products?{'&'.join([*query, f'limit={LISTED}'])}", name)

    def open_page(self, path: str, name: str) -> None:
        kept = self.kept.pop(path, None)
        headers = self.headers() | ({"If-None-Match": kept.etag} if kept else {})
        shown = name + CONDITIONAL if kept else name
        with self.client.get(path, name=shown, headers=headers, catch_response=True) as response:
            if kept is None or response.status_code != HTTPStatus.NOT_MODIFIED:
                kept = listing(response)
            self.kept[path] = self.page = kept
            if len(self.kept) > KEPT:
                del self.kept[next(iter(self.kept))]


class Buyer(Visitor):
    """Somebody who browses, fills a cart, and orders what is in it.

    Of 1450 tasks 1015 browse (70 %), 290 mind the cart (20 %), and 145 check it out (10 %).
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.token: str | None = None  # of the session
        self.cart: dict[int, int] = {}  # quantities by product, as the session should have them

    @task(20)
    def list_best_sellers(self) -> None:
        self.read("/products/top-selling", "/products/top-selling")

    @task(15)
    def list_trending(self) -> None:
        self.read("/products/trending", "/products/trending")

    @task(174)
    def put_item(self) -> None:
        if not catalogue.products:
            return
        product = catalogue.popular_product()
        [quantity] = random.choices(QUANTITIES, QUANTITY_WEIGHTS)
        path = f"/cart/items/{product}"
        with self.asking("PUT", path, ITEM, json={"quantity": quantity}) as response:
            if is_inactive(response):
                accept(response, ITEM_INACTIVE)
                return
            self.cart[product] = quantity
            self.check_cart(response)

    @task(87)
    def open_cart(self) -> None:
        with self.asking("GET", "/cart", "/cart") as response:
            self.check_cart(response)

    @task(29)
    def remove_some_item(self) -> None:
        if self.cart:
            self.remove_item(random.choice(list(self.cart)))

    @task(145)
    def check_out(self) -> None:
        if not self.cart:
            self.put_item()
        if not self.cart:
            return
        request = {"json": {"customer": self.customer()}, "headers": fresh_key()}
        order = self.place_order(request)
        if order is None:
            self.remove_unavailable()
            return
        if random.random() < REPEATED:
            self.repeat_checkout(request, order)
        if catalogue.admin_key and random.random() < PAID:
            self.pay(json.loads(order)["id"])

    def place_order(self, request: dict[str, Any]) -> bytes | None:
        """Return the order that was made of the cart, None if none was."""
        with self.asking("POST", CHECKOUT, CHECKOUT, **request) as response:
            if name := refusal(response):
                accept(response, name)
                return None
            require(response, HTTPStatus.CREATED)
            require_same("order", quantities(response.json()["lines"]), self.cart)
            require_same(REPLAYED, response.headers.get(REPLAYED), None)
            self.cart = {}
            return response.content
        return None

    def repeat_checkout(self, request: dict[str, Any], order: bytes) -> None:
        with self.asking("POST", CHECKOUT, f"{CHECKOUT} repeated", **request) as response:
            require(response, HTTPStatus.CREATED)
            require_same("answer", response.content, order)
            require_same(REPLAYED, response.headers.get(REPLAYED), "true")

    def remove_unavailable(self) -> None:
        found: list[dict[str, Any]] = []
        with self.asking("GET", "/cart", "/cart") as response:
            found = self.check_cart(response)
        for item in found:
            product, state = item["product_id"], item["state"]
            if state != "available" and product in self.cart:  # it is empty after a wrong answer
                self.remove_item(product)
            if state == "short" and random.random() < RESTOCKED:
                self.restock(product)

    def remove_item(self, product: int) -> None:
        with self.asking("DELETE", f"/cart/items/{product}", ITEM) as response:
            require(response, HTTPStatus.NO_CONTENT)
            del self.cart[product]

    def pay(self, order: int) -> None:
        headers = self.headers(catalogue.admin_key) | fresh_key()
        path, name = f"/orders/{order}/pay", "/orders/[id]/pay"
        with self.client.post(path, name=name, headers=headers, catch_response=True) as response:
            require(response, HTTPStatus.OK)
            require_same("status", response.json()["status"], "paid")

    def restock(self, product: int) -> None:
        if catalogue.admin_key:
            path, name = f"/products/{product}/stock", f"{PRODUCT}/stock"
            headers = self.headers(catalogue.admin_key)
            self.client.patch(path, name=name, headers=headers, json={"delta": RESTOCK})

    def check_cart(self, response: FastResponse) -> list[dict[str, Any]]:
        """Return the items of a cart, which must be those that were put there."""
        require(response, HTTPStatus.OK)
        items: list[dict[str, Any]] = response.json()["items"]
        require_same("cart", quantities(items), self.cart)
        return items

    def customer(self) -> dict[str, str]:
        return {"name": f"Buyer at {self.address}", "email": f"buyer-{self.address}@example.com"}

    @contextmanager
    def asking(
        self,
        method: str,
        path: str,
        name: str,
        *,
        headers: dict[str, str] | None = None,
        **body: Any,
    ) -> Iterator[ResponseContextManager]:
        """Send a request of the session, whose answer the block judges by raising ResponseError.

        After a wrong answer nobody knows what is in the cart: the next request opens a new session.
        """
        token, self.token = self.token or self.open_session(), None
        headers = self.headers(token) | (headers or {})
        with self.client.request(
            method, path, name=name, headers=headers, catch_response=True, **body
        ) as response:
            yield response
            self.token = token
        if self.token is None:
            self.cart = {}  # of the session to come

    def open_session(self) -> str:
        """Raises RescheduleTask where that fails: what was to be done needs a session."""
        response = self.client.post("/sessions", headers=self.headers())
        if response.status_code != HTTPStatus.CREATED:
            raise RescheduleTask
        token: str = response.json()["token"]
        return token


def listing(response: FastResponse) -> Listing:
    """Return what a page lists. Raises ResponseError for any other answer."""
    require(response, HTTPStatus.OK)
    products = [product["id"] for product in response.json()["items"]]
    require_same("page", len(set(products)), len(products))
    following = re.search(r'<([^>]+)>; rel="next"', response.headers.get("Link") or "")
    return Listing(response.headers["ETag"], products, following and following[1])


def mistyped(word: str) -> str:
    """Return a word of which two letters are swapped, or one is missing."""
    at = random.randrange(1, len(word) - 1)
    swapped = word[at + 1] + word[at] if random.random() < 0.5 else word[at]  # noqa: PLR2004
    return word[:at] + swapped + word[at + 2 :]


class Trader(FastHttpUser):
    """A program of the shop's, which acts once a second on average, at moments of its own.

    All of them at once, each second anew, would be a test of what a burst does to the others.
    """

    abstract = True
    host = HOST
    network_timeout = TIMEOUT
    connection_timeout = TIMEOUT

    def wait_time(self) -> float:
        return random.expovariate(1)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {catalogue.admin_key}"} | fresh_key()


class Seller(Trader):
    """Sells popular products, as another channel of the shop would, and restocks what is short."""

    fixed_count = 20

    @task
    def sell(self) -> None:
        product = catalogue.popular_product()
        [quantity] = random.choices(QUANTITIES, QUANTITY_WEIGHTS)
        order = {
            "customer": {"name": "Load test", "email": "load@example.com"},
            "lines": [{"product_id": product, "quantity": quantity}],
        }
        with self.client.post(
            "/orders", name="/orders", json=order, headers=self.headers(), catch_response=True
        ) as response:
            if refusal(response):
                accept(response, "/orders refused: stock")
            else:
                require(response, HTTPStatus.CREATED)
                return
        self.restock(product)

    def restock(self, product: int) -> None:
        """Order so many that few sales are of the last one."""
        path, name = f"/products/{product}/stock", f"{PRODUCT}/stock"
        self.client.patch(path, name=name, json={"delta": BULK}, headers=self.headers())


class Pricer(Trader):
    """Changes the price of any product, as one that keeps it near those of others."""

    fixed_count = 5

    @task
    def change_price(self) -> None:
        number, name = random.choice(catalogue.products), f"{PRODUCT} price"
        path, before = f"/products/{number}", catalogue.prices[number]
        change = 1 + random.uniform(-REPRICED, REPRICED)
        price = round(before * Decimal(change), -before.as_tuple().exponent)
        self.client.patch(path, name=name, json={"price": str(price)}, headers=self.headers())


def fresh_key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def quantities(items: list[dict[str, Any]]) -> dict[int, int]:
    """Return how many of each product a cart or an order has."""
    return {item["product_id"]: item["quantity"] for item in items}


def require(response: FastResponse, status: HTTPStatus) -> None:
    """Raise ResponseError, which makes the request a failure, for another status."""
    if response.status_code != status:
        detail = problem(response).get("detail", response.error)
        raise ResponseError(f"{response.status_code} instead of {status}: {detail}")


def require_same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ResponseError(f"wrong {what}: {found!r} instead of {expected!r}")


def refusal(response: FastResponse) -> str | None:
    """Return what to call a checkout that is refused as it should be, None for any other answer."""
    if response.status_code != HTTPStatus.CONFLICT:
        return None
    found = problem(response)
    if found.get("type") == "/problems/session-open-orders":
        return CHECKOUT_OVER_CAP
    if found.get("type") != "/problems/out-of-stock":
        return None
    wrong = {error["field"].rpartition(".")[2] for error in found.get("errors", [])}
    return CHECKOUT_SHORT if "quantity" in wrong else CHECKOUT_INACTIVE


def is_inactive(response: FastResponse) -> bool:
    """Tell whether an item is refused because its product is not sold now."""
    return problem(response).get("type") == "/problems/not-for-sale"


def problem(response: FastResponse) -> dict[str, Any]:
    """Return the document of a refusal (RFC 9457), an empty one if the answer is no such."""
    if "problem+json" not in ((response.headers or {}).get("Content-Type") or ""):
        return {}
    document: dict[str, Any] = response.json()
    return document


def accept(response: ResponseContextManager, name: str) -> None:
    """Count a refusal that is no failure, under a name of its own."""
    response.request_meta["name"] = name
    response.success()


@events.test_start.add_listener
def begin(environment: Environment, **_: object) -> None:
    """Learn in each process what the service has; say once what is wrong with the test."""
    random.seed()  # workers that were forked would all do the same
    cache_outcomes.clear()
    environment.host = (environment.host or HOST).rstrip("/")
    probe = Probe(environment)
    complaint = None if is_worker(environment) else probe.complaint()
    catalogue.learn(probe)
    if is_worker(environment):
        return
    if not complaint and not catalogue.products:
        complaint = EMPTY
    if complaint:
        say(complaint)
    elif not catalogue.admin_key:
        say(NO_KEY)


@events.request.add_listener
def count_cache_outcome(name: str, response: FastResponse | None = None, **_: object) -> None:
    if response is not None and response.headers and (outcome := response.headers.get("X-Cache")):
        cache_outcomes[name.removesuffix(CONDITIONAL), outcome] += 1


@events.report_to_master.add_listener
def send_cache_outcomes(data: dict[str, Any], **_: object) -> None:
    # A tuple is a list when it arrives, and so cannot be a key on the way.
    data["cache_outcomes"] = [(*key, number) for key, number in cache_outcomes.items()]
    cache_outcomes.clear()


@events.worker_report.add_listener
def receive_cache_outcomes(data: dict[str, Any], **_: object) -> None:
    for name, outcome, number in data.get("cache_outcomes", []):
        cache_outcomes[name, outcome] += number


@events.reset_stats.add_listener
def forget_cache_outcomes(**_: object) -> None:
    cache_outcomes.clear()


@events.quitting.add_listener
def conclude(environment: Environment, **_: object) -> None:
    """Without a page, print the result and make it the exit status."""
    options = environment.parsed_options
    if is_worker(environment) or options is None or not options.headless:
        return
    total = environment.stats.total
    p50, p95, p99 = (total.get_response_time_percentile(part) or 0 for part in (0.5, 0.95, 0.99))
    say(
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; "
        f"{total.num_requests} requests, {total.total_rps:.1f}/s; "
        f"{total.num_failures} failures ({total.fail_ratio:.2%}); "
        f"cache hit rate {hit_rate()}, of products {hit_rate(PRODUCT)}, of pages {hit_rate(PAGE)}, "
        f"of pages that were found {hit_rate(*FOUND)}"
        f"{orders(environment)}"
    )
    if not total.num_requests or total.fail_ratio > FAILURES_MAX:
        environment.process_exit_code = 1
    elif not environment.runner.exceptions:
        environment.process_exit_code = 0  # locust's own answer to a single failure is 1


def hit_rate(*reads: str) -> str:
    """Return the share of hits among all reads, or among those of some names."""
    outcomes: Counter[str] = Counter()
    for (name, outcome), number in cache_outcomes.items():
        if not reads or name in reads:
            outcomes[outcome] += number
    return f"{outcomes['HIT'] / outcomes.total():.1%}" if outcomes else "unknown"


def orders(environment: Environment) -> str:
    """Return what became of the checkouts, if there were any."""
    entries = environment.stats.entries
    made, short = (
        entry.num_requests - entry.num_failures if (entry := entries.get((name, "POST"))) else 0
        for name in (CHECKOUT, CHECKOUT_SHORT)
    )
    return f"; {made} orders, {short} refused for stock" if made or short else ""


def is_worker(environment: Environment) -> bool:
    return isinstance(environment.runner, WorkerRunner)


def say(line: str) -> None:
    print(f"\nload: {line}\n", flush=True)  # noqa: T201
