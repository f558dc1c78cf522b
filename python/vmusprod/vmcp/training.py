"""Training of VMCP: closed-form maps, then InfoNCE with a small rate on crops of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vmusprod.errors import VmusError
from vmusprod.vmcp.canonical import canonical_maps, principal_components
from vmusprod.vmcp.config import VmcpConfig, shares
from vmusprod.vmcp.encoder import Encoders, similarities, video_rows
from vmusprod.vmcp.metric import Retrieval, retrieval
from vmusprod.vmcp.model import Encoder, Views, Vmcp
from vmusprod.vmcp.rows import AFFECT_COLUMNS, PIXEL_SIZE, Rows, view

__all__ = [
    "FitOptions",
    "PairRows",
    "cross_validate",
    "fit",
    "fit_midi_shift",
    "pair_scores",
]

MIN_PAIRS = 8
_FLAT = 1e-4  # a column that varies less says nothing


@dataclass(frozen=True)
class PairRows:
    """One training pair, a row a second: CLIP features (S, 768) or None, pixels, music (T, D).

    CLIP features may be in half precision.
    """

    semantic: NDArray[np.floating] | None
    pixels: Rows
    music: Rows


@dataclass(frozen=True)
class FitOptions:
    """How to train; the defaults are the result of cross-validation on MuVi-Sync's train split.

    components: kept of CLIP's 768. ridges: of the canonical correlation, video and music. steps,
    batch, rate, decay: of the InfoNCE training; rate_whole: the rate of the linear maps. crops:
    stretches of each pair, from `shortest` of its length up, beside the whole. segment_share:
    weight of the loss over segments. without_affect: share of videos shown without affect.
    """

    components: int = 128
    ridges: tuple[float, float] = (15.0, 1.0)
    steps: int = 40
    batch: int = 128
    rate: float = 5e-4
    rate_whole: float = 1e-5
    decay: float = 0.1
    crops: int = 5
    shortest: float = 0.4
    segment_share: float = 0.3
    without_affect: float = 0.1
    seed: int = 0


Progress = Callable[[str, float], None]


def fit(
    pairs: Sequence[PairRows],
    config: VmcpConfig,
    options: FitOptions,
    progress: Progress | None = None,
) -> Vmcp:
    """Train on pairs of one kind; returns the model in evaluation mode.

    `config` says which sides; its numbers of columns are set from the data. Raises VmusError: too
    few pairs, or no CLIP features for the clip side. The same pairs and options give the same
    model.
    """
    if len(pairs) < MIN_PAIRS:
        raise VmusError(f"training needs at least {MIN_PAIRS} pairs, not {len(pairs)}")
    if config.side == "clip" and any(pair.semantic is None for pair in pairs):
        raise VmusError("the clip side needs videos with CLIP features")
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    semantic = min(options.components, 768) if config.side == "clip" else 0
    columns = {"video_columns": semantic + PIXEL_SIZE, "music_columns": pairs[0].music.shape[1]}
    model = Vmcp(replace(config, semantic=semantic, **columns))
    if semantic:
        _fit_projection(model, pairs)
    video, music = _crops(model, pairs, options, rng)
    _fit_scales(model, video, music, len(pairs))
    whole = torch.arange(len(pairs))
    _fit_maps(model, video.select(whole), music.select(whole), options)
    _descend(model, video, music, len(pairs), options, rng, progress)
    return model.eval()


def fit_midi_shift(model: Vmcp, musics: Sequence[Rows]) -> None:
    """Note how MIDI differs from the music that the model learned from.

    `musics`: rows of typical MIDI files. Their mean view less that of the training music is taken
    off every view of MIDI from now on; without it, all piano pieces look alike to the model.
    Raises VmusError for fewer than 8 files.
    """
    if len(musics) < MIN_PAIRS:
        raise VmusError(f"MIDI's mean needs at least {MIN_PAIRS} files, not {len(musics)}")
    _, right = shares(model.config)
    views = _stacked([_tensors(rows, right) for rows in musics])
    model.midi_summary.copy_(views.summary.mean(0) - model.music.centre)
    model.midi_segments.copy_(views.segments.mean((0, 1)) - model.music.segment_centre)


def cross_validate(
    pairs: Sequence[PairRows],
    config: VmcpConfig,
    options: FitOptions,
    folds: int,
    candidates: int,
    progress: Progress | None = None,
) -> Retrieval:
    """Retrieval of pairs that the models did not see, all folds together.

    Raises VmusError as `fit`, and when a fold holds fewer pairs than candidates.
    """
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    pools = []
    for number in range(folds):
        part = np.sort(order[number::folds])
        rest = np.setdiff1d(order, part)
        model = fit([pairs[i] for i in rest], config, options)
        pools.append(pair_scores(model.encoders(), [pairs[i] for i in part]))
        if progress is not None:
            progress(f"fold {number + 1}", (number + 1) / folds)
    return retrieval(pools, candidates, seed=options.seed)


def pair_scores(encoders: Encoders, pairs: Sequence[PairRows]) -> NDArray[np.float64]:
    """Score of each pair's music (row) with each pair's video (column): float64 (N, N)."""
    video = [encoders.video(p.semantic, p.pixels) for p in pairs]
    music = [encoders.music(p.music) for p in pairs]
    return similarities(np.stack(music), np.stack(video))


def _fit_projection(model: Vmcp, pairs: Sequence[PairRows]) -> None:
    sample = np.concatenate([p.semantic[::10] for p in pairs if p.semantic is not None])
    centre, directions = principal_components(sample.astype(np.float32), model.config.semantic)
    model.projection_centre.copy_(torch.as_tensor(centre))
    # Half precision, as the file keeps it: what is fitted next must see the very same numbers.
    model.projection.copy_(torch.as_tensor(directions).half())


def _tensors(rows: Rows, columns: NDArray[np.bool_]) -> Views:
    """View of one piece, with a first axis of 1; `columns`: which are shares."""
    seen = view(rows, columns)
    return Views(torch.as_tensor(seen.segments)[None], torch.as_tensor(seen.summary)[None])


def _stacked(parts: Sequence[Views]) -> Views:
    """Views of several pieces as one."""
    return Views(
        torch.cat([part.segments for part in parts]), torch.cat([part.summary for part in parts])
    )


def _crops(
    model: Vmcp, pairs: Sequence[PairRows], options: FitOptions, rng: np.random.Generator
) -> tuple[Views, Views]:
    """Views of all pairs whole, then of all pairs cropped, the same part of both sides; ..."""
    left, right = shares(model.config)
    clip = model.projection_centre.numpy(), model.projection.numpy()
    whole = [(video_rows(p.semantic, p.pixels, *clip), p.music) for p in pairs]
    videos, musics = [], []
    for number in range(options.crops + 1):
        for rows, music in whole:
            size = rng.uniform(options.shortest, 1.0) if number else 1.0
            begin = rng.uniform(0, 1 - size)
            videos.append(_tensors(_part(rows, begin, size), left))
            musics.append(_tensors(_part(music, begin, size), right))
    return _stacked(videos), _stacked(musics)


def _part(rows: Rows, begin: float, size: float) -> Rows:
    first = round(begin * len(rows))
    return rows[first : max(first + 1, round((begin + size) * len(rows)))]


def _fit_scales(model: Vmcp, video: Views, music: Views, count: int) -> None:
    """Standardise; CLIP's components keep their ratio, so that the ridge shrinks the small ones."""
    semantic = model.config.semantic
    for encoder, views in ((model.video, video), (model.music, music)):
        for name, rows in (("", views.summary[:count]), ("segment_", views.segments.flatten(0, 1))):
            centre = torch.nanmean(rows, dim=0)
            variance = torch.nanmean((rows - centre) ** 2, dim=0)
            centre, variance = torch.nan_to_num(centre), torch.nan_to_num(variance)
            scale = torch.where(variance > _FLAT**2, (variance + 1e-12).rsqrt(), 0.0)
            if encoder is model.video and semantic:
                own = variance[..., :semantic]
                even = (768 / own.sum(-1, keepdim=True).clamp(min=1e-12)).sqrt()
                scale[..., :semantic] = even if not name else even * (semantic / 768) ** 0.5
            getattr(encoder, f"{name}centre").copy_(centre)
            getattr(encoder, f"{name}scale").copy_(scale)
    # What the blocks weigh: pixels are few beside CLIP's columns, and the later blocks noisier.
    model.video.scale[1:, :semantic] *= 0.5
    model.video.scale[:, semantic:] *= 2.0
    model.music.scale[2:] *= 0.7


