"""The workloads of wengert-bench in PyTorch, eager, on the processor.

Gradients come from `torch.autograd.grad` and are added to the weights in place, all arrays in one call: the
least that an eager step can do. Weights are [outputs, inputs], as `torch.nn.Linear` keeps them.

  pip install torch
"""
import common

args = common.arguments(__doc__, "torch", without=("linalg", *common.STEPS))
import torch  # noqa: E402  (the thread count must be set before)
import torch.nn.functional as F  # noqa: E402

import forms  # noqa: E402

torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)


def tensors(*arrays):
    return [torch.tensor(v) for v in arrays]


def parameters(network):
    """Weights and biases in one list, to differentiate by."""
    layers = common.parameters(args, network)
    return [torch.tensor(v.T.copy(), requires_grad=True) for layer in layers for v in layer]


def forward(parameters, x):
    for i in range(0, len(parameters), 2):
        x = F.linear(x, parameters[i], parameters[i + 1])
        if i + 2 < len(parameters):
            x = F.relu(x)
    return x


def descent(network, weights):
    """Gradient descent, with or without momentum: a function of gradients, and one that forgets."""
    # The same memory without the graph: updates need no `no_grad`.
    values = [w.detach() for w in weights]
    speeds = [torch.zeros_like(v) for v in values]

    def update(changes):
        if network.momentum:
            torch._foreach_mul_(speeds, network.momentum)
            torch._foreach_add_(speeds, changes)
            changes = speeds
        torch._foreach_add_(values, changes, alpha=-network.rate)

    return update, lambda: torch._foreach_zero_(speeds)


def adam(weights):
    optimiser = torch.optim.Adam(weights, lr=common.CNN_RATE, fused=True)

    def update(changes):
        for weight, change in zip(weights, changes):
            weight.grad = change
        optimiser.step()

    return update, optimiser.state.clear


def training(batch, weights, forward, update, forget):
    values = [w.detach() for w in weights]
    initial = [v.clone() for v in values]
    *parts, load_seconds = common.mnist(args)
    (images, labels), test_part = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in parts]
    batches = list(torch.from_numpy(common.batches(args, batch, len(images))).long())

    def step(index):
        x, y = images.index_select(0, index), labels.index_select(0, index)
        loss = F.cross_entropy(forward(weights, x), y)
        update(torch.autograd.grad(loss, weights))
        return loss.detach()

    def run(start, end):
        return [step(index) for index in batches[start:end]]

    @torch.inference_mode()
    def accuracy(x, labels):
        # Of convolutions no more at once than memory is pleasant for.
        found = [forward(weights, part).argmax(dim=1) for part in x.split(10_000)]
        return int((torch.cat(found) == labels).sum()) / len(labels)

    run(0, 3)
    for value, first in zip(values, initial):
        value.copy_(first)
    forget()
    return {"load_seconds": load_seconds,
            **common.train(args, run, accuracy, (images, labels), test_part)}


def dense(network):
    weights = parameters(network)
    return training(network.batch, weights, forward, *descent(network, weights))


def convolutional(weights, x):
    x = last(x.view(-1, 1, 28, 28))
    for i in (0, 2):
        x = F.max_pool2d(F.relu(F.conv2d(x, weights[i], weights[i + 1], padding=2)), 2)
    x = F.relu(torch.addmm(weights[5], x.flatten(1), weights[4]))
    return torch.addmm(weights[7], x, weights[6])


def last(array):
    """Images or kernels with channels last in memory: faster here."""
    # `to` sets strides, too, where there is one channel; `contiguous` leaves them, and slow kernels are taken.
    return array.to(memory_format=torch.channels_last) if array.dim() == 4 else array


def cnn():
    weights = [last(v).requires_grad_() for v in tensors(*common.cnn_parameters(args))]
    return training(common.CNN_BATCH, weights, convolutional, *adam(weights))


def conv():
    """Output and gradients; channels before or after the pixels, whichever is faster."""
    found = {}
    for name, layer in common.LAYERS.items():
        times = []
        for order in (torch.contiguous_format, torch.channels_last):
            x, w, ct = (v.to(memory_format=order) for v in tensors(*common.layer_arrays(args, layer)))
            x.requires_grad_(not layer.first)
            w.requires_grad_()
            at = [w] if layer.first else [w, x]

            def call():
                y = F.conv2d(x, w, stride=layer.stride, padding=layer.padding)
                return torch.autograd.grad(y, at, ct)

            (median, least, _), = common.calls(args, call)
            times.append((median, least))
        found[name] = min(times, key=lambda t: t[1])
    return common.by_shape(found)


