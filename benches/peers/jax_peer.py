"""The workloads of wengert-bench in JAX, on the processor.

Whatever repeats is one `lax.scan`: the steps between two looks at the clock, and the links of the chain,
which unrolled would take minutes to compile. Compilation is not timed; `compile_seconds` says what it took.

  pip install jax
"""
import os

import common

args = common.arguments(__doc__, "jax", without=("linalg", "adam"))
os.environ["JAX_PLATFORMS"] = "cpu"
if args.threads == 1:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
import jax  # noqa: E402  (the thread count must be set before)
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402

import numpy as np  # noqa: E402

import forms  # noqa: E402

jax.config.update("jax_enable_x64", args.dtype == "f64")


def forward(parameters, x):
    *hidden, (w, b) = parameters
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    return x @ w + b


def cross_entropy(z, labels):
    # A mask rather than an index: its gradient is no scatter.
    mine = (z * jax.nn.one_hot(labels, 10, dtype=z.dtype)).sum(axis=1)
    return (jax.nn.logsumexp(z, axis=1) - mine).mean()


def loss(parameters, x, labels):
    return cross_entropy(forward(parameters, x), labels)


def convolution(x, w, stride, padding):
    """Of images with channels last."""
    return lax.conv_general_dilated(
        x, w, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def convolutional(parameters, x):
    x = x.reshape(-1, 28, 28, 1)
    for w, b in zip(parameters[0:4:2], parameters[1:4:2]):
        y = jax.nn.relu(convolution(x, w, 1, 2) + b)
        n, height, width, channels = y.shape
        # Faster, with its gradient, than a window that slides.
        x = y.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    x = jax.nn.relu(x.reshape(len(x), -1) @ parameters[4] + parameters[5])
    return x @ parameters[6] + parameters[7]


def compiled(function, *arguments):
    """A function without arguments that waits for its result, and what compiling it took."""
    began = common.clock()
    program = jax.jit(function)
    arguments = jax.device_put(arguments)
    jax.block_until_ready(program(*arguments))
    return lambda: jax.block_until_ready(program(*arguments)), common.clock() - began


def descent(network):
    """Gradient descent, with or without momentum: what it remembers, and its step."""
    def first(parameters):
        return jax.tree.map(jnp.zeros_like, parameters) if network.momentum else None

    def update(parameters, speeds, changes):
        if network.momentum:
            changes = speeds = jax.tree.map(lambda v, g: network.momentum * v + g, speeds, changes)
        return jax.tree.map(lambda p, g: p - network.rate * g, parameters, changes), speeds

    return first, update


def adam():
    def first(parameters):
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return zeros, jax.tree.map(jnp.zeros_like, parameters), jnp.zeros(2) + 1.0

    def update(parameters, memory, changes):
        betas = jnp.array([0.9, 0.999])
        means, squares, powers = memory
        means = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, means, changes)
        squares = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, squares, changes)
        powers = powers * betas
        root = jnp.sqrt(1 - powers[1])
        rate, epsilon = common.CNN_RATE * root / (1 - powers[0]), 1e-8 * root
        step = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon), parameters, means, squares)
        return step, (means, squares, powers)

    return first, update


def training(batch, initial, forward, first, update):
    def loss(parameters, x, labels):
        return cross_entropy(forward(parameters, x), labels)

    train_part, test_part, load_seconds = common.mnist(args)
    batches = common.batches(args, batch, len(train_part[0]))
    train_part, test_part = jax.device_put((train_part, test_part))

    def step(state, index, images, labels):
        parameters, memory = state
        # The numbers are known to be in bounds.
        x, y = (v.at[index].get(mode="promise_in_bounds") for v in (images, labels))
        value, changes = jax.value_and_grad(loss)(parameters, x, y)
        return update(parameters, memory, changes), value

    def steps(state, batches, images, labels):
        return lax.scan(lambda state, index: step(state, index, images, labels), state, batches)

    steps = jax.jit(steps, donate_argnums=0)
    hits = jax.jit(lambda parameters, x, labels: (forward(parameters, x).argmax(axis=1) == labels).sum())

    def start():
        parameters = jax.tree.map(jnp.array, initial)
        return parameters, first(parameters)

    def run(start, end):
        nonlocal state
        state, losses = jax.block_until_ready(steps(state, batches[start:end], *train_part))
        return losses

    def accuracy(x, labels):
        return int(hits(state[0], x, labels)) / len(labels)

    # One program for each length of a piece, and one for each set of images.
    began = common.clock()
    for length in {end - start for start, end, _ in common.pieces(args)}:
        state = start()
        run(0, length)
    for part in (train_part, test_part)[args.workload != "seed":]:
        accuracy(*part)
    compile_seconds = common.clock() - began
    state = start()
    figures = common.train(args, run, accuracy, train_part, test_part)
    return {"load_seconds": load_seconds, "compile_seconds": compile_seconds, **figures}


