"""MIDI to sound: FluidSynth and a soundfont, offline, as long as the file to the sample."""

from __future__ import annotations

import contextlib
import importlib
import importlib.resources
import io
import os
import tempfile
import wave
from collections.abc import Iterator
from ctypes import c_int, c_void_p
from pathlib import Path
from typing import IO, Any

import numpy as np

from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.files import atomic_output
from vmusprod.music.midi_events import MidiEvent, read_events
from vmusprod.sound import Block, levelling, measure

__all__ = ["SOUNDFONT", "check_fluidsynth", "render_wav"]

SOUNDFONT = "FluidR3-piano.sf3"
FADE_SECONDS = 0.05

_INSTALL = (
    "FluidSynth is missing, which renders music as sound: apt install libfluidsynth3 (Debian, "
    "Ubuntu), brew install fluid-synth (macOS), choco install fluidsynth (Windows)"
)
_BLOCK = 8192  # samples
# Well below full scale for any piano: the level is set afterwards.
_GAIN = 0.5
_SETTINGS: dict[str, int | str] = {
    # One core: with more the order of addition, and so the last bit, would change.
    "synth.cpu-cores": 1,
    "synth.polyphony": 256,
    "synth.chorus.active": 0,
    "synth.reverb.active": 1,
    "synth.dynamic-sample-loading": 0,
}


def render_wav(
    midi_path: str | os.PathLike[str],
    wav_path: str | os.PathLike[str],
    soundfont: str | os.PathLike[str] | None = None,
    sample_rate: int = 44100,
    loudness: float = -16.0,
) -> None:
    """Play a MIDI file into a WAV file: 16 bit, stereo, as many samples as the file lasts.

    What still rings at the end is faded over the last 50 ms. The whole is brought to `loudness`
    (LUFS), true peaks below -1 dB. Without `soundfont` the piano in the package plays every
    program. The same inputs give the same bytes; memory does not grow with the sound (which lies
    in a temporary file beside `wav_path` meanwhile, 8 bytes a sample).

    Raises InputError for a MIDI file or soundfont that cannot be read, OutputError when `wav_path`
    cannot be written, MissingDependencyError without the FluidSynth library, ValueError for a
    sample rate outside 8000..96000.
    """
    if not 8000 <= sample_rate <= 96000:
        raise ValueError(f"sample_rate must be 8000..96000, not {sample_rate}")
    events, length = read_events(midi_path, sample_rate)
    fluidsynth = _fluidsynth()
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_output(wav_path))
        raw = stack.enter_context(tempfile.TemporaryFile(dir=temporary.parent))
        player = stack.enter_context(_Player(fluidsynth, _font(stack, soundfont), sample_rate))
        level = measure(_kept(player.play(events, length), raw), sample_rate)
        raw.seek(0)
        blocks = levelling(level, loudness).apply(_read_back(raw))
        _write_wav(temporary, _faded(blocks, length, sample_rate), sample_rate)


def check_fluidsynth() -> None:
    """Raise MissingDependencyError if nothing can be rendered on this machine."""
    _fluidsynth()


def _fluidsynth() -> Any:
    """Return the module `fluidsynth`, quiet."""
    try:
        # It prints where it found the library when CI is set in the environment.
        with contextlib.redirect_stdout(io.StringIO()):
            module = importlib.import_module("fluidsynth")
    except ModuleNotFoundError as error:
        raise MissingDependencyError("pyfluidsynth is missing: pip install pyfluidsynth") from error
    except (ImportError, OSError) as error:
        raise MissingDependencyError(_INSTALL) from error
    silence = module.cfunc(
        "fluid_set_log_function",
        c_void_p,
        ("level", c_int, 1),
        ("fun", c_void_p, 1),
        ("data", c_void_p, 1),
    )
    for level in range(5):
        silence(level, None, None)
    return module


