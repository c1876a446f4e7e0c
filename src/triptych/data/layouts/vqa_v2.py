"""VQA v2: questions about COCO's pictures (https://visualqa.org/download.html).

    v2_OpenEndedQuestions_mscoco_train2014_questions.json   {"questions": [{"image_id", "question", "question_id"}]}
    v2_mscoco_train2014_annotations.json                    {"annotations": [{"question_id", "image_id", "answers",
                                                             "multiple_choice_answer", "question_type", "answer_type"}]}
    train2014/COCO_train2014_000000000009.jpg               also in a folder `images`

Rows: one a question, id `question_id`; `image`, `question`, `answer` (`multiple_choice_answer`), `answers` (of ten
people), `question_type`, `answer_type`, `picture` (its number), `split`. Of test2015 the answers are not published;
test-dev2015 is a part of it, and is left aside where the whole is there. Each file is loaded whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triptych.contract.cells import Cell
from triptych.data.layouts._reading import SIDES, entries, first_of, json_file, lacks, missing, named, once, row_of
from triptych.data.rows import Reject, Row, Source

NAME = "vqa_v2"
GROUP = "picture"
QUESTIONS = re.compile(r"v2_OpenEndedQuestions_mscoco_((train|val|test|test-dev)(\d{4}))_questions\.json")
PUBLISHED = "v2_OpenEndedQuestions_mscoco_train2014_questions.json"
ANSWERED = ("train", "val")


def matches(path: Path) -> bool:
    """A file of questions is there."""
    return bool(_parts(path))


def read(path: Path) -> Source:
    """See `Layout`. A part whose folder of pictures was not fetched is left aside and said, if another part has its own."""
    parts = _parts(path)
    if not parts:
        raise missing("a file of questions", path / PUBLISHED, "VQA v2", known=[PUBLISHED])
    findings = []
    if "test-dev2015" in parts and "test2015" in parts:
        findings.append(f"{parts.pop('test-dev2015').name} left aside: its questions stand in {parts['test2015'].name} too")
    folders = {part: first_of(path, (_pictures(part), f"images/{_pictures(part)}")) for part in parts}
    if not any(folders.values()):
        raise missing("the folder of pictures", path / _pictures(next(iter(parts))), "VQA v2", known=[f"{_pictures(p)}/" for p in parts])
    findings += [f"{parts[p].name} left aside: there is no folder {path / _pictures(p)}" for p, folder in folders.items() if not folder]
    found = [(part, parts[part], folder) for part, folder in folders.items() if folder is not None]
    for part, _, _ in found:
        if part.startswith(ANSWERED) and not _answers(path, part).is_file():
            raise missing(f"the file of answers to {part}", _answers(path, part), "VQA v2")
    return Source(str(path), lambda: once(row for part, file, folder in found for row in _rows(path, part, file, folder)), path, findings)


def _parts(path: Path) -> dict[str, Path]:
    return {found[1]: path / name for name in named(path) if (found := QUESTIONS.fullmatch(name))}


def _pictures(part: str) -> str:
    """The folder of a part, as COCO calls it: the questions of test-dev are about pictures of the test."""
    return part.replace("-dev", "")


def _answers(path: Path, part: str) -> Path:
    return path / f"v2_mscoco_{part}_annotations.json"


def _rows(path: Path, part: str, file: Path, folder: Path) -> Iterator[Row | Reject]:
    answers: dict[int, dict[str, Any]] = {}
    answered = part.startswith(ANSWERED)
    if answered:
        yield from _learn(_answers(path, part), answers)
    side = SIDES[re.split(r"[-\d]", part)[0]]
    for place, question in enumerate(entries(json_file(file), "questions", file)):
        wrong = lacks(question, {"question_id": int, "image_id": int, "question": str})
        if wrong:
            yield Reject(f"{file.name} question {place}", wrong)
            continue
        row_id, number = str(question["question_id"]), question["image_id"]
        answer = answers.get(question["question_id"])
        if answered and answer is None:
            yield Reject(row_id, f"{_answers(path, part).name} has no answer to it")
            continue
        if answer is not None:
            answer["asked"] = True
            if answer["image_id"] != number:
                yield Reject(row_id, f"the question is about picture {number}, its answer about {answer['image_id']}")
                continue
        name = f"COCO_{_pictures(part)}_{number:012d}.jpg"
        cells: dict[str, Cell] = {"question": question["question"].strip(), **_cells(answer), "picture": str(number), "split": side}
        yield row_of(row_id, "image", folder, name, cells)
    for number, answer in answers.items():
        if "asked" not in answer:
            yield Reject(str(number), f"{_answers(path, part).name} answers it, but {file.name} does not ask it")


def _learn(path: Path, answers: dict[int, dict[str, Any]]) -> Iterator[Reject]:
    """Add the answers by question."""
    for place, answer in enumerate(entries(json_file(path), "annotations", path)):
        wrong = lacks(answer, {"question_id": int, "image_id": int, "multiple_choice_answer": str, "answers": list})
        if wrong is None and not all(isinstance(said, dict) and isinstance(said.get("answer"), str) for said in answer["answers"]):
            wrong = "one of the answers has no 'answer'"
        if wrong is None and answer["question_id"] in answers:
            wrong = f"question {answer['question_id']} was answered before; the first is kept"
        if wrong:
            yield Reject(f"{path.name} annotation {place}", wrong)
            continue
        answers[answer["question_id"]] = answer


def _cells(answer: dict[str, Any] | None) -> dict[str, Cell]:
    if answer is None:
        return {}
    types: dict[str, Cell] = {key: str(answer[key]) for key in ("question_type", "answer_type") if key in answer}
    said: list[Any] = [each["answer"] for each in answer["answers"]]
    return {"answer": answer["multiple_choice_answer"], "answers": said, **types}
