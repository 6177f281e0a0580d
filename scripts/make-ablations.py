#!/usr/bin/env python3
"""Writes configs/ablations: one config per row of the paper's tables and per comparison arm, at two sizes.

  python3 scripts/make-ablations.py

Rows are described once, in ROWS; what a row changes is the same at both sizes. Plain Python, no packages.
`tiny` is dense and trains on a laptop's CPU; `paper` is the 15A2B mixture of experts of the paper's table 1.
"""

import pathlib

OUT = pathlib.Path(__file__).resolve().parents[1] / "configs" / "ablations"

BASELINE = {
    "tiny": """\
# The ungated baseline that every file of this folder changes in one point, at a size for a laptop's CPU.
# Written by scripts/make-ablations.py.
name: ablation-tiny-baseline

model:
  vocab_size: 4096
  hidden_size: 128
  num_hidden_layers: 4
  num_attention_heads: 4
  num_key_value_heads: 2
  head_dim: 32
  intermediate_size: 352
  max_position_embeddings: 512
  attention:
    gate:
      position: none

training:
  steps: 2000
  seq_len: 256
  micro_batch_size: 8
  global_batch_size: 8
  seed: 1

optimizer:
  lr: 3e-3
  weight_decay: 0.1

lr_scheduler:
  decay: cosine
  warmup_steps: 100
  min_lr: 3e-4

data:
  train: data/corpus_train
  validation: data/corpus_validation
  tokenizer: data/tokenizer.json

validation:
  interval: 500
  sequences: 64

metrics:
  log_interval: 100
""",
    "paper": """\
# The ungated baseline that every file of this folder changes in one point: the paper's 15A2B model.
# Written by scripts/make-ablations.py.
extends: ../../moe-15b.yaml
name: ablation-paper-baseline
""",
}


def gate(**keys):
    return {"attention": {"gate": keys}}


