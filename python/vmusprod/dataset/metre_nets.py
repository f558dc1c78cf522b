"""The networks of `metre_fit`: which reading of a pulse is right, which beats are downbeats.

They are flattened in the order in which `vmus_rs/src/beats/model.rs` takes them: a layer is its
weights, a row an input, and its biases. Inputs are standardised for training, and the first layer
written so that it takes them as they are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

LEVEL_HIDDEN, NETS, WIDE, TAPS = 16, 4, 16, 5
DILATIONS = (1, 2, 4, 8)
SPREAD = 0.3  # of readings, in deviations
Array = NDArray[np.float64]
Floats = NDArray[np.float32]


class Readings(nn.Module):
    """A score for each reading."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, LEVEL_HIDDEN)
        self.out = nn.Linear(LEVEL_HIDDEN, 1)
        self.drop = nn.Dropout(0.2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(..., F) -> (...)."""
        score: torch.Tensor = self.out(self.drop(torch.relu(self.hidden(rows))))
        return score[..., 0]


class Downbeats(nn.Module):
    """Log odds of each beat, each layer looking farther along the piece."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, WIDE)
        self.layers = nn.ModuleList(
            nn.Conv1d(WIDE, WIDE, TAPS, padding=TAPS // 2 * d, dilation=d) for d in DILATIONS
        )
        self.last = nn.Linear(WIDE, 1)
        self.drop = nn.Dropout(0.3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(songs, beats, F) -> (songs, beats)."""
        now = torch.relu(self.first(self.drop(rows))).transpose(1, 2)
        for layer in self.layers:
            now = now + self.drop(torch.relu(layer(now)))
        score: torch.Tensor = self.last(now.transpose(1, 2))
        return score[..., 0]


def _flat(weight: torch.Tensor, bias: torch.Tensor) -> Array:
    """A layer (out, in) as a row an input, then the biases."""
    rows = weight.detach().double().numpy().T
    return np.concatenate([rows.ravel(), bias.detach().double().numpy()])


def _unscaled(layer: nn.Linear, mean: Floats, scale: Floats) -> Array:
    """The layer for inputs that are not standardised."""
    weight = layer.weight.detach().double() / torch.tensor(scale).double()
    bias = layer.bias.detach().double() - weight @ torch.tensor(mean).double()
    return _flat(weight, bias)


def _scales(tables: list[Floats]) -> tuple[Floats, Floats]:
    rows = np.concatenate(tables)
    scale = rows.std(axis=0)
    return rows.mean(axis=0), np.where(scale > 1e-4, scale, 1.0).astype(np.float32)


def fit_readings(
    train: list[tuple[Floats, int]], left_out: list[tuple[Floats, int]], seed: int
) -> Array:
    """Softmax over each song's readings: the numbers of NETS networks' mean, as of a wider one."""
    mean, scale = _scales([rows for rows, _ in train])
    songs = [(torch.tensor((rows - mean) / scale), right) for rows, right in train]
    nets = [_fit_readings(songs, seed + k) for k in range(NETS)]
    for name, tables in (("fitted to", train), ("left out", left_out)):
        with torch.no_grad():
            hits = [
                int(sum(net(torch.tensor((rows - mean) / scale)) for net in nets).argmax()) == right
                for rows, right in tables
            ]
        print(f"the right reading: {np.mean(hits):.1%} of {len(hits)} {name}", flush=True)
    wide = nn.Linear(len(mean), NETS * LEVEL_HIDDEN)
    wide.weight.data = torch.cat([net.hidden.weight.data for net in nets])
    wide.bias.data = torch.cat([net.hidden.bias.data for net in nets])
    out = torch.cat([net.out.weight.data for net in nets], dim=1) / NETS
    bias = torch.stack([net.out.bias.data for net in nets]).mean(0)
    return np.concatenate([_unscaled(wide, mean, scale), _flat(out, bias)])


def _fit_readings(songs: list[tuple[torch.Tensor, int]], seed: int) -> Readings:
    torch.manual_seed(seed)
    features = songs[0][0].shape[1]
    net = Readings(features)
    epochs, batch = 15, 64
    steps = epochs * -(-len(songs) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(songs))
        for low in range(0, len(order), batch):
            part = [songs[i] for i in order[low : low + batch]]
            most = max(len(rows) for rows, _ in part)
            inputs, outside = torch.zeros(len(part), most, features), torch.ones(len(part), most)
            for i, (rows, _) in enumerate(part):
                inputs[i, : len(rows)], outside[i, : len(rows)] = rows, 0.0
            # A song's readings are moved together, as another song of the kind would be.
            inputs += SPREAD * torch.randn(len(part), 1, features)
            right = torch.tensor([right for _, right in part])
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(inputs) - 1e9 * outside, right)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def fit_downbeats(
    train: list[tuple[Floats, Array]], left_out: list[tuple[Floats, Array]], seed: int
) -> Array:
    """Cross entropy at each beat: the network's numbers. `left_out`: marks to measure by."""
    torch.manual_seed(seed)
    net = Downbeats(train[0][0].shape[1])
    epochs, batch, span = 12, 16, 192
    steps = epochs * (len(train) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1)
    rng = np.random.default_rng(seed)
    loss_of = nn.functional.binary_cross_entropy_with_logits
    for _ in range(epochs):
        order = rng.permutation(len(train))
        for low in range(0, len(order) - batch + 1, batch):
            rows, targets = [], []
            part = [train[i] for i in order[low : low + batch]]
            length = min(span, min(len(song) for song, _ in part))
            for song, target in part:
                start = int(rng.integers(0, len(song) - length + 1))
                rows.append(song[start : start + length])
                targets.append(target[start : start + length])
            optimizer.zero_grad()
            loss = loss_of(
                net(torch.tensor(np.stack(rows))), torch.tensor(np.stack(targets)).float()
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    net.eval()
    for name, songs in (("fitted to", train), ("left out", left_out)):
        with torch.no_grad():
            losses = [
                float(loss_of(net(torch.tensor(rows)[None])[0], torch.tensor(target).float()))
                for rows, target in songs
            ]
        print(
            f"downbeats: {np.mean(losses):.4f} nats a beat, {len(songs)} songs {name}", flush=True
        )
    parts = [_flat(net.first.weight, net.first.bias)]
    for layer in net.layers:
        assert isinstance(layer, nn.Conv1d)
        # (out, in, taps): a row an input, tap by tap.
        weight = layer.weight.detach().permute(0, 2, 1).reshape(WIDE, -1)
        assert layer.bias is not None
        parts.append(_flat(weight, layer.bias))
    return np.concatenate([*parts, _flat(net.last.weight, net.last.bias)])
