"""Fragments for reports: escaped, small, whole."""

import subprocess
import sys
from html.parser import HTMLParser

import pytest

from triptych.modalities.text import MODALITY
from triptych.modalities.text.prepare import TextPreparation
from triptych.modalities.text.settings import Prepare


class Read(HTMLParser):
    """Collects the tags, the text, and whether every tag was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.open, self.said, self.attributes = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data


EVIL = """<script>alert(1)</script> "quotes" & 'more' <img src=x onerror=alert(1)>"""


def preparation(**said) -> TextPreparation:
    made = TextPreparation(Prepare(**said))
    made.fit([EVIL, "a plain seven", "a plain eight"] * 3)
    return made


@pytest.mark.parametrize("tokenizer", ["bpe", "word"])
def test_what_users_wrote_is_escaped(tokenizer):
    prepared = preparation(tokenizer=tokenizer)
    for html in (MODALITY.show(EVIL), MODALITY.seen(prepared.prepare([EVIL])[0], prepared)):
        read = Read(html)
        assert not read.open and "script" not in read.tags and "img" not in read.tags and "onerror" not in read.attributes
        assert read.tags[0] == "figure" and "http" not in html
    assert EVIL in Read(MODALITY.show(EVIL)).said


def test_a_long_text_is_cut_and_says_how_long_it_is():
    html = MODALITY.show("word " * 1000)
    assert "…" in html and "5,000 characters" in html and len(html) < 2000
    assert "…" not in MODALITY.show("short")
    assert len(MODALITY.show("&" * 100_000)) < 10_000


def test_seen_shows_tokens_ids_unknowns_and_the_cut():
    prepared = preparation(tokenizer="word", max_tokens=5)
    item = prepared.prepare(["a plain xylophone seven a plain seven"])[0]
    read = Read(MODALITY.seen(item, prepared))
    assert "xylophone" not in read.said and "[UNK]" in read.said and "1 unknown" in read.said
    assert "the last 3 of 8 are never seen" in read.said
    assert all(str(number) in read.said for number in item["ids"].tolist())


def test_seen_of_a_very_long_text_is_small():
    prepared = preparation(max_tokens=5000)
    assert len(MODALITY.seen(prepared.prepare(["a plain seven " * 2000])[0], prepared)) < 40_000


def test_the_room_opens_without_heavy_imports():
    code = "import sys, triptych.modalities.text as room; room.MODALITY.Input(); print({'torch', 'numpy', 'tokenizers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "set()"
