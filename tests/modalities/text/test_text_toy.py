"""The sample "digits": the caption decides the digit, and splits share no wording."""

import re
from collections import Counter

import pytest
import torch
from torch import nn

from triptych.base.errors import InputError
from triptych.base.settings import parse
from triptych.contract.modality import ToyRow
from triptych.modalities.text import MODALITY
from triptych.modalities.text.settings import Input
from triptych.modalities.text.toy import DIGITS, TEMPLATES, all_templates, place_of

SPLITS = ("train", "validation", "test")
FORM = {digit: (digit, str(number)) for number, digit in enumerate(DIGITS)}
LIKE_A_DIGIT = {"for", "to", "too", "won", "ate", "fore", "sex", "none", "nil", "nought", "oh", "o", "single", "double", "pair", "couple"}
LIKE_A_DIGIT |= {"both", "first", "second", "third", "half", "once", "twice", "dozen", "ten", "free"}


def captions(split: str, each: int, seed: int = 0) -> list[tuple[str, str, str]]:
    rows = [ToyRow(digit, split) for _ in range(each) for digit in DIGITS]
    return [(row.concept, cell.content, cell.group) for row, cell in zip(rows, MODALITY.toy("digits", rows, seed), strict=True)]


def test_there_are_enough_templates_and_each_is_used_once():
    assert [len(TEMPLATES[split]) >= least for split, least in zip(SPLITS, (24, 4, 6), strict=True)] == [True] * 3
    assert len(set(all_templates())) == len(all_templates())
    assert all(template.count("{digit}") == 1 for template in all_templates())


@pytest.mark.parametrize("template", all_templates())
def test_a_template_says_no_digit_of_its_own(template):
    rest = template.replace("{digit}", " ").lower()
    assert not any(digit in rest for digit in DIGITS), "a digit's name, even inside another word"
    assert not re.search(r"\d", rest)
    assert not set(re.findall(r"\w+", rest)) & LIKE_A_DIGIT


def test_wordings_of_the_splits_differ():
    words = {split: [set(re.findall(r"[a-z]{4,}", t.replace("{digit}", ""))) for t in TEMPLATES[split]] for split in SPLITS}
    trained = set().union(*words["train"])
    for split in ("validation", "test"):
        others = trained.union(*(w for other in SPLITS if other not in ("train", split) for w in words[other]))
        assert all(len(own - others) >= 2 for own in words[split]), split


def test_the_caption_alone_decides_the_digit():
    for split in SPLITS:
        for concept, text, _ in captions(split, 60):
            found = {d for d, forms in FORM.items() for form in forms if re.search(rf"\b{form}\b", text)}
            assert found == {concept}


def test_groups_stay_on_their_side_and_name_the_template():
    groups = {split: {group for _, _, group in captions(split, 60)} for split in SPLITS}
    assert [len(groups[split]) for split in SPLITS] == [len(TEMPLATES[split]) for split in SPLITS]
    assert not groups["train"] & groups["validation"] and not groups["train"] & groups["test"] and not groups["validation"] & groups["test"]


@pytest.mark.parametrize("seed", range(5))
def test_six_rows_of_a_digit_hold_every_place_and_form(seed):
    seen = Counter()
    for concept, text, group in captions("train", 6, seed):
        place = place_of(all_templates()[int(group.removeprefix("template-"))])
        seen[concept, place, re.search(r"\d", text) is not None] += 1
    assert len(seen) == 60


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("seed", range(5))
def test_both_forms_are_in_every_split_however_few_the_rows(split, seed):
    assert len({re.search(r"\d", text) is not None for _, text, _ in captions(split, 1, seed)}) == 2


def test_the_seed_decides_all():
    assert captions("train", 5, 3) == captions("train", 5, 3) != captions("train", 5, 4)


def test_an_unknown_sample_or_concept_is_named():
    with pytest.raises(InputError, match="digits"):
        MODALITY.toy("digit", [], 0)
    with pytest.raises(InputError, match="seven"):
        MODALITY.toy("digits", [ToyRow("sevn", "train")], 0)


@pytest.fixture
def one_thread():
    """Tiny matrices: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("kind", "least"), [("transformer", 0.8), ("gru", 0.7)])
def test_a_small_encoder_learns_it_and_keeps_it_in_new_wordings(kind, least, one_thread):
    said = {"encoder": {"kind": kind, "width": 64, "depth": 1}}
    settings = parse(Input, said, "test")
    train, test = captions("train", 40), captions("test", 12)
    preparation = MODALITY.preparation(settings)
    preparation.fit([text for _, text, _ in train])
    torch.manual_seed(0)
    encoder = MODALITY.encoder(settings, preparation.facts())
    head = nn.Linear(encoder.width, 10)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
    items = preparation.prepare([text for _, text, _ in train])
    labels = torch.tensor([DIGITS.index(digit) for digit, _, _ in train])
    for _ in range(8):
        for rows in torch.randperm(len(items)).split(32):
            loss = nn.functional.cross_entropy(head(encoder(preparation.collate([items[r] for r in rows])).pooled_BD), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    encoder.eval()
    with torch.no_grad():
        said_C = head(encoder(preparation.collate(preparation.prepare([text for _, text, _ in test]))).pooled_BD).argmax(1)
    right = [DIGITS[int(number)] == digit for number, (digit, _, _) in zip(said_C, test, strict=True)]
    assert sum(right) / len(right) >= least
