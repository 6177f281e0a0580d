#!/usr/bin/env python3
"""Makes tests/golden/model_*.safetensors: weights, a packed batch, its losses, and every gradient, from PyTorch.

The model is written here in plain PyTorch, with autograd, apart from the fused layout of the query, key, value
and gate rows, which is the project's own: per key/value head [G query heads | key | value | gate logits].
Needs torch and safetensors from PyPI:  python scripts/oracle/make_model_goldens.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
BASE = dict(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=16, intermediate_size=40, max_position_embeddings=32, rope_theta=10000.0,
            partial_rotary_factor=1.0, tie_word_embeddings=True, gate="elementwise", qk_norm=True, z_loss=0.0,
            sandwich_norm=False, residual_clip=0.0)
CASES = {
    "elementwise": {},
    "headwise": dict(gate="headwise", num_key_value_heads=1, z_loss=1e-2),
    "none_untied": dict(gate="none", tie_word_embeddings=False, qk_norm=False, partial_rotary_factor=0.5),
    # No branch output lies within a hundredth of this limit, so that rounding to bf16 carries none across it.
    "sandwich_clip": dict(gate="none", intermediate_size=24, sandwich_norm=True, residual_clip=3.3),
}
DOCUMENTS = [0, 9, 10, 24]  # three documents of 9, 1 and 14 tokens
EPS = 1e-6


def parameters(c):
    h, d, f, v = c["hidden_size"], c["head_dim"], c["intermediate_size"], c["vocab_size"]
    kv, heads = c["num_key_value_heads"], c["num_attention_heads"]
    group = heads // kv
    gate = {"none": 0, "headwise": 1, "elementwise": d}[c["gate"]]
    shapes = {"embedding.weight": (v, h)}
    for i in range(c["num_hidden_layers"]):
        p = f"layers.{i}."
        shapes[p + "attention.norm.weight"] = (h,)
        shapes[p + "attention.qkvg.weight"] = (kv * ((group + 2) * d + group * gate), h)
        if c["qk_norm"]:
            shapes[p + "attention.q_norm.weight"] = (d,)
            shapes[p + "attention.k_norm.weight"] = (d,)
        shapes[p + "attention.out.weight"] = (h, heads * d)
        if c["sandwich_norm"]:
            shapes[p + "attention.sandwich_norm.weight"] = (h,)
            shapes[p + "mlp.sandwich_norm.weight"] = (h,)
        shapes[p + "mlp.norm.weight"] = (h,)
        shapes[p + "mlp.gate_up.weight"] = (2 * f, h)
        shapes[p + "mlp.down.weight"] = (h, f)
    shapes["head.norm.weight"] = (h,)
    if not c["tie_word_embeddings"]:
        shapes["head.weight"] = (v, h)
    generator = torch.Generator().manual_seed(5)
    result = {}
    for name, shape in shapes.items():
        w = torch.randn(shape, generator=generator)
        w = 1 + 0.2 * w if len(shape) == 1 else 0.15 * w
        result[name] = w.requires_grad_()
    return result


def rms_norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


def rope(x, positions, c):
    """x: [T, heads, d]; the first rotary dimensions are turned, rotate-half."""
    r = int(c["head_dim"] * c["partial_rotary_factor"])
    angle = torch.outer(positions.double(), c["rope_theta"] ** (-torch.arange(0, r, 2).double() / r))
    cos, sin = (torch.cat([a, a], -1).float()[:, None] for a in (angle.cos(), angle.sin()))
    turned, rest = x[..., :r], x[..., r:]
    half = torch.cat([-turned[..., r // 2:], turned[..., : r // 2]], -1)
    return torch.cat([turned * cos + half * sin, rest], -1)


def attention(x, p, prefix, positions, mask, c):
    t, d, kv = x.shape[0], c["head_dim"], c["num_key_value_heads"]
    group = c["num_attention_heads"] // kv
    rows = (x @ p[prefix + "qkvg.weight"].T).view(t, kv, -1)
    q, k, v, gate = rows.split([group * d, d, d, rows.shape[-1] - (group + 2) * d], -1)
    q, k = q.reshape(t, kv * group, d), k.reshape(t, kv, d)
    if c["qk_norm"]:
        q, k = rms_norm(q, p[prefix + "q_norm.weight"]), rms_norm(k, p[prefix + "k_norm.weight"])
    q, k = rope(q, positions, c), rope(k, positions, c)
    k, v = (z.reshape(t, kv, d).repeat_interleave(group, 1) for z in (k, v))
    scores = torch.einsum("thd,shd->hts", q, k) * d**-0.5
    o = torch.einsum("hts,shd->thd", scores.masked_fill(~mask, float("-inf")).softmax(-1), v)
    if c["gate"] != "none":
        o = o * torch.sigmoid(gate.reshape(t, kv * group, -1))
    return o.reshape(t, -1) @ p[prefix + "out.weight"].T


def mlp(x, p, prefix):
    gate, up = (x @ p[prefix + "gate_up.weight"].T).chunk(2, -1)
    return (F.silu(gate) * up) @ p[prefix + "down.weight"].T


def branch_output(y, p, prefix, c):
    if c["sandwich_norm"]:
        y = rms_norm(y, p[prefix + "sandwich_norm.weight"])
    return y.clamp(-c["residual_clip"], c["residual_clip"]) if c["residual_clip"] else y


def run(c):
    p = parameters(c)
    t = DOCUMENTS[-1]
    generator = torch.Generator().manual_seed(6)
    tokens = torch.randint(0, c["vocab_size"], (t,), generator=generator)
    document = torch.zeros(t, dtype=torch.long)
    positions, targets = torch.zeros(t, dtype=torch.long), torch.full((t,), -1)
    for n, (begin, end) in enumerate(zip(DOCUMENTS, DOCUMENTS[1:])):
        document[begin:end] = n
        positions[begin:end] = torch.arange(end - begin)
        targets[begin : end - 1] = tokens[begin + 1 : end]
    mask = (document[:, None] == document[None]) & torch.ones(t, t, dtype=torch.bool).tril()

    x = p["embedding.weight"][tokens]
    for i in range(c["num_hidden_layers"]):
        prefix = f"layers.{i}."
        normed = rms_norm(x, p[prefix + "attention.norm.weight"])
        y = attention(normed, p, prefix + "attention.", positions, mask, c)
        x = x + branch_output(y, p, prefix + "attention.", c)
        y = mlp(rms_norm(x, p[prefix + "mlp.norm.weight"]), p, prefix + "mlp.")
        x = x + branch_output(y, p, prefix + "mlp.", c)
    weight = p["embedding.weight"] if c["tie_word_embeddings"] else p["head.weight"]
    logits = rms_norm(x, p["head.norm.weight"]) @ weight.T
    losses = F.cross_entropy(logits, targets, ignore_index=-1, reduction="none")
    lse = torch.logsumexp(logits, -1) * (targets >= 0)
    (losses.sum() + c["z_loss"] * lse.pow(2).sum()).backward()

    tensors = {name: w.detach() for name, w in p.items()}
    tensors |= {"grad." + name: w.grad for name, w in p.items()}
    tensors |= {"tokens": tokens.int(), "targets": targets.int(), "positions": positions.int(),
                "documents": torch.tensor(DOCUMENTS).int(), "losses": losses.detach(), "lse": lse.detach(),
                "logits": logits.detach()}
    return tensors


for name, changes in CASES.items():
    case = BASE | changes
    path = OUT / f"model_{name}.safetensors"
    save_file({k: v.contiguous() for k, v in run(case).items()}, path, metadata={"config": json.dumps(case)})
    print(path.name, path.stat().st_size, "bytes")
