#!/usr/bin/env python3
# label: opcheck
"""Runs torch.library.opcheck on every operator of libstrandwave_kernels.so.

    python3 tests/python/opcheck_test.py [path of the library] [--device cuda]

opcheck compares schema, autograd registration, Meta kernels (fake tensors, also with symbolic
shapes) and AOT dispatch with what the operator really does. Every operator of the library needs
sample inputs in SAMPLES; one without is a failure. Besides: autocast, inference mode and a compiled
function with shapes that vary. Exit code 77: PyTorch cannot be imported here (docs/building.md says
what it needs).
"""

import argparse
import functools
import os
import pathlib
import sys

try:
    import torch
except Exception as error:  # a LibTorch without Python's dependencies: nothing to check with
    print(f"skipped: opcheck cannot run with {sys.executable}: {error}")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRESETS = ("cuda", "release")


class Samples:
    """Random inputs on one device; `grad` makes leaves that require gradients."""

    def __init__(self, device, grad):
        self.device = device
        self.grad = grad
        self.generator = torch.Generator().manual_seed(1)

    def normal(self, *shape, dtype=torch.float32):
        values = torch.randn(*shape, generator=self.generator).to(self.device, dtype)
        return values.requires_grad_(self.grad)

    def decay(self, *shape):
        values = -torch.rand(*shape, generator=self.generator) - 0.1
        return values.to(self.device).requires_grad_(self.grad)

    def complex_decay(self, *shape):
        parts = torch.rand(2, *shape, generator=self.generator)
        return torch.complex(-parts[0] - 0.1, 6 * parts[1]).to(self.device).requires_grad_(self.grad)

    def below(self, bound, *shape):
        return torch.randint(bound, shape, generator=self.generator).to(self.device)

    def offsets(self, *values):
        return torch.tensor(values, device=self.device)


def scan_inputs(s, packed, optional, dtype=torch.float32, complex_states=False):
    batch, length, channels, d_state = (1 if packed else 2), 70, 5, 3
    sequences = 3 if packed else batch
    rows = lambda n: s.normal(batch, length, n, dtype=dtype)
    A = s.complex_decay(channels, d_state) if complex_states else s.decay(channels, d_state)
    row = 2 * d_state if complex_states else d_state
    return (
        rows(channels), rows(channels), A, rows(row), rows(row),
        s.normal(channels) if optional else None,
        rows(channels) if optional else None,
        s.normal(channels) if optional else None,
        s.normal(sequences, channels, d_state, dtype=A.dtype) if optional else None,
        s.offsets(0, 20, 20, length) if packed else None,
    )


def selective_scan(s):
    for packed in (False, True):
        for optional in (False, True):
            yield scan_inputs(s, packed, optional) + (True, packed)
    yield scan_inputs(s, False, True, torch.bfloat16) + (True, False)
    yield scan_inputs(s, False, True, complex_states=True) + (True, False)


def selective_scan_forward(s):
    for inputs in selective_scan(s):
        yield inputs + (False,)


def selective_scan_backward(s):
    for inputs in selective_scan(s):
        u, A, offsets = inputs[0], inputs[2], inputs[9]
        sequences = u.shape[0] if offsets is None else offsets.numel() - 1
        dout = torch.ones_like(u)
        dfinal = torch.ones(sequences, *A.shape, dtype=A.dtype, device=s.device)
        yield (dout, dfinal) + inputs[:10] + (None,) + inputs[10:]
        yield (dout, None) + inputs[:10] + (None,) + inputs[10:]


def causal_conv1d(s):
    for packed in (False, True):
        batch, sequences = (1, 3) if packed else (2, 2)
        offsets = s.offsets(0, 20, 20, 70) if packed else None
        yield s.normal(batch, 70, 5), s.normal(5, 4), None, None, offsets, True, packed
        state = s.normal(sequences, 3, 5)
        yield s.normal(batch, 70, 5), s.normal(5, 4), s.normal(5), state, offsets, False, packed


def causal_conv1d_backward(s):
    for x, weight, bias, state, offsets, silu, reverse in causal_conv1d(s):
        sequences = x.shape[0] if offsets is None else offsets.numel() - 1
        dfinal = torch.ones(sequences, weight.shape[1] - 1, x.shape[2], device=s.device)
        yield torch.ones_like(x), dfinal, x, weight, bias, state, offsets, silu, reverse
        yield torch.ones_like(x), None, x, weight, bias, state, offsets, silu, reverse


def add_rms_norm(s):
    float32, bfloat16 = torch.float32, torch.bfloat16
    for dtype, residual in ((float32, None), (bfloat16, None), (float32, float32), (bfloat16, float32),
                            (bfloat16, bfloat16)):
        for in_fp32 in (True, False):
            yield (s.normal(2, 7, 16, dtype=dtype),
                   s.normal(2, 7, 16, dtype=residual) if residual else None, s.normal(16), 1e-5, in_fp32)


