"""The page is judged as a browser reads it: by html.parser, not as the template is written."""

import base64
import hashlib
import json
import re
import tomllib
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import text_report
from engine.apportion import exact_ratios
from engine.certificate import Account, certify
from engine.config import SPLIT_NAMES, Config
from engine.findings import CODES
from engine.frame_tally import AREA_EDGES, GRID, Tally
from engine.phrases import Turn
from engine.quality import judge
from engine.records import ISSUE_SCHEMA, Issue, OpenedExport, Video, issue_table
from engine.report import finding_lines, render_page, validation_document, write_report
from engine.report_charts import (
    bytes_text,
    class_chart,
    count_text,
    frames_by_video,
    percent_text,
    points_text,
    shorten,
    split_rows,
)
from engine.report_material import Mark, Material, Picture, Timeline, Together, Track
from engine.split_input import SplitInput
from engine.splits import Rule, divide_frames
from engine.thresholds import Thresholds

EVIDENCE = {
    "frames_looked": 16, "boundary_row": 19556, "boundary_column": 22308,
    "contested_row": 19334, "contested_column": 22086, "paint_row": 0.961,
    "paint_column": 0.0216, "line_row": 0.9162, "line_column": 0.0299, "frames_for_row": 16,
    "frames_for_column": 0, "gradient_row": 12.3629, "gradient_column": 1.0586,
    "edge_frames_for_row": 16, "edge_frames_for_column": 0,
}  # fmt: skip
PAINTED = {
    "grid": [192, 256], "grid_by": "square", "order": "row", "order_by": "paint",
    "order_sentence": "row-major: 96.1 % of the mask boundary is in the overlay's colour",
    "painted": True, "notations": ["decimal"], "evidence": EVIDENCE,
}  # fmt: skip
UNPROVEN = {
    "grid": None, "grid_by": None, "order": "column", "order_by": "unproven",
    "order_sentence": "column-major: assumed, as COCO does; nothing at hand proves it",
    "painted": False, "notations": [], "evidence": None,
}  # fmt: skip

TIMES = "\N{MULTIPLICATION SIGN}"

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"><img src=x onerror='alert(1)'>",
    "closing": "</bdi></td></table></main><h1>PASSED</h1>",
    "entity": "&lt;b&gt; &amp;amp; &#60;i&#62; &copy",
    "comment": "<!-- --> ]]> <![CDATA[ x",
    "template": "{{ report }} {% raw %} {#",
    "rtl": "\u202egnp.exe\u202c \u2067abc",
    "arabic": "قطة على السجادة",
    "emoji": "🐈‍⬛ 👩‍👩‍👧 🇨🇭",
    "url": "http://evil.example/x.png javascript:alert(1)",
    "style": "</style><style>body{display:none}</style>",
    "cdata": "]]></script><script>alert(2)</script><![CDATA[",
    "title": "</title></svg></figure><svg onload=alert(3)>",
}


def export(name="park.zip", filename="park.mp4", video_id="park-1a2b3c", dialect=PAINTED, **video):
    declared = {
        "width": 1280, "height": 720, "fps_declared": 29.97, "total_frames_declared": 3120,
        "duration_sec_declared": 104.1,
    } | video  # fmt: skip
    return OpenedExport(
        source=f"/data/in/{name}", video=Video(filename=filename, **declared), video_id=video_id,
        named_id=video_id,
        content_digest="00", exporter_signature=True, frame_records=3000, ranges=(), grid=None,
        order="row", dialect=dialect, issues=(), images=2999, image_bytes=11_144_042,
    )  # fmt: skip


def verdict_of(labels_of_frames, issues=(), extra=()):
    frames = pa.table(
        {
            "video_id": pa.array([f"v{i // 10}" for i in range(len(labels_of_frames))]),
            "labels": pa.array(labels_of_frames, pa.list_(pa.string())),
            "objects_declared": pa.array([len(each) for each in labels_of_frames], pa.int32()),
        }
    )
    return judge(frames, issue_table(list(issues)), 9.0, extra, exports=1)


