"""Tokenizers from files: trained by the verb, made elsewhere, wrong; and the verb itself."""

import json
import tracemalloc

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import triptych
from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.modalities.text import MODALITY
from triptych.modalities.text.learn import TokenizerTool
from triptych.modalities.text.prepare import TextPreparation
from triptych.modalities.text.settings import Corpus, Input, Prepare
from triptych.modalities.text.tokenizer import START_ID, UNKNOWN_ID, read_file

TEXTS = ["The cat sat on the mat", "a Dog and a cat", "Dogs & cats, cats & dogs", "nothing like the other Texts"] * 3


@pytest.fixture
def made(tmp_path):
    TokenizerTool().learn(iter(TEXTS), Corpus(vocabulary=300), tmp_path / "tokenizer.json")
    return tmp_path / "tokenizer.json"


def foreign(path, kind="wordpiece"):
    """A tokenizer of somebody else: other special tokens, its own padding and cutting."""
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
        trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=["<pad>", "<unk>"], show_progress=False)
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(path))
    return Tokenizer.from_str(tokenizer.to_str())


def opened(path, **said):
    preparation = TextPreparation(parse(Prepare, {"tokenizer": str(path), **said}, "test"))
    preparation.fit([])
    return preparation


def test_the_file_opens_in_the_tokenizers_library_and_gives_a_recipe_the_same_ids(made):
    theirs, ours = Tokenizer.from_file(str(made)), opened(made)
    for text in ["The CAT sat", "unseen wörds 文字", ""]:
        assert ours.prepare([text])[0]["ids"].tolist() == [START_ID, *theirs.encode(text).ids]


def test_a_file_trained_with_the_same_words_is_what_training_makes(made):
    trained = TextPreparation(Prepare(vocabulary=300))
    trained.fit(TEXTS)
    assert trained._fitted().text() == made.read_text()


def test_from_python_it_is_the_same_file(made, tmp_path):
    lines = [json.dumps({"text": text}) for text in TEXTS] + ["{}"]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    told = triptych.tokenizer(tmp_path / "texts.jsonl", "text", out=tmp_path / "mine.json", vocabulary=300, quiet=True)
    assert (tmp_path / "mine.json").read_text() == made.read_text()
    assert (told["texts"], told["rows"], told["empty"], told["refused"]) == (12, 13, 1, 0) and told["out"].endswith("mine.json")
    with pytest.raises(InputError, match="vocabluary"):
        triptych.tokenizer(tmp_path / "texts.jsonl", "text", out=tmp_path / "mine.json", vocabluary=300)
    with pytest.raises(InputError, match="no row has a column 'txt'"):
        triptych.tokenizer(tmp_path / "texts.jsonl", "txt", out=tmp_path / "mine.json", quiet=True)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe"])
def test_a_tokenizer_made_elsewhere_keeps_its_tokens(tmp_path, kind):
    theirs = foreign(tmp_path / "theirs.json", kind)
    theirs.no_padding()
    theirs.no_truncation()
    ours = opened(tmp_path / "theirs.json")
    unknown = theirs.token_to_id("<unk>")
    for text in ["the cat sat on the other mat", "a DOG § 文"]:
        want = [UNKNOWN_ID if n == unknown else n + 3 for n in theirs.encode(text, add_special_tokens=False).ids]
        assert ours.prepare([text])[0]["ids"].tolist() == [START_ID, *want]
    assert ours.facts()["vocabulary"] == theirs.get_vocab_size() + 3
    item = ours.prepare(["the cat"])[0]
    assert ours.pieces(item["ids"])[0] == "[CLS]" and "cat" in "".join(ours.pieces(item["ids"]))
    assert "cat" in MODALITY.seen(item, ours)
    ours.save(tmp_path / "run")
    (tmp_path / "theirs.json").unlink()
    again = TextPreparation(Prepare())
    again.load(tmp_path / "run")
    assert again.prepare(["a DOG § 文"])[0]["ids"].tolist() == ours.prepare(["a DOG § 文"])[0]["ids"].tolist()


def test_a_file_says_itself_whether_capitals_count(tmp_path):
    theirs = foreign(tmp_path / "theirs.json", "bpe")
    theirs.no_padding()
    theirs.no_truncation()
    kept = opened(tmp_path / "theirs.json").prepare(["The Dog"])[0]["ids"].tolist()
    small = opened(tmp_path / "theirs.json", lowercase=True).prepare(["The Dog"])[0]["ids"].tolist()
    assert kept == [START_ID, *(n + 3 for n in theirs.encode("The Dog").ids)] != small


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": "1.0", "model": 3}', "\udcff", None])
def test_a_wrong_file_is_answered_clearly(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"no tokenizer\.json|cannot be read"):
        read_file(path)


def test_an_empty_vocabulary_is_refused(tmp_path):
    Tokenizer(models.BPE()).save(str(tmp_path / "t.json"))
    with pytest.raises(InputError, match="vocabulary is empty"):
        read_file(tmp_path / "t.json")


def test_a_path_counts_from_the_recipe_and_must_be_there(made, tmp_path):
    said = parse(Input, {"prepare": {"tokenizer": "tokenizer.json"}}, "recipe")
    placed = said.placed(lambda path: str(tmp_path / path))
    assert placed.prepare.tokenizer == str(made)
    with pytest.raises(InputError, match="there is no tokenizer") as caught:
        said.placed(lambda path: str(tmp_path / "elsewhere" / path))
    assert "triptych data tokenizer" in str(caught.value)
    assert parse(Input, {}, "recipe").placed(lambda path: "/x").prepare.tokenizer == "bpe"


def test_a_misspelt_kind_is_answered():
    with pytest.raises(InputError, match="unknown tokenizer 'bpee'") as caught:
        parse(Prepare, {"tokenizer": "bpee"}, "recipe")
    assert "'bpe'" in caught.value.fix
    with pytest.raises(InputError, match="bpe vocabulary holds 259"):
        parse(Corpus, {"vocabulary": 100}, "the command line")


def test_the_recipe_that_is_told_repeats_what_the_file_cannot_hold(tmp_path):
    told = TokenizerTool().learn(TEXTS, Corpus(vocabulary=300, strip_markup=True, fold_spaces=True), tmp_path / "t.json")
    assert f"tokenizer: {tmp_path / 't.json'}" in told["recipe"] and "strip_markup: true" in told["recipe"]
    assert "fold_spaces" not in told["recipe"] and "Replace" in (tmp_path / "t.json").read_text()
    assert told["texts"] == len(TEXTS) and json.loads((tmp_path / "t.json").read_text())["model"]["type"] == "BPE"


def test_a_corpus_is_read_as_it_comes(tmp_path):
    """6 MB of texts pass by; hardly any of it is held on Python's side."""
    texts = (f"{' '.join(f'word{(n * k) % 500}' for k in range(200))}" for n in range(4_000))
    tracemalloc.start()
    TokenizerTool().learn(texts, Corpus(vocabulary=400), tmp_path / "t.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000
