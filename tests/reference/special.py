"""Makes the polynomials of `kernels/special/` and the table that `tests/all/accuracy.rs` compares with.

    python3 special.py coefficients     # prints the arrays
    python3 special.py table            # writes special.csv beside this file

Needs mpmath. Polynomials are Chebyshev fits at 60 digits. The table has one line for each point: the op, the bits of the
type, the operands, all of them numbers of that type, and the result rounded from 60 digits.
"""
import random
import struct
import sys
from pathlib import Path

import mpmath
from mpmath import chebyfit, euler, exp, findroot, log, loggamma, mp, mpf, pi, psi, sqrt

mp.dps = 60


def fit(f, low, high, terms):
    best, error = chebyfit(f, [mpf(low), mpf(high)], terms, error=True)
    return best[::-1], error


def quotient(f, root, x):
    """`f(x) / (x − root)` of a function that is 0 at `root`."""
    if abs(x - root) < mpf(10) ** -20:
        return mpmath.diff(f, root)
    return f(x) / (x - root)


def coefficients():
    root = findroot(lambda x: psi(0, x), mpf("1.4616"))
    scaled = lambda x: exp(x * x) * mpmath.erfc(x) * (1 + 2 * x)
    at = lambda x: (mpf(x) - 3) / (mpf(x) + 3)
    lists = {
        "NEAR_ONE": fit(lambda t: quotient(lambda t: loggamma(1 + t), 0, t), -0.5, 0.5, 29),
        "NEAR_TWO": fit(lambda t: quotient(lambda t: loggamma(2 + t), 0, t), -0.5, 0.5, 20),
        "DIGAMMA": fit(lambda x: quotient(lambda x: psi(0, x), root, x + mpf(3) / 2), -0.5, 0.5, 23),
        "DIGAMMA_FROM_TWO": fit(lambda x: psi(0, x + 3), -1, 1, 23),
        "SCALED_ERFC": fit(lambda t: scaled(3 * (1 + t) / (1 - t)), at("0.5"), at(28), 24),
    }
    for name, (list_, error) in lists.items():
        print(f"// {name}: error {mpmath.nstr(error, 2)}")
        print(f"const {name}: [f64; {len(list_)}] = [")
        for c in list_:
            print(f"    {float(c)!r},")
        print("];")
    high = float(root)
    print(f"const ROOT: (f64, f64) = ({high!r}, {float(root - mpf(high))!r});")


def rounded(x, bits):
    """The number of this type next to `x`, as a float."""
    x = float(x)
    return x if bits == 64 else struct.unpack("f", struct.pack("f", x))[0]


UNARY = {
    # name: function, range of f64, range of f32, and whether numbers are drawn by their logarithm
    "tan": (mpmath.tan, (-100, 100), None),
    "asin": (mpmath.asin, (-1, 1), None),
    "acos": (mpmath.acos, (-1, 1), None),
    "atan": (mpmath.atan, (-50, 50), None),
    "sinh": (mpmath.sinh, (-80, 80), None),
    "cosh": (mpmath.cosh, (-80, 80), None),
    "asinh": (mpmath.asinh, (-1000, 1000), None),
    "acosh": (mpmath.acosh, (1, 1000), None),
    "atanh": (mpmath.atanh, (-1, 1), None),
    "cbrt": (lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), (-1000, 1000), None),
    "exp2": (lambda x: mpf(2) ** x, (-120, 120), None),
    "exp_m1": (mpmath.expm1, (-50, 80), None),
    "ln_1p": (mpmath.log1p, (-0.999, 1000), None),
    "log2": (lambda x: log(x, 2), (1e-30, 1e6), "log"),
    "log10": (mpmath.log10, (1e-30, 1e6), "log"),
    "erfc": (mpmath.erfc, (-6, 26), None),
    "erfinv": (mpmath.erfinv, (-1, 1), None),
    "ln_gamma": (lambda x: loggamma(x).real, (1e-10, 1e6), "log"),
    "digamma": (lambda x: psi(0, x), (1e-10, 1e6), "log"),
    "trigamma": (lambda x: psi(1, x), (1e-6, 1e6), "log"),
    "tetragamma": (lambda x: psi(2, x), (1e-4, 1e6), "log"),
    "pentagamma": (lambda x: psi(3, x), (1e-3, 1e6), "log"),
    "softplus": (lambda x: mpmath.log1p(exp(x)), (-80, 80), None),
}
# Of negative numbers, away from poles.
BELOW = {"ln_gamma", "digamma", "trigamma", "tetragamma", "pentagamma"}
# Roots, around which more numbers are drawn.
NEAR = {"ln_gamma": [1, 2], "digamma": ["1.46163214496836234126"], "acosh": [1], "log2": [1], "log10": [1]}
SMALL = {"tan", "asin", "atan", "sinh", "asinh", "atanh", "cbrt", "exp_m1", "ln_1p", "erfinv", "erfc"}


