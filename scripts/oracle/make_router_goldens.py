#!/usr/bin/env python3
"""Makes tests/golden/router.safetensors: choices, weights, losses and gradients of transformers' own routers.

For each case CASE of Qwen3-MoE, Qwen3-Next and DeepSeek-V3 on the same hidden states, tensors CASE.NAME:
  logits [T, E], experts [T, K], weights [T, K]; dweights [T, K], which weighs the weights in the objective;
  dlogits [T, E], by autograd, of  sum(dweights * weights) + BALANCE * balance loss + Z * mean(logsumexp(logits)^2);
  balance_loss and z_loss [1], without their coefficients; bias [E] where the router has one.
The balance loss of the Qwen routers is transformers' load_balancing_loss_func. transformers has none for DeepSeek-V3:
there it is written out here, from equations 17 to 20 of arXiv 2412.19437 for one sequence, times K for the same scale.
Needs torch, transformers and safetensors from PyPI:  python scripts/oracle/make_router_goldens.py
"""

import importlib
import pathlib

import torch
import transformers
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "router.safetensors"
TOKENS, HIDDEN, EXPERTS, TOP_K = 41, 12, 19, 4
BALANCE, Z = 0.7, 0.05
FACTOR = 2.5  # of DeepSeek-V3's weights


def qwen(module, config, router, normalize):
    module = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    config = getattr(transformers, config)(
        hidden_size=HIDDEN, num_experts=EXPERTS, num_experts_per_tok=TOP_K, norm_topk_prob=normalize)

    def balance_loss(logits, _):
        return module.load_balancing_loss_func((logits,), EXPERTS, TOP_K)

    return getattr(module, router)(config), balance_loss


def deepseek(normalize):
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as module

    config = transformers.DeepseekV3Config(
        hidden_size=HIDDEN, n_routed_experts=EXPERTS, num_experts_per_tok=TOP_K, n_group=1, topk_group=1,
        norm_topk_prob=normalize, routed_scaling_factor=FACTOR)
    router = module.DeepseekV3TopkRouter(config)
    router.e_score_correction_bias.copy_(0.2 * torch.randn(EXPERTS, generator=torch.Generator().manual_seed(3)))

    def balance_loss(logits, experts):
        scores = logits.sigmoid()
        p = (scores / scores.sum(-1, keepdim=True)).mean(0)
        return EXPERTS * (torch.bincount(experts.flatten(), minlength=EXPERTS) / TOKENS * p).sum()

    return router, balance_loss


CASES = {
    f"{name}{'_normalized' if normalize else ''}": make(normalize)
    for normalize in (True, False)
    for name, make in {
        "qwen3_moe": lambda n: qwen("qwen3_moe", "Qwen3MoeConfig", "Qwen3MoeTopKRouter", n),
        "qwen3_next": lambda n: qwen("qwen3_next", "Qwen3NextConfig", "Qwen3NextTopKRouter", n),
        "deepseek_v3": deepseek,
    }.items()
}


def main():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator)
    weight = 0.5 * torch.randn(EXPERTS, HIDDEN, generator=generator)
    dweights = torch.randn(TOKENS, TOP_K, generator=generator)
    tensors = {}
    for name, (router, balance_loss) in CASES.items():
        with torch.no_grad():
            router.weight.copy_(weight)
        logits, weights, experts = router(hidden)
        bias = getattr(router, "e_score_correction_bias", None)
        if bias is not None:  # DeepSeek-V3 leaves the order of the choices open
            order = (logits.sigmoid() + bias).gather(1, experts).argsort(dim=1, descending=True)
            experts, weights = experts.gather(1, order), weights.gather(1, order)
            tensors[f"{name}.bias"] = bias
        logits.retain_grad()
        balance, z = balance_loss(logits, experts), torch.logsumexp(logits, -1).square().mean()
        ((dweights * weights).sum() + BALANCE * balance + Z * z).backward()
        tensors |= {
            f"{name}.{key}": value.detach().clone()
            for key, value in {
                "logits": logits, "experts": experts.int(), "weights": weights, "dweights": dweights,
                "dlogits": logits.grad, "balance_loss": balance.reshape(1), "z_loss": z.reshape(1),
            }.items()
        }
    save_file(tensors, OUT, {
        "torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
        "balance": str(BALANCE), "z": str(Z), "factor": str(FACTOR)})


if __name__ == "__main__":
    main()
