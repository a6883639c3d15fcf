/* SPDX-License-Identifier: MIT */
/*
 * llmos: running a model. Included by llmos.h, whose comments on errors,
 * handles and threads hold here too.
 *
 *   llmos_engine_open(model, NULL, &engine);
 *   llmos_session_open(engine, &session);
 *   llmos_session_start(session, "Once upon", strlen("Once upon"), NULL);
 *   while ((status = llmos_session_next(session, &token)) == 1)
 *           fwrite(token.text, 1, token.text_bytes, stdout);
 */
#ifndef LLMOS_ENGINE_H
#define LLMOS_ENGINE_H

#ifndef LLMOS_LLMOS_H
#error "include <llmos/llmos.h>"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Engine: a model ready to run on one device -------------------------- */

typedef struct llmos_engine llmos_engine;
typedef struct llmos_session llmos_session;

#define LLMOS_CACHE_F16		0	/* keys and values of earlier positions in half precision */
#define LLMOS_CACHE_Q8_0	1	/* in 8 bits, a scale for every 32: half the memory */

#define LLMOS_ENGINE_PIN	(1U << 0)	/* bind each worker thread to one CPU */
/* Share the device: a lane named as the model takes a turn for each batch, so that
 * engines of different cgroups share device time by their groups' time.weight.
 * Needs the kernel module (ENODEV). */
#define LLMOS_ENGINE_SHARE	(1U << 1)
/* CUDA devices: llmos' own kernels for prompts, also where NVIDIA's cuBLASLt is installed. */
#define LLMOS_ENGINE_NO_CUBLAS	(1U << 2)

/* Of a CUDA device: layers that run there, the model's last ones; those before them
 * run on the host, where `threads` and `kernels` are about them. The device "cpu" runs
 * all layers: a number is EINVAL with it, and LLMOS_LAYERS_AUTO means all. */
#define LLMOS_LAYERS_ALL	0
#define LLMOS_LAYERS_AUTO	(-1)	/* as many as it has free memory for, cache and activations included */

#define LLMOS_WEIGHTS_STAGED	0	/* copied to the device */
/* Used where the model lies, over the bus, as far as a device's kernels can: F32, F16 and
 * BF16 with rows of whole 16 bytes; other weights are copied. For devices that share the
 * host's memory, and models that do not fit. ENOTSUP where the device cannot. The CPU
 * uses weights where they lie, whichever of the two is asked for. */
#define LLMOS_WEIGHTS_IN_PLACE	1

/* Zero everything, set size to sizeof() and then what is to differ. */
typedef struct llmos_engine_options {
	size_t size;
	const char *device;	/* NULL: "cpu"; or "cuda:0", ... */
	const char *kernels;	/* of the CPU: "portable", "avx2", "avx512", "amx"; NULL: the best it has */
	uint32_t threads;	/* 0: one per CPU this process may use */
	uint32_t flags;		/* LLMOS_ENGINE_* */
	uint32_t cache_type;	/* LLMOS_CACHE_* */
	uint32_t batch_tokens;	/* that go through the layers at once; 0: 512 */
	uint64_t context;	/* tokens a session can hold; 0: as trained, at most 4096 */
	uint64_t cache_bytes;	/* for all sessions together; 0: four full contexts */
	int32_t device_layers;	/* LLMOS_LAYERS_*, or how many; more than there are: all */
	uint32_t weights;	/* LLMOS_WEIGHTS_* */
} llmos_engine_options;

typedef struct llmos_engine_info {
	size_t size;
	char architecture[32];
	char device[128];	/* for example "CPU, avx512, 2 threads"; what does not fit is cut off */
	uint64_t layers;
	uint64_t width;		/* of the hidden states, and so of embeddings */
	uint64_t vocabulary;	/* tokens */
	uint64_t context;	/* tokens a session can hold */
	uint64_t trained_context;
	uint64_t cache_bytes;
	uint64_t device_layers;	/* that run on the device; the others run on the host */
	uint64_t device_bytes;	/* of the device's own memory that the engine has; 0 for the CPU */
} llmos_engine_info;