class _Player:
    """A synthesizer that is told events and asked for samples; a context manager."""

    def __init__(self, fluidsynth: Any, font: Path, rate: int) -> None:
        self._synth = fluidsynth.Synth(gain=_GAIN, samplerate=float(rate), channels=16, **_SETTINGS)
        self._write = fluidsynth.cfunc(
            "fluid_synth_write_float",
            c_int,
            ("synth", c_void_p, 1),
            ("len", c_int, 1),
            ("left", c_void_p, 1),
            ("left_offset", c_int, 1),
            ("left_step", c_int, 1),
            ("right", c_void_p, 1),
            ("right_offset", c_int, 1),
            ("right_step", c_int, 1),
        )
        if self._synth.sfload(str(font), 1) < 0:
            self._synth.delete()
            raise InputError(font, "not a soundfont that FluidSynth can load")

    def __enter__(self) -> _Player:
        return self

    def __exit__(self, *_: object) -> None:
        self._synth.delete()

    def play(self, events: list[MidiEvent], length: int) -> Iterator[Block]:
        """Yield `length` samples of sound."""
        position = 0
        for sample, status, first, second in events:
            yield from self._sound(sample - position)
            position = sample
            self._tell(status, first, second)
        yield from self._sound(length - position)

    def _sound(self, samples: int) -> Iterator[Block]:
        while samples > 0:
            block = np.empty((min(samples, _BLOCK), 2), np.float32)
            place = block.ctypes.data
            self._write(self._synth.synth, len(block), place, 0, 2, place, 1, 2)
            yield block
            samples -= len(block)

    def _tell(self, status: int, first: int, second: int) -> None:
        kind, channel = status & 0xF0, status & 0x0F
        if kind == 0x90 and second:
            self._synth.noteon(channel, first, second)
        elif kind in (0x80, 0x90):
            self._synth.noteoff(channel, first)
        elif kind == 0xB0:
            self._synth.cc(channel, first, second)
        elif kind == 0xC0:
            self._synth.program_change(channel, first)
        elif kind == 0xE0:
            self._synth.pitch_bend(channel, (second << 7 | first) - 8192)


def _font(stack: contextlib.ExitStack, chosen: str | os.PathLike[str] | None) -> Path:
    """Return the soundfont as a file: the user's, or the one in the package."""
    if chosen is None:
        packaged = importlib.resources.files("vmusprod.music") / "soundfont" / SOUNDFONT
        return stack.enter_context(importlib.resources.as_file(packaged))
    try:
        with Path(chosen).open("rb") as file:
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise InputError(chosen, error) from error
    # FluidSynth itself complains on stderr, past every handler.
    if head[:4] != b"RIFF" or head[8:] not in (b"sfbk", b"DLS "):
        raise InputError(chosen, "not a soundfont (.sf2, .sf3)")
    if int.from_bytes(head[4:8], "little") + 8 > size:
        raise InputError(chosen, "the soundfont is cut short")
    return Path(chosen)


def _kept(blocks: Iterator[Block], file: IO[bytes]) -> Iterator[Block]:
    """Yield the blocks, and write each to `file`."""
    for block in blocks:
        file.write(block.tobytes())
        yield block


def _read_back(file: IO[bytes]) -> Iterator[Block]:
    while data := file.read(8 * _BLOCK):
        yield np.frombuffer(data, np.float32).reshape(-1, 2)


def _faded(blocks: Iterator[Block], length: int, rate: int) -> Iterator[Block]:
    """Yield the blocks, `length` samples in all, with the last 50 ms falling to nothing."""
    fade = max(1, min(round(FADE_SECONDS * rate), length))
    position = 0
    for block in blocks:
        left = length - np.arange(position, position + len(block))
        gain = np.sin(np.pi / 2 * np.minimum(left / (fade + 1), 1.0)) ** 2
        yield block * gain[:, None].astype(np.float32)
        position += len(block)


def _write_wav(path: Path, blocks: Iterator[Block], rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        for block in blocks:
            whole = np.rint(np.clip(block, -1.0, 1.0) * 32767)
            file.writeframes(whole.astype("<i2").tobytes())
