"""The book's program in NumPy: 784-50-10, batch 100 drawn with replacement, learning rate 0.1, 10,000
steps, accuracy on all 70,000 images after steps 1, 601, ..., 9601. The layers are those of chapter 5 of
"Deep Learning from Scratch" (K. Saitoh, 2019), with their hand-written backward passes.

  pip install numpy
  python benches/peers/numpy_book.py [--dtype f32|f64] [--second-loss] [--threads N] [--iters N] [--seed N]

--second-loss evaluates the loss once more after each update, as the book's script does; the book computes
in f64. Prints one JSON line with the keys of `wengert train --json`.
"""
import argparse
import gzip
import json
import os
import pathlib
import time

parser = argparse.ArgumentParser()
parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
parser.add_argument("--second-loss", action="store_true")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--iters", type=int, default=10_000)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
for name in ("OPENBLAS", "MKL", "OMP"):
    os.environ[f"{name}_NUM_THREADS"] = str(args.threads)
import numpy as np  # noqa: E402  (the thread count must be set before)

DTYPE = np.float32 if args.dtype == "f32" else np.float64
DATA = pathlib.Path(__file__).parents[2] / "datasets" / "mnist"


def read(name, header):
    with gzip.open(DATA / f"{name}.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def load(part):
    images = read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784).astype(np.float32) / 255.0
    return images.astype(DTYPE), np.eye(10, dtype=DTYPE)[read(f"{part}-labels-idx1-ubyte", 8)]


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Affine:
    def __init__(self, inputs, outputs, rng):
        self.w = (0.01 * rng.standard_normal((inputs, outputs))).astype(DTYPE)
        self.b = np.zeros(outputs, DTYPE)

    def forward(self, x):
        self.x = x
        return x @ self.w + self.b

    def backward(self, d):
        self.dw, self.db = self.x.T @ d, d.sum(axis=0)
        return d @ self.w.T


class Relu:
    def forward(self, x):
        self.closed = x <= 0
        y = x.copy()
        y[self.closed] = 0
        return y

    def backward(self, d):
        d[self.closed] = 0
        return d


class SoftmaxWithLoss:
    def forward(self, x, t):
        self.y, self.t = softmax(x), t
        rows = np.arange(len(t))
        return -np.mean(np.log(self.y[rows, t.argmax(axis=1)] + 1e-7))

    def backward(self):
        return (self.y - self.t) / len(self.t)


class TwoLayerNet:
    def __init__(self, rng):
        self.layers = [Affine(784, 50, rng), Relu(), Affine(50, 10, rng)]
        self.last = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.last.forward(self.predict(x), t)

    def accuracy(self, x, t):
        return float(np.mean(self.predict(x).argmax(axis=1) == t.argmax(axis=1)))

    def step(self, x, t, rate):
        self.loss(x, t)
        d = self.last.backward()
        for layer in reversed(self.layers):
            d = layer.backward(d)
        for layer in (self.layers[0], self.layers[2]):
            layer.w -= rate * layer.dw
            layer.b -= rate * layer.db


began = time.perf_counter()
x_train, t_train = load("train")
x_test, t_test = load("t10k")
loaded = time.perf_counter()
rng = np.random.default_rng(args.seed)
net = TwoLayerNet(rng)
stepping = 0.0
for i in range(args.iters):
    clock = time.perf_counter()
    batch = rng.choice(len(x_train), 100)
    net.step(x_train[batch], t_train[batch], 0.1)
    if args.second_loss:
        net.loss(x_train[batch], t_train[batch])
    stepping += time.perf_counter() - clock
    if i % 600 == 0:
        net.accuracy(x_train, t_train), net.accuracy(x_test, t_test)
print(json.dumps({
    "peer": "numpy-book", "numpy": np.__version__, "dtype": args.dtype, "threads": args.threads,
    "second_loss": args.second_loss, "iters": args.iters, "test_accuracy": net.accuracy(x_test, t_test),
    "train_accuracy": net.accuracy(x_train, t_train), "seconds_total": time.perf_counter() - began,
    "us_per_step": stepping / args.iters * 1e6, "load_seconds": loaded - began,
}))
