#!/usr/bin/env python3
"""Spoken digits by espeak-ng, to train a generator and a classifier on.

    make_digits.py FOLDER [--espeak PROGRAM]

Writes two corpora of WAV files, the digit as the folder's name, 22,050 Hz, silence trimmed:

    FOLDER/generator/DIGIT/NN.wav          one voice, 30 clips of each digit that differ in rate and pitch
    FOLDER/classifier/DIGIT/VOICE_NN.wav   80 of each digit: accents, voices, rates and pitches, loudness, noise;
                                           four voices are for validation and test alone
    FOLDER/classifier.tsv                  their manifest: path, label, speaker, split (by voice)

Needs the program espeak-ng (scripts/setup installs it) and Python 3 alone. Equal versions of espeak-ng give
equal files. Nothing is done where the files lie already.
"""
import argparse
import array
import concurrent.futures
import io
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys
import wave

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
GENERATOR_VOICE = "en-us"
GENERATOR_TAKES = 30
ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029"]
VARIANTS = ["", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+Andy", "+klatt", "+klatt2"]
HELD_OUT = {"+m6": "validation", "+f4": "validation", "+m3": "test", "+f2": "test"}
CLASSIFIER_VOICES = [accent + variant for variant in VARIANTS for accent in ACCENTS]
RATE = 22050
SILENCE = 0.01  # of the peak
MARGIN = RATE // 200


def spoken(espeak, text, voice, words_per_minute, pitch):
    """Samples in [-1, 1], silence trimmed at both ends."""
    run = subprocess.run([espeak, "-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "--stdout", text],
                         capture_output=True, check=False)
    if run.returncode != 0 or not run.stdout:
        sys.exit(f"make_digits.py: {espeak} -v {voice} failed: {run.stderr.decode().strip() or 'no sound came'}")
    with wave.open(io.BytesIO(run.stdout)) as sound:
        if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
            sys.exit(f"make_digits.py: {espeak} does not speak with {RATE} samples of 16 bits per second")
        samples = array.array("h", sound.readframes(1 << 24))
    loud = max(map(abs, samples)) * SILENCE
    heard = [i for i, sample in enumerate(samples) if abs(sample) > loud]
    return [sample / 32768 for sample in samples[max(0, heard[0] - MARGIN):heard[-1] + MARGIN]]


def with_noise(samples, draw):
    """Another loudness, and white noise 15 to 40 dB below the voice."""
    gain = 10 ** (draw.uniform(-9, 0) / 20) / max(map(abs, samples)) * 0.9
    power = sum(s * s for s in samples) / len(samples)
    noise = math.sqrt(power / 10 ** (draw.uniform(15, 40) / 10))
    return [max(-1.0, min(1.0, gain * (s + noise * draw.gauss(0, 1)))) for s in samples]


def write(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(array.array("h", [round(32767 * s) for s in samples]).tobytes())


def generator_clip(espeak, folder, digit, take):
    draw = random.Random(f"generator {digit} {take}")
    samples = spoken(espeak, digit, GENERATOR_VOICE, draw.randint(170, 220), draw.randint(35, 65))
    write(folder / "generator" / digit / f"{take:02}.wav", samples)


def classifier_clip(espeak, folder, digit, number):
    draw = random.Random(f"classifier {digit} {number}")
    voice = CLASSIFIER_VOICES[number]
    samples = spoken(espeak, digit, voice, draw.randint(130, 230), draw.randint(20, 80))
    name = f"classifier/{digit}/{voice}_{number:02}.wav"
    write(folder / name, with_noise(samples, draw))
    split = HELD_OUT.get(VARIANTS[number // len(ACCENTS)], "train")
    return f"{name}\t{digit}\t{voice}\t{split}\n"


def make(espeak, folder):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        generator = [pool.submit(generator_clip, espeak, folder, digit, take)
                     for digit in DIGITS for take in range(GENERATOR_TAKES)]
        classifier = [pool.submit(classifier_clip, espeak, folder, digit, number)
                      for digit in DIGITS for number in range(len(CLASSIFIER_VOICES))]
        for job in generator:
            job.result()
        rows = [job.result() for job in classifier]
    (folder / "classifier.tsv").write_text("path\tlabel\tspeaker\tsplit\n" + "".join(rows))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--espeak", default="espeak-ng")
    options = arguments.parse_args()
    espeak = shutil.which(options.espeak)
    if espeak is None:
        sys.exit(f"make_digits.py: there is no program {options.espeak}: install the package espeak-ng")
    # Made beside its place and renamed, so that an interrupted run leaves nothing half there.
    if options.folder.exists():
        return
    unfinished = options.folder.with_name(options.folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    make(espeak, unfinished)
    unfinished.rename(options.folder)


main()
