"""`/problems`: a page for each kind of problem, at the address that its `type` names."""

from __future__ import annotations

import inspect
import re

from flask import Blueprint, render_template
from markupsafe import Markup, escape
from werkzeug.exceptions import NotFound

from .problems import ShopError, kinds

blueprint = Blueprint("problems", __name__, url_prefix="/problems")

POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'self'"}


@blueprint.get("")
def list_() -> tuple[str, dict[str, str]]:
    """List every kind, by status."""
    return render_template("problems.html", kinds=kinds().values()), POLICY


@blueprint.get("/<slug>")
def show(slug: str) -> tuple[str, dict[str, str]]:
    """Answer with the meaning of a problem, and its members."""
    kind = kinds().get(slug)
    if kind is None:
        raise NotFound
    page = render_template("problem.html", kind=kind, paragraphs=_paragraphs(kind))
    return page, POLICY


def _paragraphs(kind: type[ShopError]) -> list[Markup]:
    """Return the docstring of a kind as HTML, with `words` of the API as code."""
    text = str(escape(inspect.cleandoc(kind.__doc__ or "")))
    marked = re.sub("`(.+?)`", r"<code>\1</code>", text)
    return [Markup(paragraph) for paragraph in marked.split("\n\n")]  # noqa: S704  (escaped)
