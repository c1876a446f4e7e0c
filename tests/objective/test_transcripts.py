"""The loss and the scores of transcriptions."""

from __future__ import annotations

import jiwer
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from triptych.contract.spelling import Spelling
from triptych.contract.tasks import Ctc
from triptych.contract.values import Output
from triptych.layers.ctc import padded
from triptych.objective.losses import task_loss, terms
from triptych.objective.transcripts import distances, joined, transcript_scores, wer_of

TASK = Ctc(target="said")


def output(frames: list[int], classes: int = 4) -> Output:
    logits = torch.randn(len(frames), max(frames), classes, generator=torch.Generator().manual_seed(1), requires_grad=True)
    return Output({"logits_BTC": logits, "frames_B": torch.tensor(frames)})


def test_the_loss_is_each_rows_own_a_symbol():
    made, target = output([6, 9, 9]), padded([[1, 2], [3], [1, 1, 1, 2]]).to(torch.int16)
    found = terms(made, target, torch.tensor([True, True, True]), TASK, {})[""]
    for row, text in enumerate([[1, 2], [3], [1, 1, 1, 2]]):
        logs = made["logits_BTC"][row, : int(made["frames_B"][row])].log_softmax(1)
        alone = F.ctc_loss(logs, torch.tensor(text), torch.tensor(len(logs)), torch.tensor(len(text)), reduction="none")
        torch.testing.assert_close(found.loss_P[row], alone / len(text))


def test_rows_without_the_input_or_the_text_cost_nothing_and_teach_nothing():
    made, target = output([5, 0, 7]), padded([[1], [2], [3]])
    found = terms(made, target, torch.tensor([True, True, False]), TASK, {})
    assert found[""].rows_B.tolist() == [True, False, False]
    task_loss(made, found).backward()
    assert made["logits_BTC"].grad is not None and not made["logits_BTC"].grad[1:].any()
    nothing = terms(made, target, torch.tensor([False, True, False]), TASK, {})
    assert float(task_loss(made, nothing).detach()) == 0.0


def test_symbols_of_no_training_row_are_left_out_of_the_loss_and_too_long_texts_are_no_infinity():
    made = output([5, 2])
    strange = terms(made, padded([[1, 4, 2], [1, 2, 3]]), torch.tensor([True, True]), TASK, {})[""].loss_P
    plain = terms(made, padded([[1, 2], [1, 2, 3]]), torch.tensor([True, True]), TASK, {})[""].loss_P
    torch.testing.assert_close(strange, plain)
    assert float(plain[1].detach()) == 0.0


said = st.lists(st.lists(st.sampled_from(["a", "b", "cd", "ee", "f"]), max_size=6), min_size=1, max_size=6)


@given(said, st.data(), st.sampled_from(["characters", "words"]))
def test_scores_are_those_of_jiwer_and_know_nothing_of_names(rows, data, unit):
    expected = [" ".join(row) for row in rows]
    heard = [" ".join(data.draw(st.permutations(row)))[: data.draw(st.integers(0, 12))].strip() for row in rows]
    spelling = Spelling.of([*expected, *heard], unit)
    classes = [padded(spelling.classes(texts)) for texts in (heard, expected)]
    scores = transcript_scores(*classes, spelling)
    assert scores["exact"] == sum(a == b for a, b in zip(heard, expected, strict=True)) / len(rows)
    if not any(expected):
        assert scores["wer"] != scores["wer"] or scores["wer"] == float("inf")
        return
    assert scores["wer"] == pytest.approx(jiwer.wer(expected, heard))
    assert scores["cer"] == pytest.approx(jiwer.cer(expected, heard))
    assert wer_of(*classes, unit).value == pytest.approx(scores["wer"])


def test_errors_and_length_of_each_row():
    assert distances("wer", ["a c", "x y", "", "d"], ["a b c", "", "e f", "d"]) == [(1, 3), (2, 0), (2, 2), (0, 1)]
    assert distances("cer", ["ac"], ["abc"]) == [(1, 3)]


def test_batches_of_different_lengths_are_joined():
    assert joined([torch.tensor([[1, 2]]), torch.tensor([[3]])]).tolist() == [[1, 2], [3, -1]]
    assert joined([torch.tensor([0.5]), torch.tensor([0.25])]).tolist() == [0.5, 0.25]
