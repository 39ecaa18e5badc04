"""The configuration: what it takes, what it refuses, and how it helps who mistyped."""

import dataclasses
import json
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.caps import Caps
from engine.choices import FORMATS, parse_format, parse_ratios
from engine.config import SPLIT_NAMES, Config, Execution
from engine.config_file import config_from, read_config_file
from engine.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("text", "ratios"),
    [
        ("0.8/0.1/0.1", (0.8, 0.1, 0.1)),
        (" 0.7 / 0.2 / 0.1 ", (0.7, 0.2, 0.1)),
        ("1/0/0", (1.0, 0.0, 0.0)),
        ("train=0.8,val=0.1,test=0.1", (0.8, 0.1, 0.1)),
        ("test=0.1, Train=0.8, validation=0.1", (0.8, 0.1, 0.1)),
        ("train=0.9,test=0.1", (0.9, 0.0, 0.1)),
        ("train=1", (1.0, 0.0, 0.0)),
        ("0.3333333/0.3333333/0.3333334", (0.3333333, 0.3333333, 0.3333334)),
    ],
)
def test_ratios_are_read(text, ratios):
    assert parse_ratios(text) == ratios
    assert Config(ratios=text).ratios == ratios


@pytest.mark.parametrize(
    "text",
    [
        "", "0.8", "0.8/0.2", "0.8/0.1/0.05/0.05", "a/b/c", "0.8;0.1;0.1", "80/10/10",
        "0.8/0.1/0.2", "-0.1/0.6/0.5", "nan/0.5/0.5", "inf/0/0", "train=0.8,dev=0.2",
        "train=0.8,val=0.1,validation=0.1", "train=0.8,train=0.2", "train=x,val=1", "train",
    ],
)  # fmt: skip
def test_ratios_that_are_none(text):
    with pytest.raises(ConfigError, match="ratios"):
        parse_ratios(text)


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any))
def test_shares_that_sum_to_one_survive_the_text(parts):
    shares = [part / sum(parts) for part in parts]
    text = "/".join(map(repr, shares))
    assert parse_ratios(text) == tuple(shares)
    assert math.isclose(sum(parse_ratios(text)), 1)


def test_a_wrong_sum_is_said_with_its_figures():
    with pytest.raises(ConfigError, match=r"0\.8/0\.1/0\.2 = 1\.1, expected a sum of 1"):
        Config(ratios=(0.8, 0.1, 0.2))


@pytest.mark.parametrize("ratios", [(0.5, 0.5), (1,), (0.5, "0.5", 0), (None, 1, 0), ()])
def test_shares_from_python_are_judged_too(ratios):
    with pytest.raises(ConfigError, match="ratios"):
        Config(ratios=ratios)


@pytest.mark.parametrize(
    "name", ["hf", "HF", "HuggingFace", "huggingface", "HuggingFace Dataset", " hf "]
)
def test_format_names(name):
    assert parse_format(name) == "hf"
    assert Config(formats=(name,)).formats == ("hf",)


def test_every_format_is_known_in_any_case():
    assert [parse_format(name.upper()) for name in FORMATS] == list(FORMATS)
    assert Config(formats=("hf", "LLaVA", "HF")).formats == ("hf", "llava")


