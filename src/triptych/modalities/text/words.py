"""Words as the scores of descriptions take them apart: the Penn Treebank's way."""

from __future__ import annotations

import re

from triptych.base.extras import need

_SENTENCE = re.compile(r"(?<=[.!?])(?<!\.\w\.)(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)\s+", re.IGNORECASE)
_SILENT = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])  # PUNCTUATIONS of pycocoevalcap


def treebank_words(text: str, why: str, brackets: bool = False) -> list[str]:
    """Words and punctuation by nltk's Treebank rules, which need no data: don't -> do n't, dog. -> dog .

    A stop is taken off a word at the end of a sentence only, and a sentence ends here where a space follows . ! or ?;
    but for a few abbreviations. nltk's own splitter of sentences is a model that has to be downloaded.

    Args:
        text: any text.
        why: what needs nltk, for the message where it is not here.
        brackets: write them as the Treebank does, -LRB- for (.

    Raises:
        InputError: nltk is not here.
    """
    tokenizer = need("nltk.tokenize.destructive", extra="metrics", why=why).NLTKWordTokenizer()
    return [word for sentence in _SENTENCE.split(text) for word in tokenizer.tokenize(sentence, convert_parentheses=brackets)]


def caption_words(text: str, why: str) -> list[str]:
    """Words in small letters without punctuation: what the COCO evaluation of captions compares, there by Stanford's tokenizer in Java."""
    return [word.lower() for word in treebank_words(text.lower(), why, brackets=True) if word not in _SILENT]
