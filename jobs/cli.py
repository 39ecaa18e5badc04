"""The command `sam2prep`: one word for each program of this package.

Commands are imported when they are asked for: help must not wait for what it does not show.
"""

import importlib

import click

from engine.version import VERSION

__all__ = ["COMMANDS", "Commands", "main"]

COMMANDS = (
    "prepare", "add", "validate", "inspect", "gate", "split", "verify", "history", "clean", "demo",
    "submit",
)  # fmt: skip


class Commands(click.Group):
    """A group that imports a command's module when the command is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names, in the order of a user's way."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"jobs.{cmd_name}").main
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="sam2prep %(version)s")
def main() -> None:
    """Turn SAM 2 video-annotation exports into datasets to fine-tune vision-language models on."""


if __name__ == "__main__":
    main()
