"""The house rules of CONTRIBUTING.md, as functions from a file's path and text to its violations.

A violation is a line number and what is wrong there. No rule imports what it judges: a module that
does not even import is named like any other, and does not hide the rest.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

# A module imports from lower floors only; siblings do not import each other.
FLOORS = {
    0: "ascii_json byte_ranges caps contours disk_sync english errors exchange findings"
    " frame_tally integer_program json_log json_structure label_text listing measures"
    " pixels report_charts report_texts rle_text sample_files sav_names swaps thresholds"
    " track_motion turn_plan version visible wording worst_cases written_files",
    1: "apportion black box_text card centroids choices class_words frame_json frame_times"
    " images json_ranges junit label_map locations masks measured_tasks members policy"
    " ray_metrics report_material sample_scene sample_spec shard_ranges sources split_file"
    " split_input stage_times storage store_settings summary_md tasks templates",
    2: "balance child_process config declared_boxes dialect existence frame_program"
    " group_objective identity image_paths manifest mask_check masklets opening pairing"
    " phrases records report_figures root_card sample_masks sample_notations segments"
    " tables task_records thumbnails timelines",
    3: "apart clean_frames config_file conversations export export_file frame_check"
    " frame_index gate group_program group_search history_record looks mask_order pinned"
    " placement process_runner quality sample_export samples sav_listing segment_joining"
    " sharing text_report tracks turn_rows unfinished writer_lock",
    4: "certificate content_links evidence_frames evidence_image group_placement hf_columns"
    " image_files line_files picture_choice plan prepared_rows publication ray_worker"
    " repeated_frames report row_checks stages text_rules track_check",
    5: "cleaning coco_json hf_layout index_files llava_jsonl near_duplicates parquet_layout"
    " pipeline report_look revos_json splits swift_jsonl used_frames video_dialect",
    6: "extension formats survey work",
    7: "arrivals division report_gather shards verification",
    8: "damaged_images dividing held_shards intake",
    9: "aside prepared shard_writer validation",
    10: "accounting held_dataset",
    11: "dataset_build",
    12: "outcome rehearsal",
    13: "preparation resplit",
    14: "addition",
    15: "__init__",
}
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules.split()}

# Which of our own packages each package may import.
MAY_IMPORT = {
    "engine": {"engine"},
    "jobs": {"engine", "jobs"},
    "benchmarks": {"benchmarks", "engine", "jobs"},
    "tests": {"benchmarks", "engine", "jobs", "tests"},
    "cluster": set[str](),
}

HEAVY = {"PIL", "datasets", "huggingface_hub", "mlflow", "pandas", "ray", "scipy", "sklearn"}
# jobs/ray_jobs.py is an exception with a reason: it asks a cluster's job server by HTTP, starts no
# Ray and knows no task, so that it has nothing to share with the engine's seam.
# engine/ray_metrics.py hands numbers to Ray's metrics and runs nothing: beside what runs tasks it
# would make that seam longer to read, and no safer.
RAY_SEAMS = {
    "engine/pipeline.py", "engine/ray_metrics.py", "engine/ray_worker.py", "jobs/ray_jobs.py",
}  # fmt: skip
VAGUE = {"base", "common", "core", "helper", "helpers", "manager", "managers", "util", "utils"}
MODULE_LINES = 400
FUNCTION_LINES = 60

# Pieced together, or this file would break the rules it states.
REGISTRY = re.compile(
    r"\bpy" + r"pi\.(?:org|python\.org)|python" + r"hosted\.|anaconda\.(?:org|com)"
    r"|download\.pytorch\.|://[^\s\"'<>]*/simple(?![\w-])",
    re.IGNORECASE,
)
# The home of the Ray images, /home/ray, is an address inside a container, not of a machine.
MACHINE_PATH = re.compile(r"(?:file://|(?<![\w.~$}/]))/(?:root|Users|home(?!/ray\b))/\w")


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name, absolute and dotted; `early` if the import runs when the module does."""

    line: int
    name: str
    early: bool


@cache
def parse(source: str) -> ast.Module:
    """The tree of a text, made once for all rules."""
    return ast.parse(source)


def imports_of(path: str, source: str) -> list[Import]:
    """Every import, also in functions, under TYPE_CHECKING and by a constant `import_module`."""
    package = path.split("/")[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, early: bool) -> None:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            names = [".".join([*above, *filter(None, [node.module, a.name])]) for a in node.names]
        elif isinstance(node, ast.Call) and node.args:
            called, what = ast.unparse(node.func).split(".")[-1], node.args[0]
            if called in ("import_module", "__import__") and isinstance(what, ast.Constant):
                names = [str(what.value)]
        line = getattr(node, "lineno", 0)
        found.extend(Import(line=line, name=name, early=early) for name in names)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        body = node.body if isinstance(node, ast.If) else []
        for child in ast.iter_child_nodes(node):
            visit(child, early and not later and not (typing_only and child in body))

    visit(parse(source), True)
    return found


