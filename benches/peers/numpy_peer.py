"""Workloads of wengert-bench in NumPy, with derivatives by hand: what a tape has to compare with.

The networks write into arrays of their own rather than make new ones; `numpy_book.py` is the book's way.

  pip install numpy
"""
import common

args = common.arguments(__doc__, "numpy", without=("gradcost-mlp", "gradcost-gmm", "cnn", "conv", "adam", *common.STEPS))
import numpy as np  # noqa: E402  (the thread count must be set before)

import forms  # noqa: E402


def training(network):
    layers = common.parameters(args, network)
    changes = [(np.empty_like(w), np.empty_like(b)) for w, b in layers]
    speeds = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
    train_part, test_part, load_seconds = common.mnist(args)
    images, labels = train_part
    batches = common.batches(args, network.batch, len(images))
    rows = np.arange(network.batch)

    def forward(x):
        """What enters each layer, then the result."""
        passed = [x]
        for i, (w, b) in enumerate(layers):
            x = x @ w
            x += b
            if i + 1 < len(layers):
                np.maximum(x, 0, out=x)
            passed.append(x)
        return passed

    def step(index):
        y = labels[index]
        *passed, z = forward(images[index])
        along = forms.softmax(z)
        loss = -np.log(along[rows, y]).mean()
        along[rows, y] -= 1
        along /= len(index)
        for i in reversed(range(len(layers))):
            (w, b), (dw, db), x = layers[i], changes[i], passed[i]
            np.matmul(x.T, along, out=dw)
            np.sum(along, axis=0, out=db)
            if i > 0:
                along = along @ w.T
                along *= x > 0
        for layer, change, speed in zip(layers, changes, speeds):
            for p, g, v in zip(layer, change, speed):
                if network.momentum:
                    v *= network.momentum
                    v += g
                    np.copyto(g, v)
                g *= network.rate
                p -= g
        return loss

    def run(start, end):
        return [step(index) for index in batches[start:end]]

    def accuracy(x, labels):
        return float((forward(x)[-1].argmax(axis=1) == labels).mean())

    return {"load_seconds": load_seconds, **common.train(args, run, accuracy, train_part, test_part)}


def small_ops():
    inputs = forms.chain_inputs(args)
    errors = forms.agree_chain(args, forms.chain(*inputs))
    return {**errors, **common.single(args, lambda: forms.chain(*inputs))}


def hvp():
    w, v, x, _, load_seconds = forms.hvp_inputs(args)
    return {"load_seconds": load_seconds, **common.single(args, lambda: forms.hessian_product(w, v, x))}


def linalg():
    """Cholesky's factor, solutions of as many systems as rows, and inverses, by LAPACK."""
    found = {}
    for count, n in ((1, 8), (1, 32), (1, 128), (1, 512), (1000, 8)):
        sampler = common.Sampler(0)
        rows, b = sampler.normal(count, n, n), sampler.normal(count, n, n)
        a = rows @ rows.transpose(0, 2, 1) + np.eye(n)
        if count == 1:
            a, b = a[0], b[0]
        tasks = {"cholesky": lambda: np.linalg.cholesky(a), "solve": lambda: np.linalg.solve(a, b),
                 "inverse": lambda: np.linalg.inv(a)}
        for task, call in tasks.items():
            (median, least, _), = common.calls(args, call)
            found[f"{task} {count}x{n}"] = median, least
    return common.by_shape(found)


figures = {
    "seed": lambda: training(common.BOOK), "mlp-large": lambda: training(common.LARGE),
    "small-ops": small_ops, "hvp": hvp, "linalg": linalg,
}[args.workload]()
common.emit(args, "numpy", np.__version__, **figures)
