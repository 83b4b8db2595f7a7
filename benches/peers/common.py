"""What the peers share: arguments, threads, MNIST, random numbers, clocks, and the line they print.

Weights, batches and parameters are those of wengert-bench, number by number (only the book's network starts
from others), so that losses and values can be compared, not only times. Images are scaled to [0, 1] when they
are loaded, outside of every clock but that of loading; ours keeps bytes and scales each batch.
"""
import argparse
import gzip
import importlib.util
import json
import math
import os
import pathlib
import resource
import statistics
import sys
import time
from collections import namedtuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Steps or calls, and what they are computed in: the defaults of wengert-bench.
WORKLOADS = {
    "seed": (10_000, "f32"), "mlp-large": (300, "f32"), "small-ops": (100, "f64"), "hvp": (100, "f64"),
    "gradcost-mlp": (50, "f32"), "gradcost-gmm": (100, "f64"), "cnn": (100, "f32"), "conv": (60, "f32"),
    "linalg": (200, "f64"), "ode": (300, "f64"), "lstm": (100, "f32"), "gru": (100, "f32"), "pinn": (500, "f64"),
    "adam": (200, "f32"),
}
Network = namedtuple("Network", "sizes batch rate momentum deviation")
BOOK = Network((784, 50, 10), 100, 0.1, 0.0, lambda inputs: 0.01)
LARGE = Network((784, 1024, 1024, 10), 256, 0.05, 0.9, lambda inputs: math.sqrt(2 / inputs))
# The network of two convolutions: its batch, Adam's rate, and the shapes of its arrays with the numbers that come into each
# result.
CNN_BATCH, CNN_RATE = 100, 1e-3
CNN_SHAPES = (
    ((16, 1, 5, 5), 25), ((16,), 0), ((32, 16, 5, 5), 400), ((32,), 0),
    ((1568, 128), 1568), ((128,), 0), ((128, 10), 128), ((10,), 0),
)
# Convolutions: examples, channels in and out, size, kernel, stride, padding, and whether it is the first of a network.
Layer = namedtuple("Layer", "batch inputs outputs size kernel stride padding first")
LAYERS = {
    "lenet1": Layer(100, 1, 16, 28, 5, 1, 2, True), "lenet2": Layer(100, 16, 32, 14, 5, 1, 2, False),
    "res16": Layer(64, 16, 16, 28, 3, 1, 1, False), "res16-32": Layer(64, 16, 32, 28, 3, 2, 1, False),
    "res32": Layer(64, 32, 32, 14, 3, 1, 1, False), "res64": Layer(64, 64, 64, 7, 3, 1, 1, False),
    "one32": Layer(64, 32, 64, 14, 1, 1, 0, False), "single": Layer(1, 32, 32, 28, 3, 1, 1, False),
}
clock = time.perf_counter


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def positive(text):
    if int(text) < 1:
        raise ValueError
    return int(text)


def fail(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


# Of these only JAX has the same.
STEPS = ("ode", "lstm", "gru", "pinn")


def arguments(doc, package, without=()):
    """Parses the command line and settles the threads, which libraries count when they are imported."""
    parser = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=[w for w in WORKLOADS if w not in without])
    parser.add_argument("--threads", type=positive, default=1, help="cores to pin to, and threads")
    parser.add_argument("--iters", type=positive, help="steps, or calls")
    parser.add_argument("--dtype", choices=["f32", "f64"])
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "datasets" / "mnist")
    args = parser.parse_args()
    for name in ("numpy", package):
        if not importlib.util.find_spec(name):
            fail(f"{name} is not installed: {sys.executable} -m pip install {name}")
    iters, dtype = WORKLOADS[args.workload]
    args.iters, args.dtype = args.iters or iters, args.dtype or dtype
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = str(args.threads)
    pin(args.threads)
    global np
    import numpy as np
    args.type = np.float32 if args.dtype == "f32" else np.float64
    return args


