"""What a score cannot see in the texts it is asked about: said in words, since the figure does not show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SHARE = 0.1  # of letters that a score does not read, from which it is said
_LATIN = re.compile(r"[a-z0-9]")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)  # Thai, Lao, Burmese, Khmer, Chinese


def doubts(names: Sequence[str], expected: Sequence[Sequence[str]]) -> list[str]:
    """A sentence for each way in which some scores do not fit what is expected; mostly there are none."""
    letters = [letter for texts in expected for text in texts for letter in text.lower() if letter.isalnum()]
    foreign = 1 - _share(_LATIN, letters) if letters else 0.0
    unspaced = _share(_UNSPACED, letters)
    found = []
    if (asked := _asked(names, "rouge_1", "rouge_2", "rouge_l")) and foreign > SHARE:
        found.append(f"{asked}: only a to z and digits are read, and {foreign:.0%} of the letters expected are others; chrf reads them all")
    if (asked := _asked(names, "meteor")) and foreign > SHARE:
        found.append(f"{asked}: stems and synonyms are English, and {foreign:.0%} of the letters expected are not")
    if (asked := _asked(names, "f1", "bleu", "cider", "wer")) and unspaced > SHARE:
        found.append(
            f"{asked}: words are parted at spaces, and {unspaced:.0%} of the letters expected are of scripts without; try chrf or cer"
        )
    if (asked := _asked(names, "cider")) and len({tuple(texts) for texts in expected}) == 1:
        found.append(f"{asked}: all rows expect the same, so that no words are rarer than others and the score is 0")
    return found


def _asked(names: Iterable[str], *among: str) -> str:
    return ", ".join(name for name in names if name in among)


def _share(pattern: re.Pattern[str], letters: list[str]) -> float:
    return sum(pattern.fullmatch(letter) is not None for letter in letters) / max(1, len(letters))
