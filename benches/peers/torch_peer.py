"""The workloads of wengert-bench in PyTorch, eager, on the processor.

Gradients come from `torch.autograd.grad` and are added to the weights in place, all arrays in one call: the
least that an eager step can do. Weights are [outputs, inputs], as `torch.nn.Linear` keeps them.

  pip install torch
"""
import common

args = common.arguments(__doc__, "torch")
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


def training(network):
    # The same memory without the graph: updates need no `no_grad`.
    weights = parameters(network)
    values = [w.detach() for w in weights]
    initial, speeds = [v.clone() for v in values], [torch.zeros_like(v) for v in values]
    *parts, load_seconds = common.mnist(args)
    (images, labels), test_part = [(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in parts]
    batches = list(torch.from_numpy(common.batches(args, network, len(images))).long())

    def step(index):
        x, y = images.index_select(0, index), labels.index_select(0, index)
        loss = F.cross_entropy(forward(weights, x), y)
        changes = torch.autograd.grad(loss, weights)
        if network.momentum:
            torch._foreach_mul_(speeds, network.momentum)
            torch._foreach_add_(speeds, changes)
            changes = speeds
        torch._foreach_add_(values, changes, alpha=-network.rate)
        return loss.detach()

    def run(start, end):
        return [step(index) for index in batches[start:end]]

    @torch.inference_mode()
    def accuracy(x, labels):
        return int((forward(weights, x).argmax(dim=1) == labels).sum()) / len(labels)

    run(0, 3)
    for value, speed, first in zip(values, speeds, initial):
        value.copy_(first)
        speed.zero_()
    return {"load_seconds": load_seconds,
            **common.train(args, run, accuracy, (images, labels), test_part)}


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


figures = {
    "seed": lambda: training(common.BOOK), "mlp-large": lambda: training(common.LARGE),
    "small-ops": small_ops, "hvp": hvp, "gradcost-mlp": gradcost_mlp, "gradcost-gmm": gradcost_gmm,
}[args.workload]()
common.emit(args, "torch", torch.__version__, **figures)
