#!/usr/bin/env python3
"""Times forward and backward of one mixture-of-experts layer of PyTorch at the sizes of `headgate bench --op grouped_linear`.

  python scripts/oracle/bench_moe_pytorch.py --experts 8 --top-k 2 --hidden 256 --width 352

The layer is a loop over experts, as in Hugging Face's models: softmax over the router's logits, top-k, weights that sum to 1,
and for each expert index_select of its rows, SwiGLU of one product for gate and up, and index_add. `loop_products` are the
products alone, on rows that lie in the order of experts. Prints one JSON line with medians and least times. With --headgate the
project's own layer of that size is measured in turns with PyTorch's, and their ratio is printed:

  python scripts/oracle/bench_moe_pytorch.py --headgate build/release/tools/headgate --rounds 5

Needs torch. For a fair figure set OMP_NUM_THREADS and OMP_WAIT_POLICY=passive, and preload an allocator such as tcmalloc.
"""

import argparse
import json
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn


class Experts(nn.Module):
    def __init__(self, experts, top_k, hidden, width):
        super().__init__()
        self.top_k = top_k
        self.router = nn.Parameter(torch.randn(experts, hidden) * 0.02)
        self.gate_up = nn.Parameter(torch.randn(experts, 2 * width, hidden) * 0.02)
        self.down = nn.Parameter(torch.randn(experts, hidden, width) * 0.02)

    def forward(self, x):
        scores = F.linear(x, self.router).float().softmax(-1)
        weights, chosen = scores.topk(self.top_k, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        for e in range(len(self.gate_up)):
            token, slot = torch.where(chosen == e)
            gate, up = F.linear(x.index_select(0, token), self.gate_up[e]).chunk(2, -1)
            rows = F.linear(F.silu(gate) * up, self.down[e]) * weights[token, slot, None]
            y = y.index_add(0, token, rows.to(y.dtype))
        return y


def products(layer, counts, x, gates, dy, dgates):
    """Forward and backward of the layer's matrix products, without what lies between them."""
    begin = 0
    for e, count in enumerate(counts):
        rows = slice(begin, begin + count)
        begin += count
        gate_up, down = layer.gate_up[e], layer.down[e]
        x[rows] @ gate_up.T, gates[rows] @ down.T
        dgates[rows] @ gate_up, dy[rows] @ down
        dgates[rows].T @ x[rows], dy[rows].T @ gates[rows]


def times(call, steps):
    seconds = []
    for i in range(2 + steps):
        start = time.perf_counter()
        call()
        if i >= 2:
            seconds.append(time.perf_counter() - start)
    return {"ms": statistics.median(seconds) * 1e3, "least_ms": min(seconds) * 1e3}


def headgate(a):
    """The project's own figures for the layer of these sizes."""
    words = [a.headgate, "bench", "--op", "moe", "--json", "--steps", str(a.steps), "--threads", str(a.threads),
             "--precision", a.precision]
    for line in subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines():
        row = json.loads(line)
        if row["size"] == f"top-{a.top_k} of {a.experts}, hidden {a.hidden}, width {a.width}" and a.tokens == 4096:
            return row["ms"]
    raise SystemExit("headgate bench --op moe does not measure this size")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--top-k", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--width", type=int, default=352)
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"], help="bf16: autocast")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--headgate", metavar="PROGRAM", help="measure it in turns, and print the ratio")
    parser.add_argument("--rounds", type=int, default=5, help="of both, with --headgate")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    layer = Experts(a.experts, a.top_k, a.hidden, a.width)
    x = torch.randn(a.tokens, a.hidden, requires_grad=True)
    dy = torch.randn(a.tokens, a.hidden)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            y = layer(x)
        y.backward(dy)
        for p in [x, *layer.parameters()]:
            p.grad = None

    if a.headgate:
        rounds = [(times(step, a.steps)["least_ms"], headgate(a)) for _ in range(a.rounds)]
        ratios = [torch_ms / ours for torch_ms, ours in rounds]
        print(json.dumps({"torch": torch.__version__, "threads": a.threads, "precision": a.precision, "rounds_ms": rounds,
                          "ratio": statistics.median(ratios), "least_ratio": min(ratios), "most_ratio": max(ratios)}))
        return

    rows = a.tokens * a.top_k
    counts = [rows * (e + 1) // a.experts - rows * e // a.experts for e in range(a.experts)]
    dtype = torch.bfloat16 if a.precision == "bf16" else torch.float32
    operands = [torch.randn(rows, n, dtype=dtype) for n in (a.hidden, a.width, a.hidden, 2 * a.width)]

    def step_products():
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            products(layer, counts, *operands)

    print(json.dumps({"torch": torch.__version__, "threads": a.threads, "precision": a.precision, "tokens": a.tokens,
                      "experts": a.experts, "top_k": a.top_k, "hidden": a.hidden, "width": a.width,
                      "layer": times(step, a.steps), "loop_products": times(step_products, a.steps)}))


if __name__ == "__main__":
    main()
