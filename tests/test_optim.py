"""Muon, the trapezoid and the averaged weights against their definitions."""

from __future__ import annotations

import pytest
import torch

from tiny_models import tiny_config
from vmusprod.models.stage import Stage
from vmusprod.training.optim import Average, Muon, make_optimizers, orthogonalise, trapezoid


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 20), (1, 20, 8)])
def test_orthogonalise(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    singular = torch.linalg.svdvals(orthogonalise(matrices))
    assert singular.min() > 0.5
    assert singular.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    alike = (orthogonalise(matrices) * (u @ v)).sum((1, 2)) / min(shape[1:])
    assert (alike > 0.8).all()
    assert not orthogonalise(torch.zeros(shape)).any()


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 64, 200), (1, 200, 64)])
def test_orthogonalise_in_bfloat16(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    rough = orthogonalise(matrices, dtype=torch.bfloat16)
    assert rough.dtype == torch.bfloat16
    assert torch.linalg.svdvals(rough.float()).max() < 1.3
    exact = orthogonalise(matrices)
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


def test_muon_in_bfloat16_keeps_its_state_in_float32() -> None:
    torch.manual_seed(0)
    start, target = torch.randn(64, 80), torch.randn(64, 80)
    ends = []
    for dtype in (torch.float32, torch.bfloat16):
        p = start.clone().requires_grad_()
        optimizer = Muon([p], 0.1, dtype=dtype)
        for _ in range(5):
            optimizer.zero_grad()
            torch.autograd.backward(((p - target) ** 2).sum())
            optimizer.step()
        assert optimizer.state[p]["momentum"].dtype == p.dtype == torch.float32
        ends.append(p.detach())
    assert (ends[0] - start).norm() > 1
    assert (ends[1] - ends[0]).norm() < 0.05 * (ends[0] - start).norm()


def test_muon_takes_matrices_and_adam_the_rest() -> None:
    model = Stage(tiny_config("melody"))
    muon, adam = make_optimizers(model, 1e-3, 0.02)
    assert isinstance(muon, Muon)
    names = {id(p): n for n, p in model.named_parameters()}
    groups = [{names[id(p)] for g in o.param_groups for p in g["params"]} for o in (muon, adam)]
    assert groups[0].isdisjoint(groups[1])
    assert groups[0] | groups[1] == set(names.values())
    assert "decoder.0.qkv.weight" in groups[0]
    rest = ("heads.attributes.pitch.logits.weight", "places.table", "recall.runs")
    assert set(rest) <= groups[1]
    assert len(make_optimizers(model, 1e-3, 0.0)) == 1


def test_muon_batches_equal_shapes_without_mixing() -> None:
    torch.manual_seed(0)
    start = torch.randn(3, 8, 8)
    target = torch.randn(3, 8, 8)
    together = [p.clone().requires_grad_() for p in start]
    alone = [p.clone().requires_grad_() for p in start]
    optimizers = [Muon(together, 0.1), *(Muon([p], 0.1) for p in alone)]
    for _ in range(3):
        for params in (together, alone):
            loss = sum((((p - t) ** 2).sum() for p, t in zip(params, target, strict=True)))
            torch.autograd.backward(loss)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(torch.stack(together), torch.stack(alone))
    assert (torch.stack(together) - target).norm() < (start - target).norm()


def test_trapezoid() -> None:
    assert [trapezoid(s, 4, 0.0, 0.3) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    shares = [trapezoid(99, 4, p, 0.5) for p in (0.4, 0.5, 0.75, 1.0, 1.2)]
    assert shares == pytest.approx([1, 1, 0.5, 0, 0])
    assert trapezoid(99, 0, 1.0, 0.0) == 1


def test_average() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(0.0)
    average = Average(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    expected = 0.0
    for step in range(1, 200):
        average.update(model)
        decay = min(0.9, step / (step + 10))
        expected = decay * expected + (1 - decay)
        assert float(average.weights["weight"]) == pytest.approx(expected, rel=1e-4)
    assert expected > 0.99