def dense(network):
    return training(network.batch, common.parameters(args, network), forward, *descent(network))


def cnn():
    *kernels, full, bias, w, b = common.cnn_parameters(args)
    # Channels last: in kernels, and in the rows of the matrix that meets images.
    kernels = [k.transpose(2, 3, 1, 0) if k.ndim == 4 else k for k in kernels]
    full = full.reshape(32, 7, 7, -1).transpose(1, 2, 0, 3).reshape(full.shape)
    return training(common.CNN_BATCH, [*kernels, full, bias, w, b], convolutional, *adam())


def conv():
    found = {}
    for name, layer in common.LAYERS.items():
        x, w, ct = common.layer_arrays(args, layer)
        x, w, ct = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), ct.transpose(0, 2, 3, 1)

        def both(x, w, ct, layer=layer):
            y, back = jax.vjp(lambda x, w: convolution(x, w, layer.stride, layer.padding), x, w)
            by = back(ct)
            return y, by[1:] if layer.first else by

        call, _ = compiled(both, x, w, ct)
        (median, least, _), = common.calls(args, call)
        found[name] = median, least
    return common.by_shape(found)


def small_ops():
    def chain(x, a, b):
        return lax.scan(lambda x, _: (jnp.sin(x) * a + b * x, None), x, length=forms.CHAIN)[0].sum()

    call, seconds = compiled(jax.value_and_grad(chain, argnums=(0, 1, 2)), *forms.chain_inputs(args))
    value, gradients = call()
    errors = forms.agree_chain(args, (value, *gradients))
    return {"compile_seconds": seconds, **errors, **common.single(args, call)}


def hvp():
    w, v, x, labels, load_seconds = forms.hvp_inputs(args)

    def product(w, v, x, labels):
        return jax.jvp(jax.grad(lambda w: cross_entropy(x @ w, labels)), (w,), (v,))[1]

    call, seconds = compiled(product, w, v, x, labels)
    expected = forms.hessian_product(*(a.astype("f8") for a in (w, v, x)))
    error = forms.agree("the product", call(), expected, 1e-10 if args.dtype == "f64" else 1e-3)
    return {"load_seconds": load_seconds, "compile_seconds": seconds, "rel_err_vs_closed_form": error,
            **common.single(args, call)}


def posterior(parameters, x):
    alphas, means, icf = parameters
    d, k, n = forms.D, forms.K, forms.N
    logs, lower = icf[:, :d], icf[:, d:]
    diagonal = jnp.exp(logs)
    rows, columns = forms.gmm_lower()
    q = jnp.zeros((k, d, d), icf.dtype).at[:, rows, columns].set(lower)
    q = q + diagonal[:, :, None] * jnp.eye(d, dtype=icf.dtype)
    # All components in one product.
    away = (x @ q.reshape(k * d, d).T).reshape(n, k, d) - jnp.einsum("kij,kj->ki", q, means)
    exponents = alphas + logs.sum(axis=1) - 0.5 * (away * away).sum(axis=2)
    prior = 0.5 * ((diagonal * diagonal).sum() + (lower * lower).sum())
    likelihood = jax.nn.logsumexp(exponents, axis=1).sum() - n * jax.nn.logsumexp(alphas)
    return forms.gmm_constant() + likelihood + prior


def gradcost(function, *arguments):
    value, seconds = compiled(function, *arguments)
    both, more = compiled(jax.value_and_grad(function), *arguments)
    return value, both, seconds + more


def gradcost_mlp():
    parameters = common.parameters(args, common.LARGE)
    x, labels, load_seconds = common.first_images(args, common.LARGE.batch)
    value, both, seconds = gradcost(loss, parameters, x, labels)
    return {"load_seconds": load_seconds, "compile_seconds": seconds, "value": float(both()[0]),
            **common.cost(args, value, both)}


def gradcost_gmm():
    *parameters, x = forms.gmm_inputs(args)
    value, both, seconds = gradcost(posterior, parameters, x)
    checks = forms.agree_gmm(args, *both())
    return {"compile_seconds": seconds, **checks, **common.cost(args, value, both)}


