"""Weight files: what was saved comes back; what is broken is refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tiny_models import tiny_config, tiny_stage
from vmusprod.errors import InputError, OutputError
from vmusprod.models.config import STAGES
from vmusprod.models.weight_file import FORMAT, default_weights
from vmusprod.models.weights import load_stage, save_stage


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = tiny_stage("melody")
    path = tmp_path / "melody.safetensors"
    save_stage(path, model.config, model.state_dict(), {"songs": 3})
    return path


def refused(path: Path, *words: str, stage: str | None = "melody") -> None:
    with pytest.raises(InputError) as caught:
        load_stage(path, stage)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 300
    for word in words:
        assert word in text


def rewrite(path: Path, **header: str) -> None:
    """Write the model again under another header; an empty value takes the entry out."""
    model = tiny_stage("melody")
    config = json.dumps(model.config.to_dict())
    values = {"format": FORMAT, "config": config, "about": "{}", **header}
    weights = {k: v.half() for k, v in model.state_dict().items()}
    save_file(weights, path, metadata={k: v for k, v in values.items() if v})


@pytest.mark.parametrize("stage", STAGES)
def test_round_trip(stage: str, tmp_path: Path) -> None:
    model = tiny_stage(stage)
    path = tmp_path / "x.safetensors"
    save_stage(path, model.config, model.state_dict(), {"songs": 3})
    loaded, about = load_stage(path, stage)
    assert about == {"songs": 3}
    assert loaded.config == model.config
    assert not loaded.training
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())


def test_unwritable_output(tmp_path: Path) -> None:
    model = tiny_stage("chord")
    with pytest.raises(OutputError):
        save_stage(tmp_path / "no" / "x.safetensors", model.config, model.state_dict(), {})


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "no.safetensors", "no such file")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x80\x02}q\x00." * 9, b"PK\x03\x04" + b"0" * 99]
)
def test_foreign(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    refused(path, "cannot be read as vmus weights")


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.999])
def test_truncated(share: float, saved: Path) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    refused(saved, "cannot be read as vmus weights")


@pytest.mark.parametrize("size", [2**63, 2**40, 10**8 + 1])
def test_hostile_header_length(size: int, saved: Path) -> None:
    data = saved.read_bytes()
    saved.write_bytes(struct.pack("<Q", size) + data[8:])
    refused(saved, "cannot be read as vmus weights")


def test_hostile_offsets(tmp_path: Path) -> None:
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"0" * 64)
    refused(path, "cannot be read as vmus weights")


def test_another_programs(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    refused(path, "not a vmus weights file")


def test_another_stage(saved: Path) -> None:
    refused(saved, "holds the melody stage, not chord", stage="chord")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(value: float, tmp_path: Path) -> None:
    model = tiny_stage("melody")
    weights = model.state_dict()
    weights["heads.norm.bias"][3] = value
    path = tmp_path / "x.safetensors"
    save_stage(path, model.config, weights, {})
    refused(path, "not finite")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"decoder_layers": 8192}, "layers"),
        ({"decoder_layers": 100}, "missing"),
        ({"decoder_layers": 0}, "not of this model"),
        ({"width": 8192, "feed_forward": 8192, "decoder_layers": 100}, "missing"),
        ({"width": 128}, "shape"),
        ({"max_bars": 8192}, "shape"),
        ({"width": 2**40}, "width"),
        ({"aligned": False}, "not of this model"),
    ],
    ids=str,
)
def test_header_that_asks_for_another_model(
    change: dict[str, object], word: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    rewrite(path, config=json.dumps({**tiny_config("melody").to_dict(), **change}))
    refused(path, "cannot be read as vmus weights", word)


@pytest.mark.parametrize(
    "header",
    [
        {"config": ""},
        {"config": "{"},
        {"config": "[1, 2]"},
        {"config": "[" * 100_000},
        {"config": '{"stage": "melody", "width": 1e999}'},
        {"config": '{"stage": ["melody"]}'},
        {"about": "{"},
        {"about": "[1]"},
    ],
    ids=lambda h: str(h)[:40],
)
def test_header_that_makes_no_sense(header: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    rewrite(path, **header)
    refused(path, "cannot be read as vmus weights")


@pytest.mark.parametrize("stage", STAGES)
def test_weights_in_the_package(stage: str) -> None:
    model, about = load_stage(default_weights() / f"{stage}.safetensors", stage)
    assert model.config.stage == stage
    assert about


def test_weights_in_the_package_are_small() -> None:
    sizes = [(default_weights() / f"{stage}.safetensors").stat().st_size for stage in STAGES]
    assert sum(sizes) <= 40e6
