"""Ours and the peers in turn, each alone, and the table of their times.

  just bench-peers [--rounds N] [--only REGEX] [--write] [--out FILE]
  PYTHON=… python benches/peers/compare.py …    with wengert-bench and wengert built in release

Peers are those of numpy, jax and torch that the interpreter has. Losses and values must agree with ours.
Exit codes: 0 done, 1 the work failed, 2 the arguments make no sense.
"""
import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

from common import ROOT, STEPS, WORKLOADS, Parser, fail, pin, positive

HERE = pathlib.Path(__file__).parent
RELEASE = ROOT / "target" / "release"
README = ROOT / "README.md"
OPEN, CLOSE = "<!-- peers -->", "<!-- /peers -->"
# The least time of a line: of a piece, or of a call.
LEAST = ("us_per_step_best_piece", "us_value_and_grad_min", "us_min")


def regex(text):
    try:
        return re.compile(text)
    except re.error as e:
        raise argparse.ArgumentTypeError(f"{text}: {e}") from None


def arguments(parser):
    add = parser.add_argument
    add("--rounds", type=positive, default=3, metavar="N")
    add("--only", type=regex, default="", metavar="REGEX", help="of workload and threads, as in 'seed 2'")
    add("--iters-scale", type=float, default=1.0, metavar="X", help="fewer steps and calls: a try")
    add("--write", action="store_true", help=f"put the table between {OPEN} and {CLOSE} in README.md")
    add("--out", type=pathlib.Path, metavar="FILE", help="the lines that were compared, as JSON")
    args = parser.parse_args()
    if not 0 < args.iters_scale < math.inf:
        parser.error("--iters-scale must be above zero")
    if args.write and args.iters_scale != 1:
        parser.error("--write with --iters-scale: a try is not for the readme")
    return args


def contests(scale, peers, scratch):
    """name → {program: its command} of what is compared."""
    def iters(n):
        return ["--iters", str(max(1, round(n * scale)))]

    for workload, (n, _) in WORKLOADS.items():
        for threads in (1,) if workload in ("small-ops", "conv", "linalg", *STEPS) else (1, 2):
            rest = [workload, "--threads", str(threads), *iters(n)]
            ours = [RELEASE / "wengert-bench", *rest, "--data", ROOT / "datasets" / "mnist"]
            others = {peer: [sys.executable, HERE / f"{peer}_peer.py", *rest] for peer in peers}
            yield f"{workload} {threads}", {"wengert": ours, **others}
    book = [sys.executable, HERE / "numpy_book.py", "--threads", "2", *iters(10_000)]
    train = [RELEASE / "wengert", "train", "--json", "--threads", "2", *iters(10_000), "--out", scratch]
    yield "train (book in f32) 2", {"wengert": train, "numpy book": book}
    # The program as the book wrote it, against ours as it is by default.
    original = [*book, "--dtype", "f64", "--second-loss"]
    yield "train (book in f64) 2", {"wengert": train, "numpy book": original}


def run(program, command, threads, scratch):
    """The line that a program prints; none where it has no such workload."""
    if scratch in command:
        command = [*command[:-1], tempfile.mkdtemp(dir=scratch)]
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT,
                                 preexec_fn=lambda: pin(threads))
        with child.stdout:
            text = child.stdout.read()
        # Rather than `wait`, for the memory: not every program tells its own.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().strip().splitlines() or ["no word why"]
    if child.returncode == 2 and "invalid choice" in said[-1]:
        return None
    try:
        if child.returncode == 0:
            unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
            return {"peer": program, "peak_rss_mb": usage.ru_maxrss / unit, **json.loads(text)}
    except ValueError:
        said = ["printed no JSON"]
    fail(f"{program} failed ({child.returncode}): {said[-1]}")


def least(line):
    """Microseconds of the best piece or call; of a whole program, or where no piece is whole, of all."""
    return next((line[key] for key in LEAST if line.get(key)), typical(line))


def typical(line):
    return line["us_per_step"] if "workload" in line else line["seconds_total"] * 1e6


def agree(name, ours, theirs):
    """What is not the same work is not compared."""
    for key in ("value", "first_loss"):
        if key in ours and key in theirs and not math.isclose(ours[key], theirs[key], rel_tol=1e-5):
            fail(f"{name}: {key} of {theirs['peer']} is {theirs[key]}, ours {ours[key]}")


def duration(us):
    unit, name = next((u, n) for u, n in ((1e6, "s"), (1e3, "ms"), (1, "µs")) if us >= u or u == 1)
    return f"{us / unit:.3g} {name}" if us < 1000 * unit else f"{us / unit:.0f} {name}"


def bests(lines):
    """The least time of each program, and the peer with the least."""
    best = {program: min(map(least, found)) for program, found in lines.items()}
    return best, min((p for p in lines if p != "wengert"), key=best.get)


