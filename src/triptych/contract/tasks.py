"""What can be asked of a model: the words under `tasks:` of a recipe, and the scores each kind is judged by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings

Direction = Literal["higher", "lower"]
LABEL = "{label}"
"""Stands in a prompt for the name of a class."""


class _Task(Settings):
    weight: float = Field(1.0, ge=0, description="weight of this task's loss in the sum; 0: nothing is learnt from it, it is only measured")


class _Head(_Task):
    target: str = Field(description="column of the table that holds the answer")
    hidden: list[Annotated[int, Field(ge=1)]] = Field([], description="widths of dense layers before the last one; none: a linear head")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each dense layer of the head")


def _weights(value: Any) -> Any:
    """Weights by label; a label 1 is no word in YAML."""
    if not isinstance(value, dict):
        if value not in ("balanced", None):
            raise ValueError(f"class_weights is balanced, or a weight for some labels, as in {{rare: 3}}, not {value!r}")
        return value
    for label, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e6:
            raise ValueError(f"the weight of {label} must be a number above 0, not {weight!r}")
    return {str(label): float(weight) for label, weight in value.items()}


ClassWeights = Annotated[Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None, BeforeValidator(_weights)]


def wordings(prompt: str | list[str]) -> list[str]:
    """What stands under `prompt`, as a list."""
    return [prompt] if isinstance(prompt, str) else prompt


def check_prompt(prompt: str | list[str] | None) -> None:
    """Raises ValueError where a wording says nothing of the class, or there is none."""
    if prompt == []:
        raise ValueError("prompt is an empty list; write a sentence about a class, or remove it")
    for wording in wordings(prompt or []):
        if LABEL not in wording:
            raise ValueError(f"prompt {wording!r} says nothing of the class; write {LABEL} where its name belongs: This is {LABEL} music.")


def check_question(template: str, system: str | None, answers: Collection[str]) -> None:
    """Raises ValueError where braces do not match, or the question names a column that is asked for."""
    for words in (template, system or ""):
        try:
            names = [name for _, name, _, _ in Formatter().parse(words) if name]
        except ValueError as error:
            raise ValueError(f"the braces of {words!r} do not match ({error}); double one that is meant as itself: {{{{ or }}}}") from error
        if told := next((name for name in names if name in answers), None):
            raise ValueError(f"the question {words!r} names {{{told}}}, the column that is asked for: the answer stands in the question")


class Classify(_Head):
    """One of several classes: cross-entropy."""

    kind: Literal["classify"] = "classify"
    class_weights: ClassWeights = Field(
        None,
        description="how much a row of a class counts in the loss: balanced (rows / (classes x rows of it)), or {label: weight}, others 1",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the answer spread over all classes (Szegedy et al. 2016)")
    prompt: str | list[str] | None = Field(
        None,
        description="a sentence about a class, as in This is {label} music.: the classes are also told by how near a row lies to their "
        "sentences, in the space of a contrast task. Of several wordings in a list the mean is taken",
    )

    @model_validator(mode="after")
    def _names_the_class(self) -> Classify:
        check_prompt(self.prompt)
        return self


def _threshold(value: Any) -> Any:
    """A number, or how one is chosen."""
    if isinstance(value, dict):
        if len(value) == 1 and set(value) <= {"precision", "recall"}:
            (least,) = value.values()
            if isinstance(least, int | float) and not isinstance(least, bool) and 0 < least <= 1:
                return {name: float(least) for name in value}
    elif value == "f1" or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1):
        return value
    raise ValueError(f"threshold is a number between 0 and 1, f1, {{precision: 0.9}} or {{recall: 0.9}}, not {value!r}")


Threshold = Annotated[Literal["f1"] | float | dict[Literal["precision", "recall"], float], BeforeValidator(_threshold)]


class MultiLabel(_Head):
    """Any number of labels: binary cross-entropy a label."""

    kind: Literal["multilabel"] = "multilabel"
    separator: str = Field("|", min_length=1, description="what stands between labels in one cell")
    class_weights: ClassWeights = Field(
        None,
        description="how much a row that has a label counts in that label's loss: balanced (those that have it and those that lack it "
        "weigh the same together), or {label: weight}, others 1",
    )
    threshold: Threshold = Field(
        0.5,
        description="probability above which a label counts as given: one number for all labels, or how each label's own is chosen on the "
        "validation rows: f1 (its highest F1), {precision: 0.9} (as much recall as that precision leaves), {recall: 0.9} (the reverse)",
    )


class Regress(_Head):
    """A number: mean squared error of the standardised target."""

    kind: Literal["regress"] = "regress"


class Ground(_Head):
    """Where in one input lies what another one speaks of: a box (DETR's losses: Carion et al. 2020)."""

    kind: Literal["ground"] = "ground"
    input: str = Field(description="the input in which the box lies; its values have a width and a height")
    phrase: str | None = Field(None, description="the input that says what is looked for; by default the fusion of all inputs says it")
    form: Literal["xywh", "xyxy", "cxcywh"] = Field(
        "xywh", description="what a cell's four numbers are: left, top, width, height; corners; or middle, width, height"
    )
    unit: Literal["shares", "own"] = Field(
        "shares",
        description="of what they are: shares of the value's width and height (0 to 1), or the value's own unit, as COCO writes them",
    )
    width: int = Field(128, ge=4, le=4096, multiple_of=4, description="width of the attention from the phrase to places of the input")
    depth: int = Field(2, ge=1, le=12, description="blocks of that attention")
    l1: float = Field(5.0, ge=0, description="weight of how far two boxes are apart: middle, width and height together, in shares")
    giou: float = Field(2.0, ge=0, description="weight of 1 - GIoU (Rezatofighi et al. 2019)")
    sure: float = Field(1.0, ge=0, description="weight of learning how good each box is, its confidence")

    @model_validator(mode="after")
    def _learns(self) -> Ground:
        if not self.l1 and not self.giou:
            raise ValueError("l1 and giou are both 0, so no box would be learnt")
        if self.phrase == self.input:
            raise ValueError(f"phrase and input are both {self.input!r}: remove phrase, or name the input that says what is looked for")
        return self


class Ctc(_Head):
    """What is said in a recording, symbol by symbol: connectionist temporal classification (Graves et al. 2006)."""

    kind: Literal["ctc"] = "ctc"
    input: str | None = Field(None, description="the input whose sequence is read; by default the only one that lasts in time")
    symbols: Literal["characters", "words"] = Field(
        "characters", description="what the text is spelt in; words: for a few words that come again and again, such as commands"
    )
    normalise: Literal["none", "basic"] = Field(
        "basic", description="basic: lower case without punctuation, for learning and for scoring; none: as it stands, spaces made one"
    )
    beam: int = Field(
        1,
        ge=1,
        le=1000,
        description="texts that are followed at once when a trained model is measured or asked; 1: the best symbol a frame",
    )


class Contrast(_Task):
    """Two or more inputs of a row belong together: contrastive loss over each pair of them, in one embedding space."""

    kind: Literal["contrast"] = "contrast"
    between: list[str] = Field(min_length=2, description="the inputs to bring together")
    positives: str | None = Field(
        None, description="column whose equal values also belong together (a class); by default only a row and itself"
    )
    space: Literal["learnt", "own"] = Field(
        "learnt", description="learnt: each input is projected to width; own: the space that the inputs' one pretrained base has already"
    )
    width: int = Field(128, ge=2, description="numbers in an embedding of a learnt space")
    form: Literal["softmax", "sigmoid"] = Field(
        "softmax", description="softmax: CLIP (Radford et al. 2021); sigmoid: SigLIP (Zhai et al. 2023)"
    )
    temperature: float = Field(0.07, ge=0.01, le=10, description="where the learnt temperature starts; it stays between 0.01 and 10")

    @model_validator(mode="after")
    def _distinct(self) -> Contrast:
        if len(set(self.between)) < len(self.between):
            raise ValueError(f"between names an input twice: {', '.join(self.between)}")
        return self


class Generate(_Task):
    """An answer in writing, by the recipe's decoder: from a question in words and inputs, or from whole conversations."""

    kind: Literal["generate"] = "generate"
    target: str | None = Field(None, description="column of the table that holds the answer")
    template: str | None = Field(
        None,
        description="the question: words, {INPUT} where an input's value stands, {COLUMN} where a cell's words stand; {{ for a bracket",
    )
    system: str | None = Field(None, description="words that stand before the question, in the place a decoder has for them")
    messages: str | None = Field(None, description="column of conversations, in the place of target and template: every answer is learnt")
    choices: list[str] | None = Field(None, min_length=2, description="the answer is one of these, with a probability each")
    longest: int = Field(64, ge=1, le=8192, description="pieces of a written answer at most")
    beams: int = Field(1, ge=1, le=64, description="beams of the search for the likeliest answer; 1: piece by piece")
    temperature: float = Field(0.0, ge=0, le=10, description="how boldly answers are drawn; 0: always the likeliest")
    top_p: float = Field(1.0, gt=0, le=1, description="share of the likeliest pieces among which is drawn")
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], description="words that end an answer, and are not part of it")
    scores: list[str] = Field(["exact", "f1"], min_length=1, description="what written answers are scored by")
    written: int = Field(64, ge=0, description="rows that are answered in writing whenever the model is measured, at most")

    @model_validator(mode="after")
    def _one_form(self) -> Generate:
        if self.messages is not None and (self.template is not None or self.target is not None or self.system is not None):
            raise ValueError("messages are whole conversations: remove template, target and system, or messages")
        if self.messages is None and (self.template is None or self.target is None):
            missing = "template" if self.template is None else "target"
            raise ValueError(f"a generate task has a template (the question) and a target (the answer), or messages; it lacks {missing}")
        if self.template is not None and self.target is not None:
            check_question(self.template, self.system, [self.target])
        if strange := [name for name in self.scores if name not in WRITTEN]:
            raise ValueError(f"there is no score {strange[0]!r} of written answers; known: {', '.join(WRITTEN)}")
        if self.top_p < 1 and not self.temperature:
            raise ValueError("top_p says among what is drawn, and temperature 0 draws nothing: set temperature, or remove top_p")
        return self

    def sides(self) -> tuple[Generate, ...]:
        """The questions with their answers that one row makes."""
        return (self,)


