"""The page in a real browser: what a person does with it, and what is there after a reload."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.conftest import write_tone

from triptych.run.progress import Voice
from triptych.use.feedback import feedback_of
from triptych.use.indexing import build_catalogue
from triptych.web.service import Service

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
LONG = 60_000
"""Milliseconds until a browser gives up: machines are busy."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def page_at(tiny_run, tiny_table, tmp_path_factory):
    """The page of `tiny` with an index, on a free port; and the folder of its feedback."""
    pytest.importorskip("gradio")
    from triptych.web.app import create_app
    from triptych.web.serving import bound, server_of, url_of

    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder / "uploads"))
        found = build_catalogue(tiny_run, tiny_table, folder / "tiny.index", Voice(quiet=True))
        assert found.kept
        from triptych.use.catalogue import Catalogue

        service = Service({"tiny": tiny_run}, catalogue=Catalogue(folder / "tiny.index"), feedback_at=folder)
        server, listening = server_of(create_app(service), service.limits), bound("127.0.0.1", 0)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield url_of(listening), folder
        server.should_exit = True
        thread.join(20)
        listening.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, whose microphone hears a tone."""
    sync_api = pytest.importorskip("playwright.sync_api")
    tone = tmp_path_factory.mktemp("heard") / "tone.wav"
    write_tone(tone, "high", 3, rate=48000)
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=str(CHROMIUM), args=[*ARGS, f"--use-file-for-fake-audio-capture={tone}"])
        yield found
        found.close()


@pytest.fixture
def opened(browser, page_at):
    """The page in a new browser profile; all requests and all errors of its scripts are written down."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(LONG)
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(page_at[0])
    page.wait_for_selector("#ask-tiny")
    yield page
    context.close()


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def give(page, field: str, files, shown) -> None:
    """Upload; what is given before a control's scripts listen is lost, which no person is quick enough for."""
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(4):
        page.locator(f"{field} input[type=file]").set_input_files(files)
        with contextlib.suppress(TooLate):
            shown.wait_for(timeout=LONG / 4)
            return
    raise AssertionError(f"{field} shows no file")


def test_upload_ask_correct_and_reload(opened, page_at, tiny_run, tiny_table):
    picture = tiny_table.parent / "pictures/1.png"
    give(opened, "#input-tiny-image", picture, opened.locator("#input-tiny-image img"))
    opened.fill("#input-tiny-text textarea", "a bright sharp whistle")
    opened.click("#ask-tiny")
    opened.wait_for_selector("#answer-tiny .bars")
    said = tiny_run.predict(image=picture, text="a bright sharp whistle")["label"]
    assert opened.inner_text("#answer-tiny .said") == said["said"]
    assert f"{100 * said['confidence']:.1f} %" in opened.inner_text("#answer-tiny .bars")
    opened.wait_for_selector("table.weighed")
    assert {"image", "text"} <= set(opened.inner_text("table.weighed").split())
    opened.get_by_role("button", name="Show similar training rows").click()
    opened.wait_for_selector("#similar-tiny .card")
    assert opened.locator("#similar-tiny .card").count() == 6

    opened.fill("#rater-tiny input, #rater-tiny textarea", "ann")
    opened.click("#right-tiny-label input")
    opened.get_by_role("option", name="low").click()
    opened.click("#correct-tiny-label")
    opened.wait_for_selector("#judged-tiny .done")
    opened.click("#up-tiny")
    opened.get_by_text("it was right").wait_for()
    assert opened.inner_text("#judged-tiny").strip() == "Kept: it was right. Thank you."
    remarks = [kept for kept in feedback_of(tiny_run.folder, page_at[1] / "tiny.lance").remarks() if kept.remark.kind != "listening"]
    assert [(one.remark.correction, one.remark.rating, one.remark.rater) for one in remarks] == [("low", None, "ann"), (None, 5, "ann")]
    assert bytes(remarks[0].cells["image"]) == picture.read_bytes()

    opened.reload()
    opened.wait_for_selector("#answer-tiny .bars")
    opened.wait_for_selector("#input-tiny-image img")
    assert opened.inner_text("#answer-tiny .said") == said["said"]
    assert opened.input_value("#input-tiny-text textarea") == "a bright sharp whistle"
    assert opened.locator("#similar-tiny .card").count() == 6
    assert {urlsplit(url).hostname for url in opened.asked if url.startswith(("http", "ws"))} == {"127.0.0.1"}
    assert not opened.wrong


