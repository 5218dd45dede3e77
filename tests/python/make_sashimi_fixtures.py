"""Makes tests/fixtures/sashimi: state dicts with the keys of released SaShiMi models, and their logits.

    python tests/python/make_sashimi_fixtures.py tests/fixtures/sashimi

Needs torch. The models are tiny and random; their keys, shapes and conventions are those of
state-spaces/s4 in versions 4 and 3 (its code at e757cef loads sashimi_v4.pt and unet_v4.pt with every
key matched and computes these logits within 1e-13). expected.pt holds "ids" and the logits of each file, computed here
in float64 from the definitions: dense matrices, one sample after the other.
"""

import collections
import math
import os
import sys

import torch

WIDTH, POOL, EXPAND, STATE, VOCABULARY, LENGTH = 4, (2, 3), 2, 6, 11, 30
KERNELS = (16, 8, 3)  # per stage; shorter than the input where the kernel must be extended
generator = torch.Generator().manual_seed(3)


def randn(*shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def s4(width, copies, l_kernel):
    half = STATE // 2
    return {
        "layer.layer.D": randn(1, width),
        "layer.layer.kernel.C": randn(1, width, half, 2),
        "layer.layer.kernel.B": randn(1, copies, half, 2),
        "layer.layer.kernel.P": 0.7 * randn(1, copies, half, 2),
        "layer.layer.kernel.A_real": math.log(0.5) + 0.2 * randn(copies, half),
        "layer.layer.kernel.A_imag": 3 * torch.arange(half, dtype=torch.float64) + randn(copies, half).abs(),
        "layer.layer.kernel.inv_dt": math.log(0.1) + 0.5 * randn(width, 1),
        "layer.layer.kernel.l_kernel": torch.tensor(l_kernel),
        "layer.output_linear.0.weight": randn(2 * width, width) / width**0.5,
        "layer.output_linear.0.bias": 0.3 * randn(2 * width),
    }


def feed_forward(width):
    return {
        "layer.ff.0.0.weight": randn(2 * width, width) / width**0.5,
        "layer.ff.0.0.bias": 0.3 * randn(2 * width),
        "layer.ff.2.weight": randn(width, 2 * width) / (2 * width) ** 0.5,
        "layer.ff.2.bias": 0.3 * randn(width),
    }


def blocks(width, copies, l_kernel, scalar):
    made = [s4(width, copies, l_kernel), feed_forward(width)]
    for block in made:
        if scalar:
            block["norm.norm.m"], block["norm.norm.s"] = 0.2 * randn(1), 1 + 0.2 * randn(1)
        else:
            block["norm.weight"], block["norm.bias"] = 1 + 0.2 * randn(width), 0.2 * randn(width)
    return made


def pool(into, out, weight_norm):
    weight, bias = randn(out, into) / into**0.5, 0.3 * randn(out)
    if weight_norm:
        return {"linear.weight_g": 1 + randn(out, 1).abs(), "linear.weight_v": weight, "linear.bias": bias}
    return {"linear.weight": weight, "linear.bias": bias}


def model(unet, n_ssm, scalar, weight_norm):
    """Lists d, c, u of parts; u is a list of lists, from the inside out."""
    copies = lambda width: n_ssm or width
    down, up, width = [], [], WIDTH
    for stage, p in enumerate(POOL):
        if unet:
            down += blocks(width, copies(width), KERNELS[stage], scalar)
        down.append(pool(width * p, width * EXPAND, weight_norm))
        outward = [pool(width * EXPAND, width * p, weight_norm)]
        up.insert(0, outward + blocks(width, copies(width), KERNELS[stage], scalar))
        width *= EXPAND
    centre = blocks(width, copies(width), KERNELS[-1], scalar)
    outer = {
        "encoder.0.weight": randn(VOCABULARY, WIDTH),
        "decoder.0.output_transform.weight": randn(VOCABULARY, WIDTH),
        "decoder.0.output_transform.bias": randn(VOCABULARY),
        "model.norm.weight": 1 + 0.2 * randn(WIDTH),
        "model.norm.bias": 0.2 * randn(WIDTH),
    }
    # What is computed with is what float32 files can hold.
    parts = [outer, *down, *centre, *(part for stage in up for part in stage)]
    for part in parts:
        for key, value in part.items():
            if value.is_floating_point():
                part[key] = value.float().double()
    return outer, down, centre, up


def kernel(part, prefix="layer.layer.kernel."):
    """(width, LENGTH): K_t = 2 Re(C A_bar^t B_bar) with dense matrices over all conjugate pairs."""
    get = lambda name: part[prefix + name]
    as_complex = lambda name: torch.view_as_complex(get(name).contiguous())[0]
    both = lambda x: torch.cat([x, x.conj()], -1)
    A_half = -torch.exp(get("A_real")) - 1j * get("A_imag")
    C = as_complex("C")
    rows = []
    for h in range(C.shape[0]):
        copy = h % A_half.shape[0]
        P = both(as_complex("P")[copy])
        A = torch.diag(both(A_half[copy])) - torch.outer(P, P.conj())
        dt = torch.exp(get("inv_dt")[h, 0])
        one = torch.eye(STATE, dtype=torch.complex128)
        left = torch.linalg.inv(one - dt / 2 * A)
        A_bar, B_bar = left @ (one + dt / 2 * A), dt * left @ both(as_complex("B")[copy])
        row = both(C[h])
        if (l_kernel := int(get("l_kernel"))) > 0:
            row = row @ torch.linalg.inv(one - torch.linalg.matrix_power(A_bar, l_kernel))
        values, state = [], B_bar
        for _ in range(LENGTH):
            values.append((row @ state).real)
            state = A_bar @ state
        rows.append(torch.stack(values))
    return torch.stack(rows)


def layer_norm(x, weight, bias):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias)


