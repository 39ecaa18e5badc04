import pytest

from engine.english import Inflection, article, joined, noun, plural

FORMS = """person people, man men, woman women, child children, mouse mice, foot feet, tooth teeth,
goose geese, sheep sheep, fish fish, deer deer, knife knives, leaf leaves, wolf wolves, bus buses,
box boxes, dish dishes, baby babies, key keys, photo photos, piano pianos, tomato tomatoes,
potato potatoes, shelf shelves, church churches, glass glasses, lens lenses, quiz quizzes, ox oxen,
fox foxes, toothbrush toothbrushes, roof roofs, giraffe giraffes, human humans, goldfish goldfish,
fireman firemen, policewoman policewomen, grandchild grandchildren, salesperson salespeople,
Person People, BUS BUSES, SUV SUVs, TV TVs, fireMan fireMen, aircraft aircraft, football footballs,
mongoose mongooses, specimen specimens, kangaroo kangaroos, oasis oases, horse horses"""


@pytest.mark.parametrize("pair", FORMS.replace("\n", " ").split(", "))
def test_plural_of_a_word(pair):
    one, many = pair.split(" ")
    assert plural(one) == many
    assert plural(f"big {one}") == f"big {many}"


@pytest.mark.parametrize("word", ["people", "dogs", "scissors", "glasses", "men", "teeth", "buses"])
def test_a_plural_stays(word):
    assert plural(word) == word


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("traffic light", "traffic lights"),
        ("cup of tea", "cups of tea"),
        ("man in red shirt", "men in red shirt"),
        ("pair of scissors", "pairs of scissors"),
        ("wine glass", "wine glasses"),
        ("sports ball", "sports balls"),
    ],
)
def test_plural_of_a_phrase(one, many):
    assert plural(one) == many


ARTICLES = """an hour, a university, an umbrella, a one way sign, a car, an elephant, an SUV, an X
ray, a user, an unidentified object, an uncle, a European car, an honest man, a UFO,
an onion, a uniform, an heir, a man, a hat, a unicycle, a yak, an LED, an urn, a
utensil, an usher, a ukulele"""


@pytest.mark.parametrize("phrase", ARTICLES.replace("\n", " ").split(", "))
def test_article_by_sound(phrase):
    right, rest = phrase.split(" ", 1)
    assert article(rest) == right


def test_joined():
    assert [joined(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("label", "one", "two"),
    [
        ("car", "1 car", "2 cars"),
        ("scissors", "1 pair of scissors", "2 pairs of scissors"),
        ("water", '1 object labelled "water"', '2 objects labelled "water"'),
        ("dogs", '1 object labelled "dogs"', '2 objects labelled "dogs"'),
        ("犬", "1 object labelled 「犬」", "2 objects labelled 「犬」"),
        ("café", '1 object labelled "café"', '2 objects labelled "café"'),
        ("player 1", '1 object labelled "player 1"', '2 objects labelled "player 1"'),
        ("the man", '1 object labelled "the man"', '2 objects labelled "the man"'),
        ("two dogs", '1 object labelled "two dogs"', '2 objects labelled "two dogs"'),
        ("no dog", '1 object labelled "no dog"', '2 objects labelled "no dog"'),
        ("not visible", '1 object labelled "not visible"', '2 objects labelled "not visible"'),
        ("money", '1 object labelled "money"', '2 objects labelled "money"'),
        ("other", '1 object labelled "other"', '2 objects labelled "other"'),
    ],
)
def test_counted(label, one, two):
    assert (noun(label).counted(1), noun(label).counted(2)) == (one, two)


def test_bare_forms_agree_with_their_verbs():
    phrases = {
        f"{word.bare(count)} {word.verb(count)}"
        for word in map(noun, ("car", "scissors", "water", "dogs"))
        for count in (1, 2)
    }
    assert phrases == {"car is", "cars are", "scissors are", "water is", "dogs are"}


def test_quotes_on_demand():
    assert noun("user", quote=True, link="instance of").many == 'instances of "user"'


def test_other_and_its_article_are_one_word():
    assert noun("other vehicle").with_article == "another vehicle"
    assert noun("otter").with_article == "an otter"
    own = noun("other vehicle", user=Inflection(plural="others", article="a"))
    assert own.with_article == "a other vehicle"