def test_the_microphone_is_heard_and_a_voice_finds_rows(opened):
    tab(opened, "Search")
    opened.locator("#input-search-audio").get_by_label("Record audio").or_(
        opened.locator("#input-search-audio button.record")
    ).first.click()
    opened.locator("#input-search-audio .record-button, #input-search-audio button.record").first.click()
    opened.wait_for_timeout(900)
    opened.locator("#input-search-audio .stop-button").first.click()
    opened.wait_for_selector("#input-search-audio .waveform-container, #input-search-audio [data-testid^=waveform]")
    opened.locator("#where input, #where textarea").fill("label = 'high'")
    opened.click("#search")
    opened.wait_for_selector("#found .card")
    assert all("high" in text for text in opened.locator("#found .card").all_inner_texts())
    opened.locator("#where input, #where textarea").fill("label == = 3")
    opened.click("#search")
    opened.wait_for_selector("#search-told .problem")
    told = opened.inner_text("#search-told")
    assert "Known:" in told and "label" in told and "Traceback" not in told
    opened.reload()
    opened.wait_for_selector("#found .card")  # that of the last question which was one, however much it shows


def test_voices_are_rated_blind(opened, page_at, tiny_table):
    tab(opened, "Rate")
    voices = [tiny_table.parent / f"sounds/{n}.wav" for n in (1, 2)]
    give(opened, "#voices-tiny", voices, opened.get_by_text("KB").nth(1))
    opened.wait_for_selector("#voices-tiny button[aria-label=Upload]:has(> * button:is([inert]))")  # one button, with a name of words
    for rater, scores in (("ann", (5, 3)), ("bob", (4, 1))):
        opened.fill("#voices-rater-tiny input, #voices-rater-tiny textarea", rater)
        opened.click("#voices-start-tiny")
        for number, score in enumerate(scores, start=1):
            opened.get_by_text(f"Voice {number} of 2").wait_for()
            assert "wav" not in opened.inner_text("#voice-tiny")
            opened.locator(f"#score-tiny input[value='{score}']").check()
            opened.click("#voices-next-tiny")
        opened.wait_for_selector("#voices-table-tiny table")
    told = opened.inner_text("#voices-table-tiny")
    assert "1.wav" in told and "2.wav" in told and "95 % interval" in told
    opened.locator("#said-tiny").get_by_text("4 listening").wait_for()
    opened.reload()
    opened.wait_for_selector("#said-tiny p")
    assert "4 listening" in opened.inner_text("#said-tiny")


def test_a_phone_in_the_dark_shows_the_data_and_the_report(browser, page_at):
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(LONG)
    page.goto(page_at[0])
    page.wait_for_selector("#ask-tiny")
    wide = "document.documentElement.scrollWidth"
    for name, shown in (
        ("Data", "#data-rows-tiny table"),
        ("Runs", "iframe.report"),
        ("Chat", "text=nobody to talk to"),
        ("Try", "#ask-tiny"),
    ):
        tab(page, name)
        page.wait_for_selector(shown)
        assert page.evaluate(wide) <= 390, name
    assert page.locator("#input-tiny-image").bounding_box()["width"] > 350
    assert "40 rows" in page.inner_text("#data-rows-tiny") or page.locator("#data-rows-tiny table").count()
    unnamed = """() => [...document.querySelectorAll('button, input, textarea, select')].filter((one) => one.offsetParent
      && !one.ariaLabel && !one.labels?.length && !one.textContent.trim() && !one.title
      && !one.placeholder).map((one) => one.outerHTML.slice(0, 120))"""
    page.wait_for_timeout(600)
    assert page.evaluate(unnamed) == []
    assert page.get_attribute("#input-tiny-image button[aria-dropeffect]", "aria-label").startswith("image: Drop")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    assert max(dark) < 60
    context.close()


def test_an_empty_form_says_what_to_give(opened):
    opened.click("#ask-tiny")
    opened.wait_for_selector(".problem")
    told = opened.inner_text(".problem")
    assert "no input at all" in told and "Known: image, audio, text" in told and "Try:" in told
    borders = "(one) => ['Top', 'Left'].map((side) => getComputedStyle(one)[`border${side}Width`])"
    assert opened.locator(".problem").evaluate(borders) == ["1px", "5px"]


def test_the_pages_of_the_api_ask_no_other_host(opened, page_at):
    """Redoc's own logo is asked for by its script, and stopped by the browser as the page says."""
    stopped = []
    opened.on("requestfailed", lambda request: stopped.append((request.url, request.failure)))
    for path, shown in (("docs", ".opblock"), ("redoc", "h1")):
        opened.goto(f"{page_at[0].rstrip('/')}/{path}")
        opened.locator(shown).first.wait_for()
    opened.wait_for_load_state("networkidle")
    refused = {url for url, why in stopped if why == "csp"}
    assert {urlsplit(url).hostname for url in opened.asked if url.startswith(("http", "ws")) and url not in refused} == {"127.0.0.1"}
    assert {urlsplit(url).hostname for url in refused} <= {"cdn.redoc.ly"}