def functions_of(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, at any depth."""
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def packages(path: str, source: str) -> list[str]:
    """Jobs import the engine, never the reverse; only tests import benchmarks, nothing tests."""
    foreign = set(MAY_IMPORT) - MAY_IMPORT[path.partition("/")[0]]
    return [
        f"{i.line}: imports {i.name}"
        for i in imports_of(path, source)
        if i.name.split(".")[0] in foreign
    ]


def floors(path: str, source: str) -> list[str]:
    """A module of the engine imports from lower floors only."""
    own = path.removeprefix("engine/").removesuffix(".py")
    if own not in FLOOR_OF:
        return [f"1: {own} stands on no floor: add it here and to CONTRIBUTING.md"]
    found = []
    for i in imports_of(path, source):
        package, *rest = i.name.split(".")
        target = rest[0] if rest and rest[0] in FLOOR_OF else "__init__"
        if package == "engine" and FLOOR_OF[target] >= FLOOR_OF[own]:
            found.append(f"{i.line}: floor {FLOOR_OF[own]} imports {i.name}, not of a lower floor")
    return found


def one_seam(path: str, source: str) -> list[str]:
    """Ray is imported where `RAY_SEAMS` says, and nowhere else."""
    lines = [i.line for i in imports_of(path, source) if i.name.split(".")[0] == "ray"]
    return [f"{line}: imports ray" for line in lines if path not in RAY_SEAMS]


def light(path: str, source: str) -> list[str]:
    """No heavy library is imported before it is used, or `--help` would take seconds."""
    return [
        f"{i.line}: imports {i.name} at the top of the module"
        for i in imports_of(path, source)
        if i.early and i.name.split(".")[0] in HEAVY
    ]


def small(_path: str, source: str) -> list[str]:
    """Modules have at most 400 lines, functions at most 60, docstrings included."""
    lines = len(source.splitlines())
    found = [f"1: {lines} lines, at most {MODULE_LINES}"] if lines > MODULE_LINES else []
    for node in functions_of(source):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES:
            found.append(f"{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}")
    return found


def no_assert(_path: str, source: str) -> list[str]:
    """No `assert`: python -O would take the check away."""
    nodes = ast.walk(parse(source))
    return [f"{node.lineno}: assert" for node in nodes if isinstance(node, ast.Assert)]


def no_broad_except(_path: str, source: str) -> list[str]:
    """No bare `except`, none of Exception or BaseException, and no suppress() of them."""
    found: list[str] = []
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
            kinds = node.args
        else:
            continue
        names = [ast.unparse(kind).removeprefix("builtins.") if kind else "all" for kind in kinds]
        broad = [name for name in names if name in ("all", "Exception", "BaseException")]
        found.extend(f"{node.lineno}: catches {name}" for name in broad)
    return found


def defined_names(source: str) -> set[str]:
    """Public names a module defines at its top level, imports not counted."""
    names: set[str] = set()
    for node in parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            inside = (part for target in targets for part in ast.walk(target))
            names.update(
                part.id
                for part in inside
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            )
    return {name for name in names if not name.startswith("_")}


def listed_names(source: str) -> list[str] | None:
    """What `__all__` lists, None without one that can be read."""
    for node in parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=names)):
                return [ast.literal_eval(name) for name in names]
    return None


def order(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Constants, then classes, then the rest, numbers by value: the order ruff's RUF022 asks."""
    group = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    pieces = re.findall(r"(\d+)|(\D+)", name)
    return group, [(int(number or -1), word) for number, word in pieces]


def public_names(path: str, source: str) -> list[str]:
    """`__all__` is sorted and lists the public names; a package's front may add names of others."""
    defined, listed = defined_names(source), listed_names(source)
    front = path.endswith("__init__.py")
    if listed is None:
        return [] if front and not defined else ["1: no __all__"]
    found = [] if listed == sorted(set(listed), key=order) else ["1: __all__ is not sorted"]
    if missing := sorted(defined - set(listed)):
        found.append(f"1: public, but not in __all__: {', '.join(missing)}")
    if (unknown := sorted(set(listed) - defined)) and not front:
        found.append(f"1: in __all__, but not defined: {', '.join(unknown)}")
    return found


def docstrings(_path: str, source: str) -> list[str]:
    """Every module, public class, function, method and property says what it is."""
    tree = parse(source)
    found = [] if ast.get_docstring(tree) else ["1: the module has no docstring"]
    owners: list[ast.Module | ast.ClassDef] = [tree]
    while owners:
        for node in owners.pop().body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            marks = [ast.unparse(mark).split(".")[-1] for mark in node.decorator_list]
            if node.name.startswith("_") or "overload" in marks or "setter" in marks:
                continue
            if not ast.get_docstring(node):
                found.append(f"{node.lineno}: {node.name} has no docstring")
            if isinstance(node, ast.ClassDef):
                owners.append(node)
    return found


def quiet(_path: str, source: str) -> list[str]:
    """The engine prints nothing: a worker's prints reach the driver and would spoil `--json`."""
    found = []
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Name) and node.id == "print":
            found.append(f"{node.lineno}: print")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout":
            found.append(f"{node.lineno}: sys.stdout")
    return found


def telling_names(path: str, source: str) -> list[str]:
    """No module or class is named after nothing in particular."""
    words = set(re.findall(r"[a-z]+", path.removesuffix(".py").lower()))
    found = [f"1: '{word}' in the path" for word in sorted(words & VAGUE)]
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.ClassDef):
            vague = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", node.name)} & VAGUE
            found.extend(f"{node.lineno}: '{word}' in {node.name}" for word in sorted(vague))
    return found


def matches(pattern: re.Pattern[str], text: str) -> list[str]:
    """Where a pattern occurs, as line and match."""
    lines = enumerate(text.splitlines(), start=1)
    return [f"{n}: {m.group()}" for n, line in lines for m in pattern.finditer(line)]


def no_registry(_path: str, text: str) -> list[str]:
    """Where packages come from is pip's configuration, different at every site."""
    return matches(REGISTRY, text)


def no_machine_path(_path: str, text: str) -> list[str]:
    """No path that exists on one machine only."""
    return matches(MACHINE_PATH, text)


def bare_lock(_path: str, text: str) -> list[str]:
    """A lock file names packages and hashes: no address, no option of an installer."""
    return matches(re.compile(r"://|^\s*-(?!-hash=)\S+"), text)
