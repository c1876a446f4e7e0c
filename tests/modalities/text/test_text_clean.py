"""Cleaning: each word does one thing, as the standard library would, and nothing makes it fail."""

import html
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.settings import parse
from triptych.contract.modality import Limited
from triptych.modalities.text import MODALITY
from triptych.modalities.text.clean import CONTROL, cleaned, normalizer, plain, without_control
from triptych.modalities.text.examine import examine
from triptych.modalities.text.markup import BREAKS, UNSEEN, without_markup
from triptych.modalities.text.prepare import TextPreparation, suggest
from triptych.modalities.text.settings import Cleaning, Prepare

ANYTHING = st.text(st.characters(), max_size=60)  # lone surrogates, control characters and all
WHOLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
OLD = st.characters(exclude_categories=["Cs", "Cn", "Co"], max_codepoint=0x2FFF)
# Python and the tokenizers library know different versions of Unicode; what stood in 3.2 is the same in both.
ASSIGNED = st.text(OLD.filter(lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn"), max_size=40)
EVERY = [
    Cleaning(**{name: True})
    for name in ("mend_encoding", "strip_markup", "strip_control", "replace_links", "strip_accents", "fold_spaces", "lowercase")
]
ALL = Cleaning(
    mend_encoding=True, strip_markup=True, strip_control=True, replace_links=True, unicode="nfkc", strip_accents=True, fold_spaces=True
)


def whole(text: str, words: Cleaning) -> str:
    """All of it, as the tokenizer sees it."""
    rest = normalizer(words, lowercase=words.lowercase is True)
    return rest.normalize_str(cleaned(text, words)) if rest else cleaned(text, words)


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_nothing_makes_it_fail_and_what_comes_out_can_be_written(text):
    for words in (*EVERY, ALL, Cleaning(unicode="none")):
        clean = whole(text, words)
        assert clean.encode().decode() == clean
    assert plain(text).encode().decode() == plain(text)


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
def test_twice_is_once(text):
    for words in EVERY:
        if not words.strip_markup:  # "&amp;lt;" is read once, as a browser does
            once = whole(text, words)
            assert whole(once, words) == once, words


@settings(max_examples=200, deadline=None)
@given(ASSIGNED)
def test_the_forms_of_letters_are_those_of_unicodedata(text):
    assert whole(text, Cleaning(unicode="nfc")) == unicodedata.normalize("NFC", text)
    assert whole(text, Cleaning(unicode="nfkc")) == unicodedata.normalize("NFKC", text)
    assert whole(text, Cleaning(unicode="none")) == text
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] != "M")
    assert whole(text, Cleaning(strip_accents=True)) == unicodedata.normalize("NFC", bare)


@settings(max_examples=200, deadline=None)
@given(WHOLE)
def test_spaces_fold_as_split_and_join_do_and_control_characters_go(text):
    assert whole(text, Cleaning(unicode="none", fold_spaces=True)) == " ".join(text.split())
    left = without_control(text)
    assert not CONTROL.search(left)
    kept = [c for c in text if unicodedata.category(c) != "Cc" or c in "\t\n\r"]
    assert [c for c in left if c != " "] == [c for c in kept if c != " "]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("&#x;lgtamp12<b Ü"), max_size=40) | WHOLE)
def test_entities_are_those_of_the_standard_library(text):
    text = text.replace("<", "")
    assert without_markup(text) == html.unescape(text)