class Prefer(_Task):
    """Of two answers in writing one is better: direct preference optimisation (DPO, Rafailov et al. 2023) of the decoder's additions."""

    kind: Literal["prefer"] = "prefer"
    chosen: str = Field(description="column of the table that holds the better answer")
    rejected: str = Field(description="column of the table that holds the worse answer")
    template: str = Field(description="the question, as of a generate task")
    system: str | None = Field(None, description="words that stand before the question, as of a generate task")
    beta: float = Field(0.1, gt=0, le=10, description="how dear it is to leave the decoder as it is without its additions")

    @model_validator(mode="after")
    def _two(self) -> Prefer:
        if self.chosen == self.rejected:
            raise ValueError(f"chosen and rejected are one column, {self.chosen!r}; an answer is not better than itself")
        check_question(self.template, self.system, [self.chosen, self.rejected])
        return self

    def sides(self) -> tuple[Generate, ...]:
        """The question with the better answer, and with the worse one."""
        words: dict[str, Any] = {"template": self.template, "system": self.system}
        return Generate(target=self.chosen, **words), Generate(target=self.rejected, **words)


IN_WRITING = ("generate", "prefer")
"""Kinds of tasks that the recipe's decoder answers, or judges answers of."""


WRITTEN: dict[str, Direction] = {
    "exact": "higher",
    "f1": "higher",
    "bleu": "higher",
    "rouge_1": "higher",
    "rouge_2": "higher",
    "rouge_l": "higher",
    "meteor": "higher",
    "cider": "higher",
    "chrf": "higher",
    "wer": "lower",
    "cer": "lower",
}
"""Scores of written answers."""

