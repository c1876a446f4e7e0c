"""A row's text said by a voice drawn for it: by eSpeak NG, or by a Piper voice."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from triptych.base.errors import BadValue, InputError, nearest
from triptych.base.extras import need
from triptych.contract.cells import Blob, Cell, Scalar
from triptych.modalities.audio import piper, speech
from triptych.modalities.audio.speak import AUTO, ENGLISH, PITCH, Speak

PLAIN = (
    *("f1", "m1", "f2", "m2", "f3", "m3", "f4", "m4", "f5", "m5", "m6", "m7", "m8", "Andrea", "Alex", "Annie", "Andy", "belinda"),
    *("benjamin", "steph", "Denis", "zac", "Diogo", "Lee", "Michael", "david", "marcelo", "miguel", "norbert", "quincy", "shelby"),
    *("robert", "edward", "Hugo", "rob", "linda", "victor", "aunty", "adam", "Mario", "Henrique", "max"),
)
"""Variants of eSpeak NG that speak plainly: none that whispers, croaks or echoes."""
QUIET = 1e-3  # peak of a sound in which nothing is heard, of full scale
KINDS = {"language": "text", "speaker": "text", "speed": "integer", "pitch": "integer"}

T = TypeVar("T")


def _share(seed: int, what: str, row_id: str) -> float:
    """A number from 0 to 1 that depends on these three alone."""
    words = f"{seed}/{what}/{row_id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(words, digest_size=7).digest()) / 2**56


def _one_of(choices: Sequence[T], seed: int, what: str, row_id: str) -> T:
    return choices[int(_share(seed, what, row_id) * len(choices))]


def _within(span: tuple[int, int], seed: int, what: str, row_id: str) -> int:
    return span[0] + int(_share(seed, what, row_id) * (span[1] - span[0] + 1))


@dataclass(frozen=True)
class Espoken:
    """Implements `contract.tools.Rendering` with eSpeak NG."""

    options: Speak
    voices: tuple[str, ...]
    known: frozenset[str]
    """Every language that eSpeak NG speaks."""

    def columns(self) -> Mapping[str, str]:
        """See `Rendering`."""
        return KINDS

    def needs(self) -> tuple[str, ...]:
        """The column of languages."""
        return (self.options.language,) if self.options.language not in (None, AUTO) else ()

    def draw(self, row_id: str, text: str, cells: Mapping[str, Cell]) -> dict[str, Scalar]:
        """See `Rendering`. Each is drawn by itself: more voices to choose from change nobody's pitch."""
        said, seed = self.options, self.options.seed
        language, _, speaker = _one_of(self._fitting(text, cells), seed, "voice", row_id).partition("+")
        return {
            "language": language,
            "speaker": speaker or _one_of(said.speakers or PLAIN, seed, "speaker", row_id),
            "speed": _within(said.speeds(), seed, "speed", row_id),
            "pitch": _within(said.pitch or PITCH, seed, "pitch", row_id),
        }

    def _fitting(self, text: str, cells: Mapping[str, Cell]) -> tuple[str, ...]:
        """The voices of the row's language; all where no language is asked for."""
        if self.options.language is None:
            return self.voices
        if self.options.language == AUTO:
            wanted = _language_of(text, tuple(sorted({_family(voice) for voice in self.voices})))
        else:
            wanted = str(cells.get(self.options.language) or "").strip().lower().replace("_", "-")
        if not wanted:
            raise BadValue("its language is not said")
        if self.options.voices is None:
            if wanted not in self.known:
                raise BadValue(f"eSpeak NG does not speak {wanted!r}")
            return (wanted,)
        fitting = [voice for voice in self.voices if voice.partition("+")[0] == wanted]
        fitting = fitting or [voice for voice in self.voices if _family(voice) == wanted.partition("-")[0]]
        if not fitting:
            raise BadValue(f"none of the voices speaks {wanted!r}")
        return tuple(fitting)

    def render(self, text: str, drawn: Mapping[str, Scalar]) -> Blob:
        """See `Rendering`."""
        voice = f"{drawn['language']}+{drawn['speaker']}"
        said = speech.said(text, voice, int(drawn["speed"]), int(drawn["pitch"]))
        return _file(np.frombuffer(said, np.int16), speech.RATE, self.options.format)


