"""What opens an object store, taken from the driver's process to those of the workers.

Whoever starts a driver by hand on a cluster has credentials and endpoint in that shell; the workers
of other nodes were started by somebody else. Ray's own way, `env_vars` of a runtime environment, is
not for secrets: Ray writes them into its logs and shows them in its dashboard. So they go along
with the tasks, in an object that does not show what it holds.

What a worker has already stays: a node with a role of its own keeps it. Names of files are left
behind, since the driver's files are not there.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["StoreSettings"]

_PREFIXES = ("AWS_", "AZURE_STORAGE_", "FSSPEC_", "HF_ENDPOINT", "HF_TOKEN")
_OF_ONE_MACHINE = (
    "_BUNDLE", "_CONFIG_DIR", "_FILE", "_PATH", "_PROFILE", "_RELATIVE_URI", "_FULL_URI",
)  # fmt: skip
# Keys that belong together: half of them would be those of somebody else.
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_OTHERS = (
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)  # fmt: skip
"""By which a process has credentials of its own, beside the keys."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Settings of a process that reads and writes object stores.

    Args:
        variables: of its environment.
        fsspec: its configuration of fsspec, by protocol.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    fsspec: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def of_this_process(cls) -> "StoreSettings":
        """Collect what this process has; nothing that names a file of this machine."""
        from fsspec.config import conf

        return cls(
            variables={
                name: value
                for name, value in os.environ.items()
                if name.startswith(_PREFIXES) and not name.endswith(_OF_ONE_MACHINE)
            },
            fsspec={protocol: dict(settings) for protocol, settings in conf.items()},
        )

    def take_over(self) -> None:
        """Set in this process what is not set; a second call changes nothing."""
        from fsspec.config import conf

        has_its_own = any(name in os.environ for name in (*_KEYS, *_OTHERS))
        for name, value in self.variables.items():
            if not (has_its_own and name in _KEYS):
                os.environ.setdefault(name, value)
        for protocol, settings in self.fsspec.items():
            conf[protocol] = {**settings, **conf.get(protocol, {})}
