/* SPDX-License-Identifier: MIT */
/*
 * llmos: operating-system support for large language models. The C API.
 *
 * Objects are opaque handles. A function that can fail returns 0 or a positive
 * result, and a negative errno when it fails; llmos_last_error() then says what
 * was asked, what was found and what to do. The library never prints and never
 * exits.
 *
 * What the kernel reports comes in the structs of its own ABI, linux/llmos.h,
 * whose comments hold here too. Set their first field, size, to sizeof() before
 * every call: a library newer than the program then writes only what fits.
 *
 * Threads: every function may be called from any thread at any time, with three
 * exceptions. Closing a handle must be the last use of it, a writer is sealed by
 * one thread after all its writes have returned, and a session is one thread's at
 * a time. A process forked from this one may use its models; its engines have no
 * threads there: sessions fail with EINVAL. Callbacks should not throw: what they
 * throw ends the call with EIO.
 */
#ifndef LLMOS_LLMOS_H
#define LLMOS_LLMOS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "linux/llmos.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LLMOS_API __attribute__((visibility("default")))
#else
#define LLMOS_API
#endif

/* The library's version, for example "0.1.0". */
LLMOS_API const char *llmos_version(void);

/* Why the last call of this thread that failed did so: one line, valid until
 * the thread's next call that fails. Never NULL. */
LLMOS_API const char *llmos_last_error(void);

/* ---- Store: where models are ------------------------------------------- */

typedef struct llmos_store llmos_store;
typedef struct llmos_model llmos_model;
typedef struct llmos_writer llmos_writer;

/* Which store. */
#define LLMOS_STORE_AUTO	0	/* the kernel's where it can be used, else this process's */
#define LLMOS_STORE_KERNEL	1	/* the machine's, kept by the module */
#define LLMOS_STORE_MEMORY	2	/* this process's own */

/*
 * Opens a store. LLMOS_STORE_AUTO heeds the environment variable LLMOS_STORE,
 * which may say "kernel", "memory" or "auto". It takes the kernel's store when
 * /dev/llmos can be used. When only models can be read (the user is not in the
 * group "llmos"), models that are there are opened, and what is loaded besides
 * them stays in this process.
 *
 * The in-process store keeps models in sealed memfds that all its handles in
 * the process share, and lives as long as one of these handles or models does.
 * What only a kernel can promise (owners and modes, grants, revocation,
 * eviction, signatures, dma-buf) fails there with ENOTSUP.
 *
 * Errors: ENODEV (the module is not loaded) and EACCES, but not for AUTO; EPROTO
 * (module and library speak different versions of the ABI), EINVAL.
 */
LLMOS_API int llmos_store_open(int which, llmos_store **store);
LLMOS_API void llmos_store_close(llmos_store *store); /* NULL is allowed */

/* LLMOS_STORE_KERNEL when models are loaded into the kernel's store, else
 * LLMOS_STORE_MEMORY. */
LLMOS_API int llmos_store_kind(const llmos_store *store);

/* Limits, use and features of the store. The in-process one has memory_max =
 * what the machine and the process's cgroups would let it have, and neither
 * memory_peak nor keyring. */
LLMOS_API int llmos_store_query(llmos_store *store, struct llmos_query *query);

/* ---- Load: from a file to a model --------------------------------------- */

/* Phases of a load, in order. */
#define LLMOS_PHASE_FILL	1	/* bytes are read into the model */
#define LLMOS_PHASE_DIGEST	2	/* its content is digested */

/*
 * Told about ten times a second, on the thread that called, how many of `total`
 * bytes a phase has done. A return value other than 0 cancels: the call fails
 * with ECANCELED and leaves nothing behind. The digest that the kernel computes
 * at the seal is the one thing that cannot be cancelled: the value is ignored.
 */
typedef int (*llmos_progress_fn)(void *context, int phase, uint64_t done, uint64_t total);

/* Flags of llmos_model_options. */
#define LLMOS_OPTION_UID	(1U << 0)	/* uid is given */
#define LLMOS_OPTION_GID	(1U << 1)	/* gid is given */
#define LLMOS_OPTION_MODE	(1U << 2)	/* mode is given */
#define LLMOS_OPTION_EVICTABLE	(1U << 3)	/* may be dropped under pressure while idle */
#define LLMOS_OPTION_REPLACE	(1U << 4)	/* takes the place of a model of that name */

