#!/usr/bin/env python3
"""Trains ablations at their tiny size, one after another, and prints what came of them as a table in Markdown.

  scripts/compare-ablations.py                                    the runs of docs/results/ablations-tiny.md
  scripts/compare-ablations.py --only baseline sdpa-elementwise --set training.steps=200
  scripts/compare-ablations.py --only baseline experts/balanced experts/unbalanced --seeds 1 2
  scripts/compare-ablations.py --table runs/ablations/*           the table alone, of runs that are there

Runs lie in runs/ablations; one that has finished is not trained again. Plain Python, no packages. Needs the corpus that
scripts/quickstart makes in data/.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
HEADGATE = ROOT / "build" / "release" / "tools" / "headgate"
NAMES = ["baseline", "sdpa-elementwise", "sdpa-headwise", "value-elementwise", "sdpa-head-shared", "sdpa-ns-sigmoid",
         "sdpa-input-independent"]
LOOKS = 10  # of the instruments, the last ones, that a figure is the mean of


def rows(run):
    with open(run / "metrics.jsonl") as file:
        return [json.loads(line) for line in file]


def finished(run, steps):
    path = run / "metrics.jsonl"
    return path.exists() and any(row["kind"] == "val" and row["step"] == steps for row in rows(run))


def mean(values):
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


def figures(run):
    by_kind = {}
    for row in rows(run):
        by_kind.setdefault(row["kind"], []).append(row)
    looks, train = by_kind.get("instruments", [])[-LOOKS:], by_kind["train"]

    def seen(name, scale=1.0):
        value = mean([look.get(name) for look in looks])
        return None if value is None else scale * value

    speeds = sorted(row.get("throughput/total(tps)", row["throughput(tps)"]) for row in train)
    counts = by_kind["run"][0]
    active = counts.get("parameters/active", counts["parameters/total"])
    return {
        "run": run.name,
        "parameters (M)": (counts["parameters/total"] / 1e6, "{:.3f}"),
        "for each token (M)": (active / 1e6 if active < counts["parameters/total"] else None, "{:.3f}"),
        "loss": (by_kind["val"][-1]["validation_metrics/loss"], "{:.4f}"),
        "gate mean": (seen("gate/mean"), "{:.3f}"),
        "gate < 0.1 (%)": (seen("gate/below_0.1", 100), "{:.1f}"),
        "F-Attn (%)": (seen("attention/first_token", 100), "{:.1f}"),
        "F-Attn, queries >= 64 (%)": (seen("attention/first_token_from_64", 100), "{:.1f}"),
        "M-Act": (seen("activation/m_act"), "{:.0f}"),
        "max logit": (seen("attention/max_logit"), "{:.1f}"),
        "load entropy": (seen("moe/load_entropy"), "{:.3f}"),
        "busiest expert (x mean)": (seen("moe/max_load"), "{:.2f}"),
        "dead experts": (seen("moe/dead_experts"), "{:.1f}"),
        "dropped (%)": (seen("moe/dropped", 100), "{:.1f}"),
        "tokens/s": (speeds[len(speeds) // 2], "{:.0f}"),
    }


def table(runs):
    """Columns in which no run has a figure are left out."""
    rows = [figures(run) for run in runs]
    names = [name for name in rows[0] if any(row[name][0] is not None for row in rows)]
    print("| " + " | ".join(names) + " |")
    print("|---" + "|---:" * (len(names) - 1) + "|")
    for row in rows:
        cells = [cell if isinstance(cell, str) else "-" if cell[0] is None else cell[1].format(cell[0])
                 for cell in (row[name] for name in names)]
        print("| " + " | ".join(cells) + " |")


def train(name, run, overrides):
    folder = name if "/" in name else f"tiny/{name}"
    config = ROOT / "configs" / "ablations" / f"{folder}.yaml"
    resolved = subprocess.run([HEADGATE, "config", config, *overrides], capture_output=True, text=True)
    if resolved.returncode != 0:
        sys.exit(resolved.stderr.strip())
    steps = next(int(line.split()[1]) for line in resolved.stdout.splitlines() if line.startswith("  steps:"))
    if not finished(run, steps):
        subprocess.run([HEADGATE, "train", config, "--run", run, *overrides], check=True, stdout=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=NAMES, metavar="NAME", help="files of configs/ablations/tiny; of other folders there with the folder's name")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="train each with each of these")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for headgate train")
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/ablations"))
    parser.add_argument("--table", nargs="+", type=pathlib.Path, metavar="RUN", help="print these runs, train none")
    args = parser.parse_args()
    if args.table:
        return table(args.table)
    overrides = [part for key in args.set for part in ("--set", key)]
    runs = []
    for name in args.only:
        for seed in args.seeds or [None]:
            of_seed = [] if seed is None else ["--set", f"training.seed={seed}"]
            runs.append(args.runs / (name.replace("/", "-") + ("" if seed is None else f"-seed-{seed}")))
            train(name, runs[-1], [*overrides, *of_seed])
    table(runs)


if __name__ == "__main__":
    main()
