#!/usr/bin/env python3
"""Checks a run folder's TensorBoard files against its metrics.jsonl, with TensorBoard's own reader.

check_tensorboard.py RUN_FOLDER     needs `pip install tensorboard`

Every number of metrics.jsonl must be a scalar of the same tag, step and (as f32) value, every text
a text summary, and there must be no scalar beyond. Both of TensorBoard's Python readers are asked.
For a run to check: HEADGATE_TEST_FILES=FOLDER headgate_tests --gtest_filter=Metrics.ResumedRun
leaves one in FOLDER/Metrics.ResumedRun.
"""

import json
import math
import pathlib
import struct
import sys

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.util import tensor_util

FIXED_KEYS = {"step", "tokens", "time", "kind"}
KEEP_ALL = 0


def as_f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def read_rows(path):
    """{(tag, step): number or None or text} of metrics.jsonl."""
    values = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            for key in row.keys() - FIXED_KEYS:
                values[key, row["step"]] = row[key]
    return values


def read_legacy(folder):
    """Scalars by EventAccumulator, the reader that scripts use."""
    reader = event_accumulator.EventAccumulator(str(folder), {event_accumulator.SCALARS: KEEP_ALL})
    reader.Reload()
    return {
        (tag, event.step): event.value
        for tag in reader.Tags()["scalars"]
        for event in reader.Scalars(tag)
    }


def read_plugins(folder):
    """Scalars, texts and histograms by the reader behind TensorBoard's own pages."""
    guidance = {plugin_event_accumulator.TENSORS: KEEP_ALL}
    reader = plugin_event_accumulator.EventAccumulator(str(folder), guidance)
    reader.Reload()
    found = {"scalars": {}, "text": {}, "histograms": {}}
    for plugin, values in found.items():
        for tag in reader.PluginTagToContent(plugin) if plugin in reader.ActivePlugins() else []:
            for event in reader.Tensors(tag):
                array = tensor_util.make_ndarray(event.tensor_proto)
                values[tag, event.step] = array if plugin == "histograms" else array.flatten()[0]
    return found


def compare(reader, scalars, expected):
    """The differences between what a reader found and the numbers of metrics.jsonl."""
    for key in expected.keys() - scalars.keys():
        yield f"{reader}: {key} of metrics.jsonl is missing"
    for key in scalars.keys() - expected.keys():
        yield f"{reader}: {key} is not in metrics.jsonl"
    for key in expected.keys() & scalars.keys():
        want, found = expected[key], float(scalars[key])
        if math.isfinite(found) if want is None else found != as_f32(want):
            yield f"{reader}: {key} is {found}, metrics.jsonl has {want}"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run = pathlib.Path(sys.argv[1])
    rows = read_rows(run / "metrics.jsonl")
    numbers = {key: value for key, value in rows.items() if not isinstance(value, str)}
    texts = {key: value for key, value in rows.items() if isinstance(value, str)}
    plugins = read_plugins(run / "tensorboard")
    problems = [
        *compare("event_accumulator", read_legacy(run / "tensorboard"), numbers),
        *compare("plugin_event_accumulator", plugins["scalars"], numbers),
    ]
    for key, text in texts.items():
        found = plugins["text"].get(key)
        if found is None or found.decode() != text:
            problems.append(f"text {key} is {found}, metrics.jsonl has {text!r}")
    print(*problems, sep="\n", end="\n" if problems else "")
    print(
        f"{run}: {len(numbers)} scalars, {len(texts)} texts, "
        f"{len(plugins['histograms'])} histograms, {len(problems)} problems"
    )
    if not numbers:
        sys.exit("metrics.jsonl holds no numbers")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
