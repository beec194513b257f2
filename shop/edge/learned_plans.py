"""The plans of cached reads that a process has learned from the answers of Flask."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from shop import answers
from shop.facts import current_facts

from .observation import Observation

if TYPE_CHECKING:
    from flask import Flask, Response

    from shop.answers import Document
    from shop.facts import ReadRequest, UrlKey

    from .read_plan import ReadPlan

PLANS_MAX = 4096  # plans that a process keeps
PLANS_BYTES = 16 * 1024 * 1024  # memory of the plans


class LearnedPlans:
    """The plans of a process, by URL: the latest."""

    def __init__(self) -> None:
        self._known: dict[UrlKey, ReadPlan] = {}
        self._bytes = 0
        self._learning = Lock()

    def learn_from(self, app: Flask) -> None:
        """Learn plans from the answers of `app` to requests of the loop."""
        app.before_request_funcs.setdefault(None, []).insert(0, self._expect)
        # It runs last: the answer is whole.
        app.after_request_funcs.setdefault(None, []).insert(0, self._learn)

    def find(self, url_key: UrlKey) -> ReadPlan | None:
        return self._known.get(url_key)

    def _expect(self) -> None:
        """Observe the reads of a request whose plan is not known."""
        known = current_facts()
        if known.read_request and known.read_request.url_key not in self._known:
            known.observer = Observation()

    def _learn(self, response: Response) -> Response:
        """Learn the plan of an answer, if the edge would give the same answer."""
        known = current_facts()
        read, observer = known.read_request, known.observer
        if not (read and isinstance(observer, Observation)):
            return response
        if learned := observer.learned_plan(known, read):
            plan, found = learned
            if self._is_same(response, read, plan.compose(found)):
                self._remember(read.url_key, plan)
        return response

    @staticmethod
    def _is_same(response: Response, read: ReadRequest, document: Document | None) -> bool:
        """Return whether the edge would answer with the same status and headers, also the ETag."""
        if document is None:
            return False
        known = current_facts()
        own = answers.cached_read(document, read.path, read.if_none_match, known.outcome)
        headers = [*own.headers, *answers.closing_headers(known)]
        return (own.status, headers) == (response.status_code, list(response.headers))

    def _remember(self, url_key: UrlKey, plan: ReadPlan) -> None:
        with self._learning:
            self._forget(url_key)
            self._known[url_key] = plan
            self._bytes += _size(url_key, plan)
            while len(self._known) > PLANS_MAX or self._bytes > PLANS_BYTES:
                self._forget(next(iter(self._known)))  # the oldest

    def _forget(self, url_key: UrlKey) -> None:
        if plan := self._known.pop(url_key, None):
            self._bytes -= _size(url_key, plan)


def _size(url_key: UrlKey, plan: ReadPlan) -> int:
    path, _, query = url_key
    return len(path) + len(query) + plan.size
