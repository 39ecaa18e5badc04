"""The tree keeps the house rules, and every rule catches what it is there for.

Also here: what CONTRIBUTING.md says of floors and dependencies is so, and the lock files fit.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import engine
from benchmarks.readme_tables import RESULTS, blocks_of, written_into
from tests import house_rules as rules

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A rule, the files it is for (a pattern of paths), and texts it must catch or let pass.

    The texts are judged as if they stood at `path`; an empty file at one of `bad_paths` is caught.
    """

    rule: Callable[[str, str], list[str]]
    where: str
    path: str = "engine/masks.py"
    bad: list[str]
    good: list[str]
    bad_paths: tuple[str, ...] = ()


OURS = r"(engine|jobs)/.*\.py"
PYTHON = r".*\.py"
# Pieced together, or this file would break the rules it tests.
HOME = "/" + "root/x"
MIRROR = "https://mirror/api/" + "simple/"
CASES = [
    Case(
        rule=rules.packages,
        where=r"(engine|jobs|benchmarks|tests|cluster)/.*\.py",
        bad=[
            "import jobs.cli",
            "from benchmarks import x",
            "def f():\n import tests.builders",
            "import_module('jobs.cli')",
        ],
        good=["from engine import errors", "import jobshop"],
    ),
    Case(
        rule=rules.floors,
        where=r"engine/.*\.py",
        bad=[
            "from engine import dialect",
            "from engine.records import Frame",
            "from . import export",
            "from .stages import scan",
            "import engine",
            "from engine import prepare",
            "if TYPE_CHECKING:\n from engine.export import Export",
        ],
        good=["from engine.errors import ExportError", "from . import rle_text", "import numpy"],
        bad_paths=("engine/unheard_of.py",),
    ),
    Case(
        rule=rules.one_seam,
        where=OURS,
        bad=["import ray", "def f():\n from ray.data import Dataset", "import ray.data as rd"],
        good=["import rayon", "import array"],
    ),
    Case(
        rule=rules.light,
        where=OURS,
        path="engine/pipeline.py",
        bad=[
            "import ray",
            "try:\n from PIL import Image\nexcept ImportError:\n pass",
            "class A:\n import scipy.ndimage",
        ],
        good=["def f():\n import ray", "if TYPE_CHECKING:\n import datasets", "import numpy"],
    ),
    Case(
        rule=rules.small,
        where=r"(engine|jobs|benchmarks)/.*\.py",  # a test file grows with what its module does
        bad=["x = 1\n" * 401, "def f():\n" + " x = 1\n" * 60],
        good=["x = 1\n" * 400, "def f():\n" + " x = 1\n" * 59],
    ),
    Case(
        rule=rules.no_assert,
        where=OURS,
        bad=["def f(x):\n assert x"],
        good=["raise AssertionError"],
    ),
    Case(
        rule=rules.no_broad_except,
        where=r"(engine|jobs|benchmarks)/.*\.py",
        bad=[
            "try:\n pass\nexcept:\n pass",
            "try:\n pass\nexcept Exception:\n pass",
            "try:\n pass\nexcept (ValueError, BaseException) as e:\n pass",
            "with contextlib.suppress(Exception):\n pass",
        ],
        good=["try:\n pass\nexcept (ValueError, OSError):\n pass", "with suppress(OSError): pass"],
    ),
    Case(
        rule=rules.public_names,
        where=OURS,
        bad=[
            "x = 1",
            "__all__ = ['f']\ndef f(): ...\ndef g(): ...",
            "__all__ = ['f', 'g']\ndef f(): ...",
            "__all__ = ['b', 'a']\na = b = 1",
            "__all__ = ['a', 'a']\na = 1",
            "__all__ = ['Alpha', 'BETA']\nBETA: int = 1\nclass Alpha: ...",
            "__all__ = ['a10', 'a2']\na2, a10 = 1, 2",
        ],
        good=[
            "import os\n__all__ = ['BETA', 'Alpha', 'a2', 'a10']\n"
            "BETA = a2 = a10 = _c = 1\nclass Alpha: ...",
        ],
    ),
    Case(
        rule=rules.docstrings,
        where=r"(engine|jobs|benchmarks)/.*\.py",
        bad=[
            "x = 1",
            "'''M.'''\ndef f(): ...",
            "'''M.'''\nclass A: ...",
            "'''M.'''\nclass A:\n '''A.'''\n @property\n def f(self): ...",
        ],
        good=["'''M.'''\ndef _f(): ...\nclass A:\n '''A.'''\n def __len__(self): ..."],
    ),
    Case(
        rule=rules.quiet,
        where=r"engine/.*\.py",
        bad=["print('x')", "sys.stdout.write('x')", "show = print"],
        good=["sys.stderr.write('x')", "blueprint(1)"],
    ),
    Case(
        rule=rules.telling_names,
        where=PYTHON,
        bad=["class FrameManager: ...", "class BaseReader: ..."],
        good=["class Database: ...", "class Baseline: ..."],
        bad_paths=("engine/utils.py", "engine/mask_helpers.py", "jobs/common/x.py"),
    ),
    Case(
        rule=rules.no_registry,
        where=".*",
        bad=["https://py" + "pi.org/", "files.python" + "hosted.org", MIRROR],
        good=["https://github.com/x/simple-things", "happier"],
    ),
    Case(
        rule=rules.no_machine_path,
        where=".*",
        bad=[f"cd {HOME}", f'"{HOME}"', "see /" + "home/ann/data", "file:///" + "Users/ann/x"],
        good=["/home/ray/app", "~/root/x", "s3://b/home/x", "https://x.org/home/y", "$X/root/x"],
    ),
    Case(
        rule=rules.bare_lock,
        where=r"requirements.*\.lock",
        bad=["--index-url https://x", "-i x", "--find-links x", "a @ https://x/a.whl", "-e ."],
        good=["a==1 \\\n    --hash=sha256:0\n    # via\n    #   -c requirements.lock"],
    ),
]