/*
 * How a model is made. Zero everything, set size to sizeof() and then what is
 * to differ from the default. Strings and signature are copied.
 */
typedef struct llmos_model_options {
	size_t size;
	const char *name;	/* NULL: the last component of the path */
	uint64_t bytes;		/* length; 0: the file's. A pipe's must be given */
	uint32_t flags;		/* LLMOS_OPTION_* */
	uid_t uid;		/* owner; the caller */
	gid_t gid;		/* group; the caller's */
	mode_t mode;		/* read bits (0444); those of the file, or 0440 */
	uint32_t node_policy;	/* LLMOS_NODES_* */
	uint32_t page_shift;	/* log2 of the largest page wanted, 12 to 21; 0: the largest there is */
	uint64_t nodes;		/* mask of NUMA nodes; with LLMOS_NODES_INTERLEAVE 0 means all */
	int32_t priority;	/* of eviction: idle models with the lowest go first */
	uint32_t threads;	/* that read or digest; 0: the library chooses */
	const void *signature;	/* detached PKCS#7 (DER), as "fsverity sign" makes it */
	size_t signature_size;
	llmos_progress_fn progress;
	void *context;		/* for progress */
} llmos_model_options;

/*
 * Puts a file into the store and opens the model; `options` may be NULL.
 *
 * When the name is taken, the file's size and digest are compared with the
 * model's. Equal: the model that is there is opened as it is, nothing is
 * loaded, and the other options do not matter (an evicted one is loaded again).
 * Different: EEXIST, unless LLMOS_OPTION_REPLACE. Digesting the file costs one
 * reading of it, except where fs-verity knows the digest or the file has not
 * changed since this user last loaded it.
 *
 * Errors: those of opening and reading the file (ENOENT, EACCES, EISDIR, EIO);
 * ENODATA and EBUSY (it became shorter, or was written to, meanwhile); EINVAL (empty file, bad name, bad
 * options); EEXIST; ENOMEM; EDQUOT (the store's limit); ECANCELED; EACCES (no
 * right to load into the kernel's store); EPERM (no right to replace); of the
 * signature ENOKEY, EKEYREJECTED, EBADMSG; ENOTSUP.
 */
LLMOS_API int llmos_store_load(llmos_store *store, const char *path, const llmos_model_options *options,
			       llmos_model **model);

/* ---- Writer: a model made of bytes that the program has ------------------ */

/* Makes an unnamed model of options->bytes bytes; options->name is taken at the
 * seal. Memory is taken now. Bytes never written are zero. Errors as of load. */
LLMOS_API int llmos_store_create(llmos_store *store, const llmos_model_options *options, llmos_writer **writer);

/* Writes bytes in any order, from any thread. EFBIG: past the end. */
LLMOS_API int llmos_writer_write(llmos_writer *writer, uint64_t offset, const void *data, size_t size);

/* Digests, names and opens the model; options->signature and ->progress given
 * at create are used. On success the writer can only be closed. After a failure
 * it may be tried again. */
LLMOS_API int llmos_writer_seal(llmos_writer *writer, llmos_model **model);

/* Without a seal before it, this leaves nothing behind. NULL is allowed. */
LLMOS_API void llmos_writer_close(llmos_writer *writer);

/* ---- Model: an open of a model ------------------------------------------- */

/* Opens a model by name: one grant, until the close. Errors: ENOENT; EACCES (by
 * owner and mode, or on its deny list); ESTALE (evicted: load it again). */
LLMOS_API int llmos_model_open(llmos_store *store, const char *name, llmos_model **model);

/* Also unmaps it. NULL is allowed. */
LLMOS_API void llmos_model_close(llmos_model *model);

/* Valid until the close. */
LLMOS_API const char *llmos_model_name(const llmos_model *model);
LLMOS_API uint64_t llmos_model_size(const llmos_model *model);

