"""Seccomp profiles of the host, as far as the mock's programs obey them."""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def refuses(path: str, call: str) -> bool:
    """Whether the profile in the file `path` makes a system call fail. Whoever creates containers checks profiles."""
    try:
        profile = json.loads(Path(path).read_bytes())
        rules = [(rule["action"], rule.get("names", [rule.get("name")])) for rule in profile.get("syscalls", [])]
        default = profile["defaultAction"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("seccomp profile %s is not obeyed: %s", path, error)
        return False
    action = next((action for action, names in rules if call in names), default)
    return str(action) not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
