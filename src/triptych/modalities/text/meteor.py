"""METEOR, by nltk: words that match as they stand, by their stem or as synonyms, and how many pieces they fall into."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from triptych.base.errors import InputError
from triptych.base.extras import need
from triptych.modalities.text.words import treebank_words

WHY = "the score meteor"


def meteor(said: Sequence[str], expected: Sequence[Sequence[str]]) -> list[float]:
    """METEOR of each row with nltk's weights (0.9, 3, 0.5); the best over what is expected. A text without words scores 0.

    nltk looks synonyms up by the stems of words, so that it finds fewer than the METEOR 1.5 program in Java does.

    Raises:
        InputError: nltk or WordNet is not here. Without synonyms the figure would be another one, so there is none.
    """
    synonyms = _wordnet()
    score = need("nltk.translate.meteor_score", extra="metrics", why=WHY).meteor_score
    rows = zip(said, expected, strict=True)
    return [
        float(score([treebank_words(text, WHY) for text in texts], treebank_words(ours, WHY), wordnet=synonyms)) for ours, texts in rows
    ]


@lru_cache(maxsize=1)
def _wordnet() -> Any:
    """The user's WordNet, where nltk looks for it (NLTK_DATA, ~/nltk_data, ...); no package on PyPI brings it along."""
    nltk = need("nltk", extra="metrics", why=WHY)
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except (LookupError, OSError) as error:
        broken = f": {error}" if isinstance(error, OSError) else ""  # nltk's own words on what is not there fill a page
        raise InputError(
            f"{WHY} needs the synonyms of WordNet, which are {'not whole' if broken else 'not here'}{broken}",
            where=", ".join(nltk.data.path),
            fix="python -m nltk.downloader wordnet; on a machine without a network, put wordnet.zip of nltk_data into the folder corpora "
            "of one of these, or of a folder that NLTK_DATA names; or leave meteor out",
        ) from error
    return wordnet