# File name: what it is, the rows of the paper that it stands for, what it changes in `model` (by size, if it differs; of one
# size only if the other is not named).
ROWS = {
    "kv-heads-8": ("Twice the key/value heads: parameters for parameters (k = 8).", "T1.2",
                   {"tiny": {"num_key_value_heads": 4}, "paper": {"num_key_value_heads": 8}}),
    "query-heads-48": ("Half more query heads: parameters for parameters (q = 48).", "T1.3",
                       {"tiny": {"num_attention_heads": 6}, "paper": {"num_attention_heads": 48}}),
    "experts-132": ("Four more experts: parameters for parameters.", "T1.4", {"paper": {"moe": {"num_experts": 132}}}),
    "sdpa-elementwise": ("G1: a score for each element of the attention output.", "T1.5 T3.2 T4.2",
                         gate(position="sdpa")),
    "value-elementwise": ("G2: a score for each element of the values.", "T1.6 T3.3 T4.5", gate(position="value")),
    "key-elementwise": ("G3: a score for each element of the keys, in front of QK-norm and RoPE.", "T1.7",
                        gate(position="key")),
    "query-elementwise": ("G4: a score for each element of the queries, in front of QK-norm and RoPE.", "T1.8",
                          gate(position="query")),
    "output-elementwise": ("G5: a score for each element behind the output projection.", "T1.9",
                           gate(position="output")),
    "sdpa-headwise": ("G1: one score for each query head.", "T1.10 T4.3",
                      gate(position="sdpa", granularity="headwise")),
    "value-headwise": ("G2: one score for each key/value head; also Switch Head with one expert.", "T1.11 T6.6",
                       gate(position="value", granularity="headwise")),
    "sdpa-head-shared": ("G1: the mean of all heads' scores, shared by them.", "T1.12 T4.4",
                         gate(position="sdpa", heads="mean_scores")),
    "value-head-shared": ("G2: the mean of all key/value heads' scores, shared by them.", "T1.13",
                          gate(position="value", heads="mean_scores")),
    "sdpa-additive-silu": ("G1: SiLU scores added to the attention output.", "T1.14 T3.4",
                           gate(position="sdpa", mode="additive", activation="silu")),
    "sdpa-silu": ("G1: SiLU scores instead of sigmoid ones.", "T1.15", gate(position="sdpa", activation="silu")),
    "sdpa-group-norm": ("RMSNorm of each head of the attention output, no gate.", "T3.5",
                        {"attention": {"output_norm": True}}),
    "sdpa-self-silu": ("SiLU of the attention output, without parameters.", "T3.6",
                       gate(position="sdpa", input="self")),
    "sdpa-additive-identity": ("G1: logits added to the attention output as they are.", "T3.7",
                               gate(position="sdpa", mode="additive", activation="identity")),
    "sdpa-input-independent": ("G1: learned scores, the same for every token, from logits of 0.", "T4.6",
                               gate(position="sdpa", input="learned")),
    "sdpa-ns-sigmoid": ("G1: scores between 1/2 and 1, which cannot be sparse.", "T4.7",
                        gate(position="sdpa", activation="ns_sigmoid")),
    "sandwich-norm": ("RMSNorm of each branch's output in front of the residual addition.", "as in T2.7",
                      {"sandwich_norm": True}),
    "residual-clip-300": ("Branch outputs clipped to (-300, 300).", "A.6", {"residual_clip": 300}),
    "residual-clip-100": ("Branch outputs clipped to (-100, 100).", "A.6", {"residual_clip": 100}),
    "sdpa-mean-logits": ("G1: the score of the heads' mean logit, shared by them.", "arm",
                         gate(position="sdpa", heads="mean_logits")),
    "sdpa-shared-matrix": ("G1: one matrix makes the scores of all heads.", "arm",
                           gate(position="sdpa", heads="shared")),
    "sdpa-static-headwise": ("G1: one learned score for each head, the same for every token.", "arm",
                             gate(position="sdpa", granularity="headwise", input="learned")),
    "sdpa-open-start": ("G1: twice the score, from weights of 0, so that training starts without a gate.", "arm",
                        gate(position="sdpa", scale=2, init_std=0)),
    "sdpa-first-12-dims": ("G1 headwise: logits from the first 12 dimensions of the hidden state.", "arm",
                           gate(position="sdpa", granularity="headwise", input_dims=12)),
    "rotated-key-elementwise": ("G3 behind QK-norm and RoPE.", "arm", gate(position="rotated_key")),
    "rotated-query-elementwise": ("G4 behind QK-norm and RoPE.", "arm", gate(position="rotated_query")),
    "value-state-elementwise": ("Value-state gate (arXiv 2510.09017): values gated by themselves, per element.", "arm",
                                gate(position="value", input="state")),
    "value-state-headwise": ("Value-state gate (arXiv 2510.09017): values gated by themselves, per head.", "arm",
                             gate(position="value", input="state", granularity="headwise")),
    "sink-learned": ("A learned logit of each head beside those of the keys (gpt-oss, arXiv 2508.10925).", "arm",
                     {"attention": {"sink": "learned"}}),
    "sink-off-by-one": ("A logit of 0 beside those of the keys: softmax-off-by-one.", "arm",
                        {"attention": {"sink": "off_by_one"}}),
    "gated-norm": ("GatedNorm behind every norm of the stream, rank 16 (arXiv 2601.22966).", "arm",
                   {"gated_norm_rank": 16}),
    "pre-affine": ("A learned factor per channel in front of every norm of the stream (arXiv 2601.22966).", "arm",
                   {"pre_affine": True}),
    "sdpa-elementwise-gated-norm": ("G1 and GatedNorm: against attention sinks and residual sinks.", "arm",
                                    {**gate(position="sdpa"), "gated_norm_rank": 16}),
}

# Parameters that the paper's table 1 says a row adds, in millions; tests/configs_test.cpp holds the files to them.
ADDED = {
    "kv-heads-8": "50", "query-heads-48": "201", "experts-132": "400 (453)", "sdpa-elementwise": "201", "value-elementwise": "25",
    "key-elementwise": "25", "query-elementwise": "201", "output-elementwise": "100", "sdpa-headwise": "1.6",
    "value-headwise": "0.2", "sdpa-head-shared": "201", "value-head-shared": "25", "sdpa-additive-silu": "201",
    "sdpa-silu": "201",
}

