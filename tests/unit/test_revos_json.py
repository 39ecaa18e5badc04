"""Videos with expressions, read by the rules of the loader they are written for."""

import hashlib
import itertools

import numpy as np
import pytest

from engine import revos_json
from engine.config import Config
from engine.image_files import video_folder
from tests.reading_revos import read_revos
from tests.written_samples import HEIGHT, WIDTH, blob, frame, nothing, written


def finished(root, *splits):
    return revos_json.finish(str(root), list(splits))


def said(root, word="train"):
    """Questions by video."""
    samples, videos, _ = read_revos(root / "revos", word)
    return {video: [s.question for s in samples if s.video == video] for video in videos}


def one(root, objects_of, **keywords):
    """A split of one video whose frame n has the objects given for it."""
    rows = [frame("v", n, objects) for n, objects in objects_of.items()]
    finished(root, written(revos_json, root, [rows], **keywords))
    return read_revos(root / "revos")


def test_masks_are_those_of_the_frames_they_stand_at(tmp_path):
    """Present, gone, and back again; the frames come in another order than the file has them."""
    given = {
        12: [("dog", 5, blob(1)), ("cat", 6, blob(2))],
        3: [("cat", 6, blob(3))],
        7: [],
        100: [("dog", 5, blob(4))],
    }
    samples, videos, mask_dict = one(tmp_path, given)
    names = ["000003", "000007", "000012", "000100"]
    assert videos["v"]["frames"] == names
    assert (videos["v"]["height"], videos["v"]["width"]) == (HEIGHT, WIDTH)
    zero = np.zeros((HEIGHT, WIDTH), np.uint8)
    by_text = {sample.question: sample for sample in samples}
    assert list(by_text) == ["the cat", "the dog"]
    np.testing.assert_array_equal(by_text["the dog"].masks, [zero, zero, blob(1), blob(4)])
    np.testing.assert_array_equal(by_text["the cat"].masks, [blob(3), zero, blob(2), zero])
    assert by_text["the dog"].obj_id == [5]
    assert sum(mask is None for masks in mask_dict.values() for mask in masks) == 4
    assert {len(masks) for masks in mask_dict.values()} == {4}


def test_several_of_a_class_are_meant_together(tmp_path):
    given = {
        0: [("dog", 2, blob(1)), ("dog", 1, blob(2)), ("cat", 3, blob(3))],
        1: [("dog", 1, blob(4))],
    }
    samples, *_ = one(tmp_path, given)
    assert [sample.question for sample in samples] == ["the cat", "all dogs"]
    np.testing.assert_array_equal(samples[1].masks, [blob(1) | blob(2), blob(4)])
    assert samples[1].obj_id == [1, 2]


@pytest.mark.parametrize(
    ("labels", "texts"),
    [
        (["Dog", "dogs"], ["all dogs"]),  # the loader writes small letters
        (["person", "child"], ["the child", "the person"]),
        (["scissors", "water"], ["the scissors", "the water"]),
        (["犬", "犬"], ['all objects labelled 「犬」']),
        (["object_1", "dog"], ["the dog"]),
        (["object_1", "object_2"], ["all tracked objects"]),
        (["object_1"], ["the tracked object"]),
        (["who?", "where ? .."], ["the where", "the who"]),
        (["no.5", "no5"], ['all objects labelled "no5"']),
        (["other"], ['the object labelled "other"']),
    ],
)  # fmt: skip
def test_expressions_mean_their_masks(labels, texts, tmp_path):
    objects = [(label, number, blob(number)) for number, label in enumerate(labels)]
    samples, *_ = one(tmp_path, {0: objects})
    found = [sample.question for sample in samples]
    assert [text.strip() for text in found] == texts
    named = [k for k, label in enumerate(labels) if not label.startswith("object_")]
    meant = named or range(len(labels))
    union = np.max([sample.masks for sample in samples], axis=0)
    np.testing.assert_array_equal(union[0], np.max([blob(k) for k in meant], axis=0))
    for one_of, other in itertools.combinations(samples, 2):
        assert not set(one_of.obj_id) & set(other.obj_id), "each object is meant once"


def test_an_object_that_changes_its_label(tmp_path):
    """Under each name it is only where it is called so; two names that sound the same are one."""
    given = {0: [("dog", 4, blob(1))], 1: [("Dog", 4, blob(2))], 2: [("cat", 4, blob(3))]}
    samples, *_ = one(tmp_path, given)
    zero = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert [sample.question for sample in samples] == ["the cat", "the dog"]
    np.testing.assert_array_equal(samples[0].masks, [zero, zero, blob(3)])
    np.testing.assert_array_equal(samples[1].masks, [blob(1), blob(2), zero])


@pytest.mark.parametrize(
    ("labels", "text"),
    [(["dog"], "the dog"), (["dog"] * 2, "all dogs"), (["dog", "Dog"], "all dogs")],
)
def test_objects_without_an_id(labels, text, tmp_path):
    given = {n: [(x, None, blob(9 * n + k)) for k, x in enumerate(labels)] for n in range(2)}
    (sample,), *_ = one(tmp_path, given)
    assert sample.question == text
    assert sample.obj_id == []
    for n in range(2):
        expected = np.max([blob(9 * n + k) for k in range(len(labels))], axis=0)
        np.testing.assert_array_equal(sample.masks[n], expected)


