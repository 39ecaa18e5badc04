from engine.class_words import class_nouns, spoken_forms
from engine.english import Inflection


def test_labels_that_sound_alike_are_quoted_and_others_are_not():
    nouns = class_nouns(["car", "cars", "dog", "user"], link="instance of", words={})
    assert [nouns[x].name for x in ("car", "cars", "dog", "user")] == [
        '"car"', '"cars"', "dog", '"user"',
    ]  # fmt: skip
    assert nouns["cars"].many == 'instances of "cars"'


def test_the_users_words_are_used():
    nouns = class_nouns(["犬"], link="instance of", words={"犬": Inflection(plural="犬たち")})
    assert nouns["犬"].counted(2) == "2 犬たち"


def test_spoken_forms():
    assert spoken_forms("Person") == {"person", "people"}
    assert spoken_forms("water") == {"water"}