def run_block(part, x):
    """x (length, width)."""
    if "norm.norm.s" in part:
        deviation = x.std(-1, unbiased=False, keepdim=True)
        z = part["norm.norm.s"] / deviation * (x - x.mean(-1, keepdim=True) + part["norm.norm.m"])
    else:
        z = layer_norm(x, part["norm.weight"], part["norm.bias"])
    gelu = torch.nn.functional.gelu
    if "layer.ff.2.weight" in part:
        hidden = gelu(z @ part["layer.ff.0.0.weight"].T + part["layer.ff.0.0.bias"])
        return x + hidden @ part["layer.ff.2.weight"].T + part["layer.ff.2.bias"]
    K = kernel(part)
    y = part["layer.layer.D"] * z
    for t in range(len(z)):
        for s in range(t + 1):
            y[t] = y[t] + K[:, t - s] * z[s]
    both = gelu(y) @ part["layer.output_linear.0.weight"].T + part["layer.output_linear.0.bias"]
    return x + torch.nn.functional.glu(both, -1)


def run_linear(part, x):
    if "linear.weight" in part:
        weight = part["linear.weight"]
    else:
        v = part["linear.weight_v"]
        weight = part["linear.weight_g"] * v / v.norm(dim=1, keepdim=True)
    return x @ weight.T + part["linear.bias"]


def run_down(part, x):
    p = part_in(part) // x.shape[1]
    return run_linear(part, x.reshape(-1, p, x.shape[1]).transpose(1, 2).flatten(1))


def run_up(part, x, width):
    y = run_linear(part, x)
    y = torch.cat([torch.zeros_like(y[:1]), y[:-1]])
    return y.reshape(len(y), width, -1).transpose(1, 2).reshape(-1, width)


def part_in(part):
    return next(part[key] for key in ("linear.weight", "linear.weight_v") if key in part).shape[1]


def logits(parts, unet, ids):
    outer, down, centre, up = parts
    x = outer["encoder.0.weight"][ids]
    outputs = []
    for part in down:
        outputs.append(x)
        x = run_down(part, x) if "linear.bias" in part else run_block(part, x)
    before = x
    for part in centre:
        x = run_block(part, x)
    x = x + before
    for stage in up:
        if unet:
            for part in stage:
                skip = outputs.pop()
                x = run_up(part, x, skip.shape[1]) if "linear.bias" in part else run_block(part, x)
                x = x + skip
        else:
            skip = outputs.pop()
            x = run_up(stage[0], x, skip.shape[1]) + skip
            skip = x
            for part in stage[1:]:
                x = run_block(part, x)
            x = x + skip
    x = layer_norm(x, outer["model.norm.weight"], outer["model.norm.bias"])
    return x @ outer["decoder.0.output_transform.weight"].T + outer["decoder.0.output_transform.bias"]


def state_dict(parts, nested):
    outer, down, centre, up = parts
    state = collections.OrderedDict(outer)
    add = lambda prefix, part: state.update({prefix + key: value for key, value in part.items()})
    for i, part in enumerate(down):
        add(f"model.d_layers.{i}.", part)
    for i, part in enumerate(centre):
        add(f"model.c_layers.{i}.", part)
    flat = 0
    for b, stage in enumerate(up):
        for k, part in enumerate(stage):
            add(f"model.u_layers.{b}.{k}." if nested else f"model.u_layers.{flat}.", part)
            flat += 1
    return collections.OrderedDict(
        (key, value.float() if value.is_floating_point() else value) for key, value in state.items()
    )


def version_3(state):
    """The keys and conventions before convert_v3_to_v4.py."""
    old = collections.OrderedDict()
    for key, value in state.items():
        if key.endswith("inv_dt"):
            key, value = key.replace("inv_dt", "log_dt"), value.squeeze(-1)
        if key.endswith("A_imag"):
            value = -value
        if key.endswith("output_linear.0.weight") or ".ff." in key and key.endswith("weight"):
            value = value.unsqueeze(-1)  # convolutions of width 1
        key = key.replace("layer.layer.", "layer.").replace("kernel.", "kernel.kernel.")
        key = key.replace("A_real", "log_w_real").replace("A_imag", "w_imag").replace("kernel.l_kernel", "kernel.L")
        old[key.replace("encoder.0.", "encoder.").replace("decoder.0.", "decoder.")] = value
    return old


def main(directory):
    os.makedirs(directory, exist_ok=True)
    ids = torch.randint(VOCABULARY, (LENGTH,), generator=generator)
    expected = {"ids": ids}
    sashimi = model(unet=False, n_ssm=1, scalar=True, weight_norm=True)
    unet = model(unet=True, n_ssm=None, scalar=True, weight_norm=False)
    standalone = model(unet=True, n_ssm=None, scalar=False, weight_norm=False)
    for name, parts, is_unet, state in (
        ("sashimi_v4", sashimi, False, state_dict(sashimi, nested=True)),
        ("sashimi_v3", sashimi, False, version_3(state_dict(sashimi, nested=True))),
        ("unet_v4", unet, True, state_dict(unet, nested=False)),
        ("standalone_unet_v4", standalone, True, state_dict(standalone, nested=True)),
    ):
        expected[name] = logits(parts, is_unet, ids)
        torch.save(state, os.path.join(directory, name + ".pt"))
    torch.save(expected, os.path.join(directory, "expected.pt"))


if __name__ == "__main__":
    main(sys.argv[1])
