"""Opens a run's event file with the tensorboard package and compares it with the run's log.jsonl.

    check_tensorboard.py RUN

Exit status: 0 when every scalar of the log is there with its value and no other, 1 when not, 77 when
the package is not installed.
"""
import json
import math
import pathlib
import sys

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("the package tensorboard is not installed: skipped")
    sys.exit(77)

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


def main():
    run = pathlib.Path(sys.argv[1])
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


if __name__ == "__main__":
    sys.exit(main())
