"""Tokenizers trained on the data: exact, saved, and the same every time."""

import os
import subprocess
import sys
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.modality import ToyRow
from triptych.modalities.text import MODALITY
from triptych.modalities.text.prepare import TextPreparation, suggest
from triptych.modalities.text.settings import Input, Prepare
from triptych.modalities.text.tokenizer import SPECIALS, START_ID, UNKNOWN_ID
from triptych.modalities.text.toy import DIGITS

CAPTIONS = [cell.content for cell in MODALITY.toy("digits", [ToyRow(d, "train") for d in DIGITS for _ in range(8)], seed=1)]


def fitted(**said) -> TextPreparation:
    preparation = TextPreparation(parse(Prepare, said, "test"))
    preparation.fit(CAPTIONS)
    return preparation


@pytest.fixture(scope="module")
def bpe() -> TextPreparation:
    return fitted()


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_bpe_loses_nothing_of_any_text(bpe, value):
    ids = bpe.prepare([value])[0]["ids"]
    kept = bpe._fitted().tokenizer.decode(ids[1:].tolist(), skip_special_tokens=False)
    same = unicodedata.normalize("NFC", value)
    assert kept.removeprefix(" ") == "".join(map(str.lower, same)).removeprefix(" ")
    assert UNKNOWN_ID not in ids


def test_word_tokenizer_marks_what_it_has_not_seen():
    item = fitted(tokenizer="word").prepare(["the digit xylophone"])[0]
    assert [int(n == UNKNOWN_ID) for n in item["ids"]] == [0, 0, 0, 1]


def test_a_list_prepares_as_its_values_do_alone(bpe):
    for value, item in zip(CAPTIONS, bpe.prepare(CAPTIONS), strict=True):
        assert torch.equal(item["ids"], bpe.prepare([value])[0]["ids"])
        assert item["ids"].dtype == torch.int64 and item["ids"][0] == START_ID


@pytest.mark.parametrize("tokenizer", ["bpe", "word"])
def test_a_text_without_tokens_still_gives_one(tokenizer):
    preparation = fitted(tokenizer=tokenizer)
    packed = preparation.collate(preparation.prepare(["", "the digit 3"]))
    assert packed.mask_PT.sum(1).tolist()[0] >= 1


def test_special_words_in_a_text_are_ordinary_words(bpe):
    ids = bpe.prepare(["a [PAD] and a [CLS]"])[0]["ids"][1:]
    assert not set(ids.tolist()) & set(range(len(SPECIALS)))


def test_collate_pads_to_the_longest_only(bpe):
    items = bpe.prepare(["3", "the number 3 on a white card"])
    packed = bpe.collate(items)
    ids_PT = packed.tensors["ids"]
    assert ids_PT.shape[1] == max(len(item["ids"]) for item in items)
    assert [row[mask].tolist() for row, mask in zip(ids_PT, packed.mask_PT, strict=True)] == [item["ids"].tolist() for item in items]
    assert not ids_PT[~packed.mask_PT].any()


def test_long_texts_are_cut_at_max_tokens_and_say_so():
    preparation = fitted(max_tokens=6)
    item = preparation.prepare([" ".join(["seven"] * 50)])[0]
    assert len(item["ids"]) == 6 and item["ids"][0] == START_ID and item["total"] == 51


def test_every_field_changes_the_ids():
    text = "The NUMBER 3 on a white card, and on and on"
    default = fitted().prepare([text])[0]["ids"].tolist()
    others = [{"tokenizer": "word"}, {"vocabulary": 280}, {"lowercase": False}, {"max_tokens": 5}]
    for said in others:
        assert fitted(**said).prepare([text])[0]["ids"].tolist() != default, said


def test_the_vocabulary_is_no_larger_than_asked_nor_than_needed():
    assert fitted(vocabulary=300).facts() == {"vocabulary": 300}
    assert fitted(vocabulary=100_000).facts()["vocabulary"] < 600
    words = fitted(tokenizer="word")
    assert words.facts()["vocabulary"] <= len({w for c in CAPTIONS for w in c.replace(",", " , ").split()}) + len(SPECIALS)
    assert fitted(tokenizer="word", vocabulary=20).facts() == {"vocabulary": 20}


def test_ten_short_captions_are_enough():
    preparation = TextPreparation(Prepare())
    preparation.fit(f"a photo of {digit}" for digit in DIGITS)
    assert len({tuple(item["ids"].tolist()) for item in preparation.prepare([f"a photo of {d}" for d in DIGITS])}) == 10


