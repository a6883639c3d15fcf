# SPDX-License-Identifier: MIT
"""llmos against independent implementations: the gguf package, transformers with torch, and llama.cpp."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import gguf
import numpy as np
import torch

import models
import peer

HERE = pathlib.Path(__file__).parent
PROBE = os.environ["LLMOS_ORACLE_PROBE"]
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]

# Cosine between logits with exact weights and ours, at any position. Float weights: what is left is the cache in half
# precision. Quantised weights: activations are rounded to 8 bits, as llama.cpp does too.
EXACT, QUANTIZED = 0.99999, 0.998


def probe(*arguments):
    subprocess.run([PROBE, *map(str, arguments)], check=True)


def kernel_sets():
    return subprocess.run([PROBE, "kernels"], check=True, capture_output=True, text=True).stdout.split()


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        generator = np.random.default_rng(1)
        self.ids = [1, *map(int, generator.integers(3, models.VOCABULARY, size=70))]

    def ours(self, path, *more):
        np.array(self.ids, dtype=np.int32).tofile(self.folder / "ids")
        probe("logits", path, self.folder / "ids", self.folder / "out", *more)
        return np.fromfile(self.folder / "out", dtype=np.float32).reshape(len(self.ids), -1)


class Dequantization(Case):
    def test_every_type_is_exact(self):
        generator = np.random.default_rng(2)
        for name in TYPES:
            kind = gguf.GGMLQuantizationType[name]
            size = gguf.GGML_QUANT_SIZES[kind][1] * 4096
            raw = generator.integers(0, 256, size=size, dtype=np.uint8)  # every scale too, infinite and not a number
            raw.tofile(self.folder / "raw")
            probe("dequantize", name, self.folder / "raw", self.folder / "floats")
            found = np.fromfile(self.folder / "floats", dtype=np.float32)
            with np.errstate(invalid="ignore", over="ignore"):
                dtype = {"F32": np.float32, "F16": np.float16}.get(name)
                expected = raw.view(dtype).astype(np.float32) if dtype else gguf.quants.dequantize(raw, kind)
            with self.subTest(type=name):
                numbers = ~np.isnan(expected)
                self.assertTrue((np.isnan(found) == ~numbers).all())
                self.assertTrue((found[numbers].view(np.uint32) == expected[numbers].view(np.uint32)).all())


class Architectures(Case):
    def test_logits_equal_those_of_torch(self):
        for name in models.MODELS:
            architecture, model = models.make(name)
            expected = models.logits(model, self.ids)
            path = self.folder / f"{name}.gguf"
            models.write(path, architecture, model)
            for kernels in kernel_sets():
                for batch in (1, 7, 512):  # vector by vector, in pieces, whole
                    with self.subTest(model=name, kernels=kernels, batch=batch):
                        self.assertGreater(cosine(self.ours(path, kernels, batch), expected), EXACT)

    def test_half_precision_weights(self):
        architecture, model = models.make("qwen3")
        for kind, dtype in (("F16", torch.float16), ("BF16", torch.bfloat16)):
            path = self.folder / f"{kind}.gguf"
            models.write(path, architecture, model, kind)
            rounded = models.make("qwen3")[1]
            with torch.no_grad():
                for parameter in rounded.parameters():
                    if parameter.ndim > 1:
                        parameter.copy_(parameter.to(dtype).float())
            expected = models.logits(rounded, self.ids)
            for kernels in kernel_sets():
                for batch in (1, 512):
                    with self.subTest(type=kind, kernels=kernels, batch=batch):
                        self.assertGreater(cosine(self.ours(path, kernels, batch), expected), EXACT)

    def test_eight_bit_cache(self):
        architecture, model = models.make("qwen3")
        path = self.folder / "m.gguf"
        models.write(path, architecture, model)
        expected = models.logits(model, self.ids)
        for kernels in kernel_sets():
            with self.subTest(kernels=kernels):
                found = self.ours(path, kernels, 512, "q8_0")
                self.assertGreater(cosine(found, expected), 0.9999)
                self.assertFalse((found == self.ours(path, kernels, 512)).all())


class Quantizations(Case):
    def test_logits_equal_those_of_torch_on_the_dequantised_weights(self):
        for kind in models.LEVELS:
            architecture, model = models.make("qwen3")  # whose rows stand in GGUF as they do in torch
            path = self.folder / f"{kind}.gguf"
            models.quantized(architecture, model, kind, path)
            expected = models.logits(model, self.ids)
            for kernels in kernel_sets():
                for batch in (1, 512):
                    with self.subTest(type=kind, kernels=kernels, batch=batch):
                        self.assertGreater(cosine(self.ours(path, kernels, batch), expected), QUANTIZED)


class LlamaCpp(Case):
    def test_logits_equal_those_of_llama_cpp(self):
        for name in models.MODELS:
            if name == "mistral":
                continue  # llama.cpp reads no window for this architecture
            architecture, model = models.make(name, seed=3)
            path = self.folder / f"{name}.gguf"
            models.write(path, architecture, model)
            theirs = peer.Peer(path)
            with self.subTest(model=name):
                self.assertGreater(cosine(self.ours(path), theirs.logits(self.ids)), EXACT)
            theirs.close()

    def test_quantised_logits_are_as_near_to_exact_ones_as_llama_cpp_s(self):
        for kind in models.LEVELS:
            architecture, model = models.make("qwen3")
            path = self.folder / f"{kind}.gguf"
            models.quantized(architecture, model, kind, path)
            expected = models.logits(model, self.ids)
            theirs = peer.Peer(path)
            distance = 1 - cosine(theirs.logits(self.ids), expected)
            theirs.close()
            ours = 1 - cosine(self.ours(path), expected)
            print(f"{kind}: 1 - cosine to exact logits: llmos {ours:.2e}, llama.cpp {distance:.2e}")
            with self.subTest(type=kind):
                self.assertLess(ours, 1.5 * distance + 1e-5)


class RealModel(Case):
    """Gemma 3 270M, Q4_K_M: rows that no K-quant divides, a tied embedding, sliding windows."""

    def setUp(self):
        super().setUp()
        fetch = subprocess.run([sys.executable, HERE.parents[1] / "tools/fetch-model"], capture_output=True, text=True)
        if fetch.returncode:
            self.skipTest(fetch.stderr.strip())
        self.path = fetch.stdout.strip()

    def test_perplexity_is_that_of_llama_cpp(self):
        theirs = peer.Peer(self.path, context=1024, exact=False)
        self.ids = theirs.tokenize((HERE / "text.txt").read_text())
        self.assertGreater(len(self.ids), 600)
        logits = torch.from_numpy(theirs.logits(self.ids)).double()
        theirs.close()
        chosen = torch.log_softmax(logits[:-1], dim=1)[torch.arange(len(self.ids) - 1), self.ids[1:]]
        np.array(self.ids, dtype=np.int32).tofile(self.folder / "ids")
        probe("score", self.path, self.folder / "ids", 1024, self.folder / "scores")
        ours = np.fromfile(self.folder / "scores", dtype=np.float32)[1:].astype(np.float64)
        perplexities = np.exp(-ours.mean()), float(np.exp(-chosen.mean()))
        print(f"perplexity over {len(self.ids)} tokens: llmos {perplexities[0]:.4f}, llama.cpp {perplexities[1]:.4f}")
        self.assertLess(abs(perplexities[0] / perplexities[1] - 1), 0.005)


if __name__ == "__main__":
    unittest.main()
