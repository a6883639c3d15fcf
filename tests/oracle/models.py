# SPDX-License-Identifier: MIT
"""Small random models of every architecture: made by transformers, written as GGUF, their logits computed by torch."""

import gguf
import numpy as np
import torch
import transformers

WIDTH, HIDDEN, VOCABULARY = 256, 512, 320
COMMON = dict(hidden_size=WIDTH, intermediate_size=HIDDEN, vocab_size=VOCABULARY, num_hidden_layers=3,
              num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2)


def rope(**kind):
    return {"rope_theta": 10000.0, "rope_type": "default", **kind}


LLAMA3 = rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
YARN = rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)


def llama(**more):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**COMMON, **more}))


def gemma3_ropes(factor):
    full = rope(rope_theta=1e6) if factor == 1 else rope(rope_theta=1e6, rope_type="linear", factor=factor)
    return {"full_attention": full, "sliding_attention": rope()}


# name: (GGUF architecture, model). Windows are shorter than the text, head sizes differ from width / heads where the
# architecture allows.
MODELS = {
    "llama": lambda: ("llama", llama()),
    "llama-tied-mha": lambda: ("llama", llama(tie_word_embeddings=True, num_key_value_heads=4)),
    "llama-linear": lambda: ("llama", llama(rope_parameters=rope(rope_type="linear", factor=4.0))),
    "llama3": lambda: ("llama", llama(rope_parameters=LLAMA3)),
    "llama-yarn": lambda: ("llama", llama(rope_parameters=YARN)),
    "mistral": lambda: ("llama", transformers.MistralForCausalLM(
        transformers.MistralConfig(**COMMON, head_dim=64, sliding_window=16))),
    "qwen2": lambda: ("qwen2", transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**COMMON))),
    "qwen3": lambda: ("qwen3", transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**COMMON, head_dim=128))),
    "gemma2": lambda: ("gemma2", transformers.Gemma2ForCausalLM(transformers.Gemma2Config(
        **COMMON, head_dim=32, sliding_window=16, query_pre_attn_scalar=32,
        attn_logit_softcapping=5.0, final_logit_softcapping=8.0))),
    "gemma3": lambda: ("gemma3", transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
        **{**COMMON, "num_hidden_layers": 7}, head_dim=32, sliding_window=16, query_pre_attn_scalar=32,
        rope_parameters=gemma3_ropes(1)))),
    "gemma3-linear": lambda: ("gemma3", transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
        **{**COMMON, "num_hidden_layers": 7}, head_dim=32, sliding_window=16, query_pre_attn_scalar=32,
        rope_parameters=gemma3_ropes(8.0)))),
}

NAMES = {
    "model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm",
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def make(name, seed=0):
    """The architecture's GGUF name and a model with random weights that make its logits differ."""
    torch.manual_seed(seed)
    architecture, model = MODELS[name]()
    model.config._attn_implementation = "eager"  # the one that knows soft caps
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:
                parameter.copy_(torch.randn_like(parameter) * 0.2 + (0.0 if "gemma" in name else 1.0))
            elif "embed" in key:
                parameter.normal_(0, 1.0 if "gemma" not in name else 0.1)
            else:
                parameter.normal_(0, 1.5 * parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.5)
    return architecture, model.float().eval()


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def interleave(weight, heads):
    """llama's rows of a head, from halves one after the other to neighbours."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def gguf_name(key, architecture):
    stem, kind = key.rsplit(".", 1)
    gemma = architecture.startswith("gemma")
    after = {"post_attention_layernorm": "post_attention_norm" if gemma else "ffn_norm",
             "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.{kind}"
    index, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{index}.{ {**NAMES, **after}[part] }.{kind}"


def write_metadata(writer, architecture, config):
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if getattr(config, "sliding_window", None) and architecture in ("llama", "gemma2", "gemma3"):
        writer.add_sliding_window(config.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    parameters = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_rope_freq_base(parameters["rope_theta"])
    if parameters["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(parameters["rope_type"]))
        writer.add_rope_scaling_factor(parameters["factor"])
    if parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])


def write_vocabulary(writer):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + ["\u2581"]
    tokens += [f"\u2581w{i}" for i in range(VOCABULARY - len(tokens))]
    types = [2, 3, 3] + [6] * 256 + [1] * (VOCABULARY - 259)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(VOCABULARY - 259)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def llama3_factors(config):
    """As llama.cpp's converter computes them for rope_freqs.weight."""
    parameters = config.rope_parameters
    size = config.hidden_size // config.num_attention_heads
    frequencies = parameters["rope_theta"] ** -(np.arange(0, size, 2) / size)
    original, low, high = (parameters[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    lengths = 2 * np.pi / frequencies
    smooth = (original / lengths - low) / (high - low)
    between = 1 / ((1 - smooth) / parameters["factor"] + smooth)
    factors = np.where(lengths < original / high, 1.0, np.where(lengths > original / low, parameters["factor"], between))
    return factors.astype(np.float32)


# Of each quantised type: bytes of a block before and after its scales' halves, and the scale that gives random bits the
# standard deviation 1; the K-quants with minimums take off the mean.
LEVELS = {"Q4_0": (0, 16, 4.6), "Q5_0": (0, 20, 9.2), "Q8_0": (0, 32, 74), "Q4_K": (0, 140, 4.6 * 32),
          "Q5_K": (0, 172, 9.2 * 32), "Q6_K": (208, 0, 18.5 * 74)}
MEANS = {"Q4_K": 7.5, "Q5_K": 15.5}


def random_blocks(kind, shape, deviation, generator):
    """Rows of a quantised type made of random bits, with weights of about that standard deviation."""
    before, after, levels = LEVELS[kind]
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = generator.integers(0, 256, size=(shape[0] * shape[1] // elements, size), dtype=np.uint8)
    scales = (deviation / levels * generator.uniform(0.5, 1.5, size=(len(blocks), 1))).astype(np.float16)
    halves = [scales] + ([(scales * MEANS[kind]).astype(np.float16)] if kind in MEANS else [])
    blocks[:, before:size - after] = np.concatenate(halves, axis=1).view(np.uint8)
    return blocks.reshape(shape[0], -1)


def quantized(architecture, model, kind, path, seed=5):
    """Writes the model with random matrices of a quantised type, and gives the model the weights that these stand for."""
    generator = np.random.default_rng(seed)
    blocks = {}
    for key, tensor in model.state_dict().items():
        if tensor.ndim > 1:
            deviation = 0.1 if "embed" in key else 1.5 * tensor.shape[-1] ** -0.5
            blocks[key] = random_blocks(kind, tuple(tensor.shape), deviation, generator)
            floats = gguf.quants.dequantize(blocks[key], gguf.GGMLQuantizationType[kind])
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(floats.copy()))
    write(path, architecture, model, kind, blocks)


def write(path, architecture, model, kind="F32", blocks=None):
    """Writes the model with its matrices as F32, F16 or BF16, or as given blocks (norms and biases stay F32)."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    write_metadata(writer, architecture, config)
    write_vocabulary(writer)
    for key, tensor in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value = tensor.numpy().copy()
        if "norm" in key and architecture.startswith("gemma"):
            value += 1
        if architecture == "llama" and "q_proj" in key:
            value = interleave(value, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in key:
            value = interleave(value, config.num_key_value_heads)
        quantization = getattr(gguf.GGMLQuantizationType, kind if value.ndim > 1 else "F32")
        data = blocks[key] if blocks and key in blocks else gguf.quants.quantize(value, quantization)
        writer.add_tensor(gguf_name(key, architecture), data, raw_dtype=quantization)
    if config.rope_parameters.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