@pytest.mark.parametrize(
    "label",
    ["<image>", "a<|im_end|>", "USER?: x", "object?5", "</s>dog", "x ### y", "a\nassistant: b",
     "{class_name}", "[/INST]"],
)  # fmt: skip
def test_hostile_labels(label, tmp_path):
    samples, *_ = one(tmp_path, {0: [(label, 1, blob(1))]})
    (sample,) = samples
    assert "?" not in sample.question
    assert "\n" not in sample.question
    for string in ("<image>", "<|im_end|>", "user:", "</s>", " ### ", "assistant:", "{", "[/inst]"):
        assert string not in sample.question
    np.testing.assert_array_equal(sample.masks, [blob(1)])


def test_videos_are_gathered_over_shards_and_the_first_row_goes_home(tmp_path):
    """The plan puts the first row with objects to the front, before videos that have none."""
    dog = [("dog", 1, blob(1))]
    rows = [frame("c", 2, dog)]  # taken out of its place
    rows += [frame("a", n) for n in (0, 1)] + [frame("b", 0)]
    rows += [frame("c", 1), frame("c", 3, dog), frame("d", 0, dog)]
    shards = [rows[:2], rows[2:5], rows[5:]]
    finished(tmp_path, written(revos_json, tmp_path, shards))
    samples, videos, _ = read_revos(tmp_path / "revos")
    assert {video: entry["frames"] for video, entry in videos.items()} == {
        "a": ["000000", "000001"], "b": ["000000"], "c": ["000001", "000002", "000003"],
        "d": ["000000"],
    }  # fmt: skip
    assert said(tmp_path) == {"a": [], "b": [], "c": ["the dog"], "d": ["the dog"]}
    np.testing.assert_array_equal(samples[0].masks, [blob(1) * 0, blob(1), blob(1)])


def test_a_first_row_whose_video_has_no_other(tmp_path):
    rows = [frame("z", 5, [("dog", 1, blob(1))]), frame("a", 0), frame("b", 0)]
    finished(tmp_path, written(revos_json, tmp_path, [rows]))
    assert said(tmp_path) == {"a": [], "b": [], "z": ["the dog"]}


def test_a_video_in_several_splits_is_its_frames_there(tmp_path):
    dog = ("dog", 1, blob(1))
    splits = [
        written(revos_json, tmp_path, [[frame("a", 0, [dog]), frame("a", 2, [dog])]]),
        written(revos_json, tmp_path, [[frame("a", 1, [("cat", 2, blob(2))])]], split="validation"),
        nothing("test"),
    ]
    files = finished(tmp_path, *splits)
    assert [file.path for file in files] == [
        "revos/meta_expressions_train_.json", "revos/meta_expressions_valid_.json",
        "revos/mask_dict.json",
    ]  # fmt: skip
    train, _, mask_dict = read_revos(tmp_path / "revos", "train")
    valid, _, _ = read_revos(tmp_path / "revos", "valid")
    assert [(s.question, s.frames) for s in train] == [("the dog", ["000000", "000002"])]
    assert [(s.question, s.frames) for s in valid] == [("the cat", ["000001"])]
    assert len(mask_dict) == 2, "ids are unique over the splits"
    for file in files:
        data = (tmp_path / file.path).read_bytes()
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_numbers_of_more_digits_are_sorted_as_the_loader_sorts(tmp_path):
    given = {n: [("dog", 1, blob(n))] for n in (999_999, 1_000_000, 2)}
    (sample,), *_ = one(tmp_path, given)
    assert sample.frames == ["000002", "1000000", "999999"]
    np.testing.assert_array_equal(sample.masks, [blob(2), blob(1_000_000), blob(999_999)])


@pytest.mark.parametrize(("kind", "setting"), [("PNG", "keep"), ("JPEG", "keep")])
def test_images_are_jpeg_whatever_was_asked(kind, setting, tmp_path):
    from tests.written_samples import image

    config = Config(formats=("revos",), image_format=setting)
    samples, *_ = one(tmp_path, {4: [("dog", 1, blob(1))]}, kind=kind, config=config)
    (picture,) = samples[0].pictures
    assert picture.size == (WIDTH, HEIGHT)
    (file,) = (tmp_path / "revos" / "JPEGImages").rglob("*.jpg")
    assert (file.read_bytes() == image(4, kind)) == (kind == "JPEG")


def test_no_rows_and_no_objects(tmp_path):
    assert finished(tmp_path, nothing("train"), nothing("test")) == []
    finished(tmp_path, written(revos_json, tmp_path, [[frame("v", 0)], []]))
    samples, videos, mask_dict = read_revos(tmp_path / "revos")
    assert samples == []
    assert mask_dict == {}
    assert videos["v"]["frames"] == ["000000"]


def test_a_name_given_by_hand_is_the_folder_s(tmp_path):
    name = 'v"}{ 犬'
    rows = [frame(name, 0, [("dog", 1, blob(1))])]
    finished(tmp_path, written(revos_json, tmp_path, [rows]))
    assert said(tmp_path) == {video_folder(name): ["the dog"]}


def test_one_video_at_a_time_is_in_memory(tmp_path, monkeypatch):
    shards = [[frame(f"v{k}", n, [("dog", 1, blob(n))]) for n in range(5)] for k in range(6)]
    parts = written(revos_json, tmp_path, shards)
    log = []
    lines, add = revos_json.joined_lines, revos_json._Entries.add

    def read(pieces):
        for line in lines(pieces):
            log.append("read")
            yield line

    monkeypatch.setattr(revos_json, "joined_lines", read)
    monkeypatch.setattr(
        revos_json._Entries, "add", lambda *given: log.append("written") or add(*given)
    )
    finished(tmp_path, parts)
    assert log.count("read") == 30
    assert log.count("written") == 12, "masks and expressions of six videos"
    ahead = [log[:k].count("read") - 5 * log[:k].count("written") / 2 for k in range(len(log))]
    assert max(ahead) <= 6, "a video, and the first frame of the next"
