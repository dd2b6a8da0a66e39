"""``python -m criadapt``."""

from criadapt.cli.main import main

main()
