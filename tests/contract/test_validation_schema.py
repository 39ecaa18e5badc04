"""Every report that is made is one by the published schema, and the schema is not just `true`."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

import engine
from engine import Config, Execution
from engine.findings import CODES
from engine.report import SCHEMA_ID
from engine.sample_export import write_sample_export
from engine.thresholds import THRESHOLD_RANGES

HERE = Execution(runner="local")
SCHEMA = json.loads((Path(engine.__file__).parent / "validation.schema.json").read_text())
SMALL = {"frames": 6, "width": 48, "height": 32, "truth": False}
COCO = SMALL | {"dialect": "coco"}
EXPORTS = {
    "clean": COCO,
    "real and painted": SMALL | {"paint": True},
    "no frames": COCO | {"frames": 0},
    "no objects": COCO | {"frames_without_objects": range(6)},
    "one class": COCO | {"labels": ("person",)},
    "imbalanced": COCO | {"frames": 9, "class_counts": {"person": 9, "dog": 1}},
    "broken": COCO | {
        "mask_truncated": [1], "image_truncated": [2], "area_off": {3: 2}, "bbox_off": {4: 5},
        "frames_without_image": [5],
    },
    "no metadata": COCO | {"metadata": False},
    "hostile": COCO | {"labels": ("<b>\x1b\u202e|\n", "x" * 10_000)},
}  # fmt: skip
CONFIGS = {
    "strict": {},
    "standard": {"validation": "standard"},
    "policy": {"ignore": ("class_imbalance", "bbox_mismatch"), "fail_on": ("label_placeholder",)},
}


def checked(document, part=None):
    schema = SCHEMA if part is None else {"$ref": f"#/$defs/{part}", "$defs": SCHEMA["$defs"]}
    Draft202012Validator(schema).validate(document)


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == SCHEMA_ID


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", EXPORTS)
def test_reports_are_valid(tmp_path, name, config):
    truth = write_sample_export(tmp_path / "a.zip", **EXPORTS[name])
    out = tmp_path / "out"
    engine.prepare([str(truth.path)], str(out), Config(**CONFIGS[config]), HERE)
    checked(json.loads((out / "report/validation.json").read_text()))
    for line in (out / "report/issues.jsonl").read_text().splitlines():
        checked(json.loads(line), "issue")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema")
    truth = write_sample_export(folder / "a.zip", **EXPORTS["imbalanced"], bbox_off={2: 5})
    return engine.validate([str(truth.path)], None, None, HERE)


def broken(document, path, value):
    """A copy with one value changed, or removed if the value is `...`."""
    found = copy.deepcopy(document)
    *way, last = path
    inner = found
    for step in way:
        inner = inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "passed"), (("status",), ...), (("frames",), -1), (("frames",), "9"),
        (("class_counts", "dog"), 0.5), (("findings", 0, "severity"), "fatal"),
        (("findings", 0, "severity_by_default"), ...), (("findings", 0, "fraction"), 1.5),
        (("findings", 0, "frames"), ["v/1"] * 2), (("findings", 0, "message"), ""),
        (("imbalance", "ratio"), None), (("imbalance", "classes", 0, "missing"), 0),
        (("policy", "fail_on"), "area_jump"), (("policy", "thresholds", "bbox_px"), "1"),
        (("exports", 0, "dialect", "order"), "diagonal"), (("$schema",), "urn:other"),
        (("sources", "findings"), None), (("exports", 0, "dialect", "grid"), [256]),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(report, path, value):
    checked(report)
    with pytest.raises(ValidationError):
        checked(broken(report, path, value))


def test_no_key_of_a_report_is_unknown_to_the_schema(report):
    """So that a key that is added is described: the schema itself lets readers ignore it."""

    def unknown(schema, value, where):
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
        for choice in schema.get("oneOf", []):
            if "$ref" in choice and value is not None:
                schema = SCHEMA["$defs"][choice["$ref"].rsplit("/", 1)[1]]
        found = []
        if isinstance(value, dict) and "properties" in schema:
            for key, inner in value.items():
                known = schema["properties"].get(key)
                found += (
                    [f"{where}.{key}"] if known is None else unknown(known, inner, f"{where}.{key}")
                )
        elif isinstance(value, list) and "items" in schema:
            for inner in value:
                found += unknown(schema["items"], inner, where)
        return found

    assert unknown(SCHEMA, report, "") == []


def test_every_code_and_threshold_fits_the_schema():
    for code in CODES:
        checked(code, "code")
    assert set(THRESHOLD_RANGES) == set(Config().to_json()["thresholds"])
