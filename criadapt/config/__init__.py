"""What can be set, and where a setting came from.

One declaration of a key - its name, type, default and one line of documentation - serves the TOML file, the
environment, the flags, ``criadapt config --default`` and the table in docs/configuration.md. The rules:

1. A file gives way to the environment, the environment to flags.
2. Nothing is ignored: a key nobody knows is refused, with the nearest known one and the place it stood in.
3. ``[backend] name`` chooses the engine; ``[backend.<name>]`` belongs to that engine's own ``Options`` and is read
   only once the engine's class is at hand (:meth:`Loaded.backend_options`).
"""

from criadapt.config.build import Setting
from criadapt.config.keys import (
    Config,
    FaultRule,
    Key,
    StreamingConfig,
    choices,
    default_listen,
    default_state_dir,
    host_port,
    keys,
    option,
)
from criadapt.config.loading import PREFIX, Loaded, load

__all__ = [
    "PREFIX",
    "Config",
    "FaultRule",
    "Key",
    "Loaded",
    "Setting",
    "StreamingConfig",
    "choices",
    "default_listen",
    "default_state_dir",
    "host_port",
    "keys",
    "load",
    "option",
]
