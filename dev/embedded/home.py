"""The directories of the servers' data and sockets, and the account that the servers run as."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import pwd
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

# Bytes. A socket's whole path may have 103, and PostgreSQL's file name in it takes 15.
SOCKET_DIRECTORY_MAX = 85


@dataclass(frozen=True)
class Home:
    """A directory for servers, and the account that they run as; None for this process's own."""

    path: Path
    account: tuple[int, int] | None = None

    @classmethod
    def at(cls, wanted: Path) -> Home:
        """Return a home in `wanted`, or elsewhere if the servers' account cannot enter it.

        Root's servers run as `nobody`, which cannot enter a checkout under a private home. The
        home is then in /var/tmp, in a directory named after `wanted`.
        """
        wanted.mkdir(parents=True, exist_ok=True)
        wanted = wanted.resolve()
        if os.geteuid() != 0:
            return cls(wanted)
        if not is_open_to_all(wanted):
            wanted = _named_directory(Path("/var/tmp"), wanted)  # noqa: S108  (its owner is checked)
        nobody = pwd.getpwnam("nobody")
        return cls(wanted, (nobody.pw_uid, nobody.pw_gid))

    def directory(self, name: str) -> Path:
        """Make and return the directory `name`, which only the servers' account can enter."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        self._give(path)
        return path

    def sockets(self) -> Path:
        """Return a private directory for sockets whose path is short enough for one."""
        if len(os.fsencode(self.path / "sockets")) <= SOCKET_DIRECTORY_MAX:
            return self.directory("sockets")
        return replace(
            self, path=_named_directory(Path(tempfile.gettempdir()), self.path)
        ).directory("s")

    def runnable(self, program: Path) -> Path:
        """Return `program`, or its copy, with the whole package, that the account can run."""
        if self.account is None or is_open_to_all(program):
            return program
        package = next(
            (parent for parent in program.parents if parent.parent.name == "site-packages"),
            program.parent,
        )
        copies = self.path / "programs"
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, copies / source.name, dirs_exist_ok=True, symlinks=True)
        return copies / program.relative_to(package.parent)

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, *self.account)

    @contextlib.contextmanager
    def locked(self, timeout: float = 15) -> Iterator[int]:
        """Lock this home; yield the lock's descriptor, which the servers inherit.

        The lock is free again when this process and all its servers have ended. `timeout`, in
        seconds, lets the servers of a killed process end first.
        """
        descriptor = os.open(self.path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            deadline = time.monotonic() + timeout
            if not _try_lock(descriptor):
                logger.warning("waiting for the servers of another run to end")
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise EmbeddedError(
                        "the servers of this checkout are running already: stop them first"
                    )
                time.sleep(0.1)
            yield descriptor
        finally:
            os.close(descriptor)


def _named_directory(shared: Path, wanted: Path) -> Path:
    """Make a directory in the `shared` one, with a name made of the path of the `wanted` one."""
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    path = shared / f"shop-{name}"
    path.mkdir(mode=0o755, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise EmbeddedError(f"{path} belongs to another user: remove it, then try again")
    return path


def is_open_to_all(path: Path) -> bool:
    """Return whether every account can enter, or run, `path`."""
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