def split_of(labels_of_frames, strategy="stratified", gap_sec=None):
    names = sorted({label for labels in labels_of_frames for label in labels})
    lengths = [len(labels) for labels in labels_of_frames]
    n = len(lengths)
    data = SplitInput(
        ids=pa.array([f"v{i // 10}/{i:06d}" for i in range(n)]),
        video=np.arange(n, dtype=np.int32) // 10,
        video_names=tuple(f"v{v}" for v in range((n + 9) // 10)),
        frame_index=np.arange(n, dtype=np.int64),
        indptr=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        classes=np.array([names.index(x) for labels in labels_of_frames for x in labels], np.int32),
        counts=np.ones(sum(lengths), np.int32),
        class_names=tuple(names),
    )
    ratios = (0.8, 0.1, 0.1)
    rule = Rule(strategy=strategy, seed=42, gap_sec=gap_sec)
    divided = divide_frames(data, exact_ratios(ratios), rule)
    seen = certify(Account(
        data=data, codes=divided.codes, names=SPLIT_NAMES, shares=exact_ratios(ratios),
        groups=rule.groups_of(data), solver=divided.solver,
    ))  # fmt: skip
    sizes = {name: seen["sizes"][name]["achieved"] for name in SPLIT_NAMES}
    return {
        "strategy": strategy, "ratios": dict(zip(SPLIT_NAMES, ratios, strict=True)),
        "group_by": "video" if strategy == "temporal" else "none", "excluded": {},
        "temporal_segments": gap_sec is not None, "seed": 42, "sizes": sizes, "certificate": seen,
    }  # fmt: skip


def issue(code, frame="v0/000001", **more):
    values = {"source": "park.zip", "video_id": "v0", "message": "as it is"} | more
    return Issue(code=code, frame_id=frame, **values)


class Page(HTMLParser):
    """Tags, attributes, and the text of every element that is neither style nor script."""

    VOID = frozenset({"meta", "br", "img", "input"})
    INLINE = frozenset({"a", "bdi", "code", "b", "span"})

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.isolated, self.open = [], [], [], []
        self.words, self.styles, self.scripts = [], [], []
        self.feed(html)
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.words.append("" if tag in self.INLINE else " ")
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "bdi":
            self.isolated.append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()
        self.words.append("" if tag in self.INLINE else " ")

    def handle_data(self, data):
        if "style" in self.open:
            self.styles.append(data)
            return
        if "script" in self.open:
            self.scripts.append(data)
            return
        self.words.append(data)
        if "bdi" in self.open:
            self.isolated[-1] += data

    def values(self, name):
        return [value for _, attribute, value in self.attributes if attribute == name]


def page_of(document, split=None, material=None):
    page = Page(render_page(document, split, material))
    assert page.open == []
    return page


def text_of(document, split=None, material=None):
    return page_of(document, split, material).text


def spoken(text):
    return re.sub(r"\s+", " ", text)


LABELS = [["cat", "dog"], ["cat"], ["cat"], ["cat", "cat"], []] * 12


@pytest.fixture
def document():
    issues = [issue("object_hidden", message="area 0"), issue("mask_empty", object_id=3)]
    return validation_document([export()], verdict_of(LABELS, issues), Config())


def test_the_page_tells_what_validation_json_tells(document):
    text = text_of(document, split_of(LABELS))
    assert "Failed" in text
    assert "FAILED" in text
    assert "1 kind of error stands in the way" in text
    for finding in document["findings"]:
        for part in (finding["code"], finding["message"], finding["recommendation"]):
            assert part in text
        assert all(example in text for example in finding["examples"])
    assert "v0/000001" in text
    for figure in ("Frames 60", "Videos 6 from 1 export", "Object records 72 72 visible"):
        assert figure in text
    assert "The largest class, cat, has 60 visible instances; the smallest, dog, has 12." in text
    assert "That is 5.0:1, below the 9:1" in text


@pytest.mark.parametrize("code", sorted(set(CODES) - {"class_imbalance"}))
def test_every_code_reaches_the_page(code):
    document = validation_document([export()], verdict_of(LABELS, [issue(code)]), Config())
    page = page_of(document)
    (finding,) = document["findings"]
    assert finding["message"] in page.isolated
    assert spoken(CODES[code].recommendation) in page.text
    assert str(CODES[code].severity).capitalize() in page.text
    assert finding_lines(document) == [f"{finding['severity']} {code}: {finding['message']}"]


def test_a_line_says_what_holds_for_the_sources_only():
    """As the page does: the published finding is not hidden by that of the sources."""
    more = [issue("object_hidden", frame="v0/000001"), issue("object_hidden", frame="v0/000002")]
    sources = verdict_of(
        [*LABELS, ["cat"]], [issue("mask_empty"), issue("frame_all_hidden"), *more]
    )
    published = verdict_of(LABELS, [issue("frame_all_hidden"), more[0]])
    document = validation_document([export()], published, Config(), sources=sources)
    lines = finding_lines(document)
    for finding in published.findings:  # also where the sources have it on more frames
        line = f"{finding['severity']} {finding['code']}: {finding['message']}"
        assert lines.count(line) == 1
    said = [(line.split()[1], line.endswith(" (in the sources)")) for line in lines]
    assert said == [
        ("mask_empty:", True), ("frame_all_hidden:", False), ("object_hidden:", False),
        ("object_hidden:", True),
    ]  # fmt: skip
    alone = validation_document([export()], sources, Config())
    assert not any("(in the sources)" in line for line in finding_lines(alone))


@pytest.mark.parametrize(
    ("issues", "status", "says"),
    [
        ([], "PASSED", "Nothing was found that speaks against"),
        ([issue("object_hidden")], "PASSED_WITH_WARNINGS", "No errors. 1 warning is worth a look"),
        ([issue("mask_empty"), issue("mask_malformed")], "FAILED", "2 kinds of errors stand"),
    ],
)
def test_the_status_comes_first(issues, status, says):
    document = validation_document([export()], verdict_of(LABELS, issues), Config())
    page = page_of(document)
    assert document["status"] == status
    assert page.text.index(status) < page.text.index("Classes")
    assert says in page.text
    assert "sources" not in page.text.lower()[:400]


def test_the_sources_status_stands_beside_the_published_one():
    sources = verdict_of([*LABELS, ["cat"]], [issue("mask_empty"), issue("object_hidden")])
    published = verdict_of(
        LABELS, [issue("object_hidden")], [Issue(code="quarantined", source="", message="1")]
    )
    document = validation_document([export()], published, Config(), sources=sources)
    page = page_of(document)
    assert document["status"] == "PASSED_WITH_WARNINGS"
    assert "The sources: failed. Of their 61 frames, 1 was set aside" in page.text
    assert "60 of 61 in the sources" in page.text
    codes = {f["code"] for f in document["findings"]}
    shared = [f for f in document["sources"]["findings"] if f["code"] in codes]
    assert len(shared) == 1
    for finding in document["findings"] + document["sources"]["findings"]:
        assert finding["message"] in page.isolated
    assert all(page.isolated.count(finding["message"]) == 1 for finding in shared)


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_text_stays_text_wherever_it_comes_from(name):
    text = HOSTILE[name]
    page, harmless = _page_all_about(text), _page_all_about("harmless")
    assert Counter(page.tags) == Counter(harmless.tags)
    assert Counter(n for _, n, _ in page.attributes) == Counter(
        n for _, n, _ in harmless.attributes
    )
    assert not {"iframe", "object", "link", "form"} & set(page.tags)
    assert all(value.startswith("data:image/") for value in page.values("src"))
    assert len(page.values("src")) == page.tags.count("img") == 6
    assert page.tags.count("script") == 1
    assert not [each for each in page.attributes if each[1].startswith("on")]
    places = harmless.isolated.count("harmless")
    assert places >= 14
    assert page.isolated.count(shorten(text, 40)) >= 6  # captions, lanes, classes in one frame
    if len(text) <= 40:
        assert page.isolated.count(text) == places - ("/" in text)  # no export's name has a slash
    assert any(text in each and each != text for each in page.isolated)  # within an example


def _page_all_about(text):
    labels = [[text, "cat"], ["cat"], ["cat"], *[["cat"]] * 12]
    issues = [
        issue("mask_empty", frame=f"{text}/000007", message=text, video_id=text),
        Issue(code="overlay_burned_in", source=text, video_id=text, message=text),
    ]
    # An export's name is the last part of its place.
    exports = [export(name=text.replace("/", ":"), filename=text, video_id=text)]
    document = validation_document(exports, verdict_of(labels, issues), Config())
    return page_of(document, split_of(labels), material_about(text))


def picture(frame_id, kind="case", data=b"RIFF"):
    return Picture(
        frame_id=frame_id, kind=kind, object_ids=(3,), data=data, width=32, height=18,
        missing=None if data else "there is no image",
    )  # fmt: skip


def material_about(text):
    """Everything a page can show beside its document, with a text in every place for one."""
    frame = f"{text}/000007"
    track = Track(object_id=3, label=text, whole=((0, 1),), partly=((1, 2),), frames=3)
    mark = Mark(column=1, severity="error", codes=(("mask_empty", 2),), objects=(3,))
    return Material(
        tally=Tally(
            frames=9, width_px=900, height_px=450,
            areas=np.arange(len(AREA_EDGES)), centres=np.arange(GRID[0] * GRID[1]).reshape(GRID),
        ),
        frames_by_video=((text, 5), ("v", 4)),
        objects_per_frame=(1, 5, 3),
        together=Together(labels=("cat", text), omitted=0, frames=((9, 4), (4, 4))),
        timelines=(
            Timeline(
                video_id=text, frames=3, indices=((0, 0), (7, 9)), tracks=(track,),
                tracks_omitted=2, marks=(mark,), findings=2,
            ),
        ),
        timelines_omitted=4,
        pictures={
            "mask_empty": (picture(frame, "before"), picture(frame), picture(frame, data=None)),
            "overlay_burned_in": (picture(frame, "bare"), picture(frame), picture(frame)),
        },
        places={frame: (0, 1)},
        evidence_images={text: b"\x89PNG"},
    )  # fmt: skip


def test_text_from_exports_is_isolated(document):
    hostile = "\u202eabc"
    document["class_counts"] = {hostile: 3}
    document["imbalance"] = None
    document["exports"][0] |= {"source": hostile, "video_id": hostile}
    document["findings"][0] |= {"frames": [f"{hostile}/000001"], "examples": [hostile]}
    page = page_of(document)
    assert "".join(page.words).count("\u202e") == sum(t.count("\u202e") for t in page.isolated) == 5


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_any_label_comes_back_from_the_page(label):
    document = validation_document([], verdict_of([[label]]), Config())
    (found,) = [t for t in page_of(document).isolated if t == shorten(label)][:1]
    if not re.search(r"[\x00-\x1f\x7f-\x9f]", label):
        assert found == label


def test_a_blank_label_is_said_to_be_one():
    document = validation_document([], verdict_of([[" \u00a0"], ["cat"]]), Config())
    assert text_of(document).count("a blank label") == 1


def test_control_characters_are_seen_and_not_obeyed():
    document = validation_document([], verdict_of([["a\nb\r\tc\x00d\x9be"]]), Config())
    assert "a␊b␍␉c␀d\ufffde" in page_of(document).isolated


def test_a_name_that_utf8_cannot_hold_does_not_break_the_page():
    document = validation_document([export(name="bad\udcff.zip")], verdict_of(LABELS), Config())
    page = render_page(document, None)
    assert "bad\ufffd.zip" in Page(page.encode().decode()).isolated


def test_a_label_of_ten_thousand_characters_is_shown_by_its_ends():
    long = "begin" + "x" * 10_000 + "end"
    labels = [[long], *[["cat"]] * 30]
    issues = [issue("mask_empty", frame=f"{long}/000001", message=long, video_id=long)]
    exports = [export(name=long, filename=long, video_id=long)]
    document = validation_document(exports, verdict_of(labels, issues), Config())
    html = render_page(document, split_of(labels))
    page = Page(html)
    assert "x" * 601 not in html
    assert len(html) < 40_000
    short = [t for t in page.isolated if t.startswith("begin") and t.endswith("end")]
    assert {len(t) for t in short} == {80, 300}  # as a name, and in an example
    # The sentence's end, which has the figure, is still there.
    assert any(t.startswith("Severe") and t.endswith("= 30.0:1") for t in page.isolated)


def test_the_page_asks_nobody_for_anything(document):
    html = render_page(document, split_of(LABELS))
    page = Page(html)
    assert all(value.startswith("#") for value in page.values("href"))
    assert not [n for _, n, _ in page.attributes if n in ("src", "srcset", "xlink:href", "action")]
    assert "//" not in re.sub("'sha256-[^']*'", "", html)
    assert not re.search(r"url\(|@import|@font-face", "".join(page.styles))
    (policy,) = [v for v in page.values("content") if "default-src" in v]
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'"
    )
    assert not re.search(r"fetch\(|XMLHttp|import\(|innerHTML|eval|https?:", script)
    targets = {value[1:] for value in page.values("href")}
    assert targets
    assert targets <= set(page.values("id"))


def test_the_page_is_for_phones_print_and_the_dark(document):
    page = page_of(document)
    css = "".join(page.styles)
    for query in ("(prefers-color-scheme: dark)", "@media print", "(max-width: 40rem)"):
        assert query in css
    assert "width=device-width, initial-scale=1" in page.values("content")
    assert ("html", "lang", "en") in page.attributes
    assert set(page.values("class")) >= {"scroll", "exports"}


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one, other):
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(document, theme):
    css = "".join(page_of(document).styles)
    themes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", themes[theme]))
    tones = ("good", "warning", "error", "note")
    pairs = [(text, ground) for text in ("ink", "quiet") for ground in ("ground", "raised")]
    pairs += [("quiet", f"{tone}-wash") for tone in tones]
    pairs += [(tone, f"{tone}-wash") for tone in tones] + [(tone, "raised") for tone in tones]
    pairs += [("link", "ground"), ("link", "raised"), ("warning", "ground")]
    low = {pair: _contrast(colour[pair[0]], colour[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
    assert _contrast(colour["bar"], colour["track"]) >= 3


def test_a_large_corpus_makes_a_small_page():
    classes = [f"class <{i}> & {'x' * 60}" for i in range(5000)]
    labels = [classes[i::100] for i in range(100)] + [classes[:40]] * 5
    issues = [
        issue(code, frame=f"{code}-{'v' * 60}/{i:06d}", message="m" * 500, video_id=f"v{i:090d}")
        for code in CODES
        if code != "class_imbalance"
        for i in range(1001)
    ]
    exports = [export(name=f"{i:05d}{'&' * 60}.zip", video_id=f"v{i}") for i in range(2000)]
    document = validation_document(
        exports, verdict_of(labels, issues), Config(), sources=verdict_of(labels, issues[:-1])
    )
    assert all(len(f["frames"]) == 1000 for f in document["findings"] if f["frames"])
    html = render_page(document, split_of(labels))
    assert len(html.encode()) < 1_000_000
    page = Page(html)
    assert "and 4,950 more in validation.json; then the smallest:" in page.text
    assert "and 1,900 more in validation.json" in page.text
    assert "and 950 more in validation.json" in page.text
    rows = [t for t in page.isolated if t.startswith("class <") and len(t) <= 80]
    assert len(set(rows)) >= 50
    assert shorten(min(classes[:40])) in rows  # the largest
    assert shorten(max(classes[40:])) in rows  # the smallest
    assert sum(t.endswith("&.zip") for t in page.isolated) == 100


def test_fifty_classes_are_all_shown():
    labels = [[f"c{i:02d}" for i in range(n)] for n in range(1, 51)]
    text = text_of(validation_document([], verdict_of(labels), Config()))
    assert "more in validation.json" not in text
    assert all(f"c{i:02d}" in text for i in range(50))


def test_without_a_split_the_page_says_so(document):
    page = page_of(document, None)
    assert "No frames were assigned to splits in this run." in page.text
    assert "Deviation" not in page.text
    empty = {"strategy": "random", "ratios": {}, "seed": 1, "sizes": {}, "excluded": {}}
    text = text_of(document, empty)
    assert "No frames were assigned to splits" in text


def test_a_run_without_anything_has_a_page():
    text = text_of(validation_document([], verdict_of([]), Config()))
    assert "No labelled object is visible" in text
    assert "fewer than two classes" in text
    assert "Nothing was found." in text


def test_the_split_table_has_the_certificates_figures(document):
    split = split_of(LABELS)
    split["certificate"]["sizes"]["validation"] |= {"target": 7, "achieved": 1234}
    text = text_of(document, split)
    assert "Validation 7 10.0% 1,234" in text
    assert "Made by the strategy stratified with seed 42." in text
    assert "Every class is within 5 points of its ratio in every split." in text
    pairs = split["certificate"]["neighbours"]["pairs_on_different_sides"]
    assert f"of 54 pairs of neighbouring frames, {pairs} have their frames in different" in text
    assert "and cannot come within that" in text
    assert "Every video lies in one split, whole." in text_of(
        document, split_of(LABELS, "temporal")
    )
    kept = split_of(LABELS) | {"group_by": "video"}
    assert "with seed 42, keeping videos whole." in text_of(document, kept)
    cut = split_of(LABELS, "temporal", gap_sec=0) | {"excluded": {"temporal_gap": 3}}
    assert (
        "cut into stretches of time: the nearest frames in different splits lie 1 frame apart, "
        "and 3 frames between them are left out."
    ) in text_of(document, cut)


def test_an_empty_split_is_given_with_its_reason(document):
    text = text_of(document, split_of([["cat"]] * 3))
    assert "empty: 3 frames at a ratio of 0.1 leave none for it" in text


def test_an_export_is_shown_with_its_dialect(document):
    text = text_of(document)
    for part in (
        "park.zip", "park-1a2b3c", f"1280 {TIMES} 720", "29.97 fps", "3,120 frames 104.1 s",
        "3,000 records", "2,999 images, 11.1 MB", f"256 {TIMES} 192 a known low-resolution",
        "row-major, by paint on the frames", PAINTED["order_sentence"], "painted row 96.1%",
        "column 2.2%",
    ):  # fmt: skip
        assert part in text


def test_what_an_export_does_not_declare_is_not_made_up(document):
    bare = dict.fromkeys(
        ("width", "height", "fps_declared", "total_frames_declared", "duration_sec_declared")
    )
    exports = [export(dialect=UNPROVEN, filename=None, **bare)]
    text = text_of(validation_document(exports, verdict_of(LABELS), Config()))
    for part in ("no size", "no frame rate", "no length", "nothing: unproven", "not known"):
        assert part in text
    assert "None" not in text


def test_the_bars_are_as_long_as_the_shares():
    split = split_of(LABELS)
    chart = class_chart({"cat": 60, "dog": 12}, split["certificate"], SPLIT_NAMES)
    assert chart.columns == ("all", "train", "validation", "test")
    cat, dog = chart.largest
    held = split["certificate"]["classes"]["cat"]["instances"]
    assert [b.count for b in cat.bars] == [60, *(held[name] for name in SPLIT_NAMES)]
    assert cat.bars[0].share == 60 / 72
    assert [a.count + b.count for a, b in zip(cat.bars, dog.bars, strict=True)] == [*chart.totals]
    bars = [*cat.bars, *dog.bars]
    longest = max(bars, key=lambda b: b.share)
    assert longest.length == 100
    for each in bars:
        assert each.length == pytest.approx(100 * each.share / longest.share, abs=0.06)
    page = page_of(validation_document([], verdict_of(LABELS), Config()), split)
    widths = [float(v) for tag, n, v in page.attributes if tag == "rect" and n == "width"]
    assert widths[: len(bars)] == [b.length for b in bars]
    achieved = [row.achieved_share for row in split_rows(split["certificate"], SPLIT_NAMES)]
    assert widths[len(bars) :] == pytest.approx([100 * share for share in achieved], abs=0.006)


def test_a_class_that_is_there_has_a_bar_and_one_that_is_not_has_none():
    chart = class_chart({"all": 10**6, "one": 1}, None, SPLIT_NAMES)
    assert chart.columns == ("all",)
    assert [row.bars[0].length > 0 for row in chart.largest] == [True, True]
    (row,) = class_chart({"x": 3}, {"classes": {}}, ("train",)).largest
    assert (row.bars[1].count, row.bars[1].share, row.bars[1].length) == (0, 0.0, 0.0)
    assert row.deviation_points is None


def test_the_worst_class_of_each_split_is_named():
    split = split_of([["a", "b"]] * 37 + [["a"]] * 3 + [["c"]] * 11)["certificate"]
    for row in split_rows(split, SPLIT_NAMES):
        off = {n: abs(c["deviation_points"][row.name]) for n, c in split["classes"].items()}
        assert off[row.deviation_class] == max(off.values()) == abs(row.deviation_points)
        assert row.achieved == split["sizes"][row.name]["achieved"]


def test_frames_are_grouped_by_video():
    ids = ["a/x/000001", "a/x/000002", "b/000001", "b/000002"]
    assert frames_by_video(ids, 3) == [("a/x", ["000001", "000002"]), ("b", ["000001"])]
    assert frames_by_video([], 3) == []


@given(st.text(max_size=300), st.integers(4, 100))
def test_shortened_text_keeps_its_ends_and_its_bound(text, limit):
    short = shorten(text, limit)
    assert len(short) <= limit
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", short)
    if len(text) > limit:
        assert len(short) == limit
        assert "…" in short
        assert shorten(text[0]) == short[0]
        assert shorten(text[-1]) == short[-1]
    else:
        assert len(short) == len(text)


def test_figures_are_written_for_people():
    assert count_text(3120) == "3,120"
    shares = (0, 1e-9, 0.0151, 0.5, 0.9999, 1)
    written = ["0%", "<0.1%", "1.5%", "50.0%", ">99.9%", "100%"]
    assert [percent_text(share) for share in shares] == written
    assert [points_text(p) for p in (-1.66, -0.04, 0, 0.8)] == [
        "\N{MINUS SIGN}1.7", "0.0", "0.0", "+0.8",
    ]  # fmt: skip
    sizes = (0, 999, 1000, 999_999, 11_144_042, 5 * 10**15)
    assert [bytes_text(size) for size in sizes] == [
        "0 B", "999 B", "1.0 kB", "1.0 MB", "11.1 MB", "5,000.0 TB",
    ]  # fmt: skip


def test_the_three_files_tell_one_story(tmp_path):
    issues = issue_table([issue("mask_empty", message="<b>\n"), issue("object_hidden")])
    document = validation_document([export()], verdict_of(LABELS, [issue("mask_empty")]), Config())
    files = write_report(str(tmp_path), document, split_of(LABELS), issues)
    assert {file.path for file in files} == {
        "report/validation.json", "report/issues.jsonl", "report/report.html", "report/summary.md",
    }  # fmt: skip
    assert json.loads((tmp_path / "validation.json").read_text()) == document
    lines = [json.loads(x) for x in (tmp_path / "issues.jsonl").read_text().splitlines()]
    assert [line.pop("severity") for line in lines] == ["error", "warning"]
    assert lines == issues.cast(ISSUE_SCHEMA).to_pylist()
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html == render_page(document, split_of(LABELS))


def test_validation_json_has_the_contracts_keys_and_no_path_of_this_machine(document):
    keys = {"status", "frames", "objects", "videos", "class_counts", "imbalance", "findings"}
    assert keys <= set(document)
    finding = {"code", "severity", "message", "count", "fraction", "frames", "recommendation"}
    assert all(finding <= set(each) for each in document["findings"])
    assert "/data/in" not in json.dumps(document)
    assert "/data/in" not in render_page(document, None)


def test_the_template_is_part_of_the_package():
    import engine

    folder = Path(engine.__file__).parent
    parts = {"report.html", "report_figures.html", "report.css", "report.js"}
    assert {path.name for path in folder.iterdir() if path.suffix not in (".py", ".typed")} >= parts
    listed = tomllib.loads((folder.parent / "pyproject.toml").read_text())
    patterns = listed["tool"]["setuptools"]["package-data"]["engine"]
    assert all(any(fnmatch(part, pattern) for pattern in patterns) for part in parts)


def test_the_page_shows_the_material(document):
    page = page_of(document, split_of(LABELS), material_about("park"))
    assert page.values("src").count("data:image/webp;base64,UklGRg==") == 2
    for part in (
        "9 frames; 1.2 on average, 1 frame without any", "36 below 0.1%", "cat 9",
        "Frames that hold both classes", "of 5. Frames that were", "and 2 objects more",
        "No picture of park/000007: there is no image.", "The evidence, drawn",
        "3 frames 2 findings", "frame 0", "frame 9", "Before: 000007",
    ):  # fmt: skip
        assert part in page.text, part
    assert {"frames", "timelines", "v0", "m0-1", "p-mask_empty-0"} <= set(page.values("id"))
    assert "frames 7 to 9: mask_empty \u00d72" in page.text
    assert len(page.values("id")) == len(set(page.values("id")))
    targets = {value[1:] for value in page.values("href")}
    assert targets <= set(page.values("id"))


def test_ids_of_frames_lead_to_what_the_page_shows(document):
    """In the list of frames and at the start of an example; not where the page has nothing."""
    known = material_about("v0")
    issues = [issue("mask_empty", frame="v0/000007"), issue("mask_empty", frame="v0/000001")]
    document = validation_document([export()], verdict_of(LABELS, issues), Config())
    html = render_page(document, None, known)
    assert html.count('<a href="#p-mask_empty-0"><bdi>v0/000007</bdi></a>') == 2  # no picture, too
    assert html.count('<a href="#p-mask_empty-0"><bdi>000007</bdi></a>') == 1
    assert "<code><bdi>000001</bdi></code>" in html
    assert "<bdi>v0/000001: as it is</bdi>" in html


def test_a_finding_of_the_sources_alone_has_its_pictures(document):
    sources = verdict_of([*LABELS, ["cat"]], [issue("mask_empty"), issue("object_hidden")])
    published = verdict_of(LABELS, [issue("object_hidden")])
    document = validation_document([export()], published, Config(), sources=sources)
    page = page_of(document, None, material_about("park"))
    assert "p-mask_empty-0" in page.values("id")
    assert page.text.index("In the sources") < page.text.index("Before: 000007")


def test_without_a_visible_object_no_figure_is_drawn(document):
    empty = Tally(
        frames=17, width_px=0, height_px=0, areas=np.zeros(len(AREA_EDGES), np.int64),
        centres=np.zeros(GRID, np.int64),
    )  # fmt: skip
    together = Together(labels=(), omitted=0, frames=())
    material = replace(
        material_about("park"), tally=empty, objects_per_frame=(17,), together=together
    )
    text = text_of(document, None, material)
    assert "No object is visible in any of the 17 frames" in text
    assert "Mask area" not in text
    assert "Frames per video" in text


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_numbers_on_tints_can_be_read(document, theme):
    """Cells of classes in one frame: up to 42 % of the bar's colour over the raised ground."""
    css = "".join(page_of(document).styles)
    themes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", themes[theme]))
    shares = [int(n) / 100 for n in re.findall(r"var\(--bar\) (\d+)%, var\(--raised\)", css)]
    assert len(shares) == 5

    def mixed(share):
        parts = [
            round(share * int(a, 16) + (1 - share) * int(b, 16))
            for a, b in zip(
                *(re.findall("[0-9a-f]{2}", colour[n]) for n in ("bar", "raised")), strict=True
            )
        ]
        return "#" + "".join(f"{part:02x}" for part in parts)

    assert min(_contrast(colour["ink"], mixed(share)) for share in shares) >= 4.5


def certified(**more):
    split = split_of(LABELS)
    split["certificate"] |= {
        "near_duplicates": {
            "exact_pairs": 5, "exact_pairs_within_videos": 2, "exact_pairs_plain": 1,
            "near_pairs": 3, "near_basis": "sampled, at most 12 frames a video",
            "examples": [{
                "by": "equal image", "frames": ["v0/000001", "<v>/000002"],
                "splits": ["train", "test"],
            }],
        },
    } | more  # fmt: skip
    return split


def test_the_certificate_is_told_in_words(document):
    split = certified(solver={"name": "milp", "optimal": True, "gap_points": 0.0})
    split |= {"group_by": "video", "excluded": {"temporal_gap": 16, "split_file": 1}}
    page = page_of(document, split)
    assert "Placed by integer programming, proved to be the best" in page.text
    seen = split["certificate"]
    worst = f"{seen['max_deviation_points']:.1f} points, {seen['max_deviation_class']}"
    assert f"{worst}; no other assignment under these rules has a smaller one" in page.text
    assert "the frames of a video (--group-by video); videos: train" in page.text
    assert "Left out 16 frames in gaps between stretches of time" in page.text
    assert "Left out 1 frame as the split file says" in page.text
    assert "5 pairs, 2 of them within a video; and 1 of plain images" in page.text
    assert "3 pairs of linked videos; sampled, at most 12 frames a video" in page.text
    assert "equal image: v0/000001 (train) and <v>/000002 (test)" in page.text
    gap = certified(solver={"name": "swaps", "optimal": None, "gap_points": 2.25})
    assert "; at most 2.2 above what cannot be avoided" in text_of(document, gap)
    unknown = certified(solver={"name": "shuffle", "optimal": None, "gap_points": None})
    text = text_of(document, unknown)
    assert "Placed by a shuffle" in text
    assert "cannot be avoided" not in text
    assert "smaller one" not in text


def test_frames_left_out_by_the_split_are_not_called_set_aside():
    sources = verdict_of([*LABELS, *[["cat"]] * 9], [issue("mask_empty")])
    document = validation_document([export()], verdict_of(LABELS), Config(), sources=sources)
    split = certified() | {"excluded": {"temporal_gap": 8}}
    text = text_of(document, split)
    assert "Of their 69 frames, 1 was set aside" in text
    assert "60 of 69 in the sources; 8 left out by the split" in text
    everything = certified() | {"excluded": {"temporal_gap": 9}}
    assert "set aside; the rest" not in text_of(document, everything)


def test_folds_are_shown_with_their_sizes_and_certificate(document):
    split = certified()
    split["folds"] = {
        "count": 3, "of": ["train", "validation"],
        "certificate": {
            "sizes": {str(n): {"achieved": 20 - n} for n in range(3)},
            "max_deviation_class": "<cat>", "max_deviation_points": 4.44,
            "solver": {"name": "search", "optimal": False, "gap_points": None},
            "groups_in_several_folds": 0,
        },
    }  # fmt: skip
    text = text_of(document, split)
    assert "3 folds over train and validation 20, 19, 18 frames; the largest deviation" in text
    assert "is 4.4 points, <cat>. No video lies in several folds." in text
    split["folds"]["certificate"]["groups_in_several_folds"] = 2
    assert "2 videos lie in several folds." in text_of(document, split)
    assert " folds " not in text_of(document, certified())


def test_the_policy_in_force_is_shown_with_what_differs_from_the_defaults():
    config = Config(
        validation="standard", ignore=("bbox_mismatch",), fail_on=("image_black", "area_jump"),
        imbalance_ratio=4.0, thresholds=Thresholds(bbox_px=3.0),
    )  # fmt: skip
    verdict = verdict_of(LABELS, [issue("bbox_mismatch")])
    text = text_of(validation_document([export()], replace_severity(verdict, "note"), config))
    assert "Errors, by --fail-on area_jump, image_black" in text
    assert "Notes, by --ignore bbox_mismatch" in text
    assert "severe from 4:1" in text
    assert "bbox_px 3 (by default 1)" in text
    assert "flicker_frames 2," in text
    assert "by the policy; else a warning" in text
    plain = text_of(validation_document([export()], verdict, Config()))
    assert "as by default, for every code" in plain
    assert "(by default" not in plain
    assert "by the policy; else" not in plain


def replace_severity(verdict, severity):
    return replace(verdict, findings=[f | {"severity": severity} for f in verdict.findings])


def test_videos_that_are_one_are_listed_with_the_evidence(document):
    link = {
        "videos": ["<a>", "b"], "equal_images": 24, "images": [24, 30], "alike_frames": 11,
        "sampled_frames": [12, 12], "examples": [["<a>/000001", "b/000002"]],
    }  # fmt: skip
    document["same_content"] = [link | {"images": None}] + [link] * 59
    text = text_of(document)
    assert "One video under several names" in text
    assert "<a> b 24 11 of 12 and 12 <a>/000001 b/000002" in text
    assert "24 of 24 and 30" in text
    assert "and 10 more pairs in validation.json" in text
    document["same_content"] = []
    assert "several names" not in text_of(document)


def test_rare_classes_are_listed_with_what_they_lack_and_where_they_are():
    labels = [["person"] * 20] * 6 + [["<cat>"], ["dog"] * 13]
    document = validation_document([export()], verdict_of(labels), Config())
    weights = {"classes": {"person": {"repeat_factor": 1.0}, "<cat>": {"repeat_factor": 2.4495}}}
    page = Page(render_page(document, None, weights=weights))
    assert "What rare classes are short of" in page.text
    missing = document["imbalance"]["classes"][0]["missing"]
    assert f"<cat> 1 {missing} 2.45 v0 (1)" in page.text
    assert "dog 13 1 none in train v0 (13)" in page.text
    without = text_of(document)
    assert f"<cat> 1 {missing} v0 (1)" in without
    assert "Factor" not in without
    even = validation_document([export()], verdict_of(LABELS), Config())
    assert "short of" not in text_of(even)


def test_the_texts_of_a_dataset_are_shown(document):
    def said(question, answer, kind, label, yes=None):
        classes = (label,) if label else ()
        return Turn(kind=kind, question=question, answer=answer, classes=classes, yes=yes,
                    words=frozenset())  # fmt: skip

    rows = [
        [said("Is there a <b>?", "Yes.", "exists", "<b>", True)],
        [said("Is there a <b>?", "No.", "exists", "<b>", False)],
        [
            said("Segment \u202eit.", "x" * 10_000, "segment", "cat"),
            said("What?", "A.", "rest", ""),
        ],
    ]
    texts = text_report.document(text_report.tally(rows))
    page = Page(render_page(document, None, texts=texts))
    assert page.open == []
    assert "4 questions with their answers on 3 frames." in page.text
    assert "3 different wordings of 4; evenness 0.95" in page.text
    assert "Is there a <b>? 2 · 50.0%" in page.text
    assert "1 answered yes, 1 no. A question does not tell its answer: 0.00 bits" in page.text
    assert "1 exists 2 · 50.0%" in page.text
    assert "<b> 2 0 0" in page.text
    assert "no class, or none named 0 1 0" in page.text
    everything = "".join(page.words)
    assert "x" * 200 not in everything
    assert everything.count("\u202e") == sum(t.count("\u202e") for t in page.isolated) == 1
    assert "#texts" in page.values("href")
    assert "#texts" not in page_of(document).values("href")


def test_an_option_in_an_advice_ends_before_the_punctuation(document):
    document["findings"][0]["recommendation"] = "Use --group-by, or --frames."
    html = render_page(document, None)
    assert "Use <code>--group-by</code>, or <code>--frames</code>." in html
