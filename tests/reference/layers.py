"""Outputs of layers as PyTorch computes them in f64, for tests/all/layers.rs: writes tests/golden/layers.json.

A case holds an input, the output, and for each parameter or statistic its value, by the names and in the layout of
wengert-nn (a matrix that multiplies rows is the transpose of PyTorch's). `training` is the output while training, and
`after` the statistics behind that step.

    python tests/reference/layers.py    # needs torch
"""

import json
import pathlib

import torch
from torch import nn

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)


def listed(t):
    return {"shape": list(t.shape), "data": t.detach().reshape(-1).tolist()}


def matrices(state, names):
    """The parameters with those of these names turned."""
    return {k: listed(v.T if k in names else v) for k, v in state.items() if v.dtype.is_floating_point}


def noise(module):
    """Parameters that are not what they start as."""
    for p in module.parameters():
        p.data = torch.randn_like(p) * 0.5
    return module


def case(module, x, state=None, output=None):
    module.eval()
    y = module(x) if output is None else output(module, x)
    state = module.state_dict() if state is None else state
    return {"input": listed(x), "output": listed(y), "state": matrices(state, ())}


def gates(module):
    s = module.state_dict()
    return {k.removesuffix("_l0"): v.T if v.ndim == 2 else v for k, v in s.items()}


def batch_norm():
    module = noise(nn.BatchNorm2d(3))
    x = torch.randn(4, 3, 2, 2) * 2 + 1
    start = {k: v.clone() for k, v in module.state_dict().items()}
    training = module.train()(x)
    after = module.state_dict()
    result = case(module, x)
    result["state"] = matrices(start, ())
    result["training"] = listed(training)
    result["after"] = matrices({k: after[k] for k in ("running_mean", "running_var")}, ())
    # The output in use is by the statistics after that step.
    return result


def attention(causal):
    module = noise(nn.MultiheadAttention(6, 2, batch_first=True))
    x = torch.randn(2, 4, 6)
    mask = nn.Transformer.generate_square_subsequent_mask(4) if causal else None
    y, _ = module.eval()(x, x, x, attn_mask=mask)
    w, b = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
    state = {}
    for name, w, b in zip(("query", "key", "value"), w, b):
        state[name + ".weight"], state[name + ".bias"] = w.T, b
    state["output.weight"], state["output.bias"] = module.out_proj.weight.T, module.out_proj.bias
    return {"input": listed(x), "output": listed(y), "state": matrices(state, ())}


def transformer():
    module = noise(nn.TransformerEncoderLayer(6, 2, 10, 0.0, "gelu", batch_first=True, norm_first=True))
    x = torch.randn(2, 4, 6)
    y = module.eval()(x)
    a = module.self_attn
    state = {}
    for name, w, b in zip(("query", "key", "value"), a.in_proj_weight.chunk(3), a.in_proj_bias.chunk(3)):
        state[f"attention.{name}.weight"], state[f"attention.{name}.bias"] = w.T, b
    state["attention.output.weight"], state["attention.output.bias"] = a.out_proj.weight.T, a.out_proj.bias
    for name in ("norm1", "norm2"):
        norm = getattr(module, name)
        state[name + ".weight"], state[name + ".bias"] = norm.weight, norm.bias
    for name in ("linear1", "linear2"):
        linear = getattr(module, name)
        state[name + ".weight"], state[name + ".bias"] = linear.weight.T, linear.bias
    return {"input": listed(x), "output": listed(y), "state": matrices(state, ())}


with torch.no_grad():
    affine = noise(nn.Linear(3, 4))
    cases = {
        "affine": case(affine, torch.randn(2, 3), {"weight": affine.weight.T, "bias": affine.bias}),
        "conv1d": case(noise(nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2)), torch.randn(2, 4, 7)),
        "conv2d": case(noise(nn.Conv2d(2, 3, (3, 2), padding=1, dilation=2)), torch.randn(2, 2, 6, 5)),
        "conv_transpose1d": case(noise(nn.ConvTranspose1d(3, 2, 3, stride=2)), torch.randn(2, 3, 4)),
        "conv_transpose2d": case(noise(nn.ConvTranspose2d(3, 2, 2, stride=2)), torch.randn(2, 3, 3, 2)),
        "max_pool": case(nn.MaxPool2d(2), torch.randn(2, 3, 4, 6)),
        "avg_pool": case(nn.AvgPool2d(2), torch.randn(2, 3, 4, 6)),
        "global_avg_pool": case(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), torch.randn(2, 3, 4, 5)),
        "layer_norm": case(noise(nn.LayerNorm(5)), torch.randn(2, 3, 5)),
        "rms_norm": case(noise(nn.RMSNorm(5, eps=1e-6)), torch.randn(2, 3, 5)),
        "group_norm": case(noise(nn.GroupNorm(2, 4)), torch.randn(2, 4, 3)),
        "rnn": (lambda m, x: case(m, x, gates(m), lambda m, x: m(x)[0]))(
            noise(nn.RNN(3, 4, batch_first=True)), torch.randn(2, 5, 3)
        ),
        "gru": (lambda m, x: case(m, x, gates(m), lambda m, x: m(x)[0]))(
            noise(nn.GRU(3, 4, batch_first=True)), torch.randn(2, 5, 3)
        ),
        "lstm": (lambda m, x: case(m, x, gates(m), lambda m, x: m(x)[0]))(
            noise(nn.LSTM(3, 4, batch_first=True)), torch.randn(2, 5, 3)
        ),
        "batch_norm": batch_norm(),
        "attention": attention(False),
        "causal_attention": attention(True),
        "transformer": transformer(),
    }

meta = {"made_with": f"torch {torch.__version__}, f64"}
path = pathlib.Path(__file__).parent.parent / "golden" / "layers.json"
path.write_text(json.dumps({"meta": meta, "cases": cases}) + "\n")
