"""The audio side of VMCP: music as a tagger hears it (paper, section 5.1).

`musicnn` (Pons and Serra; PyTorch weights by Won et al., trained on MagnaTagATune or Jamendo) gives
200 numbers every three seconds, the layer before its tags. MIDI is rendered first.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vmusprod.downloads import TAGGER, fetched, place
from vmusprod.errors import InputError, VmusError
from vmusprod.music.render import render_wav
from vmusprod.sound import read_sound
from vmusprod.vmcp.pairs import MIDI_SUFFIXES

__all__ = ["Tagger", "find_tagger"]

_RATE = 16_000
_FFT = 512
_CHUNK_SECONDS = 3
_BATCH = 16
_MAX_SECONDS = 6 * 3600
_EMBEDDING = 200


class Tagger:
    """Rows of a piece of music, from the weights at `path`. Raises InputError for other files."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._network = _load(Path(path))

    def rows(self, music: str | os.PathLike[str]) -> NDArray[np.float32]:
        """float32 (S, 200), one a second, of a MIDI or audio file.

        Raises InputError: unreadable, no sound, over six hours; MissingDependencyError without
        FluidSynth.
        """
        path = Path(music)
        if path.suffix.lower() in MIDI_SUFFIXES:
            with tempfile.TemporaryDirectory() as folder:
                wav = Path(folder) / "rendered.wav"
                render_wav(path, wav, sample_rate=_RATE)
                return self._heard(wav)
        return self._heard(path)

    def _heard(self, path: Path) -> NDArray[np.float32]:
        size = _CHUNK_SECONDS * _RATE
        parts: list[NDArray[np.float32]] = []
        samples = 0
        for block in read_sound(path, _RATE):
            parts.append(block.mean(axis=1))
            samples += len(block)
            if samples > _MAX_SECONDS * _RATE:
                raise InputError(path, "longer than six hours")
        if samples == 0:
            raise InputError(path, "no sound in it")
        sound = np.concatenate(parts)
        chunks = np.resize(np.pad(sound, (0, -samples % size)), (-(-samples // size), size))
        with torch.no_grad(), _without_denormals():
            found = [
                self._network(torch.as_tensor(chunks[i : i + _BATCH]))
                for i in range(0, len(chunks), _BATCH)
            ]
        seconds = max(1, samples // _RATE)
        return np.repeat(torch.cat(found).numpy(), _CHUNK_SECONDS, axis=0)[:seconds]


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Silence decays into denormal numbers, which take forty times as long."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def find_tagger(path: Path | None) -> Path:
    """Return the tagger's weights: `path`, or those that `vmus models fetch tagger` left.

    Raises VmusError, which says how to get them.
    """
    kept = path or fetched(TAGGER)
    if kept is None:
        raise VmusError(
            f"the audio side needs a music tagger's weights: run `vmus models fetch tagger` (3 MB),"
            f" or give them by --tagger FILE; without a network save {TAGGER.url} as "
            f"{place(TAGGER)}"
        )
    return kept


def _load(path: Path) -> _Musicnn:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = _Musicnn(int(state["layer1.conv.weight"].shape[0]))
        network.load_state_dict(state, strict=False)
        missing = set(network.state_dict()) - set(state)
        if missing or any(not torch.isfinite(w).all() for w in network.state_dict().values()):
            raise ValueError("weights are missing or not finite")
    except OSError as error:
        raise InputError(path, error) from error
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError,
            pickle.UnpicklingError) as error:  # fmt: skip
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(path, f"not a musicnn tagger's weights ({cause[:120]})") from error
    return network.eval()


class _Musicnn(nn.Module):
    """Sound (N, samples at 16 kHz) to (N, 200); names of the parts are those of the files."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spec = _Spectrogram()
        self.spec_bn = nn.BatchNorm2d(1)
        tall = [_Tall(204, 67), _Tall(204, 38)]
        wide = [_Wide(51, length) for length in (129, 65, 33)]
        self.layers = nn.ModuleList([*tall, *wide])
        self.layer1, self.layer2, self.layer3 = (
            _Conv(561, width, 7), _Conv(width, width, 7), _Conv(width, width, 7)
        )  # fmt: skip
        self.dense1 = nn.Linear(2 * (561 + 3 * width), _EMBEDDING)
        self.bn = nn.BatchNorm1d(_EMBEDDING)

    def forward(self, sound: Tensor) -> Tensor:
        x = self.spec_bn(self.spec(sound)[:, None])
        front = torch.cat([layer(x) for layer in self.layers], dim=1)
        first = self.layer1(front)
        second = self.layer2(first) + first
        third = self.layer3(second) + second
        x = torch.cat([front, first, second, third], dim=1)
        x = torch.cat([x.amax(-1), x.mean(-1)], dim=1)
        return torch.as_tensor(torch.relu(self.bn(self.dense1(x))))


class _Spectrogram(nn.Module):
    """Decibels of 96 mel bands; window and bands are in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = nn.Module()
        self.spectrogram.register_buffer("window", torch.zeros(_FFT))
        self.mel_scale = nn.Module()
        self.mel_scale.register_buffer("fb", torch.zeros(_FFT // 2 + 1, 96))

    def forward(self, sound: Tensor) -> Tensor:
        window = torch.as_tensor(self.spectrogram.window)
        spectrum = torch.stft(
            sound, _FFT, _FFT // 2, window=window, center=True, return_complex=True
        )
        bands = spectrum.abs().square().transpose(1, 2) @ torch.as_tensor(self.mel_scale.fb)
        return 10 * torch.log10(bands.clamp(min=1e-10)).transpose(1, 2)


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, length, padding=length // 2)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class _Wide(_Conv):
    """Over time, of all bands' mean."""

    def __init__(self, outputs: int, length: int) -> None:
        super().__init__(1, outputs, length)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean(2))


class _Tall(nn.Module):
    """Over seven frames and `height` bands, the loudest place counting."""

    def __init__(self, outputs: int, height: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, (height, 7), padding=(0, 3))
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x))).amax(2)
