#!/usr/bin/env python3
"""Writes tests/golden/adamw.json: three steps of torch.optim.AdamW on a handful of values.

Needs PyTorch.
"""

import json
import pathlib

import torch

HYPER = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
STEPS = 3
VALUES = 19  # not a multiple of any vector length


def main():
    generator = torch.Generator().manual_seed(0)
    master = torch.nn.Parameter(torch.randn(VALUES, generator=generator))
    gradients = torch.randn(STEPS, VALUES, generator=generator)
    gradients[:, 3] = 0  # decay alone
    gradients[:, 5] *= 1e-7  # eps matters
    optimizer = torch.optim.AdamW(
        [master],
        lr=HYPER["lr"],
        betas=(HYPER["beta1"], HYPER["beta2"]),
        eps=HYPER["eps"],
        weight_decay=HYPER["weight_decay"],
    )
    golden = {"torch": torch.__version__.split("+")[0], **HYPER, "start": master.tolist()}
    golden["steps"] = []
    for gradient in gradients:
        master.grad = gradient.clone()
        optimizer.step()
        state = optimizer.state[master]
        golden["steps"].append(
            {
                "gradient": gradient.tolist(),
                "master": master.tolist(),
                "m": state["exp_avg"].tolist(),
                "v": state["exp_avg_sq"].tolist(),
            }
        )
    path = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "adamw.json"
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
