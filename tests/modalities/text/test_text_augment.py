"""Variants of texts: words change, numbers and the names of classes do not."""

from __future__ import annotations

import re
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.modalities.text.augment import augmenter
from triptych.modalities.text.paraphrase import LEFT, TAKEN, Paraphraser
from triptych.modalities.text.settings import Input, Paraphrase
from triptych.modalities.text.synonyms import read_synonyms


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def varied(text: str, step: str, seed: int = 0, words: frozenset[str] = frozenset(), **strength) -> str:
    return augmenter(Input(augment=[{step: {"chance": 1, **strength}}]), words).values([text], [rng(seed)])[0]


TEXT = "The large dog, not a small one, walked quickly to 12 houses on May 3."


def test_synonyms_take_the_place_of_words_with_their_signs_and_capitals():
    made = {varied("Big dogs, BIG houses!", "synonym", seed, share=1) for seed in range(20)}
    assert made == {"Large dogs, LARGE homes!"}
    known = read_synonyms(None)
    assert len(known) > 400
    assert all(word == word.lower() and word not in others for word, others in known.items())


def test_a_share_of_the_words_is_replaced():
    text = " ".join(["quick"] * 100)
    for share in (0.1, 0.5):
        assert varied(text, "synonym", share=share).split().count("quick") == round(100 * (1 - share))


@pytest.mark.parametrize("step", ["synonym", "swap", "drop"])
def test_numbers_classes_and_words_that_say_not_stay(step):
    words = frozenset({"large", "quickly"})
    for seed in range(30):
        made = varied(TEXT, step, seed, words, share=0.9)
        assert re.findall(r"\d+", made) == ["12", "3"]
        assert "large" in made and "quickly" in made and "not" in made
    assert any(varied(TEXT, step, seed, share=0.9) != TEXT for seed in range(5))


def test_swapped_words_are_the_same_words():
    made = varied(TEXT.replace(",", ""), "swap", share=0.5)
    assert Counter(made.split()) == Counter(TEXT.replace(",", "").split()) and made != TEXT


def test_dropped_words_are_a_share_and_the_rest_keeps_its_order():
    words = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(400)]
    left = varied(" ".join(words), "drop", share=0.25).split()
    assert len(left) / 400 == pytest.approx(0.75, abs=0.07)
    assert left == [word for word in words if word in set(left)]


@settings(max_examples=80)
@given(st.text(min_size=1).map(str.strip).filter(bool), st.integers(0, 10**6))
def test_any_text_stays_a_text_and_a_seed_decides(text, seed):
    steps = [{"drop": {"share": 0.99}}, {"swap": {"share": 1}}, {"synonym": {"share": 1}}]
    made, again = (augmenter(Input(augment=steps), frozenset()).values([text], [rng(seed)])[0] for _ in range(2))
    assert made == again and made.strip() == made and made
    assert any(map(str.isalnum, made)) == any(map(str.isalnum, text))


THESAURUS = (
    "ISO8859-1\ncaf\xe9|2\n(noun)|bar|bistro (similar term)|eating place (generic term)\n(noun)|coffee\nhot|1\n(adj)|cold (antonym)|warm\n"
)


def test_a_thesaurus_of_libreoffice_is_read(tmp_path):
    path = tmp_path / "th.dat"
    path.write_bytes(THESAURUS.encode("latin-1"))
    assert read_synonyms(str(path)) == {"café": ("bar", "bistro", "coffee"), "hot": ("warm",)}
    assert varied("Hot!", "synonym", file=str(path)) == "Warm!"


def test_a_list_of_ones_own_is_read_and_a_wrong_one_refused(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("# ours\nzug, bahn\n", encoding="utf-8")
    assert varied("Der Zug", "synonym", file=str(path)) == "Der Bahn"
    (tmp_path / "none.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match="no synonyms"):
        read_synonyms(str(tmp_path / "none.txt"))
    with pytest.raises(InputError, match="no list of synonyms"):
        Input(augment=[{"synonym": {"file": "gone.txt"}}]).placed(lambda path: str(tmp_path / path))
    placed = Input(augment=[{"synonym": {"file": "own.txt"}}]).placed(lambda path: str(tmp_path / path))
    assert placed.augment[0].file == str(path)


@pytest.fixture(scope="module")
def writer(tmp_path_factory, text_model):
    return text_model(tmp_path_factory.mktemp("t5"), ["paraphrase:", *TEXT.split(), "a", "b"])


def test_paraphrases_come_from_the_model_and_leave_training_its_random_numbers(writer):
    step = Paraphrase(model=str(writer), candidates=3, temperature=2.0)
    one, two = (Paraphraser(step, frozenset(), Counter()) for _ in range(2))
    state = torch.get_rng_state()
    first = one.drawn(TEXT, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == two.drawn(TEXT, 5) and len(first) == 3 and len(set(first)) > 1
    assert one.drawn(TEXT, 6) != first
    assert set(" ".join(first).split()) <= set(one.tokenizer.get_vocab())


def answering(*candidates: str, words: frozenset[str] = frozenset()) -> Paraphraser:
    """A paraphraser whose model would draw these."""
    made = object.__new__(Paraphraser)
    made.step, made.counts, made._lock = Paraphrase(model="a/b"), Counter(), threading.Lock()
    made.names = [(name, re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)) for name in words]
    made.drawn = lambda text, seed: list(candidates)
    return made


@pytest.mark.parametrize(
    ("other", "stands"),
    [
        ("I paid 3.50 for a sad song", True),
        ("For a sad song I gave 3.50", True),
        ("I paid 3.5 for a sad song", False),
        ("I paid 3.50 for a song", False),
        ("I paid 3.50 for a happy, sad song", False),
        ("i PAID 3.50  on a Sad song", False),
        ("3.50 sad", False),
        ("", False),
    ],
)
def test_a_paraphrase_keeps_numbers_and_names_of_classes_or_is_not_taken(other, stands):
    text = "I paid 3.50 on a sad song"
    made = answering(other, words=frozenset({"sad", "happy"}))
    assert made(text, made.step, rng()) == (other if stands else text)
    assert made.counts == {TAKEN if stands else LEFT: 1}


def test_what_is_no_text_to_text_model_is_refused(tmp_path, writer):
    from transformers import BertConfig

    BertConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="does not write texts"):
        Paraphraser(Paraphrase(model=str(tmp_path)), frozenset(), Counter())
    with pytest.raises(InputError, match="no folder"):
        Input(augment=[{"paraphrase": {"model": "./gone"}}]).placed(lambda path: str(tmp_path / path))
    with pytest.raises(ValueError, match="no place for the text"):
        Paraphrase(model="a/b", prompt="say it again")
