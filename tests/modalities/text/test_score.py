"""Scores of texts: each equals the program that people compare with, and no text, row or script makes it stumble."""

import math
import subprocess
import sys

import jiwer
import nltk
import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer
from torchmetrics.functional.text import squad

from triptych.base.errors import InputError
from triptych.modalities.text.doubts import doubts
from triptych.modalities.text.meteor import _wordnet
from triptych.modalities.text.score import SCORES, per_row, perplexity, perplexity_of, scores, statistics
from triptych.modalities.text.words import caption_words, treebank_words
from triptych.objective.intervals import Statistics, interval

EXPECTED = [
    ["A man riding a wave on top of a surfboard.", "A surfer rides a large wave in the ocean.", "A man on a surfboard in the water."],
    ["Two dogs don't play with the ball, they sleep.", "A pair of dogs sleeping next to a ball."],
    ["A woman's red hat is on the chair.", "A hat lies on a chair.", "There is a chair. A red hat is on it."],
    ["A bus (red) parked near a stop sign.", "A red bus is parked at the stop."],
    ["A black-and-white cat sits on a T.V. set.", "A cat on top of a television."],
]
SAID = ["A man rides a wave on a surfboard.", "Two dogs sleep with a ball.", "A red hat on the chair.", "", "A cat sits on a cat on a cat."]
CIDER = [2.4759029726079462, 1.4683383274281314, 2.374455863694276, 0.0, 2.0110089952677788]
"""What pycocoevalcap 1.2 gives for these rows, with its PTBTokenizer (Stanford's, in Java) before."""
FREE = [name for name in SCORES if name != "meteor"]  # need no data beside the packages
MEANS = ["exact", "f1", "rouge_1", "rouge_2", "rouge_l", "cider"]

word = st.sampled_from(["a", "the", "dog", "Dogs", "runs", "café", "Ärger", "你好", "मैं", "don't", "U.S.", "3,000", ".", "(x)", "\n", "🙂"])
text = st.lists(word, max_size=8).map(" ".join) | st.text(max_size=8)
row = st.tuples(text, st.lists(text, min_size=1, max_size=3))


def split(rows):
    return [said for said, _ in rows], [expected for _, expected in rows]


def streams(expected):
    """Expected texts as sacrebleu wants them: one list for each place, None where a row has fewer."""
    return [[texts[k] if k < len(texts) else None for texts in expected] for k in range(max(map(len, expected)))]


def same(value, reference):
    return value == pytest.approx(reference, abs=1e-9)


