"""The report as JUnit XML, for what CI systems show of a run: one test case a finding code.

There is no standard, so this keeps to what all readers share (Jenkins' junit-10.xsd, GitLab, test
reporters of GitHub): `testsuites`, `testsuite`, `testcase`, in it one `failure` or `system-out`. An
error is a failure. A warning passes, with its text in `system-out`: `skipped` would say that nobody
looked. No time, date or host: the file is the same for the same inputs.
"""

from collections.abc import Mapping
from typing import Any

from engine.findings import CODES, Severity
from engine.visible import visible, xml_text

__all__ = ["junit_xml"]

_SUITE = "sam2prep"
_MESSAGE, _LINE = 500, 1000


def junit_xml(document: Mapping[str, Any]) -> bytes:
    """Write the findings as a test suite, codes that found nothing included.

    Args:
        document: as validation.json holds it.

    Returns:
        An XML 1.0 document in UTF-8.
    """
    found = {finding["code"]: finding for finding in document["findings"]}
    sources = {finding["code"]: finding for finding in document["sources"]["findings"]}
    failures = sum(finding["severity"] == Severity.ERROR for finding in found.values())
    figures = f'tests="{len(CODES)}" failures="{failures}" errors="0"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="{_SUITE}" {figures}>',
        f'  <testsuite name="{_SUITE}" {figures} skipped="0">',
    ]
    for code in sorted(CODES):
        lines += _case(code, found.get(code), sources.get(code))
    lines += ["  </testsuite>", "</testsuites>", ""]
    return "\n".join(lines).encode()


def _case(
    code: str, finding: Mapping[str, Any] | None, source: Mapping[str, Any] | None
) -> list[str]:
    head = f'    <testcase classname="{_SUITE}.{CODES[code].unit.split()[0]}" name="{code}"'
    if finding is None and source is None:
        return [head + "/>"]
    lines = [head + ">"]
    if finding is not None and finding["severity"] == Severity.ERROR:
        lines.append(
            f'      <failure type="{code}" message="{xml_text(finding["message"], _MESSAGE)}">'
            f"{_text(finding)}</failure>"
        )
    elif finding is not None:
        lines.append(f"      <system-out>{_text(finding)}</system-out>")
    else:
        text = f"of the sources, set aside: {_text(source or {})}"
        lines.append(f"      <system-out>{text}</system-out>")
    return [*lines, "    </testcase>"]


def _text(finding: Mapping[str, Any]) -> str:
    """Sentence, examples and advice, a line each."""
    lines = [f"{finding['severity']}: {visible(finding['message'], _MESSAGE)}"]
    lines += [f"  {visible(example, _LINE)}" for example in finding["examples"]]
    lines.append(visible(finding["recommendation"], _LINE))
    return "\n".join(xml_text(line) for line in lines)
