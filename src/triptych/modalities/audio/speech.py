"""Text -> speech by eSpeak NG in this process: the same words always give the same bytes."""

from __future__ import annotations

import _ctypes
import ctypes
import io
import os
import tempfile
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.base.extras import need

RATE = 22_050  # what all voices of eSpeak NG are made at
LONGEST_TEXT = 5_000
LONGEST_PATH = 140  # eSpeak NG keeps its folder in 160 bytes, and file names come after it

# From espeak-ng/speak_lib.h
_SYNCHRONOUS, _DONT_EXIT, _CHARS_UTF8 = 2, 0x8000, 1
_SPEED, _PITCH = 1, 3
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

_one_at_a_time = threading.Lock()  # the library keeps its state in globals


def speak(text: str, voice: str = "en-us+f3", speed: int = 170, pitch: int = 50) -> bytes:
    """Say `text` and return a WAV file: 22,050 Hz, mono, 16 bit.

    Args:
        text: what is said, up to 5,000 characters.
        voice: language and variant as eSpeak NG names them ("en-us+f3", "en-gb-scotland+m5").
        speed: words a minute, 80 to 450.
        pitch: 0 to 99, 50 being the voice's own.

    Raises:
        InputError: an unknown voice, a number out of range, no text, or eSpeak NG cannot be used here.
    """
    samples = said(text, voice, speed, pitch)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples)
    return out.getvalue()


def said(text: str, voice: str, speed: int, pitch: int) -> bytes:
    """The same as bare samples.

    Raises:
        BadValue: the text is empty, too long, or holds nothing that can be said.
        InputError: an unknown voice, a number out of range, or eSpeak NG cannot be used here.
    """
    if not text.strip() or len(text) > LONGEST_TEXT or "\0" in text:
        raise BadValue(f"a text of {len(text):,} characters cannot be spoken", fix=f"give 1 to {LONGEST_TEXT:,} characters")
    if not 80 <= speed <= 450 or not 0 <= pitch <= 99:
        raise InputError(f"speed {speed} or pitch {pitch} is out of range", fix="speed 80 to 450 words a minute, pitch 0 to 99")
    with _one_at_a_time, _library(variant=voice.partition("+")[2]) as library:
        samples = _said(library, text, voice, speed, pitch)
    if not samples:
        raise BadValue(f"eSpeak NG says nothing for {text[:40]!r}", fix="give a text with letters or digits")
    return samples


def languages() -> list[str]:
    """What may stand before the `+` of a voice: every language of eSpeak NG, by its code."""
    return sorted(_files())


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    """{code of a language: the file that speaks it}: the one called so, else the one that says it speaks it best."""
    found: dict[str, tuple[int, str]] = {}
    for path in sorted((Path(_loader().get_data_path()) / "lang").rglob("*")):
        if not path.is_file():
            continue
        found[path.name.lower()] = (0, path.name)
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split()
            if words[:1] == ["language"] and len(words) > 1:
                rank = int(words[2]) if len(words) > 2 and words[2].isdigit() else 5
                found[words[1].lower()] = min(found.get(words[1].lower(), (99, "")), (rank, path.name))
    return {code: name for code, (_, name) in found.items()}


def variants() -> list[str]:
    """What may stand after the `+` of a voice."""
    return sorted(os.listdir(Path(_loader().get_data_path()) / "voices" / "!v"))


def _loader() -> Any:
    return need("espeakng_loader", extra="speak", why="speaking a text")


def _said(library: Any, text: str, voice: str, speed: int, pitch: int) -> bytes:
    parts: list[bytes] = []

    def hear(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            parts.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _Callback(hear)  # kept alive until the end of this function
    library.espeak_SetSynthCallback(callback)
    language, plus, variant = voice.partition("+")
    named = _files().get(language.lower(), language) + plus + variant  # eSpeak goes by its files: en-gb lies in `en`
    if library.espeak_SetVoiceByName(named.encode()):
        raise InputError(f"eSpeak NG has no voice {voice!r}", fix="a language and a variant, for example en-us+f3 or en-gb-scotland+m5")
    library.espeak_SetParameter(_SPEED, speed, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    words = text.encode()
    size = ctypes.c_size_t(len(words) + 1)
    if library.espeak_Synth(words, size, 0, 0, 0, _CHARS_UTF8, None, None):
        raise BadValue(f"eSpeak NG failed on {text[:40]!r}", fix="try another text or voice")
    return b"".join(parts)


@contextmanager
def _library(variant: str) -> Iterator[Any]:
    """The library eSpeak NG, loaded afresh and unloaded again (2 ms).

    A voice's flutter goes on from where the last utterance left it, in a variable that no call resets: kept loaded, a word
    would sound a little different after other words.
    """
    loader = _loader()
    with _short(loader.get_data_path()) as data:
        # An unknown variant would be replaced by the plain voice without a word.
        if variant and variant not in (variants := sorted(os.listdir(Path(data) / "voices" / "!v"))):
            raise InputError(f"eSpeak NG has no voice variant {variant!r}", known=variants)
        try:
            library = ctypes.CDLL(loader.get_library_path())
        except OSError as error:
            raise InputError(f"eSpeak NG cannot be loaded: {error}", fix="pip install --force-reinstall 'triptych[speak]'") from error
        try:
            if library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT) != RATE:
                raise InputError("eSpeak NG does not start", where=data, fix="pip install --force-reinstall 'triptych[speak]'")
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            yield library
        finally:
            library.espeak_Terminate()
            _unload(library._handle)


_unload: Any = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary", None)  # the second on Windows


@contextmanager
def _short(data: str) -> Iterator[str]:
    """The folder of eSpeak NG's data, by a link where its own path is too long for it."""
    if len(os.fsencode(data)) <= LONGEST_PATH:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        link = Path(folder) / "espeak-ng-data"
        link.symlink_to(data, target_is_directory=True)
        yield str(link)