def gradient(value, at):
    return value, *torch.autograd.grad(value, at)


def small_ops():
    x, a, b = at = [v.requires_grad_() for v in tensors(*forms.chain_inputs(args))]

    def call():
        y = x
        for _ in range(forms.CHAIN):
            y = torch.sin(y) * a + b * y
        return gradient(y.sum(), at)

    errors = forms.agree_chain(args, [v.detach() for v in call()])
    return {**errors, **common.single(args, call)}


def hvp():
    *inputs, labels, load_seconds = forms.hvp_inputs(args)
    w, v, x = tensors(*inputs)
    labels = torch.from_numpy(labels).long()
    w.requires_grad_()

    # The gradient of ⟨gradient, v⟩: reverse over reverse, the usual way in eager code.
    def call():
        first, = torch.autograd.grad(F.cross_entropy(x @ w, labels), w, create_graph=True)
        return torch.autograd.grad(first, w, grad_outputs=v)[0]

    expected = forms.hessian_product(*(a.astype("f8") for a in inputs))
    error = forms.agree("the product", call(), expected, 1e-10 if args.dtype == "f64" else 1e-3)
    return {"load_seconds": load_seconds, "rel_err_vs_closed_form": error, **common.single(args, call)}


def posterior(alphas, means, icf, x, places):
    d, k, n = forms.D, forms.K, forms.N
    logs, lower = icf[:, :d], icf[:, d:]
    diagonal = logs.exp()
    q = torch.diag_embed(diagonal).view(k, d * d).index_add(1, places, lower).view(k, d, d)
    # All components in one product.
    centre = (q @ means[:, :, None])[:, :, 0]
    away = (x @ q.view(k * d, d).T).view(n, k, d) - centre
    exponents = alphas + logs.sum(dim=1) - 0.5 * (away * away).sum(dim=2)
    prior = 0.5 * ((diagonal * diagonal).sum() + (lower * lower).sum())
    likelihood = exponents.logsumexp(dim=1).sum() - n * alphas.logsumexp(dim=0)
    return likelihood + prior + forms.gmm_constant()


def gradcost(function, at):
    """A function without a graph, and one that goes back along it."""
    return torch.no_grad()(function), lambda: gradient(function(), at)


def gradcost_mlp():
    at = parameters(common.LARGE)
    x, labels, load_seconds = common.first_images(args, common.LARGE.batch)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels).long()
    value, both = gradcost(lambda: F.cross_entropy(forward(at, x), labels), at)
    return {"load_seconds": load_seconds, "value": float(value()), **common.cost(args, value, both)}


def gradcost_gmm():
    *at, x = tensors(*forms.gmm_inputs(args))
    rows, columns = forms.gmm_lower()
    places = torch.from_numpy(rows * forms.D + columns)
    for p in at:
        p.requires_grad_()
    value, both = gradcost(lambda: posterior(*at, x, places), at)
    found, *gradients = (v.detach() for v in both())
    return {**forms.agree_gmm(args, found, gradients), **common.cost(args, value, both)}


def adam_step():
    numbers = torch.arange(1, 1_000_001, dtype=torch.float64)
    kind = torch.float32 if args.dtype == "f32" else torch.float64
    w = (0.5 * torch.sin(1e-3 * numbers)).to(kind).requires_grad_()
    w.grad = (0.1 * torch.sin(2e-3 * numbers)).to(kind)
    optimiser = torch.optim.Adam([w], lr=1e-3, fused=True)
    return {"parameters": w.numel(), **common.single(args, optimiser.step)}


figures = {
    "seed": lambda: dense(common.BOOK), "mlp-large": lambda: dense(common.LARGE), "cnn": cnn, "conv": conv,
    "small-ops": small_ops, "hvp": hvp, "gradcost-mlp": gradcost_mlp, "gradcost-gmm": gradcost_gmm,
    "adam": adam_step,
}[args.workload]()
common.emit(args, "torch", torch.__version__, **figures)