@dataclass(frozen=True)
class Piped:
    """Implements `contract.tools.Rendering` with a Piper voice. Its noise is off, so that a text always sounds the same."""

    options: Speak
    model: Path
    language: str
    speakers: tuple[tuple[str, int | None], ...]

    def columns(self) -> Mapping[str, str]:
        """See `Rendering`."""
        return {name: kind for name, kind in KINDS.items() if name != "pitch"}

    def needs(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def draw(self, row_id: str, text: str, cells: Mapping[str, Cell]) -> dict[str, Scalar]:
        """See `Rendering`."""
        speaker, _ = _one_of(self.speakers, self.options.seed, "speaker", row_id)
        return {"language": self.language, "speaker": speaker, "speed": _within(self.options.speeds(), self.options.seed, "speed", row_id)}

    def render(self, text: str, drawn: Mapping[str, Scalar]) -> Blob:
        """See `Rendering`."""
        samples_N, rate = piper.say(self.model, text, dict(self.speakers)[str(drawn["speaker"])], 100 / int(drawn["speed"]))
        return _file((samples_N * 32_767).astype(np.int16), rate, self.options.format)


def espoken(options: Speak) -> Espoken:
    """ESpeak NG with these voices.

    Raises:
        InputError: it is not installed, or has no such voice or variant.
    """
    languages, variants = speech.languages(), speech.variants()
    for voice in options.voices or ():
        language, _, variant = voice.partition("+")
        _check("voice", language, languages)
        if variant:
            _check("voice variant", variant, variants)
    for variant in options.speakers or ():
        _check("voice variant", variant, variants)
    if options.language == AUTO:
        _identifier(tuple(sorted({_family(voice) for voice in options.voices or ()})))
    return Espoken(options, options.voices or ENGLISH, frozenset(languages))


def piped(options: Speak, model: Path) -> Piped:
    """A Piper voice with these speakers.

    Raises:
        InputError: Piper is not installed, the voice cannot be read, or has no such speaker.
    """
    language, speakers = piper.about(model)
    for name in options.speakers or ():
        _check("speaker", name, list(speakers))
    chosen = {name: number for name, number in speakers.items() if options.speakers is None or name in options.speakers}
    return Piped(options, model.absolute(), language, tuple(chosen.items()))


def _check(what: str, word: str, known: Sequence[str]) -> None:
    """Refuse an unknown word with the nearest known ones: there are some hundred."""
    if word not in known:
        close = nearest(word, known, 5)
        fix = f"did you mean {close[0]!r}?" if close else ""
        raise InputError(f"there is no {what} {word!r}", where="the command line", known=close or known, fix=fix)


def _family(voice: str) -> str:
    return voice.partition("+")[0].partition("-")[0]


def _language_of(text: str, among: tuple[str, ...]) -> str:
    return str(_identifier(among).classify(text)[0])


@lru_cache
def _identifier(among: tuple[str, ...]) -> Any:
    """py3langid (Lui and Baldwin 2012), told which languages there are: short texts are then rarely mistaken."""
    langid = need("py3langid.langid", extra="speak", why="finding the language of a text")
    found = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    unknown = [language for language in among if language not in found.labels]
    if unknown:
        fix = "name a column with the languages: --language COLUMN"
        raise InputError(f"the language {unknown[0]!r} cannot be found from a text", known=sorted(found.labels), fix=fix)
    found.set_languages(list(among))
    return found


def _file(samples_N: np.ndarray, rate: int, form: str) -> Blob:
    """The sound as a file.

    Raises:
        BadValue: nothing is heard in it.
    """
    import soundfile

    if not len(samples_N) or int(np.abs(samples_N.astype(np.int32)).max()) < QUIET * 32_767:
        raise BadValue("there is nothing in it that can be said")
    out = io.BytesIO()
    soundfile.write(out, samples_N, rate, format=form.upper(), subtype="PCM_16")
    return Blob(out.getvalue(), f"said.{form}")
