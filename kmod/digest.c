// SPDX-License-Identifier: GPL-2.0-only
/*
 * The digest of a model is the one that fs-verity gives a file of the same
 * bytes (Documentation/filesystems/fsverity.rst): a Merkle tree of SHA-256 over
 * blocks of 4096 bytes without salt, its root hashed once more in a descriptor.
 *
 * Workers take units of 2 MiB, and reduce each to four hashes of level 1.
 */
#include <crypto/hash.h>
#include <linux/completion.h>
#include <linux/fsverity.h>
#include <linux/highmem.h>
#include <linux/slab.h>
#include <linux/sizes.h>
#include <linux/workqueue.h>

#include "llmos.h"

#define BLOCK		4096
#define HASH		LLMOS_DIGEST_SIZE
#define FANOUT		(BLOCK / HASH)		/* hashes to a block of hashes */
#define UNIT		SZ_2M
#define UNIT_HASHES	(UNIT / BLOCK / FANOUT)

/* Kernel-internal in fs/verity; its layout is the format on disk. */
struct verity_descriptor {
	u8 version;
	u8 hash_algorithm;
	u8 log_blocksize;
	u8 salt_size;
	__le32 sig_size;
	__le64 data_size;
	u8 root_hash[64];
	u8 salt[32];
	u8 reserved[144];
};
static_assert(sizeof(struct verity_descriptor) == 256);
static_assert(PAGE_SIZE >= BLOCK && UNIT % PAGE_SIZE == 0);

struct digest {
	struct llmos_model *model;
	struct crypto_shash *tfm;
	u8 *hashes;		/* of level 1; then each level above, in place */
	atomic64_t next;	/* unit */
	atomic_t workers;
	struct completion done;
	int error;
};

struct digest_worker {
	struct work_struct work;
	struct digest *digest;
	u8 block[BLOCK];	/* of hashes */
};

static struct workqueue_struct *digest_wq;

static void digest_fail(struct digest *digest, int error)
{
	cmpxchg(&digest->error, 0, error);
}

static int digest_hash(struct digest *digest, const void *data, size_t size, u8 *out)
{
	return crypto_shash_tfm_digest(digest->tfm, data, size, out);
}

/* One hash of level 1, over up to FANOUT blocks of data. */
static int digest_group(struct digest_worker *worker, u64 offset, u8 *out)
{
	struct digest *digest = worker->digest;
	u64 end = min_t(u64, offset + FANOUT * BLOCK, digest->model->bytes);
	u8 *hash = worker->block;
	struct folio *folio;
	void *data;
	int ret = 0;

	memset(worker->block, 0, sizeof(worker->block));
	for (; offset < end && !ret; offset += BLOCK, hash += HASH) {
		folio = llmos_pages_folio(digest->model, offset);
		data = kmap_local_folio(folio, offset_in_folio(folio, offset));
		ret = digest_hash(digest, data, BLOCK, hash);
		kunmap_local(data);
	}
	return ret ?: digest_hash(digest, worker->block, BLOCK, out);
}

static int digest_unit(struct digest_worker *worker, u64 unit)
{
	struct digest *digest = worker->digest;
	u64 offset = unit * UNIT, end = min_t(u64, offset + UNIT, digest->model->bytes);
	u8 *out = digest->hashes + unit * UNIT_HASHES * HASH;
	int ret = 0;

	for (; offset < end && !ret; offset += FANOUT * BLOCK, out += HASH)
		ret = digest_group(worker, offset, out);
	return ret;
}

static void digest_work(struct work_struct *work)
{
	struct digest_worker *worker = container_of(work, struct digest_worker, work);
	struct digest *digest = worker->digest;
	u64 bytes = digest->model->bytes, units = DIV_ROUND_UP_ULL(bytes, UNIT), unit;
	int ret;

	while (!READ_ONCE(digest->error)) {
		unit = atomic64_fetch_inc(&digest->next);
		if (unit >= units)
			break;
		ret = digest_unit(worker, unit);
		if (ret)
			digest_fail(digest, ret);
		atomic64_add(min_t(u64, UNIT, bytes - unit * UNIT), &digest->model->hashed);
		cond_resched();
	}
	kfree(worker);
	if (atomic_dec_and_test(&digest->workers))
		complete(&digest->done);
}

