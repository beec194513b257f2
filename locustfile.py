"""Load for the catalogue: people who browse, and a few who keep it up to date.

    make load                               400 users for 60 s, on what `make run` serves
    make load-report                        the same without Redis and with it, compared
    locust --host http://localhost:8000     a page at http://localhost:8089 to steer it

Each user has an address of its own, sent as X-Forwarded-For: TRUSTED_PROXIES=1 lets the service
believe it. Otherwise all users are one client, and most of their requests are refused.

Writes need the administrator's key, from ADMIN_API_KEY or from the `make run` of this checkout on
this machine. They change stock and prices; what they create they delete again.
"""

from __future__ import annotations

import os
import random
from collections import Counter, deque
from http import HTTPStatus
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from locust import FastHttpUser, between, events, task
from locust.contrib.fasthttp import FastHttpSession
from locust.event import EventHook
from locust.runners import WorkerRunner

if TYPE_CHECKING:
    from locust.contrib.fasthttp import FastResponse
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
CONDITIONAL = " If-None-Match"

NO_ANSWER = "nothing answers at {host}: `make run` starts the service"
EMPTY = "there are no products: `flask seed` makes some"
ONE_CLIENT = (
    "the service takes all users for one client and will refuse most of their requests: "
    "start it with `TRUSTED_PROXIES=1 make run`"
)
READ_ONLY = "nothing is written: there is no ADMIN_API_KEY that the service accepts"

user_numbers = count(random.randrange(1 << 16))
cache_outcomes: Counter[str] = Counter()  # by X-Cache


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

    def product_ids(self) -> list[int]:
        found: list[int] = []
        for skip in range(0, PRODUCTS_MAX, LARGEST_PAGE):
            page = self._ids(f"/products?skip={skip}&limit={LARGEST_PAGE}")
            found += page
            if len(page) < LARGEST_PAGE:
                break
        return found

    def category_ids(self) -> list[int]:
        return self._ids("/categories")

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

    def _ids(self, path: str) -> list[int]:
        response = self._get(path, self._address)
        if response.status_code != HTTPStatus.OK:
            return []
        return [row["id"] for row in response.json()["items"]]

    def _get(self, path: str, address: str) -> FastResponse:
        return self._session.get(path, headers={"X-Forwarded-For": address})


class Catalogue:
    """What the service has to offer, as it was when the test began."""

    products: list[int]
    categories: list[int]
    admin_key: str | None

    def learn(self, probe: Probe) -> None:
        self.products = probe.product_ids()
        # By popularity, the same for all workers: the n-th is asked for 1/n as often as the first.
        random.Random(1).shuffle(self.products)
        self._weights = list(accumulate(1 / rank for rank in range(1, len(self.products) + 1)))
        self.categories = probe.category_ids()
        self.admin_key = probe.admin_key()

    def popular_product(self) -> str:
        [product] = random.choices(self.products, cum_weights=self._weights)
        return f"/products/{product}"

    def page(self) -> str:
        """Return the path of a page of products, most often one of the first."""
        [limit] = random.choices(PAGE_SIZES, PAGE_SIZE_WEIGHTS)
        pages = max(1, len(self.products) // limit)
        skip = limit * (int(random.expovariate(1 / PAGES_TURNED)) % pages)
        return f"/products?skip={skip}&limit={limit}"


catalogue = Catalogue()


class Shopper(FastHttpUser):
    """Somebody at a browser, who sometimes minds the shop."""

    host = HOST
    wait_time = between(1, 3)
    network_timeout = TIMEOUT
    connection_timeout = TIMEOUT

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.address = new_address(environment)
        self.seen: deque[tuple[str, str, str]] = deque(maxlen=5)  # path, name, ETag
        self.own: str | None = None  # the path of a product that this user has made

    def on_stop(self) -> None:
        if self.own:
            self.delete_own()

    @task(350)
    def list_products(self) -> None:
        self.read(catalogue.page(), "/products?skip&limit")

    @task(420)
    def open_product(self) -> None:
        if catalogue.products:
            self.read(catalogue.popular_product(), "/products/[id]")

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

    @task(16)
    def change_product(self) -> None:
        if not (catalogue.admin_key and catalogue.products):
            self.open_product()
        elif random.random() < PRICE_CHANGES:
            price = f"{random.randrange(100, 100_000) / 100:.2f}"
            self.write("PATCH", catalogue.popular_product(), {"price": price})
        else:
            self.write("PATCH", catalogue.popular_product(), {"stock": random.randrange(200)})

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

    def read(self, path: str, name: str, etag: str | None = None) -> None:
        headers = {"X-Forwarded-For": self.address}
        if etag:
            headers["If-None-Match"] = etag
        shown = name + CONDITIONAL if etag else name
        response = self.client.get(path, name=shown, headers=headers)
        if response.status_code == HTTPStatus.OK:
            self.seen.append((path, name, response.headers["ETag"]))

    def write(self, method: str, path: str, values: dict[str, Any] | None = None) -> FastResponse:
        headers = {
            "X-Forwarded-For": self.address,
            "Authorization": f"Bearer {catalogue.admin_key}",
        }
        name = "/products" if method == "POST" else "/products/[id]"
        return self.client.request(method, path, name=name, json=values, headers=headers)


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
        say(READ_ONLY)


@events.request.add_listener
def count_cache_outcome(response: FastResponse | None = None, **_: object) -> None:
    if response is not None and response.headers and (outcome := response.headers.get("X-Cache")):
        cache_outcomes[outcome] += 1


@events.report_to_master.add_listener
def send_cache_outcomes(data: dict[str, Any], **_: object) -> None:
    data["cache_outcomes"] = dict(cache_outcomes)
    cache_outcomes.clear()


@events.worker_report.add_listener
def receive_cache_outcomes(data: dict[str, Any], **_: object) -> None:
    cache_outcomes.update(data.get("cache_outcomes", {}))


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
    reads = cache_outcomes.total()
    hits = f"{cache_outcomes['HIT'] / reads:.1%}" if reads else "unknown"
    say(
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; "
        f"{total.num_requests} requests, {total.total_rps:.1f}/s; "
        f"{total.num_failures} failures ({total.fail_ratio:.2%}); cache hit rate {hits}"
    )
    if not total.num_requests or total.fail_ratio > FAILURES_MAX:
        environment.process_exit_code = 1
    elif not environment.runner.exceptions:
        environment.process_exit_code = 0  # locust's own answer to a single failure is 1


def is_worker(environment: Environment) -> bool:
    return isinstance(environment.runner, WorkerRunner)


def say(line: str) -> None:
    print(f"\nload: {line}\n", flush=True)  # noqa: T201
