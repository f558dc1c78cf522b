"""The mean of several weights of one stage: a little better than each where they are near.

    python docs/average_weights.py melody 0.2 OLD.safetensors 0.5 RUN/melody.safetensors \\
        0.3 RUN/state.pt -o melody.safetensors [--evaluate PACK]

Each file has its share before it. Of a run's state.pt its averaged weights are taken. The record
of the run (`about`) is the last .safetensors'; what was averaged is added to it.
"""

import argparse
from pathlib import Path

import torch

from vmusprod.dataset.pack import Pack
from vmusprod.models.weights import load_stage, save_stage
from vmusprod.training.data import StageData
from vmusprod.training.trainer import evaluate


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage")
    parser.add_argument("parts", nargs="+", metavar="SHARE FILE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--evaluate", type=Path, metavar="PACK")
    options = parser.parse_args()
    shares = [float(share) for share in options.parts[::2]]
    files = [Path(name) for name in options.parts[1::2]]
    if all(file.suffix == ".pt" for file in files):
        parser.error("one .safetensors at least, whose record is kept")
    if len(shares) != len(files) or abs(sum(shares) - 1) > 1e-6:
        parser.error("a share and a file each, the shares 1 together")

    held = []
    for file in files:
        if file.suffix == ".pt":
            held.append(torch.load(file, map_location="cpu", weights_only=True)["average"])
        else:
            model, about = load_stage(file, options.stage)
            held.append(model.state_dict())
    mean = {
        name: sum(share * part[name].float() for share, part in zip(shares, held, strict=True))
        if value.is_floating_point() else value
        for name, value in held[0].items()
    }  # fmt: skip
    model.load_state_dict(mean)
    about["mean_of"] = [f"{share} {file}" for share, file in zip(shares, files, strict=True)]
    if options.evaluate is not None:
        data = StageData(Pack(options.evaluate).songs("val"), options.stage, model.config.sources)
        about["val"] = evaluate(model, data, torch.device("cpu"))
        print(about["val"])
    save_stage(options.output, model.config, model.state_dict(), about)


if __name__ == "__main__":
    main()
