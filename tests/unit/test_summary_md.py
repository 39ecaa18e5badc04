"""The summary as a Markdown reader sees it (markdown-it), not as it is written."""

from html.parser import HTMLParser

from markdown_it import MarkdownIt

import engine
from engine import Config, Execution
from engine.quality import judge
from engine.records import Issue, issue_table
from engine.report import validation_document
from engine.sample_export import write_sample_export
from engine.summary_md import summary_markdown
from tests.unit.test_report import export, verdict_of

HERE = Execution(runner="local")


class Tables(HTMLParser):
    """The cells of each row, the headings, and every tag of a page."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.titles, self.tags, self._open = [], [], set(), None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._open = self.rows[-1]
            self._open.append("")
        elif tag in ("h1", "h2"):
            self._open = self.titles
            self._open.append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th", "h1", "h2"):
            self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self._open[-1] += data


def read(text):
    return Tables(MarkdownIt("commonmark").enable("table").enable("strikethrough").render(text))


def document_of(verdict, exports=(), config=None, **more):
    return validation_document(list(exports) or [export()], verdict, config or Config(), **more)


def test_it_says_what_the_document_says():
    bad = Issue(code="mask_empty", source="a", video_id="v0", frame_id="v0/1", message="as it is")
    verdict = verdict_of([["person"] * 9, ["dog"]], [bad])
    split = {
        "strategy": "stratified", "seed": 42, "excluded": {"temporal_gap": 3},
        "ratios": {"train": 0.8, "validation": 0.1, "test": 0.1},
        "sizes": {"train": 8, "validation": 1, "test": 1},
    }  # fmt: skip
    page = read(summary_markdown(document_of(verdict), split))
    assert page.titles[0] == "sam2prep: FAILED"
    assert page.titles[1:4] == ["What to do", "Findings", "Splits"]
    assert ["error", "mask_empty", "1 mask (10.0%) is empty", "v0/1: as it is"] in page.rows
    assert ["train", "8", "80.0%", "80.0%"] in page.rows
    assert [row for row in page.rows if row[0] in ("person", "dog")] == [
        ["person", "9"], ["dog", "1"],
    ]  # fmt: skip
    assert ["park.zip", "3,000", "2,999"] in [row[:3] for row in page.rows]


def test_it_says_what_the_split_cost_and_which_videos_are_one():
    document = document_of(verdict_of([["person"]]))
    link = {"videos": ["a|b", "c"], "equal_images": 3, "alike_frames": 7, "sampled_frames": [12, 9]}
    document["same_content"] = [link] * 11
    worst = {"max_deviation_class": "a|`b`", "max_deviation_points": 12.345}
    split = {
        "strategy": "temporal", "seed": 1, "excluded": {"temporal_gap": 1600},
        "ratios": {"train": 1.0}, "sizes": {"train": 5}, "certificate": worst,
        "folds": {"count": 4, "certificate": worst | {"max_deviation_points": 3.0}},
    }  # fmt: skip
    text = summary_markdown(document, split)
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<p>Largest deviation of a class: 12.3 points (a|`b`). " in html
    assert "In 4 folds: 3.0 points (a|`b`). Left out (temporal_gap): 1,600.</p>" in html
    assert read(text).rows.count(["a|b and c", "3", "7 of 9"]) == 10
    assert "and more: 1" in text


def test_a_changed_severity_is_said(tmp_path):
    truth = write_sample_export(
        tmp_path / "a.zip", frames=6, width=48, height=32, dialect="coco", bbox_off={2: 5}
    )
    config = Config(ignore=("bbox_mismatch",))
    text = summary_markdown(engine.validate([str(truth.path)], None, config, HERE), None)
    assert "note (by default warning)" in [row[0] for row in read(text).rows]
    assert "ignore: `bbox_mismatch`" in text
    assert "What to do" not in text


def test_the_sources_are_told_apart_from_what_is_left():
    bad = Issue(code="mask_empty", source="a", video_id="v0", frame_id="v0/1", message="as it is")
    left = verdict_of([["person"]])
    page = summary_markdown(document_of(left, sources=verdict_of([["person"]] * 2, [bad])), None)
    assert "Findings in the sources" in read(page).titles
    assert "that were set aside." in page
    split = {"strategy": "temporal", "seed": 1, "ratios": {}, "sizes": {}}
    whole = verdict_of([["person"]] * 2, [bad])
    for excluded, words in (({}, "set aside."), ({"temporal_gap": 1}, "left out by the split.")):
        found = summary_markdown(document_of(left, sources=whole), split | {"excluded": excluded})
        assert f"{words}\n" in found
    assert read(page).titles[0] == "sam2prep: PASSED"
    same = verdict_of([["person"]])
    assert "sources" not in summary_markdown(document_of(same, sources=same), None).lower()


def test_the_sources_are_no_second_list_where_nothing_was_left_out():
    bad = Issue(code="bbox_mismatch", source="a", video_id="v0", frame_id="v0/1", message="2 px")
    leak = Issue(code="split_leakage", source="", video_id="v0", message="3 of 9 pairs")
    sources = verdict_of([["person"]] * 2, [bad])
    text = summary_markdown(
        document_of(verdict_of([["person"]] * 2, [bad, leak]), sources=sources), None
    )
    assert "split_leakage" in text
    assert "sources" not in text.lower()
    assert read(text).titles[1:] == ["What to do", "Findings", "Classes", "Exports"]


def test_what_is_gone_is_named_as_what_it_is():
    bad = Issue(code="mask_empty", source="a", video_id="v0", frame_id="v0/1", message="as it is")
    whole, left = verdict_of([["person"]] * 5, [bad]), verdict_of([["person"]] * 2)
    split = {"strategy": "temporal", "seed": 1, "ratios": {}, "sizes": {}}
    for cut, words in ((3, "left out by the split"), (2, "set aside or left out by the split")):
        document = document_of(left, sources=whole)
        text = summary_markdown(document, split | {"excluded": {"temporal_gap": cut}})
        assert f"what is left without the frames that were {words}.\n" in text
    crashed = Issue(code="export_crashed", source="b.zip", message="b.zip: died")
    same = document_of(left, sources=verdict_of([["person"]] * 2, [crashed]))
    assert (
        "(2 frames); this is said of what is left without the exports of which no frame came"
        in (summary_markdown(same, None))
    )


def test_it_stays_below_a_comments_size():
    labels = [[f"label {i} {'|`<' * 3000}"] for i in range(300)]
    frames = verdict_of([*labels, ["big"] * 5000])
    codes = ["mask_empty", "bbox_mismatch", "area_jump", "label_change", "image_missing"]
    issues = [
        Issue(code=code, source="a", video_id="v0", frame_id=f"v0/{i}", message="<|`*_" * 2000)
        for i in range(3)
        for code in codes
    ]
    verdict = verdict_of([*labels, ["big"] * 5000], issues)
    many = [export(name=f"{'|' * 200}{i}.zip") for i in range(100)]
    text = summary_markdown(document_of(verdict, many, sources=frames), None)
    assert len(text) < 60_000
    page = read(text)
    assert page.tags <= {
        "h1", "h2", "p", "ol", "li", "strong", "code", "table", "thead", "tbody", "tr", "th",
        "td", "br",
    }  # fmt: skip
    assert "and 271 more classes" in text
    assert "and 80 more exports" in text


def test_every_row_has_as_many_cells_as_its_table():
    hostile = "a|b `c` <td> \n| x | y |\n\n# h"
    issue = Issue(code="bbox_mismatch", source="a", frame_id="v0/1", message=hostile)
    verdict = judge_of(hostile, issue)
    page = read(summary_markdown(document_of(verdict, [export(name=hostile)]), None))
    assert {len(row) for row in page.rows} == {2, 4}
    assert "h" not in page.titles


def judge_of(label, issue):
    import pyarrow as pa

    table = pa.table({
        "video_id": ["v0"], "labels": pa.array([[label]]), "objects_declared": [1],
    })  # fmt: skip
    return judge(table, issue_table([issue]), 9.0, exports=1)
