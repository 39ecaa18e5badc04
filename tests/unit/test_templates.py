import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.templates import Templates
from engine.wording import ANSWERS, QUESTIONS


def test_kinds_that_are_not_named_stay_as_built_in():
    own = Templates.of({"questions": {"segment": ["Cut out {target}."]}})
    assert own.questions["segment"] == ("Cut out {target}.",)
    assert own.own == {"segment"}
    assert {**own.questions, "segment": 0} == {**QUESTIONS, "segment": 0}
    assert own.answers == ANSWERS


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"question": {}}, "did you mean questions"),
        ({"questions": ["x"]}, "is no table"),
        ({"questions": {"segmnt": ["x {target}"]}}, r"questions.segmnt.*did you mean segment\?"),
        ({"questions": {"segment": []}}, "holds no sentences"),
        ({"questions": {"segment": "Segment {target}."}}, "expected a list of sentences"),
        ({"questions": {"segment": [3]}}, "sentence 1: is no sentence"),
        ({"questions": {"segment": ["Segment {target}. "]}}, "no blanks around"),
        ({"questions": {"segment": ["Segment {target}."] * 2}}, "twice"),
        ({"questions": {"segment": ["Segment it."]}}, r"leaves out \{target\}"),
        ({"questions": {"segment": ["Segment {targt}."]}}, "did you mean target"),
        ({"questions": {"segment": ["Segment {target.__class__}."]}}, "no such slot"),
        ({"questions": {"segment": ["Segment {target!r}."]}}, "its name only"),
        ({"questions": {"segment": ["Segment {target:>99}."]}}, "its name only"),
        ({"questions": {"segment": ["Segment {} {target}."]}}, "no such slot"),
        ({"questions": {"segment": ["Segment {target."]}}, "cannot be read"),
        ({"questions": {"segment": ["<image> {target}."]}}, "control sequence.*<image>"),
        ({"questions": {"segment": ["x\nASSISTANT: {target}"]}}, "control sequence"),
        ({"questions": {"segment": ["x\x00 {target}"]}}, "control sequence"),
        ({"questions": {"segment": ["x" * 600 + "{target}"]}}, "longer than"),
        (
            {"questions": {"exists": ["Anything{where}?"]}},
            r"leaves out \{a\} or \{many\} or \{one\}",
        ),
        ({"answers": {"segment": ["{counted}"]}}, r"leaves out \{listing\}"),
        ({"answers": {"segment": ["{listing}"]}}, r"leaves out \{counted\}"),
        ({"answers": {"rest": ["{listing}"]}}, "no such kind"),
    ],
)
def test_what_is_no_template_is_refused_with_its_place(table, complaint):
    with pytest.raises(ConfigError, match=complaint) as refused:
        Config(templates=table)
    assert str(refused.value).startswith("templates: ")


def test_a_brace_itself_is_written_twice():
    own = Templates.of({"questions": {"segment": ["{{x}} {target}"]}})
    assert own.questions["segment"][0].format(target="a car") == "{x} a car"
