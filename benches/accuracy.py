"""Trains what README's table of accuracies tells of, several seeds each, and prints the table.

python3 benches/accuracy.py [--seeds 3] [--fashion datasets/fashion-mnist] [--out runs/accuracy] [NAME ...]

Runs that are there already are not made again: each is `wengert train`, with --resume.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

RECIPES = pathlib.Path(__file__).parent / "recipes"
# Name, data, what it is, seeds where not as asked.
ROWS = [
    ("book", "MNIST", "the book's net, defaults", 10),
    ("mnist-mlp", "MNIST", "MLP 784-512-256-10", None),
    ("mnist-mlp-augmented", "MNIST", "the same, augmented", None),
    ("mnist-gru", "MNIST, row by row", "GRU 64", None),
    ("fashion-mlp", "Fashion-MNIST", "MLP 784-256-128-100-10", None),
    ("mnist-conv", "MNIST", "convolutional net, augmented", None),
    ("fashion-conv", "Fashion-MNIST", "convolutional net, augmented", None),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fashion", default="datasets/fashion-mnist")
    parser.add_argument("--out", default="runs/accuracy")
    parser.add_argument("--program", default="target/release/wengert")
    asked = parser.parse_args()
    rows = []
    for name, data, what, seeds in ROWS:
        if asked.names and name not in asked.names:
            continue
        accuracies, seconds = [], []
        for seed in range(seeds or asked.seeds):
            folder = pathlib.Path(asked.out) / f"{name}-{seed}"
            times = folder / "seconds"
            command = [asked.program, "train", "--json", "--out", folder]
            if folder.exists():
                command += ["--resume"]
            elif name != "book":
                command += ["--config", RECIPES / f"{name}.toml"]
            command += ["--seed", str(seed), "--checkpoint-every", "2000", "--keep", "1"]
            if name.startswith("fashion"):
                command += ["--data", asked.fashion]
            clock = time.time()
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if said["seconds_total"] is not None:
                times.write_text(str(time.time() - clock))
            accuracies.append(said["test_accuracy"])
            seconds.append(float(times.read_text()) if times.exists() else float("nan"))
            print(f"{name}, seed {seed}: {accuracies[-1]:.4f} in {seconds[-1]:.0f} s", flush=True)
        spread = max(accuracies) - min(accuracies)
        # Others may have worked beside some.
        took = min(seconds)
        length = f"{took:.0f} s" if took < 120 else f"{took / 60:.1f} min"
        mean = statistics.mean(accuracies)
        rows.append(f"| {data} | {what} | {len(accuracies)} | {mean:.4f} | {min(accuracies):.4f} | {spread:.4f} | {length} |")
    print("\n| data | model | seeds | test accuracy, mean | least | most − least | quickest run |\n|---|---|---|---|---|---|---|")
    print("\n".join(rows))


main()