def tracked_files() -> list[str]:
    """Files of the project: git's and those not yet added; without git, what is not made."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    names = listing.stdout.decode().split("\0") if listing.returncode == 0 else []
    if not names:
        made = re.compile(r"(^|/)(\.(?!ci/)|build/|__pycache__|.*\.egg-info)")
        paths = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*"))
        names = [path for path in paths if not made.search(path)]
    return sorted(name for name in names if name and (ROOT / name).is_file())


TRACKED = tracked_files()


def name_of(case: Case) -> str:
    """The rule's name, as the test's."""
    return case.rule.__name__


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_rule_catches_every_bad_specimen(case: Case) -> None:
    for text in case.bad:
        assert case.rule(case.path, text), text
    for path in case.bad_paths:
        assert case.rule(path, ""), path


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_rule_lets_every_good_specimen_pass(case: Case) -> None:
    for text in case.good:
        assert case.rule(case.path, text) == [], text


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_tree_keeps_the_rule(case: Case) -> None:
    found = []
    for path in TRACKED:
        if re.fullmatch(case.where, path):
            content = (ROOT / path).read_bytes()
            if b"\0" not in content:
                found += [f"{path}:{line}" for line in case.rule(path, content.decode())]
    assert not found, "\n".join([str(case.rule.__doc__), *found])


def test_every_rule_is_applied_to_something() -> None:
    for case in CASES:
        assert any(re.fullmatch(case.where, path) for path in TRACKED), name_of(case)


def test_no_floor_names_a_module_that_is_not_there() -> None:
    assert {m for m in rules.FLOOR_OF if not (ROOT / "engine" / f"{m}.py").exists()} == set()
    assert len(rules.FLOOR_OF) == sum(len(modules.split()) for modules in rules.FLOORS.values())


def table(heading: str) -> dict[str, str]:
    """First to second cell of the table under a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    return {row[1]: row[2] for row in rows if len(row) > 3 and not row[1].startswith("-")}


def test_contributing_shows_the_same_floors() -> None:
    shown = {
        int(floor): set(re.findall(r"`(\w+)`", modules))
        for floor, modules in table("Floors").items()
        if floor.isdigit()
    }
    assert shown == {floor: set(modules.split()) for floor, modules in rules.FLOORS.items()}


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["build"]
TEST = RUNTIME + PROJECT["project"]["optional-dependencies"]["test"]


def test_contributing_gives_a_reason_for_every_dependency() -> None:
    optional = PROJECT["project"]["optional-dependencies"].values()
    asked = {
        Requirement(line).name for line in [*RUNTIME, *(x for extra in optional for x in extra)]
    }
    given = {name.strip("`"): reason for name, reason in table("Dependencies").items()}
    assert asked == {name for name, reason in given.items() if name != "package" and reason}


def pins(lock: str) -> dict[str, str]:
    """Package to version, as a lock file has them."""
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("lock", "asked"), [("requirements.lock", RUNTIME), ("requirements-test.lock", TEST)]
)
def test_a_lock_holds_what_pyproject_asks_for(lock: str, asked: list[str]) -> None:
    pinned = pins(lock)
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_the_locks_agree() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-test.lock").items()


def test_the_build_backend_in_the_locks_is_the_one_asked_for() -> None:
    assert PROJECT["build-system"]["requires"] == PROJECT["dependency-groups"]["build"]


def test_the_readme_says_what_the_results_files_do() -> None:
    """`python -m benchmarks.readme_tables` writes it anew."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    readme = (ROOT / "README.md").read_text()
    assert written_into(readme, blocks_of(results)) == readme


def test_no_result_is_of_a_wrong_answer() -> None:
    for path in RESULTS.glob("*.json"):
        assert not json.loads(path.read_text()).get("wrong"), path.name


def test_no_module_hides_a_public_name_of_the_front() -> None:
    """Importing `engine.verify` would put the module where the function is looked for."""
    assert not set(engine.__all__) & set(rules.FLOOR_OF)


def test_every_public_name_resolves_without_a_heavy_import() -> None:
    program = (
        "import sys, engine, jobs.cli\n"
        "[getattr(engine, name) for name in engine.__all__]\n"
        f"sys.exit(', '.join({rules.HEAVY} & set(sys.modules)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