def add_rms_norm_backward(s):
    for x, residual, weight, eps, in_fp32 in add_rms_norm(s):
        y, sum_, rstd = torch.ops.strandwave.add_rms_norm_forward(x, residual, weight, eps, in_fp32)
        dy, dsum = torch.ones_like(y), torch.ones_like(sum_)
        for dresidual in (None, dsum):
            yield (dy, dresidual, sum_, weight, rstd, residual is not None)


def embedding(s):
    yield s.below(11, 2, 9), s.normal(11, 6)
    yield s.below(11, 0), s.normal(11, 6)
    yield s.offsets(1, 2, 0, 0, 3).to(torch.uint8), s.normal(4, 8)


def embedding_backward(s):
    for ids, weight in embedding(s):
        yield s.normal(*ids.shape, weight.shape[1]), ids, weight.shape[0]


def linear_cross_entropy(s):
    for weights in (None, torch.ones(9, device=s.device)):
        yield s.normal(9, 8), s.normal(12, 8), s.below(12, 9), weights, 0
        yield s.normal(9, 8), s.normal(12, 8), s.below(10, 9), weights, 10
    yield s.normal(5, 8), s.normal(16, 8), s.offsets(1, -1, 3, 0, 2), None, 12  # -1: no target


def linear_cross_entropy_backward(s):
    for inputs in linear_cross_entropy(s):
        loss, logsumexp = torch.ops.strandwave.linear_cross_entropy_forward(*inputs)
        yield (torch.ones_like(loss),) + inputs[:4] + (logsumexp,) + inputs[4:]


def poles(s, channels, n):
    values = torch.complex(s.decay(channels, n).detach(), s.normal(channels, n).detach())
    return values.requires_grad_(s.grad)


def ssm_kernel_vandermonde(s):
    yield s.normal(3, 4, dtype=torch.complex64), poles(s, 3, 4), 70
    yield s.normal(3, 4, dtype=torch.complex64), poles(s, 3, 4), 0


def ssm_state_vandermonde(s):
    for dtype in (torch.float32, torch.bfloat16):
        yield s.normal(2, 70, 3, dtype=dtype), poles(s, 3, 4)


def vandermonde_product(s):
    for reverse in (False, True):
        yield s.normal(2, 3, 4, dtype=torch.complex64), poles(s, 3, 4), 70, reverse


def vandermonde_moments(s):
    for orders in (1, 2):
        yield s.normal(2, 3, 70), poles(s, 3, 4), orders, orders == 2


def ssm_kernel_cauchy(s):
    for dtype in (torch.complex64, torch.complex128):
        z = 1j * torch.arange(9, device=s.device).to(dtype)
        yield s.normal(2, 3, 4, dtype=torch.complex64), z, poles(s, 3, 4)


def ssm_kernel_cauchy_backward(s):
    for v, z, w in ssm_kernel_cauchy(s):
        yield torch.ones(2, 3, 9, dtype=torch.complex64, device=s.device), v, z, w


def long_conv(s):
    yield s.normal(2, 70, 3), s.normal(3, 70), s.normal(3)
    yield s.normal(2, 70, 3, dtype=torch.bfloat16), s.normal(3, 20), None


def long_conv_backward(s):
    for u, kernel, skip in long_conv(s):
        yield torch.ones_like(u), u, kernel, skip


# operator: (sample inputs, whether it is differentiable)
SAMPLES = {
    "selective_scan": (selective_scan, True),
    "selective_scan_forward": (selective_scan_forward, False),
    "selective_scan_backward": (selective_scan_backward, False),
    "causal_conv1d": (causal_conv1d, True),
    "causal_conv1d_forward": (causal_conv1d, False),
    "causal_conv1d_backward": (causal_conv1d_backward, False),
    "add_rms_norm": (add_rms_norm, True),
    "add_rms_norm_forward": (add_rms_norm, False),
    "add_rms_norm_backward": (add_rms_norm_backward, False),
    "embedding": (embedding, True),
    "embedding_backward": (embedding_backward, False),
    "linear_cross_entropy": (linear_cross_entropy, True),
    "linear_cross_entropy_forward": (linear_cross_entropy, False),
    "linear_cross_entropy_backward": (linear_cross_entropy_backward, False),
    "ssm_kernel_vandermonde": (ssm_kernel_vandermonde, True),
    "ssm_state_vandermonde": (ssm_state_vandermonde, True),
    "vandermonde_product": (vandermonde_product, False),
    "vandermonde_moments": (vandermonde_moments, False),
    "ssm_kernel_cauchy": (ssm_kernel_cauchy, True),
    "ssm_kernel_cauchy_backward": (ssm_kernel_cauchy_backward, False),
    "long_conv": (long_conv, True),
    "long_conv_backward": (long_conv_backward, False),
}


