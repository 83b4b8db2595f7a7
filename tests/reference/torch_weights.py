"""Networks of PyTorch, their weights under the names of wengert, and their logits.

python3 tests/reference/torch_weights.py FOLDER            writes NAME.npz, NAME-images.npy, NAME-logits.npy and kinds.npz
python3 tests/reference/torch_weights.py FOLDER PROGRAM    also has `wengert import` and `predict` read them, and compares

A model that was trained in PyTorch moves in the same way: `weights(model)` below is all there is to it.
"""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import torch
from torch import nn


def weights(model):
    """The arrays of a state_dict as wengert names and lays them out: matrices multiply rows, so those of Linear and of recurrent cells are transposed."""
    arrays = {}
    for path, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        for name, value in own.items():
            value = value.detach().numpy()
            if isinstance(module, nn.Linear) and name == "weight":
                value = value.T
            if isinstance(module, nn.RNNBase):
                name = name.removesuffix("_l0")
                value = value.T if value.ndim == 2 else value
            arrays[f"{path}.{name}"] = np.ascontiguousarray(value)
    return arrays


class Mlp(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        for n, (a, b) in enumerate(zip(sizes, sizes[1:]), 1):
            self.add_module(f"fc{n}", nn.Linear(a, b))
        self.layers = len(sizes) - 1

    def forward(self, x):
        x = x.flatten(1)
        for n in range(1, self.layers + 1):
            x = getattr(self, f"fc{n}")(x)
            x = x.relu() if n < self.layers else x
        return x


class LeNet(nn.Module):
    def __init__(self, height, width, classes):
        super().__init__()
        after = lambda size: (size // 2 - 4) // 2
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * after(height) * after(width), 120)
        self.fc2, self.fc3 = nn.Linear(120, 84), nn.Linear(84, classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(self.conv1(x[:, None]).relu())
        x = self.pool(self.conv2(x).relu()).flatten(1)
        return self.fc3(self.fc2(self.fc1(x).relu()).relu())


class Conv(nn.Module):
    def __init__(self, classes):
        super().__init__()
        for n, (a, b) in enumerate([(1, 16), (16, 32), (32, 64), (64, 64)], 1):
            self.add_module(f"conv{n}", nn.Conv2d(a, b, 3, padding=1))
            self.add_module(f"bn{n}", nn.BatchNorm2d(b))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = x[:, None]
        for n in range(1, 5):
            x = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(x)).relu()
            x = nn.functional.max_pool2d(x, 2) if n in (2, 3) else x
        return self.fc(x.mean((2, 3)))


class Gru(nn.Module):
    def __init__(self, width, size, classes):
        super().__init__()
        self.gru, self.fc = nn.GRU(width, size, batch_first=True), nn.Linear(size, classes)

    def forward(self, x):
        return self.fc(self.gru(x)[0][:, -1])


# Name, model as wengert writes it, the network, and the sizes of an image.
NETWORKS = [
    ("mlp", "mlp:16-12-4", lambda: Mlp(16, 12, 4), (4, 4)),
    ("lenet", "lenet", lambda: LeNet(12, 12, 4), (12, 12)),
    ("gru", "gru:6", lambda: Gru(4, 6, 4), (5, 4)),
    ("conv", "conv", lambda: Conv(4), (8, 8)),
]


def idx(path, images):
    path.write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes())


def kinds(path):
    """Arrays of all kinds as NumPy writes them."""
    np.savez_compressed(
        path,
        fortran=np.asfortranarray(np.arange(24, dtype="<f8").reshape(2, 3, 4)),
        scalar=np.float64(2.5),
        u8=np.arange(3, dtype="u1"),
        u32=np.arange(3, dtype="<u4"),
        i64=np.array([-1, 2**40]),
        truth=np.array([True, False]),
        empty=np.zeros((0, 3), dtype="<f4"),
    )


def main():
    folder = pathlib.Path(sys.argv[1])
    program = sys.argv[2] if len(sys.argv) > 2 else None
    folder.mkdir(parents=True, exist_ok=True)
    kinds(folder / "kinds.npz")
    for name, model, make, (height, width) in NETWORKS:
        torch.manual_seed(7)
        network = make()
        images = torch.randint(0, 256, (5, height, width), dtype=torch.uint8)
        scaled = images.float() / 255
        for _ in range(3):
            # Statistics that are not those of the start.
            network(scaled + torch.randn_like(scaled))
        network.eval()
        with torch.no_grad():
            logits = network(scaled)
        np.savez(folder / f"{name}.npz", **weights(network))
        np.save(folder / f"{name}-images.npy", images.numpy())
        np.save(folder / f"{name}-logits.npy", logits.numpy())
        if program is None:
            continue
        idx(folder / "images.idx", images.numpy())
        stored = folder / "model.safetensors"
        sizes = ["--image", f"{height}x{width}", "--classes", "4"]
        subprocess.run(
            [program, "import", "--model", model, *sizes, "--weights", folder / f"{name}.npz", "--out", stored], check=True
        )
        lines = subprocess.run(
            [program, "predict", "--model", stored, "--images", folder / "images.idx", "--index", "all", "--json"],
            check=True, capture_output=True, text=True,
        ).stdout.splitlines()
        found = np.array([json.loads(line)["probabilities"] for line in lines])
        apart = np.abs(found - logits.softmax(1).numpy()).max()
        print(f"{name}: probabilities differ by {apart:.1e} at most")
        assert apart < 1e-6


main()
