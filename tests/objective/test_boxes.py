"""Boxes: forms, overlap, the loss; mean average precision as COCO's evaluation gives it."""

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO, COCOeval_faster
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.objective.boxes import area, as_shares, box_scores, converted, giou, giou_loss, iou, pairwise_iou
from triptych.objective.detections import Boxes, average_precision

FORMS = ["xyxy", "xywh", "cxcywh"]
side = st.integers(1, 12)
box = st.tuples(st.integers(0, 12), st.integers(0, 12), side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def tensor(*boxes):
    return torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)


def test_overlap_by_hand():
    a = tensor((0, 0, 2, 2))
    assert iou(a, tensor((0, 0, 2, 2))).item() == 1 == giou(a, a).item()
    assert iou(a, tensor((1, 1, 3, 3))).item() == pytest.approx(1 / 7)
    assert giou(a, tensor((1, 1, 3, 3))).item() == pytest.approx(1 / 7 - 2 / 9)
    assert giou(a, tensor((8, 0, 10, 2))).item() == pytest.approx(-12 / 20), "apart: the farther, the less"
    assert pairwise_iou(a, tensor((0, 0, 2, 1), (5, 5, 6, 6))).tolist() == [[0.5, 0]]
    assert iou(tensor((1, 1, 1, 1)), tensor((1, 1, 1, 1))).item() == 0 and area(tensor((3, 3, 1, 5))).item() == 0


@given(box, box)
def test_overlap_counts_cells(a, b):
    cells = [{(x, y) for x in range(one[0], one[2]) for y in range(one[1], one[3])} for one in (a, b)]
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    share = len(cells[0] & cells[1]) / len(cells[0] | cells[1])
    assert iou(tensor(a), tensor(b)).item() == pytest.approx(share)
    assert giou(tensor(a), tensor(b)).item() == pytest.approx(share - (around - len(cells[0] | cells[1])) / around)