def operators():
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("strandwave::")]
    return sorted(n.split("::")[1] for n in names)


def check(name, device):
    """The failures of one operator, as texts."""
    if name not in SAMPLES:
        return ["no sample inputs: add the operator to SAMPLES in tests/python/opcheck_test.py"]
    make, differentiable = SAMPLES[name]
    operator = getattr(torch.ops.strandwave, name).default
    failures = []
    for grad in (False, True) if differentiable else (False,):
        for number, inputs in enumerate(make(Samples(device, grad))):
            try:
                torch.library.opcheck(operator, inputs)
            except Exception as error:
                failures.append(f"sample {number}, requires_grad={grad}: {error}")
    return failures


def autocast(device):
    """The public operators under autocast: large outputs in bfloat16, losses and states in float32."""
    ops, s = torch.ops.strandwave, Samples(device, True)
    scan = scan_inputs(s, False, True)
    with torch.autocast(device, dtype=torch.bfloat16):
        outputs = {
            "selective_scan": ops.selective_scan(*scan),
            "causal_conv1d": ops.causal_conv1d(s.normal(2, 9, 5), s.normal(5, 4), None, None, None),
            "add_rms_norm": ops.add_rms_norm(s.normal(3, 8), s.normal(3, 8), s.normal(8)),
            "linear_cross_entropy": ops.linear_cross_entropy(s.normal(9, 8), s.normal(12, 8), s.below(12, 9)),
        }
    failures = []
    for name, (first, second) in outputs.items():
        first_type = torch.float32 if name == "linear_cross_entropy" else torch.bfloat16
        if (first.dtype, second.dtype) != (first_type, torch.float32):
            failures.append(f"{name} returns {first.dtype}, {second.dtype}")
        first.sum().backward()
    failures += [f"selective_scan: the gradient of input {number} is {leaf.grad}, the input {leaf.dtype}"
                 for number, leaf in enumerate(scan[:9]) if leaf.grad is None or leaf.grad.dtype != leaf.dtype]
    return failures


def inference_mode(device):
    """The public operators on inference tensors give what they give elsewhere."""
    failures = []
    for name, (make, differentiable) in SAMPLES.items():
        if not differentiable:
            continue
        operator = getattr(torch.ops.strandwave, name)
        expected = [operator(*inputs) for inputs in make(Samples(device, False))]
        with torch.inference_mode():
            found = [operator(*inputs) for inputs in make(Samples(device, False))]
        for number, (one, other) in enumerate(zip(expected, found)):
            pairs = zip(one, other) if isinstance(one, tuple) else [(one, other)]
            if not all(torch.equal(a, b) for a, b in pairs):
                failures.append(f"{name}, sample {number}: other values")
    return failures


def compiled(device):
    """torch.compile traces the operators once for all shapes, forward and backward."""
    ops, s = torch.ops.strandwave, Samples(device, True)

    def model(ids, table, weight, targets):
        hidden, _ = ops.add_rms_norm(ops.embedding(ids, table), None, weight)
        return ops.linear_cross_entropy(hidden, table, targets, None, 0)[0].sum()

    table, weight = s.normal(11, 8), s.normal(8)
    traced = torch.compile(model, backend="aot_eager", dynamic=True, fullgraph=True)
    failures = []
    for tokens in (5, 7):
        inputs = s.below(11, tokens), table, weight, s.below(11, tokens)
        gradients = [torch.autograd.grad(f(*inputs), (table, weight)) for f in (model, traced)]
        if not all(torch.equal(a, b) for a, b in zip(*gradients)):
            failures.append(f"{tokens} tokens: the gradients differ")
    return failures


def find_library():
    if "STRANDWAVE_KERNELS" in os.environ:
        return os.environ["STRANDWAVE_KERNELS"]
    for preset in PRESETS:
        path = ROOT / "build" / preset / "lib" / "libstrandwave_kernels.so"
        if path.exists():
            return path
    sys.exit("libstrandwave_kernels.so was not found under build/: build it, or give its path")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("library", nargs="?", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.ops.load_library(str(arguments.library or find_library()))
    checks = [(name, functools.partial(check, name)) for name in operators()]
    checks += [(f.__name__, f) for f in (autocast, inference_mode, compiled)]
    failed = 0
    for name, run in checks:
        failures = run(arguments.device)
        failed += bool(failures)
        print(f"{name}: {'ok' if not failures else 'FAILED'}", flush=True)
        for text in failures:
            print("  " + text.replace("\n", "\n  "))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