static bool digest_start_worker(struct digest *digest)
{
	struct digest_worker *worker = kmalloc(sizeof(*worker), GFP_KERNEL);

	if (!worker)
		return false;
	worker->digest = digest;
	INIT_WORK(&worker->work, digest_work);
	atomic_inc(&digest->workers);
	queue_work(digest_wq, &worker->work);
	return true;
}

/* A killed task stops the workers, and waits until they have stopped. */
static int digest_level1(struct digest *digest)
{
	u64 units = DIV_ROUND_UP_ULL(digest->model->bytes, UNIT);
	/* As many as the CPUs that the caller may use itself. */
	u64 cpus = min(num_online_cpus(), cpumask_weight(current->cpus_ptr));
	u64 wanted = min(units, cpus), started = 0;

	init_completion(&digest->done);
	atomic_set(&digest->workers, 1);	/* this task's, dropped below */
	while (started < wanted && digest_start_worker(digest))
		started++;
	if (!started)
		return -ENOMEM;
	if (atomic_dec_and_test(&digest->workers))
		return digest->error;	/* they have ended already */
	if (wait_for_completion_killable(&digest->done)) {
		digest_fail(digest, -EINTR);
		wait_for_completion(&digest->done);
	}
	return digest->error;
}

/* Folds the levels above, each over the one below, until one hash is left. */
static int digest_fold(struct digest *digest, u64 count)
{
	u8 hash[HASH];
	u64 blocks, i;
	int ret;

	for (; count > 1; count = blocks) {
		blocks = DIV_ROUND_UP_ULL(count, FANOUT);
		memset(digest->hashes + count * HASH, 0, blocks * BLOCK - count * HASH);
		for (i = 0; i < blocks; i++) {
			ret = digest_hash(digest, digest->hashes + i * BLOCK, BLOCK, hash);
			if (ret)
				return ret;
			memcpy(digest->hashes + i * HASH, hash, HASH);
		}
	}
	return 0;
}

/* A file of one block has no tree: its root is the hash of that block. */
static int digest_single(struct digest *digest)
{
	struct folio *folio = llmos_pages_folio(digest->model, 0);
	void *data = kmap_local_folio(folio, 0);
	int ret = digest_hash(digest, data, BLOCK, digest->hashes);

	kunmap_local(data);
	atomic64_set(&digest->model->hashed, digest->model->bytes);
	return ret;
}

static int digest_root(struct digest *digest)
{
	u64 bytes = digest->model->bytes;
	int ret;

	if (bytes <= BLOCK)
		return digest_single(digest);
	ret = digest_level1(digest);
	return ret ?: digest_fold(digest, DIV_ROUND_UP_ULL(bytes, FANOUT * BLOCK));
}

static int digest_describe(struct digest *digest, u8 *out)
{
	struct verity_descriptor descriptor = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
		.log_blocksize = ilog2(BLOCK),
		.data_size = cpu_to_le64(digest->model->bytes),
	};

	memcpy(descriptor.root_hash, digest->hashes, HASH);
	return digest_hash(digest, &descriptor, sizeof(descriptor), out);
}

int llmos_digest(struct llmos_model *model, u8 *out)
{
	u64 groups = DIV_ROUND_UP_ULL(model->bytes, FANOUT * BLOCK);
	struct digest digest = { .model = model };
	int ret;

	digest.tfm = crypto_alloc_shash("sha256", 0, 0);
	if (IS_ERR(digest.tfm))
		return PTR_ERR(digest.tfm);
	digest.hashes = kvzalloc(round_up(groups * HASH, BLOCK), GFP_KERNEL);
	if (digest.hashes) {
		ret = digest_root(&digest);
		if (!ret)
			ret = digest_describe(&digest, out);
	} else {
		ret = -ENOMEM;
	}
	kvfree(digest.hashes);
	crypto_free_shash(digest.tfm);
	return ret;
}

int llmos_digest_init(void)
{
	digest_wq = alloc_workqueue("llmos", WQ_UNBOUND | WQ_SYSFS, 0);
	return digest_wq ? 0 : -ENOMEM;
}

void llmos_digest_exit(void)
{
	destroy_workqueue(digest_wq);
}
