from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from shop.fields import Input, Instant, Money, Text, Whole, describe
from shop.products.schemas import CURRENCY

LINE = r"^[!-~]+$"  # printable ASCII, without spaces
DAY = 86_400


def _whole(description: str, *examples: int, null: bool = False) -> Whole:
    return Whole(0, required=True, allow_none=null, metadata=describe(description, *examples))


def _number(description: str, *examples: float, null: bool = False) -> fields.Float:
    return fields.Float(required=True, allow_none=null, metadata=describe(description, *examples))


def _text(description: str, *examples: str, null: bool = False) -> fields.String:
    return fields.String(required=True, allow_none=null, metadata=describe(description, *examples))


def _choice(description: str, *choices: str) -> fields.String:
    return fields.String(
        required=True, validate=validate.OneOf(choices), metadata=describe(description, choices[0])
    )


def _time(description: str, *, null: bool = False) -> Instant:
    return Instant(required=True, allow_none=null, metadata=Instant.OUTPUT | describe(description))


def _flag(description: str) -> fields.Boolean:
    return fields.Boolean(required=True, metadata=describe(description))


def _one(schema: type[Schema], description: str, *, null: bool = False) -> fields.Nested:
    return fields.Nested(schema, required=True, allow_none=null, metadata=describe(description))


def _list(schema: type[Schema], description: str, *, null: bool = False) -> fields.List[Any]:
    return fields.List(
        fields.Nested(schema), required=True, allow_none=null, metadata=describe(description)
    )


class ServiceHealthSchema(Schema):
    """The health of both servers, as the answering host sees it."""

    status = _choice("How the service is.", "ok", "degraded", "unavailable")
    database = _choice("PostgreSQL.", "ok", "read-only", "unreachable")
    redis = _choice("Redis.", "ok", "unreachable", "foreign", "disabled")
    version = _text("The version of the answering host.", "0.1.0")


class TrafficSchema(Schema):
    """The requests of the last minute."""

    seconds = _number("The seconds that these numbers are of.", 60.0)
    requests = _whole("Requests answered.", 1234)
    server_errors = _whole("Answers of 500 and more.", 0)
    refused = _whole("Answers of 429.", 3)
    p50_ms = _number("Milliseconds that half of the answers took at most.", 1.0, null=True)
    p95_ms = _number("The same of 95 percent.", 2.5, null=True)
    p99_ms = _number("The same of 99 percent.", 10.0, null=True)


class TrafficMinuteSchema(Schema):
    """A minute of the last hour."""

    at = _time("The time at which it began.")
    requests = _whole("Requests answered.", 1234)
    server_errors = _whole("Answers of 500 and more.", 0)
    p95_ms = _number("Milliseconds that 95 percent of the answers took.", 2.5, null=True)
    reads = _whole("Documents asked of the cache.", 3000)
    hits = _whole("Those that it had.", 2900)


class CachedFamilySchema(Schema):
    """A family of cached documents."""

    family = _text("The first word of the names in Redis.", "products")
    reads = _whole("Documents asked of the cache in the last hour.", 3000)
    hits = _whole("Those that it had.", 2900)
    hit_rate = _number("Hits by reads; null without reads.", 0.967, null=True)
    entries = _whole("Entries in Redis.", 1234, null=True)
    oldest_seconds = _whole("The age of the oldest entry that was looked at.", 287, null=True)
    median_seconds = _whole("The median age of these.", 120, null=True)


class OutboxSchema(Schema):
    """The names that Redis is still to be told to forget."""

    names = _whole("How many.", 0)
    oldest_seconds = _number("For how long the oldest has waited; 0 without any.", 0.0)


class RedisServerSchema(Schema):
    """A Redis server."""

    server = _text("Its address.", "127.0.0.1:6379")
    memory_bytes = _whole("The memory that it uses.", 1_760_000)
    memory_max_bytes = _whole("Its bound; null without one.", 268_435_456, null=True)
    evicted_keys = _whole("Keys that it has dropped for want of memory.", 0)
    clients = _whole("Connections.", 7)
    keys = _whole("Keys, of other applications, too.", 1500)


class CacheStateSchema(Schema):
    """The cache."""

    families = _list(CachedFamilySchema, "The documents, by family.")
    is_estimate = _flag("Whether entries were counted in a sample of the keys.")
    outbox = _one(OutboxSchema, "The outbox.", null=True)
    servers = _list(RedisServerSchema, "The servers; of a cluster the masters.", null=True)
    breakers_open = _whole("Processes that do not try Redis now.", 0)


class PolicyDecisionsSchema(Schema):
    """The decisions of a policy in the last hour."""

    policy = _text("Its name.", "default")
    allowed = _whole("Requests that it let pass.", 900)
    refused = _whole("Requests that it refused.", 3)
    would_refuse = _whole("Requests that it would have refused, in shadow mode.", 0)


class ClientUsageSchema(Schema):
    """The usage of a policy by a client."""

    client = _text("An address, key:PREFIX, or session:HASH.", "192.0.2.7")
    policy = _text("The policy.", "default")
    used = _whole("Requests in the window.", 93)
    quota = _whole("Requests that it may send in the window.", 100)
    window = _whole("Its seconds.", 60)
    reset = _whole("Seconds until some of it is free again.", 12)
    refused = _whole("Requests refused since it last paused for a window.", 3)


