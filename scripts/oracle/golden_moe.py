"""A layer of experts in plain PyTorch, for make_model_goldens.py: a loop over experts, with autograd.

Keys of `c` are those of the project's configs, with "moe." in front.
"""

import torch
import torch.nn.functional as F

MARGIN = 0.02  # between the scores of chosen and other experts, so that rounding to bf16 changes no choice


def routed(c, layer):
    return c.get("moe.num_experts", 0) > 0 and layer not in c.get("moe.dense_layers", [])


def shapes(c, prefix):
    h, e, f = c["hidden_size"], c["moe.num_experts"], c["moe.expert_intermediate_size"]
    shared = c.get("moe.shared_expert_intermediate_size", 0)
    result = {prefix + "router.weight": (e, h),
              prefix + "experts.gate_up.weight": (e, 2 * f, h),
              prefix + "experts.down.weight": (e, h, f)}
    if shared:
        result |= {prefix + "shared_expert.gate_up.weight": (2 * shared, h),
                   prefix + "shared_expert.down.weight": (h, shared)}
    if c.get("moe.shared_expert_gate"):
        result[prefix + "shared_expert.gate.weight"] = (1, h)
    return result


def mlp(x, gate_up, down):
    gate, up = (x @ gate_up.T).chunk(2, -1)
    return (F.silu(gate) * up) @ down.T


def choose(scores, k, name):
    """The k largest, of equals the first: torch.topk leaves open which."""
    order = torch.sort(scores, dim=-1, descending=True, stable=True)
    gap = (order.values[:, k - 1] - order.values[:, k]).min() if k < scores.shape[1] else torch.inf
    tied = bool(scores.max() == scores.min())
    assert tied or gap > MARGIN, f"{name}: a choice hangs on {gap}; take another seed"
    return order.indices[:, :k]


def balance(p, chosen, c, begin, end):
    """E sum of f P over tokens [begin, end), times their number; f is a constant to the gradient."""
    e = c["moe.num_experts"]
    f = torch.bincount(chosen[begin:end].flatten(), minlength=e) / chosen[begin:end].numel()
    return (end - begin) * e * (f * p[begin:end].mean(0)).sum()


def moe(x, p, prefix, bias, c, documents):
    """The layer's output, and the sum over tokens of what its losses add to the objective."""
    k = c["moe.top_k"]
    logits = x @ p[prefix + "router.weight"].T
    sigmoid = c.get("moe.score") == "sigmoid"
    scores = logits.sigmoid() if sigmoid else logits.softmax(-1)
    chosen = choose((scores + bias).detach(), k, prefix)
    weights = scores.gather(1, chosen)
    if c.get("moe.norm_topk_prob", True):
        weights = weights / weights.sum(-1, keepdim=True)
    weights = weights * c.get("moe.routed_scaling_factor", 1.0)

    y = torch.zeros_like(x)
    for e in range(c["moe.num_experts"]):
        token, slot = torch.where(chosen == e)
        out = mlp(x[token], p[prefix + "experts.gate_up.weight"][e], p[prefix + "experts.down.weight"][e])
        y = y.index_add(0, token, out * weights[token, slot, None])
    if c.get("moe.shared_expert_intermediate_size"):
        out = mlp(x, p[prefix + "shared_expert.gate_up.weight"], p[prefix + "shared_expert.down.weight"])
        if c.get("moe.shared_expert_gate"):
            out = torch.sigmoid(x @ p[prefix + "shared_expert.gate.weight"].T) * out
        y = y + out

    shares = scores / scores.sum(-1, keepdim=True)
    pieces = zip(documents, documents[1:]) if c.get("moe.load_balance") == "sequence" else [(0, len(x))]
    loss = c.get("moe.aux_loss_coef", 0.0) * sum(balance(shares, chosen, c, *piece) for piece in pieces)
    return y, loss + c.get("moe.z_loss_coef", 0.0) * logits.logsumexp(-1).pow(2).sum()