@given(st.lists(row, min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_bleu_and_chrf_are_those_of_sacrebleu(rows):
    said, expected = split(rows)
    found = scores(["bleu", "chrf"], said, expected)
    assert same(found["bleu"], sacrebleu.corpus_bleu(said, streams(expected), force=True).score)
    assert same(found["chrf"], sacrebleu.corpus_chrf(said, streams(expected)).score)


@given(st.lists(row, min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_rouge_is_that_of_rouge_score(rows):
    said, expected = split(rows)
    for name, kind in {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}.items():
        scorer = RougeScorer([kind])
        assert per_row(name, said, expected) == [scorer.score_multi(texts, one)[kind].fmeasure for one, texts in rows]


@given(st.lists(st.tuples(text, text), min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_error_rates_are_those_of_jiwer(rows):
    said, expected = [a for a, _ in rows], [b for _, b in rows]
    found = scores(["wer", "cer"], said, [[one] for one in expected])
    assert same(found["wer"], jiwer.wer([" ".join(one.split()) for one in expected], [" ".join(one.split()) for one in said]))
    assert same(found["cer"], jiwer.cer(expected, said))


@given(st.lists(row, min_size=1, max_size=4))
@settings(deadline=None, max_examples=20)
def test_answers_are_judged_as_in_squad(rows):
    said, expected = split(rows)
    given_ = [{"prediction_text": one, "id": str(number)} for number, one in enumerate(said)]
    truth = [{"answers": {"answer_start": [0] * len(texts), "text": texts}, "id": str(i)} for i, texts in enumerate(expected)]
    reference, found = squad(given_, truth), scores(["exact", "f1"], said, expected)
    assert found["exact"] * 100 == pytest.approx(float(reference["exact_match"]), abs=1e-4)
    assert found["f1"] * 100 == pytest.approx(float(reference["f1"]), abs=1e-4)


def test_squad_by_hand():
    assert per_row("exact", ["The Cat!", "cat"], [["a cat", "dog"], ["dog"]]) == [1, 0]
    assert per_row("f1", ["the red cat", "", ""], [["cat"], ["cat"], ["the"]]) == [2 / 3, 0, 1]


def test_cider_is_that_of_the_coco_evaluation():
    assert per_row("cider", SAID, EXPECTED) == pytest.approx(CIDER, abs=1e-9)
    assert scores(["cider"], SAID, EXPECTED)["cider"] == pytest.approx(1.6659412317996263, abs=1e-9)


def test_cider_by_hand():
    # two rows, one word each: tf-idf log 2, cosine 1 in one order of four, ten times that
    assert per_row("cider", ["dog", "cat"], [["dog"], ["cat"]]) == pytest.approx([2.5, 2.5])
    assert per_row("cider", ["dog", "dog"], [["dog"], ["cat"]]) == pytest.approx([2.5, 0])
    # a length of four pairs more: exp(-16 / 72) of what the cosines give
    long, short = per_row("cider", ["red dog x y z w"], [["red dog"]])[0], per_row("cider", ["red dog"], [["red dog"]])[0]
    assert long == short == 0, "one row alone: no word is rarer than another"
    (found, _) = per_row("cider", ["p q r s t", "b"], [["p"], ["b"]])
    assert found == pytest.approx(10 * (1 / math.sqrt(5)) / 4 * math.exp(-16 / 72))


def test_words_are_the_treebanks():
    assert treebank_words("Don't go. It's (very) late.", "") == ["Do", "n't", "go", ".", "It", "'s", "(", "very", ")", "late", "."]
    # as Stanford's tokenizer writes these with -lowerCase, less the punctuation that the COCO evaluation leaves out
    for text, words in {
        "A black-and-white cat sits on a T.V. set.": "a black-and-white cat sits on a t.v. set",
        "A bus (red) near Main St. in town; 1/2 off!": "a bus -lrb- red -rrb- near main st. in town 1/2 off",
        "He's at the U.S. Open at 5:30 p.m. on court.": "he 's at the u.s. open at 5:30 p.m. on court",
    }.items():
        assert " ".join(caption_words(text, "")) == words


def write_wordnet(folder):
    """A WordNet of two groups of nouns, in the files of the real one."""
    folder.mkdir(parents=True)
    for kind in ("adj", "adv", "noun", "verb"):
        for name in (f"data.{kind}", f"index.{kind}", f"{kind}.exc"):
            (folder / name).write_text("")
    for name in ("cntlist.rev", "index.sense"):
        (folder / name).write_text("")
    (folder / "lexnames").write_text("".join(f"{number:02d}\tname.{number}\t1\n" for number in range(45)))
    data, index = "", []
    for words in (["car", "automobile"], ["ship", "boat"]):
        offset = len(data)
        data += f"{offset:08d} 06 n {len(words):02x} {' '.join(f'{one} 0' for one in words)} 000 | made for a test  \n"
        index += [f"{one} n 1 0 1 0 {offset:08d}  \n" for one in words]
    (folder / "data.noun").write_text(data)
    (folder / "index.noun").write_text("".join(sorted(index)))


@pytest.fixture
def wordnet(tmp_path, monkeypatch):
    """nltk with that WordNet, and afterwards without."""
    write_wordnet(tmp_path / "corpora" / "wordnet")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    _wordnet.cache_clear()
    nltk.corpus.wordnet._unload()
    yield
    nltk.corpus.wordnet._unload()
    _wordnet.cache_clear()


def test_meteor_is_that_of_nltk(wordnet):
    found = per_row("meteor", SAID, EXPECTED)
    words = [[treebank_words(one, "") for one in texts] for texts in EXPECTED]
    assert found == [meteor_score(texts, treebank_words(one, "")) for one, texts in zip(SAID, words, strict=True)]
    assert scores(["meteor"], SAID, EXPECTED)["meteor"] == pytest.approx(sum(found) / 5)
    # 2 of 2 words in one piece: 1 - 0.5 / 2^3; a synonym and a stem count as the word itself
    assert per_row("meteor", ["red ship", "red car", "red cars", "red car", ""], [["red boat"], ["red boat"], ["red car"], [""], [""]]) == (
        pytest.approx([0.9375, 0.25, 0.9375, 0, 0])
    )


def test_meteor_without_synonyms_is_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    _wordnet.cache_clear()
    nltk.corpus.wordnet._unload()
    with pytest.raises(InputError, match=r"synonyms of WordNet, which are not here(.|\n)*nltk.downloader wordnet"):
        scores(["meteor"], ["a"], [["a"]])
    write_wordnet(tmp_path / "corpora" / "wordnet")
    (tmp_path / "corpora" / "wordnet" / "verb.exc").unlink()
    with pytest.raises(InputError, match=r"not whole: (.|\n)*verb.exc"):
        scores(["meteor"], ["a"], [["a"]])
    nltk.corpus.wordnet._unload()


@given(st.lists(row, max_size=4), st.sampled_from(FREE))
@settings(deadline=None, max_examples=40)
def test_any_texts_give_a_figure_that_its_rows_add_up_to(rows, name):
    said, expected = split(rows)
    value = scores([name], said, expected)[name]
    if not rows:
        assert math.isnan(value)
        return
    most = {"bleu": 100, "chrf": 100, "cider": 10, "wer": math.inf, "cer": math.inf}.get(name, 1)
    assert 0 <= value <= most + 1e-9
    each = per_row(name, said, expected)
    assert (each is None) == (name not in MEANS) and (each is None or same(value, sum(each) / len(rows)))
    assert same(Statistics(*statistics(name, said, expected)).value, value)


@pytest.mark.parametrize("name", FREE)
def test_what_is_expected_scores_best(name):
    said = [texts[-1] for texts in EXPECTED]
    value = scores([name], said, [[one] for one in said])[name]
    assert value == pytest.approx({"bleu": 100, "chrf": 100, "cider": 10, "wer": 0, "cer": 0}.get(name, 1))


@pytest.mark.parametrize("name", ["bleu", "chrf", "wer", "cer"])
def test_sums_of_resampled_rows_score_as_the_rows_themselves(name):
    rows_NK, score = statistics(name, SAID, EXPECTED)
    weights = torch.tensor([[2, 0, 1, 1, 1], [0, 0, 0, 3, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)
    found = score(weights @ rows_NK)
    for drawn, value in zip(weights.long().tolist(), found.tolist(), strict=True):
        again = [number for number, times in enumerate(drawn) for _ in range(times)]
        assert same(value, scores([name], [SAID[i] for i in again], [EXPECTED[i] for i in again])[name])
    spread = interval(Statistics(rows_NK, score))
    assert spread.low < spread.value < spread.high


def test_of_several_expected_texts_the_nearest_counts():
    assert scores(["wer", "cer"], ["a b c"], [["x y z w", "a b d"]]) == {"wer": pytest.approx(1 / 3), "cer": pytest.approx(1 / 5)}
    assert scores(["wer"], ["a b", ""], [["a b"], [""]]) == {"wer": 0}
    assert scores(["wer"], ["a b"], [[""]]) == {"wer": 2}, "as jiwer gives it: there is no length to divide by"


def test_wrong_input_is_said():
    with pytest.raises(InputError, match=r"unknown score 'blue'(.|\n)*'bleu'"):
        scores(["blue"], [], [])
    with pytest.raises(InputError, match="1 texts were written, and 2 rows"):
        scores(["wer"], ["a"], [["a"], ["b"]])
    with pytest.raises(InputError, match="a list of texts a row"):
        scores(["wer"], ["a b"], ["a b"])
    with pytest.raises(InputError, match=r"nothing is expected(.|\n)*row 1"):
        scores(["wer"], ["a", "b"], [["a"], []])


def test_perplexity():
    assert perplexity(3 * math.log(7), 3) == pytest.approx(7)
    assert math.isnan(perplexity(0.0, 0)) and perplexity(1e6, 1) == math.inf
    found = Statistics(*perplexity_of(torch.tensor([math.log(2), 3 * math.log(4)]), torch.tensor([1, 3])))
    assert found.value == pytest.approx(2 ** (7 / 4))


def test_what_a_score_cannot_read_is_said():
    assert doubts(list(SCORES), EXPECTED) == [] == doubts(list(SCORES), [])
    assert [one.split(":")[0] for one in doubts(["rouge_1", "bleu", "meteor"], [["Привет, мир"]])] == ["rouge_1", "meteor"]
    said = doubts(["wer", "cer", "cider"], [["你好世界"], ["你好世界"]])
    assert len(said) == 2 and said[0].startswith("wer, cider: words are parted at spaces") and said[1].startswith("cider: all rows expect")


def test_nothing_heavy_is_loaded_before_a_score_is_asked_for():
    heavy = {"torch", "numpy", "nltk", "sacrebleu", "jiwer", "rouge_score", "transformers"}
    script = f"import sys, triptych.modalities.text.score; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