class Reference(HTMLParser):
    """What the standard library's parser sees of a page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.said, self.unseen = [], ""

    def handle_starttag(self, tag, attrs):
        self.unseen = self.unseen or (tag if tag in UNSEEN else "")
        self.gap(tag)

    def handle_endtag(self, tag):
        if self.unseen == tag:
            self.unseen = ""
        self.gap(tag)

    def gap(self, tag):
        self.said.append(" " if tag in BREAKS | UNSEEN else "")

    def handle_data(self, data):
        self.said.append("" if self.unseen else data)


def pages():
    words = st.text(st.sampled_from("abc é&;\n"), max_size=8).map(html.escape)
    names = st.sampled_from(["p", "b", "div", "span", "H1", "td", "strong", "a"])
    attributes = st.sampled_from(["", " class=x", ' href="a b"', " title='it&amp;s'", "\nid=1 hidden"])
    element = lambda inner: st.builds(lambda n, a, i: f"<{n}{a}>{i}</{n}>", names, attributes, inner)  # noqa: E731
    odd = st.sampled_from(["<br>", "<br/>", "<!-- a > b -->", "<script>if (a<b) '</p>'</script>", "<style>p{}</style>", "<hr class='x'/>"])
    return st.recursive(words | odd, lambda inner: st.lists(inner | element(inner), max_size=5).map("".join), max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(pages())
def test_pages_are_read_as_the_standard_library_reads_them(page):
    reference = Reference()
    reference.feed(page)
    reference.close()
    assert " ".join(without_markup(page).split()) == " ".join("".join(reference.said).split())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<p>Hello <b>w</b>orld</p><p>second</p>", "Hello world second"),
        ("I <3 you, <John> said 2 < 3", "I <3 you, <John> said 2 < 3"),
        ("a<br/>b<img alt='x > y'>c", "a b c"),
        ("unclosed <a href='x", "unclosed <a href='x"),
        ("AT&T &copy; &#x1F600; &bogus;", "AT&T © 😀 &bogus;"),
        ("<script>never <b>closed", "never closed"),
        ("<!doctype html><!-- gone -->stays <!-- open", "stays <!-- open"),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
    ],
)
def test_markup(text, left):
    assert " ".join(without_markup(text).split()) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see https://a.b/c?d=e, or (www.x.org).", "see url, or (url)."),
        ("mail Me.a+b@c-d.co.uk!", "mail email!"),
        ("x@y, http:// and a.b are none", "x@y, http:// and a.b are none"),
    ],
)
def test_links(text, left):
    assert cleaned(text, Cleaning(replace_links=True)) == left


def test_letters_that_were_decoded_wrongly_come_back():
    words = "Größe, Café – “naïve”"
    assert cleaned(words.encode().decode("cp1252", "replace"), Cleaning(mend_encoding=True)).startswith("Größe, Café")
    assert cleaned(words, Cleaning(mend_encoding=True)) == words


LONG = ("<a ", "<", "a@", "&", "<a href='", "<!--", "<script>", "a.b@", "http://", "</p", "a")


@pytest.mark.timeout(60)  # seconds where time is linear in the text, hours where it is quadratic
@pytest.mark.parametrize("piece", LONG)
def test_no_text_takes_more_than_its_share_of_time(piece):
    words = Cleaning(strip_markup=True, strip_control=True, replace_links=True)
    text = piece * (1_000_000 // len(piece)) + "@"
    assert len(cleaned(text, words)) <= len(text)


TEXTS = ["<p>Die Größe\x07 ist <b>gut</b>  &amp; fein</p>", "CAFÉ www.x.org", "a plain one", "Ｆｕｌｌ width ﬁ"]


@pytest.mark.parametrize("name", [*Cleaning.model_fields])
@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_the_same_text_gives_the_same_ids_after_saving_and_loading(name, kind, tmp_path):
    value = "nfkc" if name == "unicode" else name != "lowercase"
    before = TextPreparation(parse(Prepare, {"tokenizer": kind, "vocabulary": 400, name: value}, "test"))
    before.fit(TEXTS)
    before.save(tmp_path)
    after = TextPreparation(Prepare())
    after.load(tmp_path)
    for text in [*TEXTS, "e\u0301", "\x00\x85 <i>x</i>", "\ud800 lost"]:
        assert after.prepare([text])[0]["ids"].tolist() == before.prepare([text])[0]["ids"].tolist()


@pytest.mark.parametrize(
    ("words", "one", "other"),
    [
        ({"strip_markup": True}, "a <b>good</b> day &amp; night", "a good day & night"),
        ({"strip_control": True}, "a \x1bgood\x07 day", "a good day"),
        ({"replace_links": True}, "see http://a.b/c", "see url"),
        ({"mend_encoding": True}, "cafÃ©", "café"),
        ({"strip_accents": True}, "café", "cafe"),
        ({"fold_spaces": True}, " a  good\n\nday ", "a good day"),
        ({"unicode": "nfkc"}, "ﬁne", "fine"),
        ({"lowercase": True}, "GOOD", "good"),
        ({}, "cafe\u0301", "café"),
    ],
)
def test_a_cleaned_text_has_the_ids_of_the_clean_one(words, one, other):
    preparation = TextPreparation(parse(Prepare, words, "test"))
    preparation.fit(["a good day & night", "see url", "café cafe fine"])
    found = [item["ids"].tolist() for item in preparation.prepare([one, other])]
    assert found[0] == found[1]


def test_the_doctor_names_the_word_that_cures_and_is_quiet_when_it_is_said():
    cures = {
        "a <b>good</b> day": ("markup", "strip_markup"),
        "a good &nbsp; day": ("markup", "strip_markup"),
        "a \x07good day": ("control", "strip_control"),
        "cafÃ© au lait": ("garbled", "mend_encoding"),
    }
    for text, (code, word) in cures.items():
        (fault,) = examine(text, Prepare()).faults
        assert fault.code == code and f"prepare.{word}: true" in fault.fix
        assert examine(text, Prepare(**{word: True})).faults == ()
    (lost,) = examine("Gr\ufffdße", Prepare(mend_encoding=True)).faults
    assert lost.code == "garbled" and "export" in lost.fix
    (empty,) = examine("<br><br>", Prepare(strip_markup=True)).faults
    assert empty.code == "nothing left"


def test_copies_are_the_same_whatever_their_markup_where_it_is_stripped():
    pair = "<p>the same words of a text</p>", "the same words of a text"
    assert len({examine(text, Prepare(strip_markup=True)).content for text in pair}) == 1
    assert len({examine(text, Prepare()).content for text in pair}) == 2


def test_cleaning_is_proposed_where_it_is_needed():
    assert suggest(["<p>a text</p>"] * 5)["prepare"]["strip_markup"] is True
    assert suggest(["a \x07text"] * 5)["prepare"]["strip_control"] is True
    assert not {"strip_markup", "strip_control"} & set(suggest(["a text"] * 50 + ["<p>b</p>"])["prepare"])


def test_plain_is_what_is_read_out():
    assert MODALITY.plain("<p>Hello,\n<b>you</b> &amp; me\x07</p>") == "Hello, you & me"
    assert isinstance(TextPreparation(Prepare()), Limited)
    assert not re.search(r"\s\s", MODALITY.plain("a \t b"))