class LimitsStateSchema(Schema):
    """The rate limits."""

    is_enabled = _flag("Whether there are limits.")
    mode = _choice("The mode now.", "enforce", "shadow")
    configured_mode = _choice("The mode by RATE_LIMIT_MODE.", "enforce", "shadow")
    mode_until = _time("The time at which `configured_mode` counts again, if set.", null=True)
    counted_alone = _whole("Workers that count for themselves now.", 0)
    policies = _list(PolicyDecisionsSchema, "The decisions, by policy.")
    clients = _whole("Clients that have used anything now.", 12, null=True)
    near = _list(ClientUsageSchema, "Who uses most of a quota.", null=True)
    refused = _list(ClientUsageSchema, "Who is refused most.", null=True)


class ServiceHostSchema(Schema):
    """A host: one gunicorn with its workers."""

    host = _text("Its name and port.", "shop-1:8000")
    is_answering = _flag("Whether it made this document.")
    seen_seconds_ago = _number("Seconds since its last report.", 2.1)
    version = _text("Its version.", "0.1.0")
    started_at = _time("The time at which it started.")
    workers = _whole("Its workers.", 2)
    requests_per_second = _number("In the last minute.", 20.5, null=True)
    requests_waiting = _whole("Requests that wait for a thread.", 0)
    breakers_open = _whole("Processes that do not try Redis now.", 0)
    counted_alone = _whole("Workers that count for themselves now.", 0)


class WorkerTaskSchema(Schema):
    """A task of `flask worker`."""

    task = _text("Its name.", "expire_orders")
    last_success = _time("The time of its last success.", null=True)
    seconds = _number("The seconds that this took.", 0.01, null=True)
    done = _whole("Its runs that succeeded.", 17_280)
    failed = _whole("Its runs that failed.", 0)


class RevenueOfDaySchema(Schema):
    """The payments of the day, in one currency."""

    currency = fields.String(required=True, metadata=CURRENCY)
    amount = Money(required=True, metadata=Money.SUM | describe("The total."))


class OrdersOfDaySchema(Schema):
    """The orders of today, by UTC."""

    since = _time("The beginning of the day.")
    placed = _whole("Orders placed.", 12)
    paid = _whole("Orders paid.", 7)
    cancelled = _whole("Orders placed and cancelled.", 1)
    revenue = _list(RevenueOfDaySchema, "What was paid.")


class SellingProductSchema(Schema):
    """A product that sells."""

    product_id = Whole(1, required=True, metadata=describe("The product.", 1))
    name = _text("Its name.", "Brass desk lamp")
    score = _number("Units sold, each of which halves in a day.", 3.25)
    stock = _whole("Units left.", 5)


class NotableAnswerSchema(Schema):
    """An answer that failed, or was slow."""

    at = _time("The time of the answer.")
    host = _text("The host that gave it.", "shop-1:8000")
    request_id = _text("Its X-Request-ID, which is in the log.", "88449100aa1aacd50a8e7925fa15614f")
    method = _text("The method.", "GET")
    route = _text("The route; null if no route has the address.", "/products", null=True)
    status = Whole(100, required=True, metadata=describe("The status.", 503))
    milliseconds = _number("The time that it took.", 312.5)


class ServiceStatusSchema(Schema):
    """The state of the service. A part that cannot be had is null."""

    as_of = _time("The time that the numbers are of.")
    scope = _choice(
        "Whether the numbers are of all hosts, or, without Redis, of the answering one.",
        "service",
        "host",
    )
    health = _one(ServiceHealthSchema, "The health.")
    traffic = _one(TrafficSchema, "The last minute.")
    minutes = _list(TrafficMinuteSchema, "The last hour, the oldest minute first.")
    cache = _one(CacheStateSchema, "The cache.")
    limits = _one(LimitsStateSchema, "The rate limits.")
    hosts = _list(ServiceHostSchema, "The hosts that have reported within an hour.")
    tasks = _list(WorkerTaskSchema, "The tasks that were ever run.", null=True)
    orders = _one(OrdersOfDaySchema, "The orders of today.", null=True)
    selling = _list(SellingProductSchema, "The products that sell best now.", null=True)
    errors = _list(NotableAnswerSchema, "Answers of 500 and more, the newest first.")
    slow = _list(NotableAnswerSchema, "Answers of half a second and more, the newest first.")


class CacheClearInput(Input):
    """The family of documents to forget."""

    family = Text(
        LINE, longest=50, required=True, metadata=describe("The family, or `all`.", "products")
    )


class ClearedCacheSchema(Schema):
    """The family that was forgotten."""

    family = _text("The family, or `all`.", "products")


class QuotaResetInput(Input):
    """The client that gets its whole quota again."""

    client = Text(
        LINE,
        longest=100,
        required=True,
        metadata=describe("An address, key:PREFIX, or session:HASH.", "192.0.2.7"),
    )


class QuotaResetSchema(Schema):
    """The client that has its whole quota again."""

    client = _text("The client.", "192.0.2.7")
    had_used = _flag("Whether it had used any.")


class LimitModeInput(Input):
    """The mode of the limits, and for how long."""

    mode = fields.String(
        required=True,
        validate=validate.OneOf(("enforce", "shadow")),
        metadata=describe("`shadow` counts, and refuses nothing.", "shadow"),
    )
    seconds = Whole(
        1, DAY, required=True, metadata=describe("The seconds until it ends by itself.", 3600)
    )


class LimitModeSchema(Schema):
    """The mode of the limits, and its end."""

    mode = _choice("The mode.", "enforce", "shadow")
    until = _time("The time at which RATE_LIMIT_MODE counts again.")
