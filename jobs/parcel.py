"""What travels with a Ray job: the program's own sources, and the files its options name.

A job runs in a folder of its own on the cluster, which is made from the one uploaded here and goes
away with the job. So three kinds of names have to be told apart. Files of settings lie on this
machine: they are put into the upload, and their options are rewritten. Data lies on the cluster's
side, and is never uploaded: a path relative to here would mean the job's own folder, whatever is
written there is lost, so it is refused. Everything else goes as it was typed.

Trade-off: the sources are sent although the image of the cluster may hold them (under 1 MB, once a
version, since Ray names the upload by its digest); in return driver and workers run exactly what
is here.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import click

from engine.errors import UsageError

__all__ = ["Parcel", "located", "packed"]

# Read by the driver when it starts, from its own disk.
_SETTINGS = ("--config", "--label-map", "--split-file", "--templates")
_SETTINGS_KEYS = ("label_map", "split_file", "templates")
# Read or written where the tasks run, like SRC... and OUT.
_PLACES = ("--draw", "--frames", "--junit", "--out", "--report")
_FOLDER = "settings"

# Ray takes 250 MB at most; what is far beyond settings has been named by mistake.
_MOST_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A folder to upload, and the command that runs in it.

    Args:
        folder: holds `engine`, `jobs` and the files of settings; it exists inside `packed` only.
        arguments: those of the command, with the names that the files have there.
        places: every path or URL of data among the arguments, in their order.
        size_bytes: of all files.
    """

    folder: Path
    arguments: tuple[str, ...]
    places: tuple[str, ...]
    size_bytes: int


@contextmanager
def packed(command: click.Command, arguments: Sequence[str]) -> Iterator[Parcel]:
    """Make the folder for a job, and remove it at the end.

    Args:
        command: the command that the job runs; its options say which argument is what.
        arguments: of the command, already found to be right by its own parser.

    Raises:
        UsageError: a file of settings is not here, data is named by a path relative to here, or
            the files are larger than settings can be.
    """
    import engine
    import jobs

    with TemporaryDirectory(prefix="sam2prep-job-") as place:
        folder = Path(place)
        for package in (engine, jobs):
            source = Path(str(package.__file__)).parent
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(source, folder / source.name, ignore=ignored)
        rewritten, places = list(arguments), []
        for index, option, value in located(command, arguments):
            if option in _SETTINGS:
                name = _ship(option, value, folder)
                joined = rewritten[index] != value
                rewritten[index] = f"{option}={name}" if joined else name
            elif option is None or option in _PLACES:
                places.append(_of_the_cluster(option or "SRC or OUT", value))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size > _MOST_BYTES:
            raise UsageError(
                "submit", "the files of settings are too large to send", got=f"{size} bytes",
                expected=f"at most {_MOST_BYTES}", advice="is one of them data?",
            )  # fmt: skip
        yield Parcel(
            folder=folder, arguments=tuple(rewritten), places=tuple(places), size_bytes=size
        )


def located(
    command: click.Command, arguments: Sequence[str]
) -> Iterator[tuple[int, str | None, str]]:
    """Give index, option and value of each argument that has a value; the option of SRC is None.

    Args:
        command: its options say which argument is what.
        arguments: already found to be right by its own parser. The index is that of the value, or
            of the argument that holds both (`--out=OUT`).
    """
    options = [each for each in command.params if isinstance(each, click.Option)]
    valued = {name for each in options if not each.is_flag for name in each.opts}
    may_stand_alone = {name for each in options if each.flag_value == "" for name in each.opts}
    rest = iter(enumerate(arguments))
    for index, text in rest:
        if text == "--":
            yield from ((later, None, value) for later, value in rest)
        elif not text.startswith("-") or text == "-":
            yield index, None, text
        elif "=" in text:
            option, _, value = text.partition("=")
            yield index, option, value
        elif text in may_stand_alone and "".join(arguments[index + 1 : index + 2])[:1] in ("-", ""):
            continue
        elif text in valued:
            where, value = next(rest)  # there is one, or the command had refused
            yield where, text, value


def _ship(option: str, path: str, folder: Path) -> str:
    """Copy a file of settings into the upload; give its name for the job."""
    suffix = ".json" if path.lower().endswith(".json") else ".toml"
    name = f"{_FOLDER}/{option.removeprefix('--')}{suffix}"
    _copy(option, path, folder / name)
    if option == "--config":
        _ship_named_in(path, folder)
    return name


def _ship_named_in(config: str, folder: Path) -> None:
    """Copy what a configuration file names, to where the same name leads to it in the job."""
    from engine.config_file import read_config_file

    values = {key.replace("-", "_"): value for key, value in read_config_file(config).items()}
    if isinstance(values.get("frames"), str):
        _of_the_cluster(f"{config}: frames", values["frames"])
    for key in _SETTINGS_KEYS:
        path = values.get(key)
        if not isinstance(path, str):
            continue
        parts = PurePath(path).parts
        if PurePath(path).is_absolute() or ".." in parts or parts[:1] in (("engine",), ("jobs",)):
            raise UsageError(
                f"{config}: {key}", "cannot be sent along under this name", got=repr(path),
                advice=f"give it as an option: --{key.replace('_', '-')} {path}",
            )  # fmt: skip
        _copy(f"{config}: {key}", path, folder / path)


def _copy(where: str, path: str, target: Path) -> None:
    if not Path(path).is_file():
        raise UsageError(
            where, "no such file on this machine", got=repr(path),
            expected="a file here, which is sent along with the job",
        )  # fmt: skip
    if Path(path).stat().st_size > _MOST_BYTES:
        raise UsageError(where, "is too large to send", expected=f"at most {_MOST_BYTES} bytes")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


def _of_the_cluster(where: str, value: str) -> str:
    if "://" not in value and not PurePath(value).is_absolute():
        raise UsageError(
            where, "a relative path would lead into the job's own folder, which goes away with it",
            got=repr(value), expected="a URL, or an absolute path that every node of the cluster "
            "sees",
        )  # fmt: skip
    return value
