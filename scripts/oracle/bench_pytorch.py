#!/usr/bin/env python3
"""Times training steps of PyTorch at the sizes of `headgate bench`: the same model, batch and optimizer.

  python scripts/oracle/bench_pytorch.py --size small --precision f32

Runs on any PyTorch since 1.13; scaled_dot_product_attention and the fused AdamW are used where they exist. Prints one
JSON line. Needs torch. For a fair figure set OMP_NUM_THREADS, and preload an allocator such as tcmalloc, without which
PyTorch spends much of a step in page faults; torch 1.13 also wants ATEN_CPU_CAPABILITY=avx512.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

SIZES = {  # layers, hidden, heads, key/value heads, head width, ffn, vocabulary, tokens, sequences
    "tiny": (4, 128, 4, 4, 32, 384, 256, 256, 16),
    "small": (6, 384, 6, 2, 64, 1024, 4096, 512, 8),
    "medium": (12, 768, 12, 4, 64, 2048, 32000, 1024, 4),
}


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight).to(x.dtype)


class Block(nn.Module):
    def __init__(self, hidden, heads, kv, d, ffn):
        super().__init__()
        self.heads, self.kv, self.d = heads, kv, d
        self.norm1, self.norm2, self.q_norm, self.k_norm = Norm(hidden), Norm(hidden), Norm(d), Norm(d)
        self.qkvg = nn.Linear(hidden, 2 * (heads + kv) * d, bias=False)
        self.out = nn.Linear(heads * d, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def attention(self, x, cos, sin):
        b, t, _ = x.shape
        h, kv, d = self.heads, self.kv, self.d
        q, k, v, gate = self.qkvg(x).split([h * d, kv * d, kv * d, h * d], -1)

        def head(z, n, norm=None):
            z = z.view(b, t, n, d)
            z = (norm(z) if norm else z).transpose(1, 2)
            if norm is None:
                return z
            half = torch.cat([-z[..., d // 2:], z[..., : d // 2]], -1)
            return (z * cos + half * sin).to(x.dtype if not torch.is_autocast_enabled() else q.dtype)

        q_, k_, v_ = head(q, h, self.q_norm), head(k, kv, self.k_norm), head(v, kv)
        k_, v_ = (z.repeat_interleave(h // kv, 1) for z in (k_, v_))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q_, k_, v_, is_causal=True)
        else:
            s = (q_ @ k_.transpose(-1, -2)).float() * d**-0.5
            mask = torch.ones(t, t, dtype=torch.bool).triu(1)
            y = s.masked_fill(mask, float("-inf")).softmax(-1).to(v_.dtype) @ v_
        return self.out(y.transpose(1, 2).reshape(b, t, h * d) * torch.sigmoid(gate))

    def forward(self, x, cos, sin):
        x = x + self.attention(self.norm1(x), cos, sin)
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, layers, hidden, heads, kv, d, ffn, vocab, t):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads, kv, d, ffn) for _ in range(layers))
        self.norm, self.head = Norm(hidden), nn.Linear(hidden, vocab, bias=False)
        angle = torch.outer(torch.arange(t).float(), 10000.0 ** (-torch.arange(0, d, 2).float() / d)).repeat(1, 2)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0.0, 0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).float().flatten(0, 1), targets.flatten())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="tiny", choices=SIZES)
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"], help="bf16: autocast")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--compile", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    *shape, vocab, t, b = SIZES[a.size]
    model = Model(*shape, vocab, t)
    version = tuple(int(x) for x in torch.__version__.split("+")[0].split(".")[:2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                  **({"fused": True} if version >= (2, 4) else {"foreach": True}))
    net = torch.compile(model) if a.compile else model
    data = torch.randint(0, vocab, (8, b, t + 1))
    seconds = []
    for i in range(2 + a.steps):
        start = time.perf_counter()
        x = data[i % 8]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            loss = net(x[:, :-1], x[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if i >= 2:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(json.dumps({"torch": torch.__version__, "size": a.size, "precision": a.precision, "ms": median * 1e3,
                      "tokens_per_second": b * t / median,
                      "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