# Table 2: row, base config, peak learning rate, tokens in steps of 4096-token sequences, batch, further changes.
TABLE_2 = [
    (1, "28l", 4.0e-3, 95367, 1024, {}), (2, "28l-elementwise", 4.0e-3, 95367, 1024, {}),
    (3, "28l", 4.5e-3, 417233, 2048, {}), (4, "28l-elementwise", 4.5e-3, 417233, 2048, {}),
    (5, "48l", 4.0e-3, 95367, 1024, {}), (6, "48l", 8.0e-3, 95367, 1024, {}),
    (7, "48l", 8.0e-3, 95367, 1024, {"sandwich_norm": True}), (8, "48l-elementwise", 4.0e-3, 95367, 1024, {}),
    (9, "48l-headwise", 4.0e-3, 95367, 1024, {}), (10, "48l-elementwise", 8.0e-3, 95367, 1024, {}),
    (11, "48l", 5.3e-3, 59605, 4096, {}), (12, "48l", 8.0e-3, 59605, 4096, {}),
    (13, "48l-elementwise", 5.3e-3, 59605, 4096, {}), (14, "48l-elementwise", 8.0e-3, 59605, 4096, {}),
]


def yaml(value, indent=0):
    lines = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines += [f"{'  ' * indent}{key}:", *yaml(item, indent + 1)]
        else:
            lines.append(f"{'  ' * indent}{key}: {str(item).lower() if isinstance(item, bool) else item}")
    return lines


def write(path, comment, config):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [f"# {line}" for line in comment]
    extends = [f"extends: {config.pop('extends')}", f"name: {config.pop('name')}", ""]
    path.write_text("\n".join(text + extends + yaml(config)) + "\n")


def write_index():
    lines = [
        "# Ablations", "",
        "Written by `scripts/make-ablations.py`. One file per row of the tables of arXiv 2505.06708 (T1.5 is row 5 of table 1) and per",
        "comparison arm (arm), each at two sizes: `tiny/` is dense and trains on a laptop's CPU, `paper/` is the paper's 15A2B",
        "mixture of experts. Every file changes `baseline.yaml` (T1.1, T3.1, T4.1, T6.1) in one point. `+M` is what table 1 says a",
        "row adds, in millions of parameters, and in brackets what its sizes give where that is something else.", "",
        "    headgate train configs/ablations/tiny/sdpa-elementwise.yaml", "",
        "| file | stands for | +M | what it is |", "|---|---|---|---|"]
    for name, (what, rows, _) in ROWS.items():
        lines.append(f"| `{name}.yaml` | {rows.replace(' ', ', ') if rows.startswith('T') else rows} | {ADDED.get(name, '')} | {what} |")
    lines += ["", "`table-2/` has the fourteen dense runs of table 2, which differ in depth, gate, learning rate and batch.", "",
              "`experts/` compares ways to balance the loads of experts, at the tiny size.", "",
              "Not here: the Switch Head rows with several experts (T6.2 to T6.5), whose sizes the paper does not give. `experts-132`",
              "is at the paper's size only: the tiny baseline has no experts."]
    (OUT / "README.md").write_text("\n".join(lines) + "\n")


def main():
    for size, text in BASELINE.items():
        (OUT / size).mkdir(parents=True, exist_ok=True)
        (OUT / size / "baseline.yaml").write_text(text)
        for name, (what, rows, changes) in ROWS.items():
            by_size = bool(changes.keys() & BASELINE.keys())
            if by_size and size not in changes:
                continue
            model = changes[size] if by_size else changes
            write(OUT / size / f"{name}.yaml", [f"{what} [{rows}]", "Written by scripts/make-ablations.py."],
                  {"extends": "baseline.yaml", "name": f"ablation-{size}-{name}", "model": model})
    write_index()
    for row, base, lr, steps, batch, model in TABLE_2:
        config = {"extends": f"../../dense-1.7b-{base}.yaml", "name": f"table-2-{row:02}"}
        if model:
            config["model"] = model
        config |= {"training": {"steps": steps, "global_batch_size": batch}, "optimizer": {"lr": f"{lr * 1e3:.1f}e-3"}}
        write(OUT / "table-2" / f"{row:02}-{base}-lr-{lr * 1e3:.1f}e-3.yaml",
              [f"Table 2, row {row} of arXiv 2505.06708: {steps * batch * 4096 / 1e9:.0f}B tokens. Warm-up and floor of the learning",
               "rate are not in the paper. Written by scripts/make-ablations.py."],
              config)


if __name__ == "__main__":
    main()
