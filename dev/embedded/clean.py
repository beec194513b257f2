"""`make clean`: delete what `make run` made, but no backups."""

from __future__ import annotations

import shutil

from shop.config import RUNNING_ENV

from . import EmbeddedError
from .home import Home

BACKUPS = RUNNING_ENV.with_name("backups")


def main() -> None:
    instance = RUNNING_ENV.parent
    home = Home.at(instance)
    sockets = home.sockets()
    try:
        with home.locked(timeout=1):
            for path in {instance, home.path}:
                for made in path.iterdir():
                    if made.name in {".gitkeep", BACKUPS.name}:
                        continue
                    if made.is_dir():
                        shutil.rmtree(made)
                    else:
                        made.unlink()
        if home.path != instance.resolve():
            home.path.rmdir()
        elif sockets.parent != home.path:
            shutil.rmtree(sockets.parent)
    except EmbeddedError as error:
        raise SystemExit(f"make clean: {error}") from None


if __name__ == "__main__":
    main()