@pytest.mark.parametrize("name", ["", "csv", "hugging", None, 3])
def test_formats_that_are_none(name):
    with pytest.raises(ConfigError, match="format"):
        parse_format(name)
    with pytest.raises(ConfigError):
        Config(formats=())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split", "random-ish"),
        ("validation", "lax"),
        ("mask_order", "rows"),
        ("check_images", True),
        ("box_style", "yxyx"),
        ("group_by", "object"),
        ("gap_sec", -1),
        ("gap_sec", math.inf),
        ("folds", 1),
        ("max_pixels", 0),
        ("max_pixels", 10**6),
        ("pad_square", True),
        ("label_map", {"a": 3}),
        ("templates", {"sentences": {}}),
        ("temporal_segments", 1),
        ("fail_on", (3,)),
        ("thresholds", [1]),
        ("hf_image_column", "picture"),
        ("seed", -1),
        ("seed", True),
        ("seed", 1.0),
        ("seed", "42"),
        ("rows_per_shard", 0),
        ("shard_bytes", 0),
        ("frames_per_range", 0),
        ("imbalance_ratio", 1),
        ("imbalance_ratio", math.nan),
        ("imbalance_ratio", "9"),
        ("imbalance_ratio", True),
        ("video_ids", {"a.zip": ""}),
        ("video_ids", {"a.zip": "a/b"}),
        ("video_ids", {"a.zip": ".hidden"}),
        ("video_ids", {"a.zip": 3}),
        ("workers", 0),
        ("workers", True),
        ("runner", "dask"),
    ],
)
def test_values_that_are_refused_name_their_key(key, value):
    with pytest.raises(ConfigError) as refused:
        config_from({key: value})
    assert key in str(refused.value)
    assert refused.value.exit_code == 2
    assert isinstance(refused.value, UsageError)


def test_a_box_style_may_need_an_option():
    with pytest.raises(ConfigError, match="max_pixels: the box style qwen25 needs it"):
        Config(box_style="qwen25")
    assert Config(box_style="qwen25", max_pixels=10**6).boxes.max_pixels == 10**6
    assert Config(box_style="norm1", pad_square=True).boxes.pad_square


def test_a_mistyped_choice_has_its_nearest():
    with pytest.raises(ConfigError, match="did you mean stratified"):
        Config(split="stratifed")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("ratio", "ratios"), ("mask-ordr", "mask_order"), ("worker", "workers"), ("sead", "seed")],
)
def test_an_unknown_key_has_its_nearest(key, nearest):
    with pytest.raises(
        ConfigError, match=f"{key}: no such configuration key; did you mean {nearest}"
    ):
        config_from({key: 1})


def test_an_unknown_key_without_a_near_one_has_the_list():
    with pytest.raises(ConfigError, match=r"known: .*box_style.*workers"):
        config_from({"xyzzy": 1})


def test_one_mapping_becomes_two_records():
    config, execution = config_from(
        {
            "format": "HuggingFace", "mask-order": "row", "ratios": [0.5, 0.25, 0.25],
            "workers": 3, "runner": "local", "seed": None, "video-id": {"a.zip": "kitchen"},
        }
    )  # fmt: skip
    assert config == Config(
        mask_order="row", ratios=(0.5, 0.25, 0.25), video_ids={"a.zip": "kitchen"}
    )
    assert execution == Execution(workers=3, runner="local")
    assert config_from({}) == (Config(), Execution())


@pytest.mark.parametrize("runner", ["local", "processes"])
def test_a_run_on_this_machine_has_no_cluster(runner):
    with pytest.raises(ConfigError, match="address"):
        Execution(runner=runner, address="ray://head:10001")


def test_the_defaults_are_the_contracts():
    config = Config()
    assert SPLIT_NAMES == ("train", "validation", "test")
    assert (config.split, config.seed, config.validation) == ("stratified", 42, "strict")
    assert (config.box_style, config.check_images) == ("norm1000", "structure")
    assert (config.imbalance_ratio, config.mask_order) == (9.0, "auto")
    assert (config.ratios, config.formats) == ((0.8, 0.1, 0.1), ("hf",))