# Steps of solvers and of training that repeat something small

def wave(shape, rate, scale):
    count = int(np.prod(shape))
    return (scale * np.sin(rate * np.arange(1, count + 1))).reshape(shape).astype(args.type)


def stepped(step, carried, *rest):
    """Times a step that carries arrays from one call to the next, and gives back a number."""
    began = common.clock()
    program = jax.jit(step, donate_argnums=0)
    carried, rest = jax.device_put(carried), jax.device_put(rest)
    carried, value = program(carried, *rest)
    value = float(value)
    seconds = common.clock() - began

    def call():
        nonlocal carried
        carried, y = program(carried, *rest)
        jax.block_until_ready((carried, y))

    return {"compile_seconds": seconds, "value": value, **common.single(args, call)}


def ode():
    def slope(u):
        left, middle, right = u[:-2], u[1:-1], u[2:]
        return jnp.pad((left - 2 * middle + right) * 0.1 + middle * (1 - middle * middle), 1)

    def step(u):
        a = slope(u)
        b = slope(u + 0.05 * a)
        c = slope(u + 0.05 * b)
        d = slope(u + 0.1 * c)
        u = u + (a + 2 * b + 2 * c + d) * (0.1 / 6)
        return u, u.sum()

    return stepped(step, wave((100_000,), 1e-3, 0.5))


def recurrent(gates):
    steps, batch, hidden = 50, 32, 64

    def network(parameters, x):
        w, u, b = parameters

        def lstm(carried, x):
            h, c = carried
            i, f, o, g = jnp.split(x @ w + b + h @ u, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        def gru(carried, x):
            h, _ = carried
            from_x, from_h = jnp.split(x @ w + b, 3, axis=1), jnp.split(h @ u, 3, axis=1)
            z, r = (jax.nn.sigmoid(from_x[k] + from_h[k]) for k in (0, 1))
            n = jnp.tanh(from_x[2] + r * from_h[2])
            h = n + z * (h - n)
            return (h, h), None

        zero = jnp.zeros((batch, hidden), x.dtype)
        (h, _), _ = lax.scan(lstm if gates == 4 else gru, (zero, zero), x)
        return (h * h).mean()

    def step(parameters, x):
        value, g = jax.value_and_grad(network)(parameters, x)
        return jax.tree.map(lambda p, g: p - 0.1 * g, parameters, g), value

    parameters = (wave((hidden, gates * hidden), 0.37, 0.1), wave((hidden, gates * hidden), 0.73, 0.1),
                  wave((gates * hidden,), 0.11, 0.1))
    return stepped(step, parameters, wave((steps, batch, hidden), 0.19, 1.0))


def pinn():
    sizes = (1, 32, 32, 1)

    def network(p, x):
        h = jnp.tanh(x @ p[0] + p[1])
        h = jnp.tanh(h @ p[2] + p[3])
        return h @ p[4] + p[5]

    def loss(p, x):
        one = jnp.ones_like(x)
        slope = lambda x: jax.jvp(lambda x: network(p, x), (x,), (one,))[1]  # noqa: E731
        curvature = jax.jvp(slope, (x,), (one,))[1]
        ends = network(p, jnp.array([[0.0], [1.0]], x.dtype))
        return ((curvature + jnp.pi**2 * jnp.sin(jnp.pi * x)) ** 2).mean() + (ends * ends).sum()

    def step(carried, x):
        p, m, v, t = carried
        value, g = jax.value_and_grad(loss)(p, x)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), p, m, v)
        return (p, m, v, t), value

    p = [a for i, o in zip(sizes, sizes[1:]) for a in (wave((i, o), 0.7, i**-0.5), wave((o,), 0.3, 0.1))]
    zeros = [np.zeros_like(a) for a in p]
    x = ((np.arange(128) + 0.5) / 128).reshape(128, 1).astype(args.type)
    return stepped(step, (p, zeros, [np.zeros_like(a) for a in p], args.type(0)), x)


figures = {
    "ode": ode, "lstm": lambda: recurrent(4), "gru": lambda: recurrent(3), "pinn": pinn,
    "seed": lambda: dense(common.BOOK), "mlp-large": lambda: dense(common.LARGE), "cnn": cnn, "conv": conv,
    "small-ops": small_ops, "hvp": hvp, "gradcost-mlp": gradcost_mlp, "gradcost-gmm": gradcost_gmm,
}[args.workload]()
common.emit(args, "jax", jax.__version__, **figures)
