"""Which exports are in a place, and which images belong to each."""

import zipfile

import pytest

from engine.errors import ExportError
from engine.members import content_digest, with_crcs
from engine.opening import Caps
from engine.sav_listing import list_exports
from engine.sources import find_exports

TWO = [
    "a_manual.json", "b_manual.json", "a/00000.jpg", "a/00004.jpg", "b/00000.jpg",
    "a.mp4", "sav.txt", "Annotations_6fps/a/000/00000.png",
]  # fmt: skip


def folder_of(path, names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(name.encode())
    return str(path)


def zip_of(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return str(path)


def names_in(location):
    return [sorted(found) for found in list_exports(location)]


def test_a_zip_of_two_videos_is_two_exports(tmp_path):
    archive = zip_of(tmp_path / "s.zip", TWO)
    first, second = list_exports(archive)
    assert sorted(first) == ["a/00000.jpg", "a/00004.jpg", "a_manual.json"]
    assert sorted(second) == ["b/00000.jpg", "b_manual.json"]
    assert (first.annotations, second.annotations) == ("a_manual.json", "b_manual.json")
    assert names_in(f"{archive}/b_manual.json") == [sorted(second)]
    assert names_in(f"{archive}/*_manual.json") == [sorted(first), sorted(second)]
    assert find_exports(f"{archive}/b_manual.json") == [f"{archive}/b_manual.json"]
    with pytest.raises(ExportError, match="no such file in the ZIP"):
        list_exports(f"{archive}/c_manual.json")


def test_a_folder_of_two_videos_is_two_exports_with_the_digests_of_the_zip(tmp_path):
    folder = folder_of(tmp_path / "sav", TWO)
    found = find_exports(folder)
    assert found == [f"{folder}/a_manual.json", f"{folder}/b_manual.json"]
    assert find_exports(str(tmp_path)) == found
    assert find_exports(f"{folder}/*_manual.json") == found
    loose = [with_crcs(list_exports(one)[0]) for one in found]
    packed = [with_crcs(m) for m in list_exports(zip_of(tmp_path / "s.zip", TWO))]
    assert [sorted(m) for m in loose] == [sorted(m) for m in packed]
    for one, other in zip(loose, packed, strict=True):
        assert content_digest(one.values()) == content_digest(other.values())


@pytest.mark.parametrize("prefix", ["", "around/"])
@pytest.mark.parametrize(
    ("frames", "chosen"),
    [
        (["v/0.jpg", "JPEGImages_24fps/v/0.jpg"], ["v/0.jpg"]),
        (["JPEGImages_24fps/v/0.jpg", "JPEGImages_24fps/w/0.jpg"], ["JPEGImages_24fps/v/0.jpg"]),
        (["JPEGImages_24fps/v/0.jpg", "Annotations_6fps/v/0.png"], ["JPEGImages_24fps/v/0.jpg"]),
        (["v/frames/0.jpg"], ["v/frames/0.jpg"]),
        (["v/0.png"], ["v/0.png"]),
        (["frames/0.jpg"], ["frames/0.jpg"]),
        (["0.jpg", "1.jpg"], ["0.jpg", "1.jpg"]),
        (["v.mp4"], []),
    ],
)
def test_the_images_of_a_video(tmp_path, prefix, frames, chosen):
    names = [prefix + name for name in ["v_auto.json", *frames]]
    expected = [sorted(["v_auto.json", *chosen])]
    assert names_in(zip_of(tmp_path / "s.zip", names)) == expected
    folder = folder_of(tmp_path / "sav", names)
    assert find_exports(folder) == [f"{folder}/{prefix}v_auto.json"]
    assert names_in(f"{folder}/{prefix}v_auto.json") == expected


def test_images_of_nobody_are_not_given_to_one_of_several(tmp_path):
    names = ["a_manual.json", "b_manual.json", "frames/0.jpg"]
    assert names_in(zip_of(tmp_path / "s.zip", names)) == [["a_manual.json"], ["b_manual.json"]]
    folder = folder_of(tmp_path / "sav", names)
    assert names_in(f"{folder}/a_manual.json") == [["a_manual.json"]]


def test_an_export_that_holds_such_a_file_stays_what_it_is(tmp_path):
    names = ["annotations.json", "notes_auto.json", "images/0.jpg"]
    assert names_in(zip_of(tmp_path / "s.zip", names)) == [sorted(names)]
    folder = folder_of(tmp_path / "e", names)
    assert find_exports(folder) == [folder]
    assert names_in(folder) == [sorted(names)]


def test_caps_hold_for_files_in_a_folder(tmp_path):
    folder = folder_of(tmp_path, ["v_manual.json", "v/0.jpg"])
    with pytest.raises(ExportError, match="more than 3"):
        list_exports(f"{folder}/v_manual.json", caps=Caps(max_json_bytes=3))
    with pytest.raises(ExportError, match="more than 3"):
        list_exports(f"{folder}/v_manual.json", caps=Caps(max_image_bytes=3))
    with pytest.raises(ExportError, match="no such file"):
        list_exports(f"{folder}/w_manual.json")


def test_a_url_is_read_like_a_path(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in TWO:
        memory.pipe(f"/test_sav_listing/sav/{name}", name.encode())
    found = find_exports("memory://test_sav_listing/sav")
    assert [name.rsplit("/", 1)[1] for name in found] == ["a_manual.json", "b_manual.json"]
    assert names_in(found[0]) == [["a/00000.jpg", "a/00004.jpg", "a_manual.json"]]
