"""Run folders as training and testing leave them, for the tests of `strandwave report`. The figures are made up."""
import json
import math
import pathlib
import random

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'too'"


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))


def write_log(folder, steps=1000, done=None, log_every=10, start=2.3, end=1.75, command="strandwave dna pretrain genome.fa",
              metric="bits_per_base", tokens_per_step=8192, resumed=(), skipped=(), seed=1):
    """log.jsonl with records up to step `done`."""
    noise = random.Random(seed)
    done = steps if done is None else done
    lines, left_out = [], 0

    def start_record(step):
        return {"type": "run", "step": step, "steps": steps, "version": "0.1.0", "command": command, "device": "AMD EPYC",
                "threads": 2, "parameters": 164608, "task": "next base, 51.2 M training bases", "time": 1795531026 + step}

    lines.append(start_record(0))
    for step in range(log_every, done + 1, log_every):
        lines += [start_record(at) for at in resumed if step - log_every <= at < step]
        left_out += sum(1 for at in skipped if step - log_every < at <= step)
        bits = end + (start - end) * math.exp(-6 * step / steps) + noise.gauss(0, 0.01)
        lines.append({"type": "train", "step": step, "loss": bits * math.log(2), "bits": bits,
                      "lr": 0.005 * min(step / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps)),
                      "grad_norm": 0.2 * math.exp(noise.gauss(0, 0.5)), "tokens": step * tokens_per_step,
                      "tokens_per_second": 41000 + noise.gauss(0, 1500), "skipped": left_out, "memory_bytes": 313810944})
        if step % (steps // 10) == 0:
            value = bits + 0.02 if metric == "bits_per_base" else 0.9 - bits / 10
            metrics = {metric: value} if metric == "bits_per_base" else {metric: value, "log_loss": bits * math.log(2)}
            lines.append({"type": "eval", "step": step, "metrics": metrics, "best": True})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def language_model_test(bits=1.7412, blocks=74, seen=0.0, seed=1):
    noise = random.Random(seed)
    per_block = 6750
    deviations = [noise.gauss(0, 0.01) for _ in range(blocks)]
    deviations = [value - sum(deviations) / blocks for value in deviations]
    regions = [{"name": "repeats", "positions": 249000, "bits_per_base": bits - 0.12},
               {"name": "non-repeats", "positions": 250500, "bits_per_base": bits + 0.11}]
    baselines = []
    for name, training, value in (("Markov order 2", "all", 1.9281), ("Markov order 8", "all", 1.8091),
                                  ("Markov order 11", "all", 1.7482), ("Markov order 11", "seen", 1.8903),
                                  ("causal CNN", "seen", 1.8012)):
        difference = bits - value
        baselines.append({"name": name, "training": training, "bits_per_base": value, "blocks": blocks,
                          "difference": [difference, difference - 0.017, difference + 0.019],
                          "regions": [dict(region, bits_per_base=region["bits_per_base"] - difference) for region in regions]})
    return {"kind": "language_model", "command": "strandwave dna pretrain genome.fa", "window": 1024,
            "positions": blocks * per_block, "bits_per_base": bits, "regions": regions, "baselines": baselines,
            "context": [{"first": 0, "last": 16, "positions": 7808, "bits_per_base": bits + 0.16},
                        {"first": 16, "last": 128, "positions": 54656, "bits_per_base": bits + 0.04},
                        {"first": 128, "last": 1024, "positions": 437248, "bits_per_base": bits - 0.007}],
            "seen_in_training": {"fraction": seen, "by": "sketch"},
            "block_sums": {"positions": [per_block] * blocks,
                           "bits": [per_block * (bits + value) for value in deviations]}}


def classifier_test(labels=("E.Coli", "H.Pylori", "S.Aureus", "V.Cholerae"), accuracy=0.8425, kind="classifier", groups=12,
                    lengths=(100, 250, 1000), errors=(0.0, 0.05, 0.1, 0.2), seed=1):
    noise = random.Random(seed)
    n = 500 * len(labels)
    results = []
    predictors = {"this model": (accuracy, 0.3), "majority": (1 / len(labels), 0), "GC content": (0.55, 0.2),
                  "6-mer naive Bayes": (accuracy + 0.02, 0.9), "31-mer lookup": (0.96, 4.0)}
    for length in lengths:
        for error in errors:
            for name, (base, loss) in predictors.items():
                value = max(1 / len(labels), base - loss * error * 100 / length ** 0.5 / 4 + 0.02 * math.log10(length / 100))
                right = round(500 * value)
                wrong = (500 - right) / max(1, len(labels) - 1)
                results.append({
                    "name": name, "set": "all", "length": length, "error_rate": error, "n": n, "accuracy": value,
                    "balanced_accuracy": value, "macro_f1": value - 0.003, "matthews": value - 0.05, "auroc": min(1, value + 0.1),
                    "auprc": value + 0.03, "ece": 0.0312, "log_loss": 0.4544,
                    "intervals": {"accuracy": [value, value - 0.021, value + 0.018]},
                    "per_class": [{"label": label, "n": 500, "precision": value, "recall": value + 0.01, "f1": value,
                                   "auroc": 0.95, "auprc": 0.9} for label in labels],
                    "per_group": [{"group": f"strain-{g}", "n": n // groups, "accuracy": value + noise.gauss(0, 0.02)}
                                  for g in range(groups)],
                    "confusion": [[right if i == j else round(wrong) for j in range(len(labels))] for i in range(len(labels))]})

    def curve(power):
        return [[x / 40, (x / 40) ** power] for x in range(41)]

    return {"kind": kind, "command": "strandwave dna finetune strains.tsv", "labels": list(labels), "results": results,
            "curves": {"roc": [{"label": label, "points": curve(0.1 + 0.08 * i)} for i, label in enumerate(labels)],
                       "pr": [{"label": label, "points": [[x, 1 - y * 0.3] for x, y in curve(3 + i)]}
                              for i, label in enumerate(labels)],
                       "reliability": [{"confidence": (b + 0.5) / 10, "accuracy": ((b + 0.5) / 10) ** 1.2, "n": 20 + b * b * 5}
                                       for b in range(2, 10)]},
            "leakage": {"test": {"sequences": 5920, "exact_duplicates": 54, "share_half_of_31_mers": 147}},
            "rejection": {"temperature": 1.183, "leave_one_class_out": [{"label": label, "auroc": 0.81} for label in labels]}}


def regression_test():
    results = [{"name": name, "set": "all", "length": 0, "error_rate": 0, "n": 300, "r2": r2, "pearson": r2 ** 0.5,
                "spearman": 0.7, "mae": 0.21, "rmse": 0.3, "intervals": {"r2": [r2, r2 - 0.05, r2 + 0.05]}}
               for name, r2 in (("this model", 0.61), ("GC content", 0.22))]
    return {"kind": "regression", "command": "strandwave dna finetune table.csv", "labels": ["activity"], "results": results,
            "curves": {}, "leakage": {}, "rejection": {}}


def config(objective="next_base", lr=0.005):
    task = {"objective": objective, "window": 1024, "batch": 8, "genome": "1c5fe3afba6a510798b2cc31d16b9442", "start_model": "",
            "splits": {"test": {"bases": 7400000, "sha256": "79994caa6bffef1c59ce3a1d506a2446"},
                       "train": {"bases": 51232304, "sha256": "b62cfcfaced92dda6ac3b85fe819b299"}}}
    return {"model": {"d_model": 64, "stack": "M{5}", "head": {"kind": "language_model"}}, "task": task,
            "trainer": {"lr": lr, "steps": 1000, "precision": "fp32", "recompute": False}}


def language_model_run(folder, **options):
    folder = pathlib.Path(folder)
    write_log(folder, **{key: value for key, value in options.items() if key not in ("bits", "seen", "seed")})
    write_json(folder / "config.json", config())
    write_json(folder / "test.json", language_model_test(options.get("bits", 1.7412), seen=options.get("seen", 0.0),
                                                         seed=options.get("seed", 1)))
    return folder


def classifier_run(folder, **options):
    folder = pathlib.Path(folder)
    write_log(folder, steps=500, start=2.0, end=0.7, metric="accuracy", command="strandwave dna finetune strains.tsv")
    write_json(folder / "config.json", config("classification"))
    write_json(folder / "test.json", classifier_test(**options))
    return folder
