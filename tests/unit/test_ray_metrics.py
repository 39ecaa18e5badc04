"""The dashboard asks for the metrics that there are, and for all of them; the README names them."""

import json
import re
from pathlib import Path

import jsonschema

from engine.ray_metrics import METRICS

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"
DASHBOARD = json.loads((CLUSTER / "grafana.json").read_text())
TEXT = {"type": "string", "minLength": 1}
WHOLE = {"type": "integer", "minimum": 0}
# What Grafana's importer reads of a dashboard (schemaVersion 39), as far as ours uses it.
SCHEMA = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "title": TEXT, "uid": TEXT, "schemaVersion": {"const": 39},
        "time": {"type": "object", "required": ["from", "to"]},
        "panels": {"type": "array", "minItems": 1, "items": {
            "type": "object",
            "required": ["id", "type", "title", "datasource", "gridPos", "targets"],
            "properties": {
                "id": WHOLE, "type": {"enum": ["timeseries", "stat"]}, "title": TEXT,
                "datasource": {"$ref": "#/$defs/source"},
                "gridPos": {"type": "object", "required": ["h", "w", "x", "y"],
                            "additionalProperties": WHOLE},
                "targets": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["refId", "expr", "datasource"],
                    "properties": {"refId": TEXT, "expr": TEXT, "legendFormat": TEXT,
                                   "datasource": {"$ref": "#/$defs/source"}},
                }},
            },
        }},
        "templating": {"type": "object", "required": ["list"], "properties": {"list": {
            "type": "array", "items": {"type": "object", "required": ["name", "type", "query"]},
        }}},
    },
    "$defs": {"source": {"type": "object", "required": ["type", "uid"],
                         "properties": {"type": {"const": "prometheus"}}}},
}  # fmt: skip


def expressions():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_is_one_that_grafana_reads():
    jsonschema.Draft202012Validator(SCHEMA).validate(DASHBOARD)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)  # no panel lies over another
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_asks_for_every_metric_and_for_no_other():
    asked = {name for text in expressions() for name in re.findall(r"ray_(\w*sam2prep\w+)", text)}
    bare = {re.sub("_(total|bucket)$", "", name) for name in asked}
    assert bare == METRICS.keys()
    # A counter is scraped with `_total`, a histogram in buckets.
    assert {name for name in asked if name.endswith("_bucket")} == {"sam2prep_task_seconds_bucket"}
    assert all(name.endswith(("_total", "_bucket")) for name in asked)


def test_variables_of_the_dashboard_exist_and_brackets_close():
    known = {each["name"] for each in DASHBOARD["templating"]["list"]}
    for text in expressions():
        used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval"}
        assert used <= known
        for pair in ("()", "[]", "{}"):
            assert text.count(pair[0]) == text.count(pair[1])


def test_the_readme_says_what_each_metric_is():
    rows = re.findall(r"^\| `(sam2prep_\w+)` \|", (CLUSTER / "README.md").read_text(), re.MULTILINE)
    assert set(rows) == METRICS.keys()
