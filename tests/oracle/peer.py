# SPDX-License-Identifier: MIT
"""llama.cpp through its C interface, which llama-cpp-python has with the names of the header."""

import ctypes

import llama_cpp.llama_cpp as lib
import numpy as np

FTYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q5_0": 8, "Q4_K": 14, "Q4_K_M": 15, "Q5_K": 16, "Q6_K": 18, "BF16": 32}


@lib.llama_log_callback
def silent(level, text, data):
    pass


lib.llama_log_set(silent, None)
lib.llama_backend_init()


def quantize(source, target, kind, pure=True):
    params = lib.llama_model_quantize_default_params()
    params.ftype, params.pure, params.nthread, params.allow_requantize = FTYPES[kind], pure, 2, True
    if lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp could not quantize to {kind}")


class Peer:
    """A model in llama.cpp. `repack`: its own layouts for quantised weights, a private copy, as it does by default."""

    def __init__(self, path, context=512, threads=2, repack=True):
        params = lib.llama_model_default_params()
        params.use_extra_bufts = repack
        self.model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = threads
        self.context = lib.llama_init_from_model(self.model, params)
        self.vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))

    def decode(self, ids, position=0, want="all"):
        """Reads tokens; the logits of all of them, or of the last."""
        batch = lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, position + i, 1, 0
            batch.logits[i] = want == "all" or i + 1 == len(ids)
        status = lib.llama_decode(self.context, batch)
        lib.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")
        count = len(ids) if want == "all" else 1
        return np.ctypeslib.as_array(lib.llama_get_logits(self.context), shape=(count, self.vocabulary)).copy()

    def forget(self):
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)

    def tokenize(self, text):
        data = text.encode()
        out = (lib.llama_token * (len(data) + 8))()
        count = lib.llama_tokenize(lib.llama_model_get_vocab(self.model), data, len(data), out, len(out), True, False)
        return list(out[:count])

    def close(self):
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)
