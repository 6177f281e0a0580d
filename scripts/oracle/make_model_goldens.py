#!/usr/bin/env python3
"""Makes tests/golden/model_*.safetensors: weights, a packed batch, its losses, and every gradient, from PyTorch.
Those of SEEN also hold what instruments must see in the forward pass: "seen.layers.N.NAME", from f64 arithmetic.

The model is written here in plain PyTorch, with autograd, apart from the fused layout of the query, key, value
and gate rows, which is the project's own: per key/value head [G query heads | key | value | gate logits].
CASES names what is special about each file; keys are those of the project's configs, with dots between sections.
Needs torch and safetensors from PyPI:  python scripts/oracle/make_model_goldens.py
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import golden_moe

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
Z_LOSS = {"headwise": 1e-2}
BASE = {
    "vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 40, "max_position_embeddings": 32, "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0, "tie_word_embeddings": True, "attention.qk_norm": True,
    "attention.output_norm": False, "attention.sink": "none", "gate.position": "sdpa",
    "gate.granularity": "elementwise", "gate.heads": "specific", "gate.mode": "multiplicative",
    "gate.activation": "sigmoid", "gate.scale": 1.0, "gate.input": "hidden", "gate.input_dims": 0,
}
SMALL = {"vocab_size": 29, "hidden_size": 24, "num_hidden_layers": 1, "head_dim": 8, "intermediate_size": 16}
CASES = {
    "elementwise": {},
    "headwise": {"gate.granularity": "headwise", "num_key_value_heads": 1},
    "none_untied": {"gate.position": "none", "tie_word_embeddings": False, "attention.qk_norm": False,
                    "partial_rotary_factor": 0.5},
}
CASES |= {name: SMALL | changes for name, changes in {
    "value": {"gate.position": "value"},
    "value_headwise": {"gate.position": "value", "gate.granularity": "headwise"},
    "key": {"gate.position": "key"},
    "query": {"gate.position": "query"},
    "rotated_key": {"gate.position": "rotated_key"},
    "rotated_query_headwise": {"gate.position": "rotated_query", "gate.granularity": "headwise"},
    "output": {"gate.position": "output"},
    "mean_scores": {"gate.heads": "mean_scores"},
    "mean_logits": {"gate.heads": "mean_logits", "gate.activation": "silu"},
    "shared": {"gate.heads": "shared"},
    "value_mean_scores": {"gate.position": "value", "gate.heads": "mean_scores"},
    "additive_silu": {"gate.mode": "additive", "gate.activation": "silu"},
    "additive_identity": {"gate.mode": "additive", "gate.activation": "identity"},
    "silu": {"gate.activation": "silu"},
    "ns_sigmoid": {"gate.activation": "ns_sigmoid"},
    "scaled": {"gate.scale": 2.0},
    "learned": {"gate.input": "learned"},
    "learned_headwise": {"gate.input": "learned", "gate.granularity": "headwise"},
    "self_silu": {"gate.input": "self"},
    "state_value": {"gate.position": "value", "gate.input": "state"},
    "state_value_headwise": {"gate.position": "value", "gate.input": "state", "gate.granularity": "headwise"},
    "first_dims": {"gate.input_dims": 5, "gate.granularity": "headwise"},
    "output_norm": {"gate.position": "none", "attention.output_norm": True},
    "sink_learned": {"gate.position": "none", "attention.sink": "learned"},
    "sink_off_by_one": {"attention.sink": "off_by_one"},
    # No branch output lies within a hundredth of this limit, so that rounding to bf16 carries none across it.
    "sandwich_clip": {"num_hidden_layers": 2, "sandwich_norm": True, "residual_clip": 2.96},
    "gated_norm": {"num_hidden_layers": 2, "gated_norm_rank": 4, "pre_affine": True},
}.items()}
EXPERTS = SMALL | {"moe.num_experts": 6, "moe.top_k": 2, "moe.expert_intermediate_size": 12}
CASES |= {name: EXPERTS | changes for name, changes in {
    "moe": {"moe.aux_loss_coef": 0.3, "moe.z_loss_coef": 0.05, "moe.load_balance": "micro_batch"},
    # As Qwen3-Next: a shared expert behind a gate; and a dense layer in front.
    "moe_shared_gate": {"num_hidden_layers": 2, "moe.dense_layers": [0], "moe.shared_expert_intermediate_size": 10,
                        "moe.shared_expert_gate": True, "moe.aux_loss_coef": 0.3, "moe.load_balance": "sequence"},
    # As DeepSeek-V3, with a bias that selects.
    "moe_sigmoid": {"moe.score": "sigmoid", "moe.routed_scaling_factor": 2.5, "moe.bias_update_rate": 1e-3,
                    "moe.shared_expert_intermediate_size": 10, "moe.aux_loss_coef": 0.2, "moe.z_loss_coef": 0.01,
                    "moe.load_balance": "global_batch"},
    "moe_unnormalized": {"moe.norm_topk_prob": False, "sandwich_norm": True},
    # Every token to one expert, and no row for the five others.
    "moe_collapsed": {"moe.top_k": 1, "moe.norm_topk_prob": False, "moe.score": "sigmoid", "moe.bias_update_rate": 1e-3,
                      "moe.aux_loss_coef": 0.3},
    # Equal logits: the first experts take all.
    "moe_ties": {"moe.top_k": 3, "moe.aux_loss_coef": 0.3},
}.items()}
BIASES = {"moe_sigmoid": [0.3, -0.2, 0.0, 0.1, -0.4, 0.2], "moe_collapsed": [0.0, 0.0, 5.0, 0.0, 0.0, 0.0]}
SEEDS = {"moe": 200, "moe_shared_gate": 173, "moe_sigmoid": 6, "moe_unnormalized": 247}  # no choice hangs on rounding
SEEN = ("elementwise", "headwise", "value", "mean_scores", "sink_learned")
DOCUMENTS = [0, 9, 10, 24]  # three documents of 9, 1 and 14 tokens
EPS = 1e-6
torch.set_num_threads(2)  # with one, some sums have another order
KV_POSITIONS = ("value", "key", "rotated_key")


def gate_shapes(c):
    """Gate columns of each key/value head in the fused projection, and the shape of a weight of its own."""
    h, d, kv = c["hidden_size"], c["head_dim"], c["num_key_value_heads"]
    position, source = c["gate.position"], c["gate.input"]
    heads = {"output": 1}.get(position, kv if position in KV_POSITIONS else c["num_attention_heads"])
    width = h if position == "output" else d
    e = 1 if c["gate.granularity"] == "headwise" else width
    if position == "none" or source == "self":
        return 0, None
    if source == "learned":
        return 0, (heads, e)
    if source == "state":
        return 0, (heads * e, width)
    dims = c["gate.input_dims"] or h
    if c["gate.heads"] == "shared":
        return 0, (e, dims)
    if position == "output" or c["gate.input_dims"]:
        return 0, (heads * e, dims)
    return heads // kv * e, None


def stream_norm_shapes(prefix, c):
    h, rank = c["hidden_size"], c.get("gated_norm_rank")
    shapes = {prefix + "weight": (h,)}
    if c.get("pre_affine"):
        shapes[prefix + "pre_affine"] = (h,)
    if rank:
        shapes |= {prefix + "gate_down.weight": (rank, h), prefix + "gate_up.weight": (h, rank)}
    return shapes


def parameters(name, c):
    h, d, f, v = c["hidden_size"], c["head_dim"], c["intermediate_size"], c["vocab_size"]
    kv, heads = c["num_key_value_heads"], c["num_attention_heads"]
    fused, own = gate_shapes(c)
    shapes = {"embedding.weight": (v, h)}
    for i in range(c["num_hidden_layers"]):
        p = f"layers.{i}."
        shapes |= stream_norm_shapes(p + "attention.norm.", c)
        shapes[p + "attention.qkvg.weight"] = (kv * ((heads // kv + 2) * d + fused), h)
        if own:
            shapes[p + "attention.gate.weight"] = own
        if c["attention.qk_norm"]:
            shapes[p + "attention.q_norm.weight"] = (d,)
            shapes[p + "attention.k_norm.weight"] = (d,)
        if c["attention.output_norm"]:
            shapes[p + "attention.o_norm.weight"] = (d,)
        if c["attention.sink"] == "learned":
            shapes[p + "attention.sinks"] = (heads,)
        shapes[p + "attention.out.weight"] = (h, heads * d)
        if c.get("sandwich_norm"):
            shapes[p + "attention.sandwich_norm.weight"] = (h,)
            shapes[p + "mlp.sandwich_norm.weight"] = (h,)
        shapes |= stream_norm_shapes(p + "mlp.norm.", c)
        if golden_moe.routed(c, i):
            shapes |= golden_moe.shapes(c, p + "mlp.")
        else:
            shapes |= {p + "mlp.gate_up.weight": (2 * f, h), p + "mlp.down.weight": (h, f)}
    shapes |= stream_norm_shapes("head.norm.", c)
    if not c["tie_word_embeddings"]:
        shapes["head.weight"] = (v, h)
    generator = torch.Generator().manual_seed(SEEDS.get(name, 5))
    result = {}
    for key, shape in shapes.items():
        w = torch.randn(shape, generator=generator)
        w = 1 + 0.2 * w if len(shape) == 1 else 0.15 * w
        if key.endswith("router.weight"):
            w = torch.zeros_like(w) if name == "moe_ties" else 4 * w
        result[key] = w.requires_grad_()
    return result


def rms_norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * weight


def stream_norm(x, p, prefix, c):
    if c.get("pre_affine"):
        x = x * p[prefix + "pre_affine"]
    y = rms_norm(x, p[prefix + "weight"])
    if not c.get("gated_norm_rank"):
        return y
    return y * torch.sigmoid(F.silu(y @ p[prefix + "gate_down.weight"].T) @ p[prefix + "gate_up.weight"].T)


def rope(x, positions, c):
    """x: [T, heads, d]; the first rotary dimensions are turned, rotate-half."""
    r = int(c["head_dim"] * c["partial_rotary_factor"])
    angle = torch.outer(positions.double(), c["rope_theta"] ** (-torch.arange(0, r, 2).double() / r))
    cos, sin = (torch.cat([a, a], -1).float()[:, None] for a in (angle.cos(), angle.sin()))
    turned, rest = x[..., :r], x[..., r:]
    half = torch.cat([-turned[..., r // 2:], turned[..., : r // 2]], -1)
    return torch.cat([turned * cos + half * sin, rest], -1)


ACTIVATIONS = {"sigmoid": torch.sigmoid, "silu": F.silu, "ns_sigmoid": lambda z: 0.5 + 0.5 * torch.sigmoid(z),
               "identity": lambda z: z}


def see_attention(seen, prefix, scores, p, first):
    """scores, p: [heads, T, T], scores -inf where nothing is seen; first: of each token, the first of its document."""
    p = p.double()
    shares = torch.stack([p[:, t, first[t]] for t in range(len(first))], -1)
    seen |= {prefix + "first_token": shares.mean(-1),
             prefix + "entropy": torch.special.entr(p).sum(-1).mean(-1),
             prefix + "max_logit": scores.amax((-2, -1))}


def see_gate(seen, prefix, state, s, gated):
    """All [T, heads, width], but for s, which may repeat. Scores: mean, share below 0.1, three quantiles by head."""
    t, n, _ = state.shape
    by_head = s.detach().expand(t, n, -1).transpose(0, 1).reshape(n, -1).double()
    quantiles = torch.quantile(by_head, torch.tensor([0.01, 0.5, 0.99]).double(), dim=1)
    seen |= {prefix + "gate": torch.stack([by_head.mean(1), (by_head < 0.1).double().mean(1), *quantiles], -1),
             prefix + "gate_mean_abs": torch.stack([y.double().abs().mean() for y in (state, gated)])}


def gate(state, x, fused, p, prefix, c, seen):
    """state: [T, heads, width]; fused: the gate's columns of the fused projection, or None."""
    t, n, d = state.shape
    e = 1 if c["gate.granularity"] == "headwise" else d
    w, source, heads = p.get(prefix + "gate.weight"), c["gate.input"], c["gate.heads"]
    if source == "hidden":
        z = (x[:, : w.shape[1]] @ w.T if fused is None else fused).reshape(t, -1, e)
    elif source == "learned":
        z = w.view(1, n, e)
    elif source == "self":
        z = state
    else:
        z = torch.einsum("tnd,ned->tne", state, w.view(n, e, d))
    activation = ACTIVATIONS[c["gate.activation"]]
    if heads == "mean_scores":
        s = activation(z).mean(1, keepdim=True)
    else:
        s = activation(z.mean(1, keepdim=True) if heads == "mean_logits" else z)
    s = c["gate.scale"] * s
    gated = state * s if c["gate.mode"] == "multiplicative" else state + s
    see_gate(seen, prefix, state, s, gated)
    return gated


