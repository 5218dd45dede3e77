#!/usr/bin/env python3
# label: cli
"""The tensorboard package opens the event file of a run and finds what the run's log.jsonl holds.

    tensorboard_test.py          trains a tiny model and looks at its run
    tensorboard_test.py RUN      looks at this run

Exit code: 0 when every scalar of the log is there with its value and no other, 1 when not, 77 when the
package is not installed (scripts/setup --tests).
"""
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import sample_data

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    print(f"skipped: {sys.executable} cannot import tensorboard ({error}); scripts/setup --tests installs it")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("STRANDWAVE_PROGRAM", str(ROOT / "build/release/bin/strandwave"))

# Tag in the event file -> key of a "train" record.
TRAIN_TAGS = {
    "train/loss": "loss",
    "train/bits": "bits",
    "train/lr": "lr",
    "train/grad_norm": "grad_norm",
    "train/tokens_per_second": "tokens_per_second",
    "train/skipped": "skipped",
}


def expected_scalars(log):
    """{tag: [(step, value)]} as the log has them; a null stands for a number that is not finite."""
    scalars = {}
    for record in log:
        if record["type"] == "train":
            for tag, key in TRAIN_TAGS.items():
                scalars.setdefault(tag, []).append((record["step"], record[key]))
            gib = record["memory_bytes"] / 2**30
            scalars.setdefault("train/memory_gib", []).append((record["step"], gib))
        elif record["type"] == "eval":
            for name, value in record["metrics"].items():
                scalars.setdefault("eval/" + name, []).append((record["step"], value))
    return scalars


def same(value, expected):
    if expected is None:
        return not math.isfinite(value)
    return math.isclose(value, expected, rel_tol=1e-6, abs_tol=1e-30)  # events hold float32


def train(folder):
    """A run of a tiny model."""
    sample_data.write_samples(folder)
    words = [PROGRAM, "dna", "pretrain", "genome.fa", "--split", "held_out.bed", "-o", "run", "--d-model", "16",
             "--layers", "M", "--d-state", "4", "--window", "64", "--batch", "2", "--gap", "500", "--threads", "1",
             "--eval-bases", "1000", "--test-bases", "1000", "--markov", "2", "--log-every", "1", "--eval-every", "2",
             "--steps", "6", "--quiet"]
    result = subprocess.run(words, cwd=folder, env=dict(os.environ, STRANDWAVE_CACHE=str(folder / "cache")),
                            capture_output=True, text=True, timeout=300, check=False)
    if result.returncode != 0:
        sys.exit(f"the training failed:\n{result.stdout}\n{result.stderr}")
    return folder / "run"


def compare(run):
    """Exit code of the comparison; prints what differs."""
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    expected = expected_scalars(log)
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    found = events.Tags()["scalars"]
    failures = [f"tags {sorted(found)}, expected {sorted(expected)}"] if set(found) != set(expected) else []
    for tag in sorted(set(found) & set(expected)):
        scalars = [(event.step, event.value) for event in events.Scalars(tag)]
        if len(scalars) != len(expected[tag]) or not all(
            step == expected_step and same(value, expected_value)
            for (step, value), (expected_step, expected_value) in zip(scalars, expected[tag])
        ):
            failures.append(f"{tag}: {scalars[:3]}..., expected {expected[tag][:3]}...")
    texts = events.Tags()["tensors"]
    if texts != ["config"]:
        failures.append(f"texts {texts}, expected ['config']")
    elif b'"trainer"' not in events.Tensors("config")[0].tensor_proto.string_val[0]:
        failures.append("the text 'config' does not hold the settings")
    for failure in failures:
        print(failure)
    print(f"{run}: {sum(len(events.Scalars(tag)) for tag in found)} scalars in {len(found)} tags")
    return 1 if failures or not found else 0


def main():
    if len(sys.argv) > 1:
        return compare(pathlib.Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        return compare(train(pathlib.Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
