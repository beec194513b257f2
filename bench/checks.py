"""Checks that have to pass for a figure to count: the answers, and the products in them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from . import BenchError, rungs
from .contenders import BARE, ITEM, MISS, NOT_MODIFIED, PAGES, REFUSED, RUNGS, WRITE

if TYPE_CHECKING:
    from .stage import Served
    from .wrk import Request


def entrants(rung: str, served: list[Served]) -> list[Served]:
    """Return who takes part in a rung; in 429 it is those whose quota is used up."""
    return [
        one
        for one in served
        if rung in one.contender.rungs and (rung == REFUSED) == (one.contender.rungs == (REFUSED,))
    ]


def prepare(rung: str, entrants: list[Served]) -> dict[int, list[Request]]:
    """Return each entrant's requests, by its port, after a look at what it answers.

    Raises BenchError if one answers wrongly.
    """
    if rung == NOT_MODIFIED:
        return {one.port: _conditional(one) for one in entrants}
    requests = {MISS: rungs.misses(1, 5), WRITE: rungs.writes()}.get(rung) or rungs.hot(rung)
    wanted = None
    for one in entrants:
        if rung == REFUSED:
            one.ask(requests * one.contender.quota)
        found = answers(one, rung, requests[:5] if rung == WRITE else requests)
        if rung in (ITEM, *PAGES):
            items = [_items(body) for body in found]
            wanted = wanted or items
            if items != wanted:
                raise BenchError(f"{one.contender.name} answers {rung} with other products")
    return {one.port: requests for one in entrants}


def store_answers(served: list[Served]) -> None:
    """Give the bare functions what the product answers."""
    product = next(one for one in served if one.contender.rungs == RUNGS)
    bare = [one for one in served if one.contender.name in BARE]
    for rung in (ITEM, *PAGES):
        requests = rungs.hot(rung)
        for request, answer in zip(requests, product.ask(requests), strict=True):
            for one in bare:
                one.store.set(request.address, answer.body)


def _conditional(one: Served) -> list[Request]:
    """Return reads of items with the ETag of what the reader has."""
    requests = rungs.hot(ITEM)
    return [
        request._replace(headers={"If-None-Match": etag or _digest(body)})
        for request, (_, etag, body) in zip(requests, one.ask(requests), strict=True)
    ]


def _digest(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def answers(one: Served, rung: str, requests: list[Request]) -> list[bytes]:
    """Return the bodies of the answers. Raises BenchError unless all have the rung's status."""
    found = one.ask(requests)
    for request, answer in zip(requests, found, strict=True):
        if answer.status != rungs.EXPECTED[rung]:
            raise BenchError(
                f"{one.contender.name} answers {answer.status} to {request.method} "
                f"{request.address} in {rung}, not {rungs.EXPECTED[rung]}; it said: {_said(one)}"
            )
    return [answer.body for answer in found]


def _said(one: Served) -> str:
    """Return the last line of its log."""
    return (one.log.read_text().strip().splitlines() or ["nothing"])[-1]


def _items(body: bytes) -> Any:
    """Return what a body says, but for the notation of its times."""
    said = json.loads(body)
    for item in said.get("items", [said]):
        item["created_at"] = item["updated_at"] = None
    return said


def check(one: Served, rung: str, sample: dict[str, Any]) -> None:
    """Raises BenchError if wrk saw anything but the answers of a rung."""
    refused = sample["requests"] if rung == REFUSED else 0
    if sample["broken"] or sample["refused"] != refused or not sample["requests"]:
        raise BenchError(
            f"{one.contender.name} failed in {rung}: of {sample['requests']} answers "
            f"{sample['refused']} were errors, and {sample['broken']} did not come"
        )
