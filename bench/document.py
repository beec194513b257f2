"""The parts of a document that a program writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import BenchError

if TYPE_CHECKING:
    from pathlib import Path


def replace_section(path: Path, name: str, text: str) -> None:
    """Put `text` between `<!-- NAME:begin -->` and `<!-- NAME:end -->` of a document.

    Raises BenchError unless it has both marks, once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    document = path.read_text(encoding="utf-8")
    if document.count(begin) != 1 or document.count(end) != 1:
        raise BenchError(f"{path.name} does not have {begin} and {end} once each")
    before, _, rest = document.partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
