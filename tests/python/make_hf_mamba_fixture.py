"""Makes tests/fixtures/hf_mamba_tiny: a tiny random MambaForCausalLM and what transformers computes with it.

    python tests/python/make_hf_mamba_fixture.py tests/fixtures/hf_mamba_tiny

Needs torch and transformers (made with transformers 4.57.6, its CPU path in float32). Writes
config.json and model.safetensors as save_pretrained does, and expected.safetensors with
  prompt (2, 20) int64, logits (2, 20, vocabulary) float32 of the prompt,
  continuation (2, 12) int64: the greedy continuation of each prompt.
"""

import sys

import torch
from safetensors.torch import save_file
from transformers import MambaConfig, MambaForCausalLM

VOCABULARY, PROMPT, NEW_TOKENS = 32, 20, 12


def randomise(model):
    """Every parameter gets values that a wrong import would show in the logits."""
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if name.endswith(("A_log", "dt_proj.bias")):
                parameter.add_(0.3 * noise)
            elif name.endswith(("norm.weight", "norm_f.weight", ".D")):
                parameter.copy_(1 + 0.2 * noise)
            elif name.endswith("embeddings.weight"):
                parameter.copy_(noise)
            else:
                parameter.copy_(noise / max(1, parameter[0].numel()) ** 0.5)


def main(directory):
    config = MambaConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        state_size=8,
        num_hidden_layers=2,
        time_step_rank=3,
        expand=2,
        conv_kernel=4,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    model = MambaForCausalLM(config).eval()
    randomise(model)
    prompt = torch.randint(0, VOCABULARY, (2, PROMPT), generator=torch.Generator().manual_seed(3))
    tokens = prompt
    with torch.no_grad():
        logits = model(prompt, use_cache=False).logits
        for _ in range(NEW_TOKENS):  # no cache: the whole sequence again for every token
            last = model(tokens, use_cache=False).logits[:, -1]
            best = last.topk(2).values
            assert (best[:, 0] - best[:, 1]).min() > 1e-2, "the continuation hangs on rounding"
            tokens = torch.cat([tokens, last.argmax(-1, keepdim=True)], dim=1)
    model.save_pretrained(directory, safe_serialization=True)
    expected = {
        "prompt": prompt,
        "logits": logits.contiguous(),
        "continuation": tokens[:, PROMPT:].contiguous(),
    }
    save_file(expected, f"{directory}/expected.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