@given(box, st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_forms_are_one_box(corners, of, to):
    there = converted(tensor(corners), "xyxy", of)
    assert converted(converted(there, of, to), to, "xyxy").tolist() == [list(map(float, corners))]


def test_forms_by_hand():
    corners = tensor((2, 4, 6, 10))
    assert converted(corners, "xyxy", "xywh").tolist() == [[2, 4, 4, 6]] and converted(corners, "xyxy", "cxcywh").tolist() == [[4, 7, 4, 6]]
    assert as_shares(corners, torch.tensor([[10.0, 20.0]])).tolist() == [[0.2, 0.2, 0.6, 0.5]]


def test_the_loss_brings_boxes_together_from_afar():
    truth = torch.tensor([[0.6, 0.6, 0.9, 0.8]])
    guess = torch.tensor([[0.1, 0.1, 0.1, 0.1]], requires_grad=True)  # middle, width, height: nowhere near
    losses = []
    for _ in range(200):
        loss = giou_loss(converted(guess, "cxcywh", "xyxy"), truth).mean()
        (gradient,) = torch.autograd.grad(loss, guess)
        guess = (guess - 0.01 * gradient.sign()).detach().requires_grad_()
        losses.append(loss.item())
    assert losses[0] > 1.5 and iou(converted(guess, "cxcywh", "xyxy"), truth).item() > 0.8


@given(box, box, st.sampled_from([0.0, 1e-20, 1e-7, 1e-3, 1.0]))
def test_gradients_are_numbers(a, b, scale):
    guess = (torch.tensor([a], dtype=torch.float32) * scale).requires_grad_()
    loss = giou_loss(guess, torch.tensor([b], dtype=torch.float32) * scale)
    loss.sum().backward()
    assert 0 <= loss.item() <= 2 and bool(guess.grad.isfinite().all())


def test_scores_of_one_box_a_row():
    truth = tensor((0, 0, 2, 2), (0, 0, 4, 5), (0, 0, 1, 1))
    found = box_scores(tensor((0, 0, 2, 1), (0, 0, 4, 4), (5, 5, 6, 6)), truth)
    assert found == pytest.approx({"iou": (0.5 + 0.8) / 3, "right@50": 2 / 3, "right@75": 1 / 3, "right@90": 0})
    assert math.isnan(box_scores(tensor(), tensor())["iou"])


def reference(found, there):
    """The same by faster-coco-eval."""
    images = [{"id": number} for number in range(1, len(there) + 1)]
    truth, guesses = [], []
    for number, (ours, theirs) in enumerate(zip(found, there, strict=True), start=1):
        crowds = theirs.crowd_N.tolist()
        for corners, label, crowd in zip(converted(theirs.box_N4, "xyxy", "xywh").tolist(), theirs.label_N.tolist(), crowds, strict=True):
            entry = {"id": len(truth) + 1, "image_id": number, "category_id": label + 1, "bbox": corners, "area": corners[2] * corners[3]}
            truth.append({**entry, "iscrowd": int(crowd)})
        pairs = zip(converted(ours.box_N4, "xyxy", "xywh").tolist(), ours.label_N.tolist(), ours.score_N.tolist(), strict=True)
        guesses += [{"image_id": number, "category_id": label + 1, "bbox": corners, "score": score} for corners, label, score in pairs]
    with contextlib.redirect_stdout(io.StringIO()):
        table = COCO({"images": images, "annotations": truth, "categories": [{"id": k + 1, "name": str(k)} for k in range(3)]})
        evaluation = COCOeval_faster(table, table.loadRes(guesses), iouType="bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(("map", "ap50", "ap75"), evaluation.stats[:3].tolist(), strict=True))


def drawn(seed, rows=6):
    """Rows of boxes of three classes; found ones are moved a little, doubled, mislabelled, missing or made up; confidences tie."""
    draw = np.random.default_rng(seed)
    found, there = [], []
    for _ in range(rows):
        count = int(draw.integers(0, 6))
        start, size = draw.integers(0, 60, (count, 2)), draw.integers(4, 30, (count, 2))
        truth = np.concatenate([start, start + size], 1).astype(float)
        label, crowd = draw.integers(0, 3, count), draw.random(count) < 0.15
        there.append(Boxes(torch.from_numpy(truth), torch.from_numpy(label), crowd_N=torch.from_numpy(crowd)))
        again = draw.integers(0, count, int(draw.integers(0, 9))) if count else np.zeros(0, int)
        moved = truth[again] + draw.integers(-2, 3, (len(again), 4))
        made_up = np.array([[1.0, 1.0, 9.0, 9.0]] * int(draw.integers(0, 2))).reshape(-1, 4)
        boxes = np.concatenate([moved, made_up])
        labels = np.concatenate([np.where(draw.random(len(again)) < 0.8, label[again], 0), np.zeros(len(made_up), int)])
        scores = draw.integers(1, 6, len(boxes)) / 8
        found.append(Boxes(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(scores)))
    return found, there


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_average_precision_is_cocos(seed):
    found, there = drawn(seed)
    if not any(len(row.box_N4) for row in found) or not any((~row.crowd_N).any() for row in there):
        return
    assert average_precision(found, there) == pytest.approx(reference(found, there), abs=1e-9)


def test_average_precision_by_hand():
    one = Boxes(tensor((0, 0, 10, 10)), torch.tensor([0]))
    right, wrong = tensor((0, 0, 10, 10)), tensor((50, 50, 60, 60))
    both = Boxes(torch.cat([wrong, right]), torch.tensor([0, 0]), torch.tensor([0.9, 0.8]))
    assert average_precision([both], [one]) == {"map": 0.5, "ap50": 0.5, "ap75": 0.5}
    nearly = Boxes(tensor((0, 0, 10, 8)), torch.tensor([0]), torch.tensor([0.5]))
    assert average_precision([nearly], [one]) == pytest.approx({"map": 0.7, "ap50": 1, "ap75": 1})
    none = Boxes(tensor(), torch.tensor([], dtype=torch.long), torch.tensor([]))
    assert average_precision([none], [one]) == {"map": 0, "ap50": 0, "ap75": 0}
    assert math.isnan(average_precision([nearly], [none])["map"]) and math.isnan(average_precision([], [])["map"])


def test_only_the_surest_hundred_of_a_class_count():
    truth = Boxes(tensor((0, 0, 10, 10)), torch.tensor([0]), crowd_N=torch.tensor([False]))
    for before in (99, 100):
        boxes = torch.cat([tensor((50, 50, 60, 60)).repeat(before, 1), tensor((0, 0, 10, 10))])
        found = Boxes(boxes, torch.zeros(before + 1, dtype=torch.long), torch.linspace(1, 0.5, before + 1))
        value = average_precision([found], [truth])
        assert value == pytest.approx(reference([found], [truth]), abs=1e-9) and (value["map"] > 0) == (before == 99)


def test_wrong_boxes_are_said():
    one = Boxes(tensor((0, 0, 1, 1)), torch.tensor([0]))
    with pytest.raises(InputError, match="found in 0 rows, and 1 rows"):
        average_precision([], [one])
    with pytest.raises(InputError, match="a confidence each"):
        average_precision([one], [one])
