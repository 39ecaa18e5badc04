"""The page in a real browser, from a file, without a network: silent, and its tools work."""

import json
import re

import pytest

import engine
from engine import Config, Execution
from engine.sample_export import write_sample_export
from tests.chromium_pipe import NAMES, Browser, find_browser

LABELS = ("person", "dog", "<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>")

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"no browser is installed (looked for {', '.join(NAMES)})"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a run with errors set aside, warnings, three videos and hostile labels."""
    place = tmp_path_factory.mktemp("page")
    size = {"width": 96, "height": 64, "truth": False}
    write_sample_export(
        place / "a.zip", frames=30, labels=LABELS, dialect="coco", filename="park.mp4", seed=1,
        mask_truncated=[3], area_off={5: 40}, bbox_off={8: 9, 9: 5}, image_crc_flip=[11], **size,
    )  # fmt: skip
    write_sample_export(
        place / "b.zip", frames=24, labels=LABELS[:2], dialect="coco", filename="street.mp4",
        seed=2, area_jump={12: 3.5}, **size,
    )  # fmt: skip
    write_sample_export(
        place / "c.zip", frames=20, labels=LABELS[:3], filename="hall.mp4", seed=3,
        hidden={4: [0]}, **size,
    )  # fmt: skip
    out = place / "out"
    summary = engine.prepare(
        [str(place / name) for name in ("a.zip", "b.zip", "c.zip")], str(out),
        Config(validation="standard"), Execution(runner="local"),
    )  # fmt: skip
    assert summary["status"] == "PASSED_WITH_WARNINGS"
    return out / "report"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, report):
    browser.open(report / "report.html")
    return browser


def shown(page, query):
    """Texts of the elements that can be seen."""
    return page.run(
        f"[...document.querySelectorAll({json.dumps(query)})]"
        ".filter((e) => e.getClientRects().length).map((e) => e.textContent)"
    )


def codes(page):
    return [text.strip() for text in shown(page, ".finding .facts > code")]


def write(page, query, text):
    page.run(
        f"(() => {{ const e = document.querySelector({json.dumps(query)});"
        f"e.value = {json.dumps(text)}; e.dispatchEvent(new Event('input'));"
        "e.dispatchEvent(new Event('change')) })()"
    )


def click(page, query):
    page.run(f"document.querySelector({json.dumps(query)}).click()")


def test_the_page_is_silent_and_whole(page, report):
    assert page.requests() == [(report / "report.html").as_uri()]
    assert page.complaints() == []
    assert page.run("document.images.length") >= 8
    assert page.run("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.run("document.scripts.length") == 1
    document = json.loads((report / "validation.json").read_text())
    expected = [f["code"] for f in document["findings"]]
    assert codes(page)[: len(expected)] == expected
    assert {"mask_malformed", "mask_area_mismatch"} <= set(codes(page))


def test_what_the_policy_forbids_is_refused_and_seen(browser, report, tmp_path):
    """The other test would see a request, a script or a complaint, if there were one."""
    html = (report / "report.html").read_text()
    evil = "<script>document.title = 'evil'</script><img src='http://127.0.0.1:9/x.png'>"
    (tmp_path / "evil.html").write_text(html.replace("</main>", evil + "</main>"))
    browser.open(tmp_path / "evil.html")
    assert browser.run("document.title") != "evil"
    said = json.dumps(browser.complaints())
    assert "script-src" in said
    assert "img-src" in said
    (tmp_path / "open.html").write_text("<img src='http://127.0.0.1:9/x.png'>")
    browser.open(tmp_path / "open.html")
    assert "http://127.0.0.1:9/x.png" in browser.requests()


def test_findings_are_filtered_and_sorted(page):
    everything = codes(page)
    write(page, "#findings [type=search]", "BBOX declared")
    assert codes(page) == ["bbox_mismatch"]
    assert f"1 of {len(everything)} shown" in shown(page, "#findings [role=status]")
    write(page, "#findings [type=search]", "")
    assert codes(page) == everything
    click(page, "#findings input[value=warning]")
    left = codes(page)
    assert left
    assert set(shown(page, ".finding .severity")) <= {"Error", "Note"}
    click(page, "#findings input[value=warning]")
    write(page, "#findings select", "count")
    counts = [
        int(re.match(r"[\d,]+", text).group().replace(",", ""))
        for text in shown(
            page, "#findings > div:not(.again ~ div) .finding .facts > span:last-child"
        )
    ]
    assert len(counts) > 3
    assert counts == sorted(counts, reverse=True)
    write(page, "#findings select", "code")
    own = [t.strip() for t in shown(page, "#findings > div:not(.again ~ div) .facts > code")]
    assert own == sorted(own)
    write(page, "#findings select", "severity")
    assert codes(page) == everything
    assert page.complaints() == []


def test_tables_are_sorted_by_a_click(page):
    def column(number, numeric=True):
        texts = shown(page, f".classes tbody tr > :nth-child({number})")
        return [int(text.split("·")[0].replace(",", "")) for text in texts] if numeric else texts

    first = column(1, numeric=False)
    assert len(first) == 4
    click(page, ".classes thead th:nth-child(1) button")
    assert column(1, numeric=False) == sorted(first, key=str.lower)
    click(page, ".classes thead th:nth-child(1) button")
    assert column(1, numeric=False) == sorted(first, key=str.lower, reverse=True)
    for place in (2, 3):
        click(page, f".classes thead th:nth-child({place}) button")
        assert column(place) == sorted(column(place), reverse=True)
        click(page, f".classes thead th:nth-child({place}) button")
        assert column(place) == sorted(column(place))
    splits = shown(page, ".splits tbody th")
    click(page, ".splits thead th:nth-child(1) button")
    assert shown(page, ".splits tbody th") == sorted(splits)
    assert page.complaints() == []


def test_the_navigation_leads_to_every_section(page):
    leads = page.run(
        "[...document.querySelectorAll('nav a')].map((a) => a.getAttribute('href').slice(1))"
    )
    sections = page.run("[...document.querySelectorAll('section')].map((s) => s.id)")
    assert leads == sections
    assert {"split", "texts", "policy"} <= set(sections)
    assert all(shown(page, f"#{name} > h2") for name in sections)


def test_what_was_decided_can_be_read(page):
    """Split, texts and policy of a run in words; the warning of burned-in masks in pictures."""
    (certificate,) = shown(page, "#split .sheet")
    assert "exchanges of frames" in certificate
    assert "all frames were compared" in certificate
    assert len(shown(page, "#texts .wordings li")) == 10
    (policy,) = shown(page, "#policy .sheet")
    assert "standard: frames with errors are set aside" in policy
    warning = "[data-code=overlay_burned_in] .pair"
    assert shown(page, warning)
    assert len(shown(page, f"{warning} figcaption")) == 2 * len(shown(page, warning))
    proofs = shown(page, ".proof figcaption")
    assert any("used: row by row" in text for text in proofs)


def test_timelines_are_filtered_by_video_and_label(page):
    assert len(shown(page, ".timeline")) == 3
    write(page, "#timelines [type=search]", "street")
    (left,) = shown(page, ".timeline h3")
    assert left.startswith("street-")
    write(page, "#timelines [type=search]", "onerror")
    assert len(shown(page, ".timeline")) == 2


def test_a_frames_id_leads_to_the_frame(page):
    broken = page.run(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.getAttribute('href'))"
        ".filter((h) => !document.getElementById(h.slice(1)))"
    )
    assert broken == []
    write(page, "#timelines [type=search]", "street")  # hides the others
    target = page.run("document.querySelector('.finding a[href^=\"#m0-\"]').getAttribute('href')")
    assert page.run(f"document.querySelector({json.dumps(target)}).getClientRects().length") == 0
    page.run(f"location.hash = {json.dumps(target)}")
    page.run("new Promise((done) => setTimeout(done, 50))")
    assert page.run(f"document.querySelector({json.dumps(target)}).getClientRects().length") == 1


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_nothing_is_wider_than_the_screen(page, width):
    page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
        mobile=width < 500,
    )  # fmt: skip
    assert page.run("document.documentElement.scrollWidth") <= width
    page.call("Emulation.clearDeviceMetricsOverride")


def test_the_page_is_whole_without_a_script(browser, report):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report / "report.html")
    assert shown(browser, ".tools") == []
    assert shown(browser, "th button") == []
    document = json.loads((report / "validation.json").read_text())
    seen = " ".join(shown(browser, "main"))
    assert all(finding["message"] in seen for finding in document["findings"])
    assert len(shown(browser, ".timeline")) == 3
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