/*
 * Makes an engine of a model in GGUF. Weights are used where they lie; the
 * engine holds the model's grant as long as it lives, also after the model's
 * handle was closed. `options` may be NULL.
 *
 * Errors: EBADMSG (the file is damaged), ENOTSUP (an architecture, type or
 * device that llmos does not have), ENOENT (a tensor or key is missing), EINVAL,
 * ENOMEM, EAGAIN (no threads). Of a CUDA device also: ENODEV (no driver or no
 * such device), EDQUOT (a group's limit of its memory), EIO (it failed; so may
 * whatever computes on it later).
 */
LLMOS_API int llmos_engine_open(llmos_model *model, const llmos_engine_options *options, llmos_engine **engine);

/*
 * Makes the model's prepared index, a small model named like it with ".index"
 * appended, from which every process attaches without parsing. 1: it was made;
 * 0: a good one was there. A stale or damaged one is replaced.
 * llmos_engine_open() does this by itself in the kernel's store for the model's
 * owner and for root; an index of anybody else is used by nobody but them.
 *
 * Errors: as llmos_engine_open() for what is no model to run; as
 * llmos_store_create() where the index cannot be stored.
 */
LLMOS_API int llmos_model_prepare(llmos_model *model);

/* Sessions that are open keep what they need. NULL is allowed. */
LLMOS_API void llmos_engine_close(llmos_engine *engine);

LLMOS_API int llmos_engine_info_get(llmos_engine *engine, llmos_engine_info *info);

/* ---- Text and tokens ------------------------------------------------------ */

#define LLMOS_TEXT_NO_SPECIAL		(1U << 0)	/* do not add BOS and EOS; leave them out of text */
#define LLMOS_TEXT_PARSE_SPECIAL	(1U << 1)	/* "<|user|>" in a text is the control token */

/*
 * Writes at most `room` tokens and returns how many the text has. `text` need
 * not be valid UTF-8. Errors: EINVAL, EOVERFLOW (more than INT_MAX).
 */
LLMOS_API int llmos_engine_tokenize(llmos_engine *engine, const char *text, size_t bytes, uint32_t flags,
				    int32_t *tokens, size_t room);

/* Writes at most `room` bytes (no final 0) and returns how many the text has. */
LLMOS_API int llmos_engine_text(llmos_engine *engine, const int32_t *tokens, size_t count, uint32_t flags, char *text,
				size_t room);

/* Called on the caller's thread with tokens read and in all; not 0 cancels. */
typedef int (*llmos_tokens_fn)(void *context, uint64_t done, uint64_t total);

/*
 * Writes the natural logarithm of each token's probability given those before
 * it; 0 for the first. Longer texts than the context are read in parts, each
 * beginning anew. `progress` may be NULL. Errors: EINVAL, ENOMEM, ECANCELED.
 */
LLMOS_API int llmos_engine_score(llmos_engine *engine, const int32_t *tokens, size_t count, float *log_probabilities,
				 llmos_tokens_fn progress, void *context);

#define LLMOS_POOLING_MEAN	0	/* of all tokens */
#define LLMOS_POOLING_LAST	1	/* the last token's */

/*
 * Writes the text's embedding, `width` floats of the engine's info: the pooled
 * final hidden states, scaled to length 1. Errors: EINVAL, ENOSPC (longer than
 * the context), ENOMEM.
 */
LLMOS_API int llmos_engine_embed(llmos_engine *engine, const int32_t *tokens, size_t count, int pooling,
				 float *embedding);

/* ---- Session: one stream of text ------------------------------------------ */

typedef struct llmos_token_bias {
	int32_t token;
	float bias;		/* added to its logit; -INFINITY forbids it */
} llmos_token_bias;

typedef struct llmos_token_probability {
	int32_t token;
	float log_probability;
} llmos_token_probability;

/* Flags of llmos_generate_options. */
#define LLMOS_GENERATE_PARSE_SPECIAL	(1U << 0)	/* control tokens in the prompt */
#define LLMOS_GENERATE_IGNORE_END	(1U << 1)	/* go on where the model ends the text */