Task = Annotated[Classify | MultiLabel | Regress | Ground | Contrast | Ctc | Generate | Prefer, Field(discriminator="kind")]
"""One task of a recipe."""

METRICS: dict[str, dict[str, Direction]] = {
    "classify": {
        "accuracy": "higher",
        "macro_f1": "higher",
        "weighted_f1": "higher",
        "top5": "higher",
        "roc_auc": "higher",
        "ece": "lower",
        "loss": "lower",
    },
    "multilabel": {"macro_f1": "higher", "micro_f1": "higher", "exact": "higher", "map": "higher", "roc_auc": "higher", "loss": "lower"},
    "regress": {"r2": "higher", "mae": "lower", "rmse": "lower", "loss": "lower"},
    "ground": {"iou": "higher", "right@50": "higher", "right@75": "higher", "right@90": "higher", "map": "higher", "loss": "lower"},
    "ctc": {"wer": "lower", "cer": "lower", "exact": "higher", "loss": "lower"},
    "contrast": {
        "recall@1": "higher",
        "recall@5": "higher",
        "recall@10": "higher",
        "map@10": "higher",
        "median_rank": "lower",
        "loss": "lower",
    },
    "generate": {"accuracy": "higher", "perplexity": "lower", **WRITTEN, "loss": "lower"},
    "prefer": {"accuracy": "higher", "margin": "higher", "loss": "lower"},
}
"""The scores of each kind of task and which way is better; the first is its headline."""


def metrics(task: Settings) -> list[str]:
    """The scores that a task has; of those of written answers the ones that it asks for."""
    if not isinstance(task, Generate):
        return list(METRICS[task.kind])  # type: ignore[attr-defined]
    return [metric for metric in METRICS[task.kind] if metric not in WRITTEN or (task.written and metric in task.scores)]


def headline(task: Settings) -> str:
    """Name of the one score that stands for a task: of what is answered in writing the first that it asks for, where any is written."""
    return task.scores[0] if isinstance(task, Generate) and task.written else unwritten(task)


def unwritten(task: Settings) -> str:
    """Name of the score that stands for a task where nothing is written for it: it chooses epochs, and says what an input is worth.

    Writing takes long, so some rows are answered in writing, and these figures are of all of them.
    """
    return next(iter(METRICS[task.kind]))  # type: ignore[attr-defined]


def rule_of(task: Settings) -> str | None:
    """How the thresholds of a task's labels are chosen, in words; None where a number is given, or there are none."""
    rule = getattr(task, "threshold", None)
    if isinstance(rule, dict):
        return "".join(f"{name} of {least:g}" for name, least in rule.items())
    return rule if isinstance(rule, str) else None


def cut_of(task: Any, facts: Mapping[str, Any]) -> float | list[float]:
    """The probability above which labels count as given: each label's own where that was chosen, and is among the head's `facts`."""
    chosen: list[float] | None = facts.get("thresholds")
    return chosen or (0.5 if rule_of(task) else float(task.threshold))


def direction(task: Settings, metric: str | None = None) -> Direction:
    """Which way a score of a task is better; by default its headline."""
    return METRICS[task.kind][metric or headline(task)]  # type: ignore[attr-defined]