/*
 * The content, mapped read-only on the first call and valid until the close.
 * When the grant is revoked, the kernel raises SIGBUS in a thread that touches
 * the bytes: a program that must outlive this handles that signal, or asks
 * llmos_model_alive() between steps and takes the small window in between.
 * ESTALE: revoked before it was mapped.
 */
LLMOS_API int llmos_model_map(llmos_model *model, const void **data);

/* 1: usable; 0: revoked. Costs one system call. */
LLMOS_API int llmos_model_alive(llmos_model *model);

/* A descriptor of the model, open for reading; it belongs to the handle. */
LLMOS_API int llmos_model_fd(const llmos_model *model);

/* The fs-verity digest of the content (SHA-256, 4096-byte blocks, no salt). The
 * in-process store computes it when it is first asked for. */
LLMOS_API int llmos_model_digest(llmos_model *model, uint8_t digest[LLMOS_DIGEST_SIZE]);

LLMOS_API int llmos_model_stat(llmos_model *model, struct llmos_model_stat *stat);

/* A new dma-buf descriptor of the content, which the caller closes; flags are
 * LLMOS_DMABUF_*. ENOTSUP in the in-process store. */
LLMOS_API int llmos_model_dmabuf(llmos_model *model, uint32_t flags);

/* ---- Administration, by name --------------------------------------------- */
/* ENOENT: no model of that name. EPERM: not the owner (and no CAP_SYS_ADMIN).
 * ENOTSUP: the in-process store cannot, except list, stat, remove and verify. */

/* Calls `each` once per model, in the order of names, until it returns other
 * than 0, which is returned. Without access to /dev/llmos only name, bytes,
 * state, resident, uid, gid, mode and (of readable models) digest are known. */
typedef int (*llmos_stat_fn)(void *context, const struct llmos_model_stat *stat);
LLMOS_API int llmos_store_list(llmos_store *store, llmos_stat_fn each, void *context);

/* One model; the digest is zero in the in-process store until asked for. */
LLMOS_API int llmos_store_stat(llmos_store *store, const char *name, struct llmos_model_stat *stat);

/* Frees the name at once and the memory with the last user. */
LLMOS_API int llmos_store_remove(llmos_store *store, const char *name);

LLMOS_API int llmos_store_set(llmos_store *store, const struct llmos_model_set *set);

/* Drops an idle model's memory and keeps its name. EBUSY: it is in use. */
LLMOS_API int llmos_store_evict(llmos_store *store, const char *name);

/* Takes a model away from a process, user or cgroup, or (LLMOS_REVOKE_ALLOW)
 * gives access back; ->revoked and ->busy_bytes are filled in. */
LLMOS_API int llmos_store_revoke(llmos_store *store, struct llmos_model_revoke *revoke);

/* Calls `each` once per grant, oldest first, as llmos_store_list() does. */
typedef int (*llmos_grant_fn)(void *context, const struct llmos_grant *grant);
LLMOS_API int llmos_store_grants(llmos_store *store, const char *name, llmos_grant_fn each, void *context);

/*
 * Compares content with the digest the model was sealed with: that of the file
 * at `path`, or, when it is NULL, the model's own bytes as they are in memory
 * now. `found`, when not NULL, receives the digest computed. EBADMSG: they differ.
 */
LLMOS_API int llmos_store_verify(llmos_store *store, const char *name, const char *path,
				 uint8_t found[LLMOS_DIGEST_SIZE]);

/* The same digest of any file. `threads` 0: the library chooses. */
LLMOS_API int llmos_file_digest(const char *path, uint32_t threads, uint8_t digest[LLMOS_DIGEST_SIZE]);

/* ---- Topology ------------------------------------------------------------- */

typedef struct llmos_node {
	int32_t id;
	uint32_t cpus;	/* how many */
	uint64_t bytes;	/* of memory */
	uint64_t free;	/* of these, unused */
} llmos_node;

/* Calls `each` once per NUMA node that the process may use; one that has no
 * NUMA is node 0. Returns as llmos_store_list() does. */
typedef int (*llmos_node_fn)(void *context, const llmos_node *node);
LLMOS_API int llmos_nodes(llmos_node_fn each, void *context);

#ifdef __cplusplus
}
#endif

#include "device.h"
#include "engine.h"
#include "lane.h"

#endif /* LLMOS_LLMOS_H */