def mean(results):
    """The geometric mean of the ratios of all convolutions, as a sentence, if there are any."""
    found = [bests(lines) for name, lines in results.items() if name.startswith("conv ")]
    ratios = [best["wengert"] / best[peer] for best, peer in found]
    if not ratios:
        return ""
    return f" Of the convolutions (output and gradients) the geometric mean is {statistics.geometric_mean(ratios):.2f}."


def row(name, lines):
    """A row of the table: ours against the peer with the least time."""
    (best, peer), ours = bests(lines), "wengert"
    middle = {p: statistics.median(map(typical, lines[p])) for p in (ours, peer)}
    memory = {p: max(line["peak_rss_mb"] for line in lines[p]) for p in (ours, peer)}
    cells = [*name.rsplit(" ", 1), duration(best[ours]), peer, duration(best[peer]),
             f"{best[ours] / best[peer]:.2f}", f"{middle[ours] / middle[peer]:.2f}",
             f"{memory[ours]:.0f} MB", f"{memory[peer]:.0f} MB"]
    return f"| {' | '.join(cells)} |"


def table(results, rounds, packages):
    """In Markdown, with what it was measured with."""
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    head = ["workload", "threads", "ours", "best peer", "its time", "best / best", "median / median",
            "our memory", "its memory"]
    return "\n".join([
        f"| {' | '.join(head)} |", "|---" * len(head) + "|",
        *(row(*contest) for contest in results.items()), "",
        f"Rounds: {rounds}, with {versions}; a ratio below one is in our favour. `train` stands "
        f"for whole programs, loading included, ours in f32.{mean(results)}",
    ])


def spread(results):
    """Of a workload of several shapes a contest for each, of those that have it."""
    for name, lines in results.items():
        shapes = lines["wengert"][0].get("shapes", {})
        if not shapes:
            yield name, lines
        workload, threads = name.rsplit(" ", 1)
        for shape in shapes:
            def of(line, shape=shape):
                figures = line["shapes"][shape]
                return {"peer": line["peer"], "workload": workload, "peak_rss_mb": line["peak_rss_mb"],
                        "us_min": figures["all_us"], "us_per_step": figures["all_us_median"]}
            with_it = {p: found for p, found in lines.items() if shape in found[0]["shapes"]}
            yield f"{workload} {shape} {threads}", {p: [of(line) for line in found] for p, found in with_it.items()}


def with_faer(lines):
    """Our own lines tell what faer takes, too: another peer."""
    ours = lines["wengert"]
    if "faer_us" not in next(iter(ours[0].get("shapes", {"": {}}).values())):
        return lines
    faer = [{**line, "peer": "faer", "shapes": {
        shape: {"all_us": f["faer_us"], "all_us_median": f["faer_us_median"]} for shape, f in line["shapes"].items()
    }} for line in ours]
    return {**lines, "faer": faer}


def split_readme():
    """What stands before and after the table."""
    text = README.read_text(encoding="utf-8")
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1 or text.index(OPEN) > text.index(CLOSE):
        fail(f"README.md needs one {OPEN} and after it one {CLOSE}")
    return text[:text.index(OPEN) + len(OPEN)], text[text.index(CLOSE):]


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args = arguments(parser)
    peers = [p for p in ("numpy", "jax", "torch") if importlib.util.find_spec(p)]
    if "numpy" not in peers:
        fail(f"numpy is not installed: {sys.executable} -m pip install numpy jax torch")
    for program in ("wengert-bench", "wengert"):
        if not (RELEASE / program).is_file():
            fail(f"target/release/{program} is missing: cargo build --release")
    if args.write:
        split_readme()  # rather now than after all the work
    out = open(args.out, "w", encoding="utf-8") if args.out else None
    with tempfile.TemporaryDirectory() as scratch:
        todo = {name: programs for name, programs in contests(args.iters_scale, peers, scratch)
                if re.search(args.only, name)}
        if not todo:
            parser.error(f"--only {args.only.pattern} matches nothing")
        results = {name: {} for name in todo}
        for i in range(args.rounds):
            for name, programs in todo.items():
                for program, command in programs.items():
                    print(f"round {i + 1} of {args.rounds}: {name}, {program}", file=sys.stderr)
                    line = run(program, command, int(name.split()[-1]), scratch)
                    if line is None:
                        continue
                    results[name].setdefault(program, []).append(line)
                    agree(name, results[name]["wengert"][0], line)
                    if out:
                        print(json.dumps({"contest": name, "round": i + 1, **line}), file=out, flush=True)
    # Where NumPy alone is at hand, some workloads have no peer.
    results = {name: lines for name, lines in results.items() if len(lines) > 1}
    if not results:
        fail(f"no peer has these workloads: {sys.executable} -m pip install jax torch")
    results = dict(spread({name: with_faer(lines) for name, lines in results.items()}))
    text = table(results, args.rounds, peers)
    print(text)
    if args.write:
        before, after = split_readme()
        README.write_text(f"{before}\n{text}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except OSError as e:
        fail(e)