def pin(threads):
    """Keeps this process on as many cores: some pools have a thread for each, whatever they are told."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def emit(args, peer, version, **figures):
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({
        "peer": peer, "version": version, "workload": args.workload, "dtype": args.dtype,
        "threads": args.threads, "peak_rss_mb": round(peak, 1), **figures,
    }))


# Data

def mnist(args, scale=True):
    """((images, labels) to train with, the same to test with, seconds); images scaled, or as bytes."""
    def read(name, header):
        with gzip.open(args.data / f"{name}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)

    def part(name):
        images = read(f"{name}-images-idx3", 16).reshape(-1, 784)
        labels = read(f"{name}-labels-idx1", 8).astype(np.int32)
        return (scaled(args, images) if scale else images), labels

    began = clock()
    try:
        return part("train"), part("t10k"), clock() - began
    except (OSError, EOFError, ValueError) as e:
        fail(f"{args.data}: {e}")


def scaled(args, images):
    images = images.astype(args.type)
    images /= 255
    return images


def first_images(args, n):
    """The first images to train with, scaled, their labels, and seconds to load all."""
    (images, labels), _, seconds = mnist(args, scale=False)
    return scaled(args, images[:n]), labels[:n], seconds


# Random numbers

def philox(counter, key):
    """The first 64 bits of Philox4x32-10 (Salmon et al., SC 2011); whole numbers or arrays of uint64."""
    low = 0xFFFF_FFFF
    c, k = counter, (key & low, key >> 32)
    for _ in range(10):
        a, b = c[0] * 0xD251_1F53, c[2] * 0xCD9E_8D57
        c = ((b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low)
        k = ((k[0] + 0x9E37_79B9) & low, (k[1] + 0xBB67_AE85) & low)
    return c[0] << 32 | c[1]


class Sampler:
    """The numbers of `wengert::Sampler`, many at a time."""

    def __init__(self, seed):
        self.seed, self.drawn = seed, 0

    def bits(self, n):
        count = np.arange(self.drawn + 1, self.drawn + n + 1, dtype=np.uint64)
        self.drawn += n
        return philox((count & 0xFFFF_FFFF, count >> 32, 0, 1), self.seed)

    def unit(self, *shape):
        n, part = math.prod(shape), 1 << 14  # parts that stay in the cache
        bits = [self.bits(min(part, n - i)) for i in range(0, n, part)]
        return np.concatenate([(philox((0, 0, 64, 0), b) >> 11) * 2.0**-53 for b in bits]).reshape(shape)

    def normal(self, *shape, deviation=1.0):
        u, v = np.moveaxis(self.unit(*shape, 2), -1, 0)
        return deviation * np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)


def parameters(args, network):
    """(weights, bias) of each layer."""
    sampler = Sampler(0)
    shapes = zip(network.sizes, network.sizes[1:])
    return [(sampler.normal(i, o, deviation=network.deviation(i)).astype(args.type), np.zeros(o, args.type))
            for i, o in shapes]


def cnn_parameters(args):
    """Those of the network of two convolutions."""
    sampler = Sampler(0)
    deviations = [(shape, math.sqrt(2 / inputs) if inputs else 0.0) for shape, inputs in CNN_SHAPES]
    return [sampler.normal(*shape, deviation=d).astype(args.type) for shape, d in deviations]


def layer_arrays(args, layer):
    """Input, weights, and what is multiplied with the output, of a convolution; channels before rows."""
    made = (layer.size + 2 * layer.padding - layer.kernel) // layer.stride + 1
    shapes = [
        (layer.batch, layer.inputs, layer.size, layer.size),
        (layer.outputs, layer.inputs, layer.kernel, layer.kernel), (layer.batch, layer.outputs, made, made),
    ]
    sampler = Sampler(0)
    return [sampler.normal(*shape).astype(args.type) for shape in shapes]


def batches(args, batch, examples):
    """The examples of each step, drawn with replacement."""
    drawn = Sampler(1000).bits(args.iters * batch) % examples
    return drawn.reshape(args.iters, batch).astype(np.int32)


# Clocks

def pieces(args):
    """(first step, end, whether it counts as a whole piece) of the pieces between two looks at the clock."""
    # The book looks at its accuracy after steps 1, 601, 1201 and so on.
    ends, size = ([1], 600) if args.workload == "seed" else ([], -(-args.iters // 10))
    ends += range(ends[0] + size if ends else size, args.iters + size, size)
    start = 0
    for end in ends:
        end = min(end, args.iters)
        if start < end:
            yield start, end, args.workload != "seed" or end - start == size
        start = end


def train(args, run, accuracy, train_part, test_part):
    """Times `run(start, end)`, which makes steps and returns their losses, and the book's evaluations."""
    spent, evaluating, best, losses, tested = 0.0, 0.0, None, [], None
    for start, end, whole in pieces(args):
        began = clock()
        losses.append(run(start, end))
        ran = clock() - began
        spent += ran
        if whole:
            best = min(best or ran, ran / (end - start))
        if args.workload == "seed":
            began = clock()
            accuracy(*train_part)
            tested = accuracy(*test_part)
            evaluating += clock() - began
    return {
        "iters": args.iters, "seconds_total": spent + evaluating, "us_per_step": spent / args.iters * 1e6,
        "us_per_step_best_piece": best and best * 1e6, "first_loss": float(losses[0][0]),
        "last_loss": float(losses[-1][-1]),
        "final_test_accuracy": accuracy(*test_part) if tested is None else tested,
    }


def calls(args, *functions):
    """(median, least, sum) of the microseconds of each function, called in turn."""
    times = [[] for _ in functions]
    for i in range(args.iters + 3):
        for function, spent in zip(functions, times):
            began = clock()
            function()
            # The first calls touch all memory.
            if i >= 3:
                spent.append((clock() - began) * 1e6)
    return [(statistics.median_high(t), min(t), sum(t)) for t in times]


def single(args, call):
    (median, least, total), = calls(args, call)
    return {"iters": args.iters, "seconds_total": total / 1e6, "us_per_step": median, "us_min": least,
            "statistic": "median"}


def by_shape(shapes):
    """The figures of a workload of several shapes; `shapes` has (median, least) of each."""
    return {"shapes": {name: {"all_us": least, "all_us_median": median} for name, (median, least) in shapes.items()},
            "us_per_step": sum(median for median, _ in shapes.values()),
            "us_min": sum(least for _, least in shapes.values())}


def cost(args, value, both):
    """Of a value, and of a value with its gradient."""
    (v, v_min, v_total), (g, g_min, g_total) = calls(args, value, both)
    return {"iters": args.iters, "seconds_total": (v_total + g_total) / 1e6, "us_per_step": g, "us_value": v,
            "us_value_and_grad": g, "us_value_min": v_min, "us_value_and_grad_min": g_min, "ratio": g / v,
            "ratio_of_min": g_min / v_min, "statistic": "median"}
