"""The prose of docstrings."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = re.compile("(?:What|Whether|Who|Whose|Whom|Where|When|Why|How|Which)\\b")


def docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def test_no_docstring_begins_with_a_question_word() -> None:
    """A docstring begins with a verb or with its subject (CONTRIBUTING.md)."""
    paths = [
        path for name in ("shop", "dev", "bench", "tests") for path in ROOT.glob(f"{name}/**/*.py")
    ]
    found = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path in paths
        for text in docstrings(path)
        if QUESTION.match(text)
    ]
    assert paths
    assert not found, "\n".join(found)
