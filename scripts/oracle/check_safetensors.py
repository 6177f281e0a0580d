#!/usr/bin/env python3
"""Checks safetensors files against the Python package; needs `pip install safetensors torch`.

check_safetensors.py FILE...        loads each file, prints its metadata and tensors
check_safetensors.py --write FILE   writes the file that tests/train/safetensors_test.cpp reads
"""

import argparse

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def show(path):
    with safe_open(path, framework="pt") as file:
        print(f"{path}: metadata {file.metadata()}")
        for name in file.keys():
            tensor = file.get_tensor(name)
            norm = tensor.double().norm().item()
            print(f"  {name}  {tensor.dtype}  {list(tensor.shape)}  norm {norm:.6g}")


def write(path):
    tensors = {
        "embed.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
        "norm.weight": torch.tensor([1.0, -2.5, 3.140625], dtype=torch.bfloat16),
        "step": torch.tensor(7, dtype=torch.int32),
        "empty": torch.zeros(0, 4),
        "half": torch.tensor([0.5], dtype=torch.float16),
        "deep": torch.zeros(1, 1, 1, 1, 2),
    }
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--write", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.write:
        write(arguments.write)
    for path in arguments.files:
        show(path)


if __name__ == "__main__":
    main()