def test_a_record_is_frozen_and_travels():
    config = Config(seed=7, video_ids={"b": "x", "a": "y"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 8
    assert pickle.loads(pickle.dumps(config)) == config


def test_the_saved_configuration_makes_the_record_again():
    config = Config(
        seed=7, ratios=(0.5, 0.25, 0.25), video_ids={"b": "x", "a": "y"}, split="random"
    )
    saved = json.loads(json.dumps(config.to_json()))
    assert list(saved) == sorted(saved)
    assert list(saved["video_ids"]) == ["a", "b"]
    assert set(saved) == {field.name for field in dataclasses.fields(Config)}
    assert config_from(saved)[0] == config


def test_a_toml_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'format = ["hf"]\nratios = "train=0.7,val=0.2,test=0.1"\nsplit = "temporal"\n'
        'imbalance-ratio = 5\nworkers = 2\n[video-id]\n"a.zip" = "kitchen"\n',
        encoding="utf-8",
    )
    config, execution = config_from(read_config_file(str(path)))
    assert config == Config(
        ratios=(0.7, 0.2, 0.1), split="temporal", imbalance_ratio=5, video_ids={"a.zip": "kitchen"}
    )
    assert execution.workers == 2


@pytest.mark.parametrize("content", [b"split = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml: is not valid TOML"):
        read_config_file(str(path))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_config_file(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config_file(str(tmp_path))


def test_caps_come_from_a_table(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[caps]\nmax_members = 7\nmax-depth = 9\n")
    config, _ = config_from(read_config_file(str(path)))
    assert config.caps == Caps(max_members=7, max_depth=9)
    assert config.to_json()["caps"]["max_members"] == 7
    assert json.loads(json.dumps(config.to_json())) == config.to_json()
    assert Config(caps=Caps(max_depth=8)) != Config()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"max_member": 7}, r"caps\.max_member: no such configuration key; .* max_members\?"),
        ({"size": 7}, r"caps\.size: no such configuration key; known: max_depth, max_el"),
        ({"max_members": 0}, r"caps\.max_members: not a whole number in range: got 0"),
        ({"max_members": 1.5}, r"caps\.max_members: .* got 1\.5"),
        ({"max_members": True}, r"caps\.max_members: .* got True"),
        ({"max_depth": 5000}, r"caps\.max_depth: .* got 5000, expected 1 to 1024"),
        (7, "caps: of the wrong kind: got 7, expected a table of limits"),
    ],
)
def test_caps_that_cannot_be_taken(table, message):
    with pytest.raises(ConfigError, match=message):
        config_from({"caps": table})


def test_words_may_be_listed_with_commas_and_count_once():
    config, _ = config_from(
        {"fail-on": "area_jump, mask_frozen,area_jump", "ignore": ["image_black"]}
    )
    assert config.fail_on == ("area_jump", "mask_frozen")
    assert config.ignore == ("image_black",)


@pytest.mark.parametrize(
    ("name", "content"), [("map.toml", 'cat = "tabby"'), ("map.json", '{"cat": "tabby"}')]
)
def test_tables_may_be_named_by_their_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    assert config_from({"label-map": str(path)})[0] == Config(label_map={"cat": "tabby"})


@pytest.mark.parametrize(("content", "message"), [("[1]", "is no table"), ("{", "not valid JSON")])
def test_files_that_hold_no_table(tmp_path, content, message):
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        config_from({"templates": str(path)})


def test_a_split_file_is_kept_by_its_digest_alone():
    one, other = (Config(split_file={"seed": seed, "assignment": {}}) for seed in (1, 2))
    assert one.to_json()["split_file"] != other.to_json()["split_file"]
    assert len(one.to_json()["split_file"]) == 64
    turned = Config(split_file={"assignment": {}, "seed": 1})
    assert turned.to_json() == one.to_json()


def test_the_column_of_hf_needs_hf():
    assert Config(formats=("parquet", "hf"), hf_image_column="both").hf_image_column == "both"
    with pytest.raises(ConfigError, match="hf_image_column: is of the format hf"):
        Config(formats=("parquet",), hf_image_column="images")


def test_image_files_are_configured_only_where_there_are_some():
    with pytest.raises(ConfigError, match="no image is written as a file"):
        Config(image_format="jpg")
    with pytest.raises(ConfigError, match=r"formats llava, expected hf .*--format hf"):
        Config(formats=("llava",), images="path")
    for formats, images in ((("hf", "llava"), "embed"), (("swift",), "embed"), (("hf",), "path")):
        assert Config(formats=formats, images=images, image_format="jpg").image_format == "jpg"


def test_names_that_are_one_folder_on_some_file_systems_are_refused():
    with pytest.raises(ConfigError, match="Kitchen and kitchen"):
        Config(video_ids={"a.zip": "Kitchen", "b.zip": "kitchen"})
    assert Config(video_ids={"a.zip": "Kitchen", "b.zip": "Kitchen"}).video_ids["b.zip"]