def attention(x, p, prefix, positions, mask, c, seen):
    t, d, kv = x.shape[0], c["head_dim"], c["num_key_value_heads"]
    group = c["num_attention_heads"] // kv
    rows = (x @ p[prefix + "qkvg.weight"].T).view(t, kv, -1)
    q, k, v, fused = rows.split([group * d, d, d, rows.shape[-1] - (group + 2) * d], -1)
    fused = fused if fused.numel() else None

    def at(position, state):
        return gate(state, x, fused, p, prefix, c, seen) if c["gate.position"] == position else state

    q, k, v = q.reshape(t, kv * group, d), k.reshape(t, kv, d), v.reshape(t, kv, d)
    q, k, v = at("query", q), at("key", k), at("value", v)
    if c["attention.qk_norm"]:
        q, k = rms_norm(q, p[prefix + "q_norm.weight"]), rms_norm(k, p[prefix + "k_norm.weight"])
    q, k = at("rotated_query", rope(q, positions, c)), at("rotated_key", rope(k, positions, c))
    k, v = (z.repeat_interleave(group, 1) for z in (k, v))
    scores = torch.einsum("thd,shd->hts", q, k) * d**-0.5
    scores = scores.masked_fill(~mask, float("-inf"))
    if c["attention.sink"] != "none":
        learned = c["attention.sink"] == "learned"
        sink = p[prefix + "sinks"] if learned else torch.zeros(kv * group)
        scores = torch.cat([scores, sink[:, None, None].expand(-1, t, 1)], -1)
    o = torch.einsum("hts,shd->thd", scores.softmax(-1)[..., :t], v)
    see_attention(seen, prefix, scores[..., :t], scores.double().softmax(-1)[..., :t],
                  torch.arange(t) - positions)
    if c["attention.output_norm"]:
        o = rms_norm(o, p[prefix + "o_norm.weight"])
    y = at("sdpa", o).reshape(t, -1) @ p[prefix + "out.weight"].T
    return at("output", y[:, None])[:, 0]


