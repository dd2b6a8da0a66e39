"""The programs of the mock, and how to write more of them::

    from criadapt.backends.mock.programs import Context, program

    @program("hello")
    async def hello(ctx: Context) -> int:
        ctx.print("hi")
        await ctx.sleep(1)
        return 0

Modules named in the option ``programs`` are imported when the mock opens, which registers what they define.
"""

# ruff: noqa: F401
from criadapt.backends.mock.program_table import PROGRAMS, Main, Place, program
from criadapt.backends.mock.programs.context import Context, UsageError

# Each of these registers its programs.
from criadapt.backends.mock.programs import (  # isort: skip
    checks,
    daemons,
    files,
    filters,
    find,
    hashes,
    listing,
    load,
    network,
    processes,
    sed,
    servers,
    system,
    text,
)
from criadapt.backends.mock import shell  # isort: skip

__all__ = ["PROGRAMS", "Context", "Main", "Place", "UsageError", "program"]
