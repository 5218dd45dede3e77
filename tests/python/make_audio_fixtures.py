"""Makes tests/fixtures/audio: what the Python libraries compute from generated signals.

    python tests/python/make_audio_fixtures.py tests/fixtures/audio

Needs torch, torchaudio, librosa, torchvggish, safetensors (made with 2.11.0, 2.11.0, 0.11.0, 0.2 and
0.8; all in double precision). Writes
  mel.safetensors      "<case>" (frames, mels), the mel spectrogram of signal(case's rate and length)
  resnext.safetensors  "image" (mels, frames), "features" (1024), "logits" (10): what resnext.py
                       computes with the weights of weight()
"""

import sys

import librosa
import numpy as np
import torch
import torchaudio
from resnext import ResNeXt
from safetensors.numpy import save_file
from torchvggish import mel_features


def mixed(x):
    """32 bits from 32 bits: the finalizer of MurmurHash3."""
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def uniform(first, count):
    """In [-1, 1)."""
    return mixed(np.arange(first, first + count, dtype=np.uint64) & 0xFFFFFFFF) / 2.0**31 - 1


def signal(rate, length):
    """Two tones, one of which rises, and noise that fades; the last eighth is silent."""
    n = np.arange(length)
    x = 0.4 * np.sin(2 * np.pi * 440 * n / rate)
    x += 0.3 * np.sin(2 * np.pi * (200 * n / rate + 1500 * (n / rate) ** 2))
    x += 0.2 * np.exp(-4.0 * n / length) * uniform(0, length)
    x[length - length // 8 :] = 0
    return x.astype(np.float32).astype(np.float64)


def librosa_mel(x, rate, pad_mode="constant", **options):
    return librosa.feature.melspectrogram(y=x, sr=rate, pad_mode=pad_mode, **options).T


def torchaudio_mel(x, rate, **options):
    transform = torchaudio.transforms.MelSpectrogram(rate, **options).double()
    return transform(torch.from_numpy(x)).numpy().T


def vggish_mel(x):
    return mel_features.log_mel_spectrogram(
        x, audio_sample_rate=16000, log_offset=0.01, window_length_secs=0.025, hop_length_secs=0.010,
        num_mel_bins=64, lower_edge_hertz=125, upper_edge_hertz=7500)


def sc09_image(x, rate, n_fft, hop, pad_mode):
    mel = librosa_mel(x, rate, pad_mode, n_mels=32, n_fft=n_fft, hop_length=hop)
    return librosa.power_to_db(mel, ref=np.max, amin=1e-10, top_db=80)


def mel_cases():
    cases = {
        "librosa": librosa_mel(signal(22050, 3000), 22050),
        "librosa-0.8": librosa_mel(signal(22050, 3000), 22050, "reflect"),
        "librosa-window": librosa_mel(signal(8000, 2000), 8000, n_fft=512, win_length=400,
                                      hop_length=128, power=1.0, n_mels=40, fmin=50, fmax=3500),
        "torchaudio": torchaudio_mel(signal(16000, 3001), 16000),
        "torchaudio-window": torchaudio_mel(signal(16000, 2000), 16000, n_fft=512, win_length=320,
                                            hop_length=160, n_mels=40),
        "vggish": vggish_mel(signal(16000, 4000)),
    }
    for profile, pad_mode in (("librosa", "constant"), ("librosa-0.8", "reflect")):
        cases[f"sc09-8k-{profile}"] = sc09_image(signal(8000, 8000), 8000, 1024, 256, pad_mode)
        cases[f"sc09-16k-{profile}"] = sc09_image(signal(16000, 16000), 16000, 2048, 512, pad_mode)
    return {name: np.ascontiguousarray(values, np.float32) for name, values in cases.items()}


def weight(position, name, shape):
    """The value of the position-th tensor in the order of the sorted names."""
    count = int(np.prod(shape))
    u = uniform(position << 24, count).reshape(shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * u
    if len(shape) > 1:
        return u * (6 / (count / shape[0])) ** 0.5
    return (1 if name.endswith("weight") else 0) + 0.2 * u


def resnext_case():
    model = ResNeXt().double().eval()
    tensors = {name: value for name, value in model.state_dict().items() if "batches" not in name}
    with torch.no_grad():
        for position, name in enumerate(sorted(tensors)):
            tensors[name].copy_(torch.from_numpy(weight(position, name, tuple(tensors[name].shape))))
        image = 40 * uniform(1 << 31, 1024).reshape(1, 1, 32, 32) - 40
        features = model.features(torch.from_numpy(image))
        logits = model.classifier(features)
    return {"image": image[0, 0].astype(np.float32), "features": features[0].float().numpy(),
            "logits": logits[0].float().numpy()}


def main(folder):
    save_file(mel_cases(), f"{folder}/mel.safetensors")
    save_file(resnext_case(), f"{folder}/resnext.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