def branch_output(y, p, prefix, c):
    if c.get("sandwich_norm"):
        y = rms_norm(y, p[prefix + "sandwich_norm.weight"])
    limit = c.get("residual_clip")
    return y.clamp(-limit, limit) if limit else y


def run(name, c, z_loss):
    p = parameters(name, c)
    bias = torch.tensor(BIASES.get(name, 0.0))
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

    x, seen, router_loss = p["embedding.weight"][tokens], {}, 0.0
    for i in range(c["num_hidden_layers"]):
        prefix = f"layers.{i}."
        normed = stream_norm(x, p, prefix + "attention.norm.", c)
        y = attention(normed, p, prefix + "attention.", positions, mask, c, seen)
        x = x + branch_output(y, p, prefix + "attention.", c)
        behind_attention = x.abs().max()
        normed = stream_norm(x, p, prefix + "mlp.norm.", c)
        if golden_moe.routed(c, i):
            y, loss = golden_moe.moe(normed, p, prefix + "mlp.", bias, c, DOCUMENTS)
            router_loss = router_loss + loss
        else:
            y = golden_moe.mlp(normed, p[prefix + "mlp.gate_up.weight"], p[prefix + "mlp.down.weight"])
        x = x + branch_output(y, p, prefix + "mlp.", c)
        seen[prefix + "stream_max"] = torch.stack([behind_attention, x.abs().max()])
    weight = p["embedding.weight"] if c["tie_word_embeddings"] else p["head.weight"]
    logits = stream_norm(x, p, "head.norm.", c) @ weight.T
    losses = F.cross_entropy(logits, targets, ignore_index=-1, reduction="none")
    lse = torch.logsumexp(logits, -1) * (targets >= 0)
    (losses.sum() + z_loss * lse.pow(2).sum() + router_loss).backward()

    tensors = {key: w.detach() for key, w in p.items()}
    tensors |= {"grad." + key: w.grad for key, w in p.items()}
    if name in BIASES:
        tensors |= {f"layers.{i}.mlp.router.bias": bias for i in range(c["num_hidden_layers"])}
    tensors |= {"tokens": tokens.int(), "targets": targets.int(), "positions": positions.int(),
                "documents": torch.tensor(DOCUMENTS).int(), "losses": losses.detach(), "lse": lse.detach(),
                "logits": logits.detach()}
    return tensors, {"seen." + key.replace("attention.", ""): v.detach().float() for key, v in seen.items()}


def sections(c):
    """The config as the project's YAML has it."""
    result = {"attention": {"gate": {}}}
    if "moe.num_experts" in c:
        result["moe"] = {}
    for key, value in c.items():
        section, _, name = key.rpartition(".")
        place = {"": result, "attention": result["attention"], "gate": result["attention"]["gate"],
                 "moe": result.get("moe")}[section]
        place[name] = value
    return result


for name, changes in CASES.items():
    case = BASE | changes
    z_loss = Z_LOSS.get(name, 0.0)
    path = OUT / f"model_{name}.safetensors"
    tensors, seen = run(name, case, z_loss)
    tensors |= seen if name in SEEN else {}
    save_file({k: v.contiguous() for k, v in tensors.items()}, path,
              metadata={"model": json.dumps(sections(case)), "z_loss": str(z_loss)})
    print(path.name, path.stat().st_size, "bytes")
