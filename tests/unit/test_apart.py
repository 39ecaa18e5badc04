"""Calls in a process of their own: results as in this one, and a death that is only reported."""

import os
import signal
from dataclasses import dataclass

import pytest

from engine.apart import Care, each_apart, more_careful
from engine.child_process import Died
from engine.errors import ExportError, RunError


def square_or_die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        os._exit(7)
    return os.getpid(), number**2


def fail(kind):
    if kind == "planned":
        raise ExportError("a.zip", "is no ZIP", advice="export again")
    raise ValueError("seven is no frame")


def test_calls_share_a_process_until_one_kills_it():
    done = list(each_apart(square_or_die, [0, 1, 2, 3, 4, 5]))
    first, second, killed, ended, third, fourth = done
    assert (killed, ended) == (Died(-signal.SIGSEGV), Died(7))
    assert [value for _, value in (first, second, third, fourth)] == [0, 1, 16, 25]
    assert first[0] == second[0] != third[0] == fourth[0]
    assert os.getpid() not in {first[0], third[0]}
    assert "SIGSEGV" in killed.sentence
    assert "code 7" in ended.sentence
    assert "signal 99" in Died(-99).sentence


def test_nothing_is_started_for_nothing():
    assert list(each_apart(square_or_die, [])) == []


@pytest.mark.parametrize(("kind", "error"), [("planned", ExportError), ("odd", RunError)])
def test_what_is_raised_there_arrives_here(kind, error):
    with pytest.raises(error) as caught:
        list(each_apart(fail, [kind]))
    assert "export again" in str(caught.value) or "seven is no frame" in str(caught.value)


@dataclass(frozen=True)
class Careful:
    care: Care = Care.NONE


def test_care_grows_until_there_is_no_more():
    once = more_careful(Careful())
    assert once == Careful(Care.APART)
    assert more_careful(once) == Careful(Care.UNREAD)
    assert more_careful(more_careful(once)) is None
