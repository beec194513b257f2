"""Files that the workers of a gunicorn share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file as a whole, so that no reader finds half of it; one process writes it.

    Raises OSError, as without room on the disk, and leaves the file as it was.
    """
    draft = path.with_suffix(".draft")
    try:
        draft.write_bytes(content)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
