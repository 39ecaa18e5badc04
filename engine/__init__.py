"""sam2prep: SAM 2 video-annotation exports to datasets that vision-language models are tuned on.

The verbs of the command line, from Python:

    import engine
    summary = engine.prepare(["exports/*.zip"], "dataset")
    engine.require_trainable("dataset")

They return the summary or the report as a dict and raise only the errors listed here. Names are
imported when they are first used, so that a small command does not wait for large libraries.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.addition import add
    from engine.cleaning import clean
    from engine.config import Config, Execution
    from engine.errors import (
        ConfigError,
        ExportError,
        NotTrainableError,
        OutputError,
        ResumeError,
        RunError,
        Sam2PrepError,
        UsageError,
    )
    from engine.gate import require_trainable
    from engine.history_record import history
    from engine.pinned import open_dataset
    from engine.preparation import prepare
    from engine.resplit import split
    from engine.validation import inspect, validate
    from engine.verification import verify

__all__ = [
    "Config",
    "ConfigError",
    "Execution",
    "ExportError",
    "NotTrainableError",
    "OutputError",
    "ResumeError",
    "RunError",
    "Sam2PrepError",
    "UsageError",
    "add",
    "clean",
    "history",
    "inspect",
    "open_dataset",
    "prepare",
    "require_trainable",
    "split",
    "validate",
    "verify",
]

_HOME = {
    "add": "addition",
    "Config": "config",
    "Execution": "config",
    "history": "history_record",
    "clean": "cleaning",
    "inspect": "validation",
    "open_dataset": "pinned",
    "prepare": "preparation",
    "require_trainable": "gate",
    "split": "resplit",
    "validate": "validation",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in __all__:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(importlib.import_module(f"engine.{_HOME.get(name, 'errors')}"), name)
