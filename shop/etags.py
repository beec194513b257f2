"""Entity tags of JSON documents, and conditional requests (RFC 9110, section 13)."""

from __future__ import annotations

import hashlib

from werkzeug.http import parse_etags

from .problems import PreconditionFailedError


def etag_of(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def is_current(etag: str, if_none_match: str | None) -> bool:
    """Return whether the caller has this ETag, by weak comparison (section 13.1.2)."""
    if not if_none_match or if_none_match == etag:
        return if_none_match == etag
    return parse_etags(if_none_match).contains_weak(etag.strip('"'))


def require_match(body: bytes, if_match: str | None) -> None:
    """Raise PreconditionFailedError unless If-Match has the ETag of `body` (section 13.1.1).

    Without If-Match every body passes. The comparison is strong: a weak tag never matches.
    """
    if if_match is None:
        return
    sent, tag = parse_etags(if_match), etag_of(body).strip('"')
    if sent.contains(tag):
        return
    if sent.contains_weak(tag):
        raise PreconditionFailedError(
            "The ETag in If-Match is weak (W/), as a proxy that compresses makes it, and never "
            "matches: read this again with Accept-Encoding: identity, and send its ETag."
        )
    raise PreconditionFailedError("This has changed since: read it again, and then decide.")
