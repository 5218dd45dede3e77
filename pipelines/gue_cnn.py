#!/usr/bin/env python3
"""A convolutional network on a table of gue_table.py, to compare with. Needs Python with torch.

    gue_cnn.py TABLE.csv [--seed N] [--epochs N] [--device cuda]

One-hot bases; four convolutions (128 channels; widths 11, 7, 7, 7) with batch norm, ReLU and, after the
first three, max pooling by 2; maximum over the length, dropout 0.3, a linear layer: 0.36 M parameters.
AdamW, 1e-3 with a cosine, batches of 128, training rows from either strand, both strands averaged at the
end; a tenth of the training rows, drawn by the seed, chooses the epoch. Prints one line of JSON.
"""
import argparse
import csv
import json
import math
import time

import torch
from torch import nn

BASES = "ACGT"


def encode(sequences):
    """(sequences, 4, length) one-hot, padded with zeros, as N is."""
    length = max(map(len, sequences))
    table = torch.zeros(256, 4)
    for index, base in enumerate(BASES):
        table[ord(base), index] = table[ord(base.lower()), index] = 1
    letters = torch.tensor([list(s.encode().ljust(length, b"N")) for s in sequences])
    return table[letters].transpose(1, 2).contiguous()


def reverse_complement(x):
    return x.flip(1, 2)  # the bases stand so that the complement is the mirror


def network(classes, width=128):
    layers, channels = [], len(BASES)
    for number, size in enumerate((11, 7, 7, 7)):
        layers += [nn.Conv1d(channels, width, size, padding=size // 2), nn.BatchNorm1d(width), nn.ReLU()]
        layers += [nn.MaxPool1d(2)] if number < 3 else []
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(width, classes))


def predict(model, x):
    model.eval()
    with torch.no_grad():
        return torch.cat([(model(part).softmax(1) + model(reverse_complement(part)).softmax(1)) / 2
                          for part in x.split(2048)])


def matthews(predicted, true, classes):
    """Gorodkin's correlation of several classes."""
    table = torch.zeros(classes, classes, dtype=torch.double)
    for t, p in zip(true.tolist(), predicted.tolist()):
        table[t, p] += 1
    n, correct = table.sum(), table.diag().sum()
    rows, columns = table.sum(1), table.sum(0)
    bottom = ((n * n - (columns * columns).sum()) * (n * n - (rows * rows).sum())).sqrt()
    return float((correct * n - (rows * columns).sum()) / bottom) if bottom > 0 else 0.0


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("table")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--device", default="cpu")
    options = arguments.parse_args()
    start = time.monotonic()
    torch.manual_seed(options.seed)
    with open(options.table, newline="") as lines:
        rows = list(csv.DictReader(lines))
    labels = sorted({row["label"] for row in rows})
    parts = {}
    for split in ("train", "test"):
        chosen = [row for row in rows if row["split"] == split]
        parts[split] = (encode([row["sequence"] for row in chosen]).to(options.device),
                        torch.tensor([labels.index(row["label"]) for row in chosen]).to(options.device))
    x, y = parts["train"]
    order = torch.randperm(len(x)).to(options.device)
    held, used = order[:len(x) // 10], order[len(x) // 10:]

    model = network(len(labels)).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    steps = options.epochs * math.ceil(len(used) / 128)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_accuracy = None, -1.0
    for _ in range(options.epochs):
        model.train()
        for batch in used[torch.randperm(len(used)).to(options.device)].split(128):
            inputs = x[batch]
            turned = torch.rand(len(batch), 1, 1, device=inputs.device) < 0.5
            loss = nn.functional.cross_entropy(model(torch.where(turned, reverse_complement(inputs), inputs)), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        accuracy = (predict(model, x[held]).argmax(1) == y[held]).float().mean().item()
        if accuracy > best_accuracy:
            best, best_accuracy = predict(model, parts["test"][0]), accuracy
    true = parts["test"][1]
    print(json.dumps({"name": "CNN", "table": options.table, "seed": options.seed, "n": len(true),
                      "parameters": sum(p.numel() for p in model.parameters()),
                      "accuracy": (best.argmax(1) == true).double().mean().item(),
                      "matthews": matthews(best.argmax(1).cpu(), true.cpu(), len(labels)),
                      "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    main()
