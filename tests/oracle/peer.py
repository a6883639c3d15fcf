# SPDX-License-Identifier: MIT
"""llama.cpp through its C interface, whose symbols the package xllamacpp exports beside its own."""

import cffi
import numpy as np
import xllamacpp.xllamacpp

# Of llama.h, as of the version that requirements.txt names: what is used here.
DECLARATIONS = """
struct llama_model_params {
    void * devices; const void * tensor_buft_overrides;
    int32_t n_gpu_layers; int split_mode, load_mode, lazy_mode; int32_t main_gpu;
    const float * tensor_split; void * progress_callback; void * progress_callback_user_data; const void * kv_overrides;
    bool vocab_only, check_tensors, use_extra_bufts, no_host, no_alloc, load_mtp;
};
struct llama_context_params {
    uint32_t n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max, n_outputs_max_per_seq;
    int32_t n_threads, n_threads_batch;
    int ctx_type, rope_scaling_type, pooling_type, attention_type, flash_attn_type;
    float rope_freq_base, rope_freq_scale, yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow;
    uint32_t yarn_orig_ctx; float defrag_thold; void * cb_eval; void * cb_eval_user_data;
    int type_k, type_v; size_t moe_cache_size; void * abort_callback; void * abort_callback_data;
    bool embeddings, offload_kqv, no_perf, op_offload, swa_full, kv_unified;
    void * samplers; size_t n_samplers; void * ctx_other;
};
struct llama_batch {
    int32_t n_tokens; int32_t * token; float * embd; int32_t * pos; int32_t * n_seq_id; int32_t ** seq_id; int8_t * logits;
};
struct llama_model_params llama_model_default_params(void);
struct llama_context_params llama_context_default_params(void);
void * llama_model_load_from_file(const char * path, struct llama_model_params params);
void llama_model_free(void * model);
void * llama_init_from_model(void * model, struct llama_context_params params);
void llama_free(void * context);
const void * llama_model_get_vocab(const void * model);
int32_t llama_vocab_n_tokens(const void * vocabulary);
int32_t llama_tokenize(const void * vocabulary, const char * text, int32_t text_len, int32_t * tokens,
                       int32_t n_tokens_max, bool add_special, bool parse_special);
struct llama_batch llama_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max);
void llama_batch_free(struct llama_batch batch);
int32_t llama_decode(void * context, struct llama_batch batch);
float * llama_get_logits(void * context);
void llama_log_set(void (* log)(int level, const char * text, void * data), void * data);
void llama_backend_init(void);
"""
F32, FLASH_ATTENTION_OFF = 0, 0

ffi = cffi.FFI()
ffi.cdef(DECLARATIONS)
lib = ffi.dlopen(xllamacpp.xllamacpp.__file__)


@ffi.callback("void(int, const char *, void *)")
def silent(level, text, data):
    pass


lib.llama_log_set(silent, ffi.NULL)
lib.llama_backend_init()

# A declaration that does not fit the library would show here.
_model, _context = lib.llama_model_default_params(), lib.llama_context_default_params()
assert (_model.use_extra_bufts, _model.vocab_only, _model.check_tensors) == (True, False, False)
assert (_context.n_ctx, _context.n_batch, _context.flash_attn_type, _context.yarn_ext_factor) == (512, 2048, -1, -1)
assert (_context.type_k, _context.type_v, _context.offload_kqv, _context.ctx_other) == (1, 1, True, ffi.NULL)


class Peer:
    """A model in llama.cpp, its weights and kernels as ggml has them. `exact`: keys and values are kept in F32."""

    def __init__(self, path, context=512, threads=2, exact=True):
        params = lib.llama_model_default_params()
        params.use_extra_bufts = False  # no weights in another layout
        self.model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {path}")
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = threads
        if exact:
            params.flash_attn_type = FLASH_ATTENTION_OFF
            params.type_k = params.type_v = F32
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp could not make a context for {path}")
        self.vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))

    def logits(self, ids):
        """Of every position of a text."""
        batch = lib.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
        status = lib.llama_decode(self.context, batch)
        lib.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")
        size = len(ids) * self.vocabulary * 4
        floats = np.frombuffer(ffi.buffer(lib.llama_get_logits(self.context), size), dtype=np.float32)
        return floats.reshape(len(ids), self.vocabulary).copy()

    def tokenize(self, text):
        data = text.encode()
        out = ffi.new("int32_t[]", len(data) + 8)
        count = lib.llama_tokenize(lib.llama_model_get_vocab(self.model), data, len(data), out, len(out), True, False)
        return list(out[0:count])

    def close(self):
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)
