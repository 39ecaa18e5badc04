"""The error tree: one line each, an exit code each, and whole after the way from a worker."""

import errno
import os
import pickle

import pytest

from engine import errors
from engine.errors import (
    ConfigError,
    ExportError,
    NotTrainableError,
    OutputError,
    ResumeError,
    RunError,
    Sam2PrepError,
    UsageError,
    cannot_be_read,
)
from engine.members import MemberError


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (UsageError, 2),
        (ConfigError, 2),
        (OutputError, 2),
        (ResumeError, 2),
        (ExportError, 3),
        (MemberError, 3),
        (RunError, 3),
    ],
)
def test_exit_codes_are_the_contracts(kind, exit_code):
    assert kind("a", "b").exit_code == exit_code
    assert issubclass(kind, Sam2PrepError)


def test_the_gates_exit_code_is_1_and_its_reasons_are_kept():
    shut = NotTrainableError("out", ["validation FAILED", "15 frames have no annotations"])
    assert shut.exit_code == 1
    assert str(shut) == "out: validation FAILED; 15 frames have no annotations"
    again = pickle.loads(pickle.dumps(shut))
    assert type(again) is NotTrainableError
    assert (again.reasons, str(again)) == (shut.reasons, str(shut))
    advised = NotTrainableError("out", ["validation FAILED"], "look at the report")
    assert str(pickle.loads(pickle.dumps(advised))) == "out: validation FAILED; look at the report"
    assert advised.reasons == ("validation FAILED",)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({}, "a.zip: is wrong"),
        ({"got": 5}, "a.zip: is wrong: got 5"),
        ({"expected": "6"}, "a.zip: is wrong: expected 6"),
        ({"got": 0, "expected": 6}, "a.zip: is wrong: got 0, expected 6"),
        (
            {"got": 5, "expected": 6, "advice": "mend it"},
            "a.zip: is wrong: got 5, expected 6; mend it",
        ),
        ({"advice": "mend\n  it"}, "a.zip: is wrong; mend it"),
    ],
)
def test_the_text_says_where_what_got_expected_and_what_to_do(keywords, text):
    error = ExportError("a.zip", "is wrong", **keywords)
    assert str(error) == text
    assert error.complaint == text.removeprefix("a.zip: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "name", sorted(set(errors.__all__) - {"NotTrainableError", "cannot_be_read"})
)
def test_an_error_travels_whole(name):
    kind = getattr(errors, name)
    error = kind("a.zip", "is wrong", got=5, expected=[6], advice="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    fields = ("where", "what", "got", "expected", "advice")
    assert [getattr(again, f) for f in fields] == [getattr(error, f) for f in fields]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), RunError),
        (TimeoutError(), RunError),
        (OSError(errno.EIO, os.strerror(errno.EIO)), RunError),
        (FileNotFoundError(errno.ENOENT, "No such file"), ExportError),
        (PermissionError(errno.EACCES, "Permission denied"), ExportError),
        (OSError("no such protocol"), ExportError),
    ],
)
def test_what_passes_by_itself_is_no_fault_of_the_export(error, kind):
    said = cannot_be_read("a.zip", error)
    assert type(said) is kind
    assert str(said).startswith("a.zip: cannot be read: got ")
