"""Makes the polynomials of `kernels/math.rs` and the table that its tests compare with.

    python3 functions.py coefficients     # prints the arrays that math.rs holds
    python3 functions.py table            # writes functions.csv beside this file

Needs mpmath. Polynomials are Chebyshev fits at 60 digits, close to the best uniform ones, one of them a fit with a
weight; the table holds function values correctly rounded from 60 digits.
"""
import random
import struct
import sys
from pathlib import Path

from mpmath import chebyfit, cos, erf, erfc, exp, log, lu_solve, matrix, mp, mpf, pi, polyval, sin, sqrt, tanh, taylor

mp.dps = 60


def fit(f, low, high, terms):
    """Coefficients, lowest power first, and the largest error."""
    best, error = chebyfit(f, [mpf(low), mpf(high)], terms, error=True)
    return best[::-1], error


def series(f, skip, step, low, high, terms):
    """Fits (f(x) − its first terms) / x**skip as a polynomial in x**step, by way of a Taylor series."""
    t = taylor(f, 0, skip + step * 40)
    rest = [t[skip + step * i] for i in range(40)]
    return fit(lambda z: polyval(rest[::-1], z), low, high, terms)


def weighted(f, weight, low, high, terms):
    """The same with the error times a weight, by least squares at Chebyshev's nodes."""
    low, high = mpf(low), mpf(high)
    nodes = [(low + high - (high - low) * cos(pi * (i + mpf("0.5")) / (4 * terms))) / 2 for i in range(4 * terms)]
    powers = matrix([[weight(x) * x**k for k in range(terms)] for x in nodes])
    best = list(lu_solve(powers, matrix([weight(x) * f(x) for x in nodes])))
    between = [low + (high - low) * i / 1000 for i in range(1001)]
    return best, max(abs(weight(x) * (polyval(best[::-1], x) - f(x))) for x in between)


def round32(x):
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def coefficients():
    quarter = (pi / 4) ** 2 * mpf("1.001")
    half = log(2) / 2 * mpf("1.001")
    s = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2 * mpf("1.001")
    third = mpf("0.62") ** 2
    lists = {
        "EXP": ({64: 11, 32: 5}, lambda n: series(exp, 2, 1, -half, half, n)),
        # ln(1 + f) = f − s (f − R), s = f / (2 + f), R = z (2/3 + 2/5 z + …), z = s²
        "LN": ({64: 8, 32: 4}, lambda n: fit(lambda z: sum(mpf(2) / (2 * i + 3) * z**i for i in range(60)), 0, s, n)),
        "SIN": ({64: 7, 32: 4}, lambda n: series(sin, 3, 2, 0, quarter, n)),
        "COS": ({64: 7, 32: 4}, lambda n: series(cos, 4, 2, 0, quarter, n)),
        "TANH": ({64: 13, 32: 7}, lambda n: series(tanh, 3, 2, 0, third, n)),
        # erf(x) = x + x R(x²) up to 1
        "ERF": ({64: 12, 32: 7}, lambda n: series(lambda x: erf(x) - x, 1, 2, 0, 1, n)),
        # erf(x) = 1 − exp(−R(x)) from there to where it rounds to 1: an error of R counts erfc(x) times
        "ERFC": ({64: 18, 32: 7}, lambda n: weighted(lambda x: -log(erfc(x)), erfc, 1, {18: 6, 7: 4}[n], n)),
    }
    for name, (terms, make) in lists.items():
        for bits, count in terms.items():
            values, error = make(count)
            numbers = ", ".join(repr(float(v)) if bits == 64 else f"{round32(v):.9}" for v in values)
            print(f"{name} f{bits}, error {float(error):.1e}: [{numbers}]")
    for name, value in [("LN2", log(2)), ("PI_2", pi / 2)]:
        for bits in (64, 32):
            rest, parts = value, []
            for _ in range(3):
                parts.append(float(rest) if bits == 64 else round32(rest))
                rest -= mpf(parts[-1])
            print(f"{name} f{bits}: {parts}")


def table():
    random.seed(1)
    spread = lambda low, high: random.uniform(low, high)  # noqa: E731
    tiny = lambda most: random.choice([-1, 1]) * 2.0 ** random.uniform(-40, most)  # noqa: E731
    wanted = {
        "exp": (exp, [spread(-80, 80) for _ in range(300)] + [tiny(0) for _ in range(100)]),
        "ln": (log, [2.0 ** spread(-120, 120) for _ in range(300)] + [1 + tiny(-1) for _ in range(100)]),
        "sin": (sin, [spread(-100, 100) for _ in range(300)] + [spread(-1e5, 1e5) for _ in range(100)]
                + [float(pi / 2 * k) for k in range(-50, 51)] + [tiny(0) for _ in range(50)]),
        "cos": (cos, [spread(-100, 100) for _ in range(300)] + [spread(-1e5, 1e5) for _ in range(100)]
                + [float(pi / 2 * k) for k in range(-50, 51)] + [tiny(0) for _ in range(50)]),
        "tanh": (tanh, [spread(-12, 12) for _ in range(300)] + [tiny(0) for _ in range(100)]),
        "sigmoid": (lambda x: 1 / (1 + exp(-x)), [spread(-80, 80) for _ in range(300)] + [tiny(0) for _ in range(50)]),
        "erf": (erf, [spread(-6.5, 6.5) for _ in range(300)] + [spread(0.8, 1.2) for _ in range(100)]
                + [tiny(0) for _ in range(100)] + [2.0 ** spread(-140, -40) for _ in range(50)]),
    }
    lines = ["function,bits,argument,value"]
    for name, (f, arguments) in wanted.items():
        for x in arguments:
            lines.append(f"{name},64,{x!r},{float(f(mpf(x)))!r}")
            x = round32(x)
            lines.append(f"{name},32,{x!r},{float(f(mpf(x)))!r}")
    Path(__file__).with_name("functions.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    {"coefficients": coefficients, "table": table}[sys.argv[1]]()
