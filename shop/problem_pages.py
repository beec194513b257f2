"""`/problems`: a page for each problem type, at the URL in its `type`."""

from __future__ import annotations

import inspect
import re

from flask import Blueprint, render_template
from markupsafe import Markup, escape
from werkzeug.exceptions import NotFound

from .problems import ShopError, problem_types

blueprint = Blueprint("problems", __name__, url_prefix="/problems")

PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'self'"}


@blueprint.get("")
def list_() -> tuple[str, dict[str, str]]:
    """List every problem type, by status."""
    return render_template("problems.html", kinds=problem_types().values()), PAGE_HEADERS


@blueprint.get("/<slug>")
def show(slug: str) -> tuple[str, dict[str, str]]:
    """Explain one problem type and its members."""
    kind = problem_types().get(slug)
    if kind is None:
        raise NotFound
    page = render_template("problem.html", kind=kind, paragraphs=_paragraphs(kind))
    return page, PAGE_HEADERS


def _paragraphs(kind: type[ShopError]) -> list[Markup]:
    """Return the docstring of a kind as HTML, with `words` of the API as code."""
    text = str(escape(inspect.cleandoc(kind.__doc__ or "")))
    marked = re.sub("`(.+?)`", r"<code>\1</code>", text)
    return [Markup(paragraph) for paragraph in marked.split("\n\n")]  # noqa: S704  (escaped)
