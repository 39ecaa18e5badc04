import pyarrow as pa

from engine.box_text import BoxStyle
from engine.config import Config
from engine.english import Inflection
from engine.text_rules import text_rules


def test_rules_hold_what_the_configuration_says():
    hidden = pa.array([[], ["ox"]], pa.list_(pa.string()))
    frames = pa.table({"labels": [["ox"], ["bus"]], "hidden_labels": hidden})
    config = Config(
        seed=3, box_style="norm1", pad_square=True, exhaustive=("car",),
        label_map={"a": {"name": "ox", "plural": "oxen"}},
        templates={"questions": {"continue": ["More."]}},
    )  # fmt: skip
    rules = text_rules(config, frames)
    assert (rules.seed, rules.exhaustive) == (3, ("car",))
    assert rules.boxes == BoxStyle(name="norm1", pad_square=True)
    assert rules.words == {"ox": Inflection(plural="oxen")}
    assert rules.templates.questions["continue"] == ("More.",)
    assert set(rules.odds) == {"ox"}
