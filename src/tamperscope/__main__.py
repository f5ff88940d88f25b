"""``python -m tamperscope`` is the command ``tamperscope``."""

from __future__ import annotations

from tamperscope.cli import main

main()
