"""`make clean`: delete what `make run` made."""

from __future__ import annotations

import shutil

from shop.config import RUNNING_ENV

from . import EmbeddedError
from .home import Home


def main() -> None:
    instance = RUNNING_ENV.parent
    home = Home.at(instance)
    try:
        with home.exclusively(patience=1):
            for path in {instance, home.path}:
                for made in path.iterdir():
                    if made.name == ".gitkeep":
                        continue
                    if made.is_dir():
                        shutil.rmtree(made)
                    else:
                        made.unlink()
        if home.path != instance.resolve():
            home.path.rmdir()
        elif (elsewhere := home.sockets().parent) != home.path:
            shutil.rmtree(elsewhere)
    except EmbeddedError as error:
        raise SystemExit(f"make clean: {error}") from None


if __name__ == "__main__":
    main()