def test_no_training_text_is_an_error():
    with pytest.raises(InputError, match="no training texts"):
        TextPreparation(Prepare()).fit([])
    with pytest.raises(InputError, match="no tokenizer yet"):
        TextPreparation(Prepare()).prepare(["x"])


SCRIPT = """
import random, sys
from pathlib import Path
from triptych.modalities.text.prepare import TextPreparation
from triptych.modalities.text.settings import Prepare
rng = random.Random(0)
texts = [" ".join("".join(rng.choices("abcdefgh", k=rng.randint(1, 5))) for _ in range(9)) for _ in range(3000)]
for kind in ("bpe", "word"):
    preparation = TextPreparation(Prepare(tokenizer=kind, vocabulary=700))
    preparation.fit(texts)
    preparation.save(Path(sys.argv[1]) / kind)
"""


@pytest.mark.slow
def test_the_same_texts_give_the_same_file_in_any_process_with_any_number_of_threads(tmp_path):
    for name, threads, seed in (("one", "1", "1"), ("many", "4", "2")):
        more = {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / name)], check=True, env=os.environ | more)
    for kind in ("bpe", "word"):
        assert (tmp_path / "one" / kind / "tokenizer.json").read_bytes() == (tmp_path / "many" / kind / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("tokenizer", ["bpe", "word"])
def test_saved_and_loaded_prepares_the_same(tmp_path, tokenizer):
    before = fitted(tokenizer=tokenizer, max_tokens=9, lowercase=False)
    before.save(tmp_path)
    after = TextPreparation(Prepare())
    after.load(tmp_path)
    texts = [*CAPTIONS, "[PAD] Ünseen 文字", "x" * 300]
    assert after.settings == before.settings and after.facts() == before.facts()
    for old, new in zip(before.prepare(texts), after.prepare(texts), strict=True):
        assert torch.equal(old["ids"], new["ids"])


def test_the_saved_file_opens_in_the_tokenizers_library(tmp_path, bpe):
    bpe.save(tmp_path)
    other = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert other.encode(CAPTIONS[0]).ids == bpe.prepare([CAPTIONS[0]])[0]["ids"].tolist()[1:]


@pytest.mark.parametrize("name", ["tokenizer.json", "prepare.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff\xff", b'{"tokenizer": "bp', b'{"version":"1.0","model":3}'])
def test_a_damaged_or_missing_file_is_an_input_error(tmp_path, bpe, name, content):
    bpe.save(tmp_path)
    if (name, content) == ("prepare.json", b"{}"):
        pytest.skip("all defaults: a valid file")
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        TextPreparation(Prepare()).load(tmp_path)


def test_a_tokenizer_of_somebody_else_is_refused(tmp_path, bpe):
    bpe.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("[CLS]", "[BOS]"))
    with pytest.raises(InputError, match="special tokens"):
        TextPreparation(Prepare()).load(tmp_path)


def test_pieces_are_readable(bpe):
    pieces = bpe.pieces(bpe.prepare(["the digit é"])[0]["ids"])
    assert pieces[0] == "[CLS]" and " the" in pieces and pieces[-2:] == ["0xC3", "0xA9"]


def test_suggest_covers_nearly_all_texts():
    texts = ["five small words are here"] * 995 + ["long " * 400] * 5
    assert suggest(texts)["prepare"] == {"max_tokens": 16, "vocabulary": 512}
    assert suggest([]) == {}
    Input(prepare=suggest(texts)["prepare"])
    many = [f"word{n} " * 30 for n in range(5000)]
    assert suggest(many)["prepare"] == {"max_tokens": 64, "vocabulary": 8000}
    assert suggest(["汉" * 300])["prepare"]["max_tokens"] >= 180


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"prepare": {"vocabulary": 200}}, "bpe vocabulary holds 259"),
        ({"prepare": {"max_tokens": 1}}, "greater than or equal to 2"),
        ({"prepare": {"tokeniser": "bpe"}}, "tokenizer"),
        ({"encoder": {"kind": "transformer", "width": 100, "heads": 3}}, "heads must divide width"),
        ({"encoder": {"kind": "transformer", "width": 9, "heads": 3}}, "even"),
        ({"encoder": {"kind": "gru", "width": 9}}, "even"),
        ({"encoder": "transformr"}, "transformer"),
    ],
)
def test_impossible_settings_are_refused_in_words(said, says):
    with pytest.raises(InputError, match=says):
        parse(Input, said, "recipe")


def test_a_word_names_an_encoder():
    for kind in ("transformer", "lstm", "gru"):
        assert parse(Input, {"encoder": kind}, "recipe").encoder.kind == kind