def _fit_maps(model: Vmcp, video: Views, music: Views, options: FitOptions) -> None:
    left, right = _standard(model.video, video), _standard(model.music, music)
    maps = canonical_maps(left, right, model.config.space, options.ridges)
    with torch.no_grad():
        model.video.whole.weight.copy_(torch.as_tensor(maps[0].T))
        model.music.whole.weight.copy_(torch.as_tensor(maps[1].T))


def _standard(encoder: Encoder, views: Views) -> NDArray[np.float64]:
    rows = torch.nan_to_num((views.summary - encoder.centre) * encoder.scale).flatten(1)
    return rows.double().numpy()


def _descend(
    model: Vmcp, video: Views, music: Views, count: int, options: FitOptions,
    rng: np.random.Generator, progress: Progress | None,
) -> None:  # fmt: skip
    whole = [model.video.whole.weight, model.music.whole.weight]
    known = {id(weight) for weight in whole}
    rest = [weight for weight in model.parameters() if id(weight) not in known]
    groups = [
        {"params": whole, "lr": options.rate_whole, "weight_decay": 0.0},
        {"params": rest, "lr": options.rate, "weight_decay": options.decay},
    ]
    optimiser = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / 20) * (1 - step / max(options.steps, 1))
    )
    model.train()
    for step in range(options.steps):
        index = torch.as_tensor(_batch(count, options, rng))
        seen = _hidden(video.select(index), options.without_affect, rng)
        loss = model.loss(
            model.video(seen), model.music(music.select(index)), options.segment_share
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            told = f"step {step + 1}, loss {float(loss.detach()):.3f}"
            progress(told, (step + 1) / options.steps)


def _batch(count: int, options: FitOptions, rng: np.random.Generator) -> NDArray[np.int64]:
    """Different pairs, each one of its crops or the whole."""
    chosen = rng.permutation(count)[: options.batch]
    return np.asarray(chosen + count * rng.integers(0, options.crops + 1, len(chosen)), np.int64)


def _hidden(views: Views, rate: float, rng: np.random.Generator) -> Views:
    """Some videos without their affect, as where no network for it is at hand."""
    hidden = torch.as_tensor(rng.random(len(views)) < rate)
    segments, summary = views.segments.clone(), views.summary.clone()
    segments[hidden, :, -AFFECT_COLUMNS:] = torch.nan
    summary[hidden, :, -AFFECT_COLUMNS:] = torch.nan
    return Views(segments, summary)
