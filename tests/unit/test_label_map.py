import pytest

from engine.config import Config
from engine.english import Inflection
from engine.errors import ConfigError
from engine.label_map import LabelMap


def test_the_videos_own_name_wins_over_the_general_one():
    names = LabelMap.of({"object_0": "kettle", "kitchen-a1/object_0": "pan", "a/b": "slash"})
    assert names.find("kitchen-a1", "object_0") == "kitchen-a1/object_0"
    assert names.find("garden-b2", "object_0") == "object_0"
    assert names.find("garden-b2", "a/b") == "a/b"
    assert names.find("garden-b2", "Object_0") is None
    assert names.names["kitchen-a1/object_0"] == "pan"


def test_a_name_may_come_with_its_plural_and_article():
    table = {
        "a": {"name": "ox", "plural": "oxen"},
        "b": {"name": "unit", "article": "a"},
        "c": "ox",
    }
    names = LabelMap.of(table)
    assert set(names.names.values()) == {"ox", "unit"}
    assert names.words == {"ox": Inflection(plural="oxen"), "unit": Inflection(article="a")}


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"": "x"}, "empty key"),
        ({"a": ""}, "label_map: a: is no name"),
        ({"a": " x"}, "without blanks around"),
        ({"a": 3}, "label_map: a: is no name"),
        ({"a": ["x"]}, "is no name"),
        ({"a": {"plural": "x"}}, "is no name"),
        ({"a": {"name": "x", "plurals": "y"}}, "holds 'plurals'"),
        ({"a": {"name": "x", "article": "the"}}, "label_map: a.article"),
        ({"a": {"name": "x", "plural": None}}, "label_map: a.plural"),
        ({"a": "x" * 61}, "1 to 60"),
        ({"a": "<image>"}, "control sequence"),
        ({"a": "b\nc"}, "control sequence"),
        ({"a": "USER: x"}, "control sequence"),
        ({"a": "object_7"}, "names nothing"),
        ({"a": "---"}, "names nothing"),
        (
            {"a": {"name": "x", "plural": "y"}, "b": {"name": "x", "plural": "z"}},
            "inflected in two ways",
        ),
    ],
)
def test_what_is_no_label_map_is_refused_with_its_place(table, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Config(label_map=table)
