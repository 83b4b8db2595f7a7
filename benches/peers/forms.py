"""The inputs of the single calls, and what they must give, in plain NumPy: what is wrong is not timed."""
import math

import numpy as np

from common import Sampler, fail, first_images

CHAIN = 10_000  # links of four rows each
EXAMPLES = 1000  # of the Hessian product
D, K, N = 10, 25, 1000  # dimensions, components and points of the mixture


def agree(what, found, expected, most):
    """The largest difference over the largest number; fails if it is more than `most`."""
    expected = np.asarray(expected, np.float64)
    error = float(np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max())
    if not error <= most:
        fail(f"{what} is off by {error:e}")
    return error


def chain_inputs(args):
    i = np.arange(8)
    return [v.astype(args.type) for v in (0.5 + 0.1 * i, 0.1 + 0.05 * i, 0.9 - 0.05 * i)]


def chain(x, a, b):
    """The sum of `x ← sin(x)·a + b·x`, repeated, and its gradients by x, a and b."""
    passed = []
    for _ in range(CHAIN):
        sine = np.sin(x)
        passed.append((x, sine))
        x = sine * a + b * x
    along, da, db = np.ones_like(x), np.zeros_like(a), np.zeros_like(b)
    for y, sine in reversed(passed):
        da += along * sine
        db += along * y
        along = along * (np.cos(y) * a + b)
    return x.sum(), along, da, db


def agree_chain(args, found):
    most = 1e-9 if args.dtype == "f64" else 1e-2
    expected = chain(*(v.astype(np.float64) for v in chain_inputs(args)))
    return {"rel_err_vs_closed_form": max(agree("the chain", f, e, most) for f, e in zip(found, expected))}


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def hvp_inputs(args):
    """Weights, direction, images, labels; seconds to load."""
    sampler = Sampler(0)
    w, v = (sampler.normal(784, 10, deviation=s).astype(args.type) for s in (0.01, 1.0))
    return (w, v, *first_images(args, EXAMPLES))


def hessian_product(w, v, x):
    p, u = softmax(x @ w), x @ v
    return x.T @ (p * (u - (p * u).sum(axis=1, keepdims=True))) / len(x)


def gmm_inputs(args):
    """alphas, means, icf (logarithms of diagonals, then lower triangles column by column), points."""
    sampler = Sampler(0)
    alphas, means = sampler.normal(K), sampler.unit(K, D)
    icf, x = sampler.normal(K, D * (D + 1) // 2), sampler.normal(N, D)
    return [v.astype(args.type) for v in (alphas, means, icf, x)]


def gmm_lower():
    """Rows and columns of a strictly lower triangle, column by column."""
    columns, rows = np.triu_indices(D, 1)
    return rows, columns


def gmm_constant():
    """The terms of the log posterior without parameters. Its Wishart prior has gamma 1 and m 0."""
    log_gamma = D * (D - 1) / 4 * math.log(math.pi) + sum(math.lgamma(1 + i / 2) for i in range(D))
    wishart = -(D + 1) * D * 0.5 * math.log(2) - log_gamma
    return -N * D / 2 * math.log(2 * math.pi) - K * wishart


def gmm(alphas, means, icf, x):
    """The log posterior, component by component."""
    exponents, prior = np.empty((K, N)), 0.0
    for k in range(K):
        q = np.diag(np.exp(icf[k, :D]))
        q[gmm_lower()] = icf[k, D:]
        exponents[k] = alphas[k] + icf[k, :D].sum() - 0.5 * (((x - means[k]) @ q.T) ** 2).sum(axis=1)
        prior += 0.5 * (q**2).sum()
    likelihood = np.logaddexp.reduce(exponents, axis=0).sum() - N * np.logaddexp.reduce(alphas)
    return gmm_constant() + likelihood + prior


def agree_gmm(args, value, gradients):
    """Value against the plain form, and slope along a random direction against its differences."""
    *at, x = (v.astype(np.float64) for v in gmm_inputs(args))
    way, most = [Sampler(7).unit(*p.shape) - 0.5 for p in at], 1e-6 if args.dtype == "f64" else 1e-2
    ahead, behind = (gmm(*(p + h * d for p, d in zip(at, way)), x) for h in (1e-5, -1e-5))
    slope = sum((np.asarray(g, np.float64) * d).sum() for g, d in zip(gradients, way))
    return {"value": float(value), "rel_err_vs_plain_form": agree("the value", value, gmm(*at, x), most),
            "rel_err_vs_difference": agree("the gradient", slope, (ahead - behind) / 2e-5, most)}
