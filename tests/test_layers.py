"""Layers, embeddings and heads against their definitions; packed songs do not see each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tiny_models import tiny_config, tiny_stage
from vmusprod.models import attention as att
from vmusprod.models.config import STAGES, StageConfig, config
from vmusprod.models.embeddings import (
    Attributes,
    Context,
    Places,
    RecallInput,
    lookup,
    timing_encoding,
)
from vmusprod.models.heads import CHAINS, Heads, stage_types
from vmusprod.models.layers import MIN_PADDING, DecoderLayer, EncoderLayer, Packed, Shift
from vmusprod.models.task import tempo_level
from vmusprod.music import recall as rc
from vmusprod.music import tokens as tk


def packed(counts: list[int], bars: int = 4) -> Packed:
    """Tokens spread evenly over the bars of each song."""
    lengths = [-(-(n + MIN_PADDING) // att.CHUNK) * att.CHUNK for n in counts]
    valid = torch.cat([(torch.arange(n) < c).float() for n, c in zip(lengths, counts, strict=True)])
    bar = torch.cat([torch.arange(n) * bars // n + (bars + 2) * i for i, n in enumerate(lengths)])
    return Packed(lengths, valid, att.bar_slots(bar, (bars + 2) * len(counts)))


def shake(module: torch.nn.Module) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn_like(p) * 0.2)


def test_shift_is_a_causal_convolution() -> None:
    torch.manual_seed(0)
    shift = Shift(5, 4).double()
    shake(shift)
    place = packed([60, 61])
    x = torch.randn(sum(place.lengths), 5, dtype=torch.float64, requires_grad=True)

    def twin() -> Tensor:
        rows = []
        for t in range(len(x)):
            row = x[t] * place.valid[t]
            for j in range(1, min(4, t + 1)):
                row = row + shift.weight[j - 1] * x[t - j] * place.valid[t - j]
            rows.append(row)
        return torch.stack(rows)

    weights = torch.randn_like(x)
    results = []
    for out in (shift(x, place.valid), twin()):
        x.grad = shift.weight.grad = None
        torch.autograd.backward((out * weights).sum())
        results.append((out, torch.as_tensor(x.grad), torch.as_tensor(shift.weight.grad)))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_shift_steps() -> None:
    torch.manual_seed(0)
    shift = Shift(5, 4)
    shake(shift)
    x = torch.randn(20, 5)
    whole = shift(x, torch.ones(20))
    past = torch.zeros(1, 3, 5)
    for row, expected in zip(x, whole, strict=True):
        out, past = shift.step(row[None], past)
        torch.testing.assert_close(out[0], expected)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@torch.no_grad()
def test_packed_songs_do_not_see_each_other(kind: str) -> None:
    torch.manual_seed(0)
    settings = tiny_config("melody")
    if kind == "encoder":
        encoder = EncoderLayer(64, 2, 64, 0.0)

        def run(x: Tensor, place: Packed, source: Tensor) -> Tensor:
            return torch.as_tensor(encoder(x, place))

        shake(encoder)
    else:
        decoder = DecoderLayer(settings, 64)

        def run(x: Tensor, place: Packed, source: Tensor) -> Tensor:
            return torch.as_tensor(decoder(x, place, source, place))

        shake(decoder)
    both = packed([60, 100])
    x, source = torch.randn(2, sum(both.lengths), 64)
    together = run(x, both, source)
    split = both.lengths[0]
    for count, part in ((60, slice(0, split)), (100, slice(split, None))):
        alone = run(x[part], packed([count]), source[part])
        torch.testing.assert_close(alone[:count], together[part][:count], atol=1e-5, rtol=1e-4)
    noise = torch.where(both.valid[:, None] > 0, source, torch.randn_like(source))
    padded = torch.where(both.valid[:, None] > 0, x, torch.randn_like(x))
    again = run(padded, both, noise)
    rows = both.valid.bool()
    torch.testing.assert_close(again[rows], together[rows], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_decoder_hears_no_later_token() -> None:
    torch.manual_seed(0)
    layer = DecoderLayer(tiny_config("chord"), 64)
    shake(layer)
    place = packed([100])
    x = torch.randn(place.lengths[0], 64)
    before = layer(x, place, None, None)
    x[70:] += 1
    after = layer(x, place, None, None)
    torch.testing.assert_close(before[:70], after[:70])
    assert (before[70:100] != after[70:100]).any(1).all()


@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_losses_are_the_log_probabilities_of_the_chain(stage: str) -> None:
    model = tiny_stage(stage)
    rng = np.random.default_rng(0)
    rows = []
    for kind in [*stage_types(stage)] * 10 + [tk.END]:
        row = np.zeros(7, np.int64)
        row[tk.TYPE] = kind
        for a in CHAINS.get(kind, ()):
            row[a] = rng.integers(1, tk.SIZES[a])
        rows.append(row)
    target = torch.from_numpy(np.array(rows))
    hidden = torch.randn(len(target), 64)
    expected = dict.fromkeys(model.heads.losses(hidden, target), 0.0)
    for h, token in zip(model.heads.norm(hidden), target, strict=True):
        kind = int(token[tk.TYPE])
        expected["type"] -= float(F.log_softmax(model.heads.kind(h), 0)[kind])
        given: list[Tensor] = []
        for a in CHAINS.get(kind, ()):
            logits = model.heads.attribute(tk.ATTRIBUTES[a], h[None], given)[0]
            assert len(logits) == tk.SIZES[a]
            expected[tk.ATTRIBUTES[a]] -= float(F.log_softmax(logits, 0)[token[a]])
            given.append(token[a : a + 1])
    actual = {k: float(v) for k, v in model.heads.losses(hidden, target).items()}
    assert actual == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_a_type_still_has_gradients() -> None:
    """Every process must have the same gradients to average."""
    heads = Heads(tiny_config("melody"))
    losses = heads.losses(torch.randn(3, 64), torch.zeros(3, 7, dtype=torch.int64))
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    assert all(p.grad is not None for p in heads.parameters())


def test_lookup() -> None:
    vectors = torch.randn(4, 3)
    index = torch.tensor([[0, -1], [3, 1]])
    out = lookup(vectors, index)
    assert torch.equal(out[0, 0], vectors[0])
    assert not out[0, 1].any()
    assert torch.equal(out[1], vectors[[3, 1]])


def test_places_add_one_row_a_field() -> None:
    settings = tiny_config("melody")
    places = Places(settings)
    rng = np.random.default_rng(0)
    highest = {"bar": 40, "step": 15, "timing": 100, "tempo": 40, "mode": 2, "style": 3}
    names = [f.name for f in dataclasses.fields(Context)]
    values = {n: torch.from_numpy(rng.integers(0, highest.get(n, 8) + 1, 50)) for n in names}
    base = places(Context(**values))
    assert base.shape == (50, 64)
    for name in names:
        moved = {**values, name: (values[name] + 1) % (highest.get(name, 8) + 1)}
        assert (places(Context(**moved)) != base).any(1).all(), name
    # bars past the table share its last row, apart from their place in the phrase
    far = {**values, "bar": values["bar"] * 0 + settings.max_bars}
    further = {**far, "bar": far["bar"] + 16}
    torch.testing.assert_close(places(Context(**far)), places(Context(**further)))


def test_timing_encoding() -> None:
    encoding = timing_encoding(torch.arange(101), 16)
    assert encoding.shape == (101, 16)
    torch.testing.assert_close(encoding[0], torch.tensor([0.0] * 8 + [1.0] * 8))
    torch.testing.assert_close(encoding[:, 0], torch.arange(101).float().sin())
    assert (torch.pdist(encoding) > 1e-3).all()


def test_tempo_level() -> None:
    assert [tempo_level(t) for t in (1, 40, 42.4, 42.6, 120, 240, 999)] == [0, 0, 0, 1, 16, 40, 40]


def test_attributes_read_their_own_columns() -> None:
    table = Attributes((4, 4, 0, 0, 0, 4, 4), 0, 8)
    tokens = torch.tensor([[3, 0, 0, 0, 0, 5, 2]])
    other = tokens.clone()
    other[0, [tk.PITCH, tk.DURATION, tk.VELOCITY]] = 7
    assert torch.equal(table(tokens), table(other))
    other[0, tk.QUALITY] = 7
    assert not torch.equal(table(tokens), table(other))
    chroma = Attributes((4, 4, 0, 0, 0, 0, 0), 6, 8)
    chord = torch.tensor([[1, 1]])
    assert not torch.equal(chroma(tokens, chord), chroma(tokens, torch.tensor([[1, 2]])))
    nothing = chroma(tokens, torch.tensor([[13, 11]]))
    assert torch.equal(nothing, chroma(tokens, torch.tensor([[0, 0]])))


def test_recall_input_without_hints_is_the_runs_alone() -> None:
    table = RecallInput(8)
    run = torch.zeros(1, rc.SLOTS, dtype=torch.int64)
    out = table(torch.zeros(0, 8), torch.full((1, rc.SLOTS), -1), run)
    torch.testing.assert_close(out[0], table.runs[:: rc.RUN_LEVELS].sum(0))


class TestConfig:
    """Table 7, and what a file's header may say."""

    @pytest.mark.parametrize("stage", STAGES)
    @pytest.mark.parametrize("name", ["paper", "small"])
    def test_round_trip(self, name: str, stage: str) -> None:
        import json

        settings = config(name, stage)
        assert StageConfig.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings

    def test_paper_sizes(self) -> None:
        chord, melody, rest = (config("paper", s) for s in STAGES)
        assert {c.width for c in (chord, melody, rest)} == {512}
        assert {c.feed_forward for c in (chord, melody, rest)} == {2048}
        assert {c.heads for c in (chord, melody, rest)} == {8}
        assert (chord.decoder_layers, chord.encoder_layers) == (4, 0)
        assert (melody.decoder_layers, melody.encoder_layers) == (6, 4)
        assert (rest.decoder_layers, rest.encoder_layers) == (6, 4)
        assert (melody.recall, melody.aligned, melody.shift) == (False, False, 0)

    def test_unknown_names(self) -> None:
        with pytest.raises(ValueError, match="unknown configuration 'huge'"):
            config("huge", "chord")
        with pytest.raises(ValueError, match="unknown stage 'drums'"):
            config("small", "drums")

    @pytest.mark.parametrize(
        "change",
        [
            {"width": 0},
            {"width": -8},
            {"width": 10**12},
            {"width": "64"},
            {"width": True},
            {"width": 7},
            {"heads": 3},
            {"decoder_layers": 10**9},
            {"dropout": float("nan")},
            {"dropout": 1.0},
            {"decoder_sizes": (0,) * 7},
            {"decoder_sizes": (1, 2)},
            {"decoder_sizes": [-1] * 7},
            {"encoder_layers": 0},
            {"timing_size": 15},
            {"shift": 9},
            {"recall": 1},
            {"stage": "drums"},
            {"stage": None},
            {"colour": 3},
        ],
        ids=str,
    )
    def test_absurd_values_are_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(ValueError, match=r"\w+"):
            StageConfig.from_dict({**config("small", "melody").to_dict(), **change})

    @pytest.mark.parametrize("values", [None, [], 3, {}])
    def test_no_configuration_at_all(self, values: object) -> None:
        with pytest.raises(ValueError, match="unknown fields"):
            StageConfig.from_dict(values)
