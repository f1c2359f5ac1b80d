"""``python -m limen``: the command line, for whom the script ``limen`` is not on the path, and for torchrun."""

from __future__ import annotations

from limen.cli import main

if __name__ == "__main__":  # processes that a study starts import this file too
    main()
