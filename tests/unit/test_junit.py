"""JUnit XML as its readers take it: the elements and attributes of Jenkins' junit-10.xsd."""

import xml.etree.ElementTree as ET
from collections import Counter

import pytest

import engine
from engine import Config, Execution
from engine.findings import CODES
from engine.junit import junit_xml
from engine.sample_export import write_sample_export

HERE = Execution(runner="local")
COCO = {"frames": 10, "width": 48, "height": 32, "dialect": "coco", "truth": False}

# What the Jenkins xUnit plugin allows of what is used here; required attributes first.
ATTRIBUTES = {
    "testsuites": ((), ("name", "time", "tests", "failures", "disabled", "errors")),
    "testsuite": (("name",), ("tests", "failures", "errors", "time", "skipped", "timestamp")),
    "testcase": (("name",), ("assertions", "time", "classname", "status", "file", "line")),
    "failure": ((), ("type", "message")),
    "system-out": ((), ()),
}
CHILDREN = {
    "testsuites": {"testsuite"}, "testsuite": {"testcase"},
    "testcase": {"failure", "system-out"}, "failure": set(), "system-out": set(),
}  # fmt: skip


def valid(data):
    """Check a document by the schema's rules; return its only suite."""
    tree = ET.fromstring(data)
    assert tree.tag == "testsuites"
    for element in tree.iter():
        required, optional = ATTRIBUTES[element.tag]
        assert set(required) <= set(element.attrib) <= {*required, *optional}
        assert {child.tag for child in element} <= CHILDREN[element.tag]
    (suite,) = tree
    cases = list(suite)
    assert all(len(case) <= 1 for case in cases)
    assert int(suite.get("tests")) == int(tree.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert max(Counter((c.get("classname"), c.get("name")) for c in cases).values()) == 1
    return suite


def case(suite, code):
    (found,) = [each for each in suite if each.get("name") == code]
    return found


def validate(tmp_path, keywords, **config):
    truth = write_sample_export(tmp_path / "a.zip", **COCO | keywords)
    return engine.validate([str(truth.path)], None, Config(**config), HERE)


def test_every_code_is_a_case_and_a_clean_run_passes_all(tmp_path):
    suite = valid(junit_xml(validate(tmp_path, {})))
    assert [each.get("name") for each in suite] == sorted(CODES)
    assert suite.get("failures") == suite.get("errors") == suite.get("skipped") == "0"
    assert all(len(each) == 0 for each in suite)


def test_an_error_fails_its_case_and_a_warning_is_told(tmp_path):
    document = validate(tmp_path, {"mask_truncated": [2], "bbox_off": {4: 5}})
    suite = valid(junit_xml(document))
    (failure,) = suite.iter("failure")
    assert failure.get("message") == "1 mask (5.0%) cannot be decoded"
    assert failure.get("type") == "mask_malformed"
    assert "000012, object 0: " in failure.text
    (told,) = suite.iter("system-out")
    assert case(suite, "bbox_mismatch")[0] is told
    assert told.text.startswith("warning: 1 declared box (5.0%) is not the box of its mask")


def test_the_policy_in_force_decides_what_fails(tmp_path):
    keywords = {"bbox_off": {4: 5}}
    failed = valid(junit_xml(validate(tmp_path, keywords, fail_on=("bbox_mismatch",))))
    assert case(failed, "bbox_mismatch")[0].tag == "failure"
    noted = valid(junit_xml(validate(tmp_path, keywords, ignore=("bbox_mismatch",))))
    assert case(noted, "bbox_mismatch")[0].text.startswith("note: ")


def test_what_was_set_aside_is_told_and_fails_nothing(tmp_path):
    document = validate(tmp_path, {"mask_truncated": [2]})
    aside = dict(document, status="PASSED_WITH_WARNINGS", findings=[])
    aside["sources"] = document["sources"] | {"findings": document["findings"]}
    suite = valid(junit_xml(aside))
    assert suite.get("failures") == "0"
    assert case(suite, "mask_malformed")[0].text.startswith("of the sources, set aside: error: ")


@pytest.mark.parametrize(
    "label", ["<b>&\"'", "]]>", "\x00\x1b[31m", "\ud800", "\ufffe", "a\nb", "x" * 10_000, "\u202eb"]
)
def test_hostile_text_cannot_break_it(tmp_path, label):
    document = validate(tmp_path, {"mask_truncated": [2], "bbox_off": {4: 5}})
    for finding in document["findings"]:
        finding["message"] = finding["recommendation"] = f"of {label} it is"
        finding["examples"] = [label, label]
    data = junit_xml(document)
    suite = valid(data)
    assert len(data) < 30_000
    (failure,) = suite.iter("failure")
    assert len(failure.text.splitlines()) == 4
    assert not set(data.decode()) & {"\x00", "\x1b", "\ufffe", "\u202e"}
