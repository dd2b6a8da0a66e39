"""For mkdocs: docstrings name things as Sphinx would (:class:`Client`); on these pages the name alone is enough."""

from __future__ import annotations

import re

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):(?=<code>)")
PATH = re.compile(r"(?<=<code>)~?criadapt(?:\.\w+)*\.(?=\w+</code>)")


def on_page_content(html: str, **_: object) -> str:
    """Called by mkdocs for every page."""
    return ROLE.sub("", PATH.sub("", html))