/*
 * How a text is continued. llmos_generate_options_init() sets the defaults,
 * which are llama.cpp's; they are given in brackets.
 */
typedef struct llmos_generate_options {
	size_t size;
	uint64_t max_tokens;	/* [0]: until the text ends or the context is full */
	uint64_t seed;		/* [0] */
	uint32_t flags;		/* [0] LLMOS_GENERATE_* */
	float temperature;	/* [0.8]; 0: always the most probable token */
	uint32_t top_k;		/* [40]; 0: all */
	float top_p;		/* [0.95]; 1: all */
	float min_p;		/* [0.05]; 0: all */
	float repeat_penalty;	/* [1] */
	float frequency_penalty;	/* [0] */
	float presence_penalty;	/* [0] */
	int32_t penalty_last_n;	/* [64]; tokens that count as recent; -1: all */
	uint32_t log_probabilities;	/* [0]; alternatives to list; needed for log_probability too */
	const llmos_token_bias *biases;	/* [NULL] copied */
	size_t bias_count;
	const char *const *stops;	/* [NULL] strings that end the text, copied */
	size_t stop_count;
} llmos_generate_options;

/* What a session gives out; valid until its next call. It will never grow. */
typedef struct llmos_token {
	int32_t id;		/* -1: only text that had been held back */
	float log_probability;	/* natural logarithm; NaN unless asked for */
	const char *text;	/* whole characters; empty while one is unfinished. Ends with a 0 that text_bytes leaves out */
	size_t text_bytes;
	const llmos_token_probability *alternatives;	/* most probable first */
	size_t alternative_count;
} llmos_token;

/* The defaults, as far as they fit into `size` bytes; the rest is zero. */
LLMOS_API void llmos_generate_options_default(llmos_generate_options *options, size_t size);

static inline void llmos_generate_options_init(llmos_generate_options *options)
{
	llmos_generate_options_default(options, sizeof(*options));
}

/*
 * A session remembers what it has read and written. One thread at a time may
 * use it, except for llmos_session_cancel(). Sessions of one engine share its
 * cache: while one computes, the others wait.
 */
LLMOS_API int llmos_session_open(llmos_engine *engine, llmos_session **session);
LLMOS_API void llmos_session_close(llmos_session *session); /* NULL is allowed */

/*
 * Sets out to continue a prompt, which follows all that the session has read
 * and written. Computes nothing yet. `options` may be NULL. Errors: EINVAL.
 */
LLMOS_API int llmos_session_start(llmos_session *session, const char *prompt, size_t bytes,
				  const llmos_generate_options *options);

/*
 * 1: the next token is in *token. 0: the text is finished. Errors: ECANCELED
 * (the call can be repeated to go on), ENOSPC (the prompt is longer than the
 * context), ENOMEM (the cache is full), EINVAL.
 */
LLMOS_API int llmos_session_next(llmos_session *session, llmos_token *token);

/*
 * Computes, in one batch, what the next llmos_session_next() of each session
 * needs. The sessions must belong to one engine; the caller owns them all
 * during the call. `progress` may be NULL. Errors as for next.
 */
LLMOS_API int llmos_session_advance(llmos_session *const *sessions, size_t count, llmos_tokens_fn progress,
				    void *context);

/* From any thread: the computing in progress, or waited for, or the next, ends with ECANCELED. */
LLMOS_API void llmos_session_cancel(llmos_session *session);

#define LLMOS_FINISH_NOT_YET		0
#define LLMOS_FINISH_END_OF_TEXT	1	/* the model ended it */
#define LLMOS_FINISH_STOP_STRING	2
#define LLMOS_FINISH_LENGTH		3	/* max_tokens, or the context is full */

LLMOS_API int llmos_session_finish(const llmos_session *session);

/* Tokens that the model has read, its own included. */
LLMOS_API uint64_t llmos_session_position(const llmos_session *session);

/* Forgets everything read and written. */
LLMOS_API int llmos_session_reset(llmos_session *session);

#ifdef __cplusplus
}
#endif

#endif /* LLMOS_ENGINE_H */
