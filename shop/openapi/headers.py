"""The headers of requests and answers, as the API's document shows them."""

from __future__ import annotations

from typing import Any

LIMITED = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)
CACHED = ("X-Cache", "ETag", "Cache-Control", "Warning")

INTEGER = {"type": "integer", "minimum": 0}
HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-ID": ("The request's id, also in the logs.", {"type": "string"}),
    "X-RateLimit-Limit": ("The quota of the policy nearest to it.", INTEGER),
    "X-RateLimit-Remaining": ("What is left of it.", INTEGER),
    "X-RateLimit-Reset": ("Seconds until some of what is used is free again.", INTEGER),
    "RateLimit-Policy": (
        "Every policy: its quota (q) in a window of w seconds.",
        {"type": "string"},
    ),
    "RateLimit": (
        "Every policy: what remains (r), and the seconds until there is more (t).",
        {"type": "string"},
    ),
    "Retry-After": ("Seconds to wait.", INTEGER),
    "X-Cache": ("How the documents were had.", {"enum": ["HIT", "MISS", "BYPASS", "STALE"]}),
    "Warning": (
        "110 with X-Cache: STALE, where CACHE_STALE_IF_ERROR allows it.",
        {"type": "string"},
    ),
    "ETag": ("The version of the body, for If-None-Match.", {"type": "string"}),
    "Cache-Control": ("no-cache: ask again each time.", {"type": "string"}),
    "Link": ("Neighbouring pages: rel=prev, rel=next (RFC 8288).", {"type": "string"}),
    "Idempotent-Replayed": (
        "true: this is the answer to an earlier request with the same Idempotency-Key.",
        {"type": "string"},
    ),
    "Location": ("The address of what was made.", {"type": "string"}),
    "WWW-Authenticate": ("How to send a key.", {"type": "string"}),
}
IF_NONE_MATCH = (
    "If-None-Match",
    "An ETag: if the answer still has it, the answer is 304 without a body.",
)
IF_MATCH = (
    "If-Match",
    "The ETag that was read: if it has changed since, the answer is 412, and nothing is done.",
)
IDEMPOTENCY_KEY = (
    "Idempotency-Key",
    "New for each request: sent again within 24 hours, it gets the first answer once more.",
)
