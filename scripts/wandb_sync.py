#!/usr/bin/env python3
"""Sends the rows of a run's metrics.jsonl to Weights & Biases.

    scripts/wandb_sync.py runs/tiny --project headgate            what there is
    scripts/wandb_sync.py runs/tiny --project headgate --follow   and what comes, until stopped

Needs the package `wandb` from PyPI. The id of the W&B run is made of the folder's path: starting
again continues the same run behind the last step that was sent, which RUN/wandb_sync.json keeps.
"""
import argparse
import hashlib
import json
import os
import pathlib
import time

NOT_METRICS = ("step", "time", "kind")


def run_id(folder):
    """The same for the same folder, whatever it is called from."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def read_rows(file, offset):
    """Complete lines from `offset` on, and where the next begins. Half a line waits for its end."""
    with open(file, "rb") as stream:
        stream.seek(offset)
        text = stream.read()
    end = text.rfind(b"\n") + 1
    return [json.loads(line) for line in text[:end].splitlines() if line.strip()], offset + end


def merge_steps(rows):
    """{step: values}: W&B wants each step once, and all that belongs to it at once."""
    steps = {}
    for row in rows:
        values = {name: value for name, value in row.items()
                  if name not in NOT_METRICS and isinstance(value, (int, float))}
        steps.setdefault(row["step"], {}).update(values)
    return steps


def write_state(file, last_step):
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"last_step": last_step}))
    os.replace(temporary, file)


def sync(wandb, folder, project, follow, seconds=5.0):
    """Returns the last step that was sent, -1 if there is none."""
    metrics, state = folder / "metrics.jsonl", folder / "wandb_sync.json"
    last_step = json.loads(state.read_text())["last_step"] if state.exists() else -1
    run = wandb.init(project=project, id=run_id(folder), name=folder.resolve().name, resume="allow")
    config = folder / "config.yaml"
    if config.exists():
        run.config.update({"config.yaml": config.read_text()}, allow_val_change=True)
    offset, inode, waiting = 0, None, {}
    try:
        while True:
            # A run that resumes cuts steps off and writes the file anew: read it from its beginning.
            status = os.stat(metrics)
            if status.st_ino != inode or status.st_size < offset:
                offset, inode, waiting = 0, status.st_ino, {}
            rows, offset = read_rows(metrics, offset)
            for step, values in merge_steps(rows).items():
                waiting.setdefault(step, {}).update(values)
            # The newest step may still get rows of validation or of a look.
            newest = max(waiting, default=-1)
            for step in sorted(waiting):
                if follow and step == newest:
                    continue
                if step > last_step:
                    run.log(waiting[step], step=step)
                    last_step = step
                del waiting[step]
            write_state(state, last_step)
            if not follow:
                return last_step
            time.sleep(seconds)
    finally:
        run.finish()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path, help="run folder with a metrics.jsonl")
    parser.add_argument("--project", required=True, help="project at Weights & Biases")
    parser.add_argument("--follow", action="store_true", help="go on as the run goes on")
    arguments = parser.parse_args()
    if not (arguments.run / "metrics.jsonl").exists():
        parser.error(f"{arguments.run}: there is no metrics.jsonl in it")
    try:
        import wandb
    except ImportError:
        parser.error("needs the Python package wandb: pip install wandb")
    try:
        print("sent up to step", sync(wandb, arguments.run, arguments.project, arguments.follow))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
