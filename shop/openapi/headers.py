"""The headers of requests and answers, as the API's document shows them."""

from __future__ import annotations

from typing import Any

from shop.config import CONDITION_MAX, IDEMPOTENCY_KEY_MAX

ETAG_EXAMPLE = '"90eab32ede49c2b2b53036ab"'
# Any value that a header can have: a value that is no ETag matches none, and is no error.
FIELD_VALUE = r"^[\t\x20-\x7e\x80-\xff]*$"
IDEMPOTENCY_KEY_PATTERN = r"^[!-~]+$"

LIMIT_HEADERS = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)
CACHE_HEADERS = ("X-Cache", "ETag", "Cache-Control", "Warning")

INTEGER = {"type": "integer", "minimum": 0, "examples": [60]}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-ID": (
        "The request's id, also in the logs.",
        {"type": "string", "examples": ["23a2dcb2d2884bc9a00ae5b053bb5df1"]},
    ),
    "X-RateLimit-Limit": ("The quota of the policy nearest to its end.", INTEGER),
    "X-RateLimit-Remaining": ("The remaining requests of that quota.", INTEGER),
    "X-RateLimit-Reset": ("Seconds until some of that quota is free again.", INTEGER),
    "RateLimit-Policy": (
        "Every policy: its quota (q) in a window of w seconds.",
        {"type": "string", "examples": ['"default";q=100;w=60, "write";q=30;w=60']},
    ),
    "RateLimit": (
        "Every policy: what remains (r), and the seconds until there is more (t).",
        {"type": "string", "examples": ['"default";r=99;t=60, "write";r=29;t=60']},
    ),
    "Retry-After": ("Seconds to wait before the request is sent again.", INTEGER),
    "X-Cache": (
        "HIT: from Redis. MISS: from the database. BYPASS: without Redis. STALE: expired.",
        {"type": "string", "enum": ["HIT", "MISS", "BYPASS", "STALE"]},
    ),
    "Warning": (
        "110 with X-Cache: STALE, where CACHE_STALE_IF_ERROR allows it.",
        {"type": "string", "examples": ['110 - "Response is Stale"']},
    ),
    "ETag": (
        "The version of the document, for If-None-Match and If-Match.",
        {"type": "string", "examples": [ETAG_EXAMPLE]},
    ),
    "Cache-Control": (
        "no-cache: revalidate each time. private: the answer is for this caller alone.",
        {"type": "string", "examples": ["no-cache"]},
    ),
    "Link": (
        "Neighbouring pages: rel=prev, rel=next (RFC 8288).",
        {"type": "string", "examples": ['</products?skip=20&limit=10>; rel="next"']},
    ),
    "Idempotent-Replayed": (
        "true: this is the answer to an earlier request with the same Idempotency-Key.",
        {"type": "string", "const": "true"},
    ),
    "Location": (
        "The address of the new row.",
        {"type": "string", "format": "uri-reference", "examples": ["/orders/2001"]},
    ),
    "WWW-Authenticate": (
        "How to send a key or a session.",
        {"type": "string", "examples": ["Bearer realm=shop"]},
    ),
}


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    schema = {"type": "string"} | schema
    return {"name": name, "in": "header", "description": description, "schema": schema}


IF_NONE_MATCH = _header(
    "If-None-Match",
    "The ETag of the document that the caller has, or several ETags with commas between them. If "
    "the document still has one of them, the answer is 304 without a body.",
    pattern=FIELD_VALUE,
    maxLength=CONDITION_MAX,
    examples=[ETAG_EXAMPLE],
)
IF_MATCH = _header(
    "If-Match",
    "The ETag of the document that the caller has read. If the document has changed since, the "
    "answer is 412, and nothing is done.",
    pattern=FIELD_VALUE,
    maxLength=CONDITION_MAX,
    examples=[ETAG_EXAMPLE],
)
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    "A new key for each request, and the same key when a request is sent again: within 24 hours "
    "a repeated request gets the first answer, and nothing is done twice.",
    pattern=IDEMPOTENCY_KEY_PATTERN,
    minLength=1,
    maxLength=IDEMPOTENCY_KEY_MAX,
    examples=["7f1c6a52-order-1"],
)
