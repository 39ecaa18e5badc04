"""What the contract tests share: one prepared dataset in all formats, and the consumers."""

import datasets
import pytest

import engine
from engine.sample_export import write_sample_export
from tests.contract import venvs

FORMATS = ("hf", "llava", "parquet", "swift", "coco", "revos")
# A loader must not take a label for markup, and must not need an encoding.
HOSTILE = "</s> <image> USER: 犬"


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """Two videos: objects of one class, hidden ones, a frame where all are; and one of JPEGs."""
    folder = tmp_path_factory.mktemp("exports")
    return [
        write_sample_export(
            folder / "street.zip", frames=30, width=96, height=54, paint=False, seed=5,
            labels=("person", "dog", "person", HOSTILE), hidden={4: [1], 7: [0, 1, 2, 3]},
        ),
        write_sample_export(
            folder / "park.zip", frames=20, width=64, height=80, paint=False, seed=6,
            labels=("bicycle", "person"), image_format="jpeg",
        ),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def prepared(exports, tmp_path_factory):
    """OUT, in every format."""
    out = tmp_path_factory.mktemp("prepared") / "out"
    engine.prepare(
        [str(export.path) for export in exports], str(out),
        engine.Config(formats=FORMATS, rows_per_shard=11, hf_image_column="both"),
        engine.Execution(runner="local"),
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache of its own: what an earlier test run left must not answer for this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def consumer(request, tmp_path_factory):
    """Give an environment by the name of its pins; without a registry, ask for none again."""
    cache, made, unreachable = request.config.cache.mkdir("consumers"), {}, []

    def find(name):
        if name not in made:
            place = venvs.place_of(name, cache)
            if unreachable and not place.exists():
                raise unreachable[0]
            try:
                made[name] = venvs.consumer(name, cache, tmp_path_factory.mktemp(name))
            except pytest.skip.Exception as skipped:
                unreachable.append(skipped)
                raise
        return made[name]

    return find
