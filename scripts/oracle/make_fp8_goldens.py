#!/usr/bin/env python3
"""Makes tests/golden/fp8.safetensors: what PyTorch's own FP8 types make of a matrix.

Bytes of FP8 lie four to an I32, in memory's order.
  f32 [N]: every value of each type, what lies halfway between neighbours, and either side of that, of both signs;
  f32.e4m3 and f32.e5m2: the same rounded, held inside the type's range first;
  x [R, C] bf16, of very different magnitudes, and x.TYPE.BLOCKS, x_t.TYPE.BLOCKS with .scales: x and its transpose,
  quantised with scale = max(amax, 2^-100) / largest of the type, in f32, for BLOCKS
    whole: one amax; rows: of 128 neighbours of a row; squares: of 128 x 128;
  product.BLOCKS [R, N] f32: the product of x and w [N, C], both as e4m3, computed in f64. w is whole or in squares.
Scales lie as ops/fp8.h says. Needs torch and safetensors:  python scripts/oracle/make_fp8_goldens.py
"""

import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "fp8.safetensors"
ROWS, COLUMNS, WIDTH, BLOCK = 144, 160, 32, 128
TYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


def packed(values):
    return values.contiguous().view(torch.uint8).reshape(-1).view(torch.int32)


def rounded(values, dtype):
    largest = torch.finfo(dtype).max
    return values.clamp(-largest, largest).to(dtype)


def values_worth_rounding(dtype):
    every = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    every = every[every.isfinite()].sort().values.unique()
    halfway = (every[1:] + every[:-1]) / 2
    infinity = torch.tensor(float("inf"))
    return torch.cat([every, halfway, halfway.nextafter(infinity), halfway.nextafter(-infinity)])


def blocks_of(x, height, width):
    """The amax of each block, and of each element's block."""
    rows, columns = x.shape
    padded = torch.zeros(-(-rows // height) * height, -(-columns // width) * width)
    padded[:rows, :columns] = x.abs()
    amax = padded.view(padded.shape[0] // height, height, -1, width).amax(dim=(1, 3))
    return amax, amax.repeat_interleave(height, 0)[:rows].repeat_interleave(width, 1)[:, :columns]


def scale_of(amax, dtype):
    return amax.clamp(min=2.0**-100) / torch.finfo(dtype).max


def quantized(x, dtype, blocks):
    """FP8 values, and scales as they lie and of each element."""
    x = x.float()
    if blocks == "whole":
        amax, each = blocks_of(x, *x.shape)
    elif blocks == "rows":
        amax, each = blocks_of(x, 1, BLOCK)
    else:
        amax, each = blocks_of(x, BLOCK, BLOCK)
    scales, each = scale_of(amax, dtype), scale_of(each, dtype)
    if blocks == "whole":
        scales = scales.reshape(1)
    elif blocks == "rows":
        scales = scales.t()
    else:
        scales = torch.nn.functional.pad(scales, (0, -scales.shape[1] % 4))
    return rounded(x * (1 / each), dtype), scales.contiguous(), each


torch.manual_seed(1)
spread = torch.logspace(-6, 3, COLUMNS) * torch.logspace(0, -4, ROWS)[:, None]
x = (torch.randn(ROWS, COLUMNS) * spread).to(torch.bfloat16)
w = (torch.randn(WIDTH, COLUMNS) * 0.02).to(torch.bfloat16)
f32 = torch.cat([values_worth_rounding(dtype) for dtype in TYPES.values()])
f32 = torch.cat([f32, torch.zeros(-len(f32) % 4)])
tensors = {"f32": f32, "x": x, "w": w}
for name, dtype in TYPES.items():
    tensors[f"f32.{name}"] = packed(rounded(f32, dtype))
    for blocks in ["whole", "rows", "squares"]:
        for which, matrix in {"x": x, "x_t": x.t().contiguous()}.items():
            values, scales, _ = quantized(matrix, dtype, blocks)
            tensors[f"{which}.{name}.{blocks}"] = packed(values)
            tensors[f"{which}.{name}.{blocks}.scales"] = scales
for blocks in ["whole", "rows"]:
    a, _, a_each = quantized(x, TYPES["e4m3"], blocks)
    b, _, b_each = quantized(w, TYPES["e4m3"], "whole" if blocks == "whole" else "squares")
    product = (a.double() * a_each.double()) @ (b.double() * b_each.double()).t()
    tensors[f"product.{blocks}"] = product.float()
save_file(tensors, OUT)