def points(name, low, high, how, rng):
    drawn = []
    for _ in range(140):
        drawn.append(exp(rng.uniform(float(log(low)), float(log(high)))) if how == "log" else rng.uniform(low, high))
    if name in SMALL:
        drawn += [rng.choice((-1, 1)) * 10 ** rng.uniform(-12, -0.5) for _ in range(60)]
    if name in ("erfinv", "atanh", "asin", "acos"):
        drawn += [rng.choice((-1, 1)) * (1 - 10 ** rng.uniform(-14, -1)) for _ in range(40)]
    for root in NEAR.get(name, []):
        side = (1,) if name == "acosh" else (-1, 1)
        drawn += [float(root) + rng.choice(side) * 10 ** rng.uniform(-12, -0.7) for _ in range(60)]
    if name in BELOW:
        drawn += [-rng.randrange(0, 40) - rng.uniform(0.1, 0.9) for _ in range(60)]
    if name in ("ln_gamma", "digamma"):
        drawn += [rng.uniform(0.2, 14) for _ in range(150)]
    return drawn


def binary(rng):
    """Pairs of operands, the names of their ops, and the functions."""
    number = lambda: rng.choice((-1, 1)) * 10 ** rng.uniform(-6, 6)
    positive = lambda: 10 ** rng.uniform(-6, 6)
    for _ in range(150):
        yield "atan2", number(), number(), mpmath.atan2
        yield "hypot", number(), number(), mpmath.hypot
        yield "xlogy", number(), positive(), lambda a, b: a * log(b)
        yield "logaddexp", abs(number()) % 50, abs(number()) % 50, lambda a, b: log(exp(a) + exp(b))
        yield "pow", positive(), rng.uniform(-5, 5), mpmath.power
        yield "pow", 1 + rng.uniform(-1e-3, 1e-3), rng.uniform(-3e4, 3e4), mpmath.power


def table():
    rng = random.Random(20261127)
    lines = []

    def add(name, bits, x, f):
        x = [rounded(x, bits) for x in x]
        if name in ("atanh", "erfinv") and abs(x[0]) >= 1:
            return
        y = f(*map(mpf, x))
        least, most = (mpf(2) ** -1022, mpf(2) ** 1023) if bits == 64 else (mpf(2) ** -126, mpf(2) ** 127)
        if least <= abs(y) <= most:
            lines.append(",".join([name, str(bits), *map(repr, x), mpmath.nstr(y, 25)]))

    for name, (f, (low, high), how) in UNARY.items():
        for bits in (64, 32):
            for x in points(name, low, high, how, rng):
                add(name, bits, [x], f)
    for bits in (64, 32):
        for name, a, b, f in binary(rng):
            add(name, bits, [a, b], f)
        # Beside overflow and underflow.
        for _ in range(60):
            largest = 709 if bits == 64 else 88
            a = 10 ** rng.uniform(0.5, 6)
            b = rng.choice((-1, 1)) * largest * rng.uniform(0.97, 0.999) / float(log(a))
            add("pow", bits, [a, b], mpmath.power)
            huge = (1e308 if bits == 64 else 3e38) * rng.uniform(0.1, 0.6)
            add("hypot", bits, [huge, huge * rng.uniform(0.1, 1)], mpmath.hypot)
            add("hypot", bits, [1 / huge * 8, 1 / huge * rng.uniform(1, 8)], mpmath.hypot)
    (Path(__file__).parent / "special.csv").write_text("\n".join(lines) + "\n")
    print(len(lines), "lines")


if __name__ == "__main__":
    {"coefficients": coefficients, "table": table}[sys.argv[1]]()
