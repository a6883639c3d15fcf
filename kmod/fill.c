// SPDX-License-Identifier: GPL-2.0-only
/*
 * Getting bytes into a model: by write(), from any number of threads at once,
 * and straight from a file by asynchronous reads into the model's own pages.
 */
#include <linux/bvec.h>
#include <linux/file.h>
#include <linux/refcount.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "llmos.h"

#define FILL_DEPTH_DEFAULT	16
#define FILL_DEPTH_MAX		256
#define FILL_ALIGN		4096	/* the largest block of common devices */

/* ---- write ---- */

static size_t write_folio(struct llmos_model *model, struct kiocb *iocb, struct iov_iter *from)
{
	struct folio *folio = llmos_pages_folio(model, iocb->ki_pos);
	size_t offset = offset_in_folio(folio, iocb->ki_pos);
	u64 room = min_t(u64, folio_size(folio) - offset, model->bytes - iocb->ki_pos);
	size_t copied;

	llmos_pages_prepare(folio);
	copied = copy_page_from_iter(folio_page(folio, 0), offset,
				     min_t(u64, room, iov_iter_count(from)), from);
	iocb->ki_pos += copied;
	return copied;
}

/* No lock is held: writers of different ranges do not meet. */
ssize_t llmos_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct llmos_model *model = llmos_model_of(iocb->ki_filp);
	ssize_t done = 0, ret = 0;
	size_t copied;

	if (READ_ONCE(llmos_grant_of(iocb->ki_filp)->revoked))
		return -ESTALE;
	if (!llmos_model_begin_write(model))
		return READ_ONCE(model->state) == LLMOS_STATE_SEALING ? -EBUSY : -EPERM;
	while (iov_iter_count(from) && !ret) {
		if (iocb->ki_pos >= model->bytes) {
			ret = -EFBIG;
			break;
		}
		copied = write_folio(model, iocb, from);
		done += copied;
		if (!copied)
			ret = -EFAULT;
		cond_resched();
	}
	atomic64_add(done, &model->filled);
	llmos_model_end_write(model);
	return done ?: ret;
}

/* ---- fill ---- */

struct fill {
	struct llmos_model *model;
	struct file *source;
	u64 offset;		/* of the next request, in the model */
	u64 source_offset;
	u64 end;
	struct semaphore slots;	/* one for each request that may be in flight */
	int error;		/* the first */
	atomic64_t done;
};

struct fill_request {
	struct kiocb iocb;
	refcount_t refs;	/* the device's and the submitter's: both look at the iocb last */
	struct bio_vec bvec;
	struct fill *fill;
	struct folio *folio;
	size_t size;		/* that has to arrive */
	bool whole;		/* overwrites all of a folio that held nothing yet */
};

static void fill_fail(struct fill *fill, int error)
{
	cmpxchg(&fill->error, 0, error);
}

static void fill_request_put(struct fill_request *request)
{
	if (refcount_dec_and_test(&request->refs))
		kfree(request);
}

/* The end of a request, in any context. Nothing is touched after up(). */
static void fill_complete(struct kiocb *iocb, long result)
{
	struct fill_request *request = container_of(iocb, struct fill_request, iocb);
	struct fill *fill = request->fill;

	if (result < 0) {
		fill_fail(fill, result);
	} else if (result < request->size) {
		fill_fail(fill, -ENODATA);
	} else {
		if (request->whole)
			folio_mark_uptodate(request->folio);
		atomic64_add(request->size, &fill->done);
		atomic64_add(request->size, &fill->model->filled);
	}
	fill_request_put(request);
	up(&fill->slots);
}

/*
 * Reads whole blocks; what that brings beyond the end of the model lies in its
 * last page and is zeroed by the seal.
 */
static struct fill_request *fill_request_new(struct fill *fill)
{
	struct fill_request *request = kzalloc(sizeof(*request), GFP_KERNEL);
	struct folio *folio;
	size_t start, room;

	if (!request)
		return NULL;
	folio = llmos_pages_folio(fill->model, fill->offset);
	start = offset_in_folio(folio, fill->offset);
	room = folio_size(folio) - start;

	refcount_set(&request->refs, 2);
	request->fill = fill;
	request->folio = folio;
	request->size = min_t(u64, room, fill->end - fill->offset);
	room = min_t(size_t, room, round_up(request->size, FILL_ALIGN));
	request->whole = !start && room == folio_size(folio);
	if (!request->whole)
		llmos_pages_prepare(folio);
	bvec_set_folio(&request->bvec, folio, room, start);
	init_sync_kiocb(&request->iocb, fill->source);
	request->iocb.ki_pos = fill->source_offset;
	request->iocb.ki_complete = fill_complete;
	return request;
}

static int fill_submit(struct fill *fill)
{
	struct fill_request *request = fill_request_new(fill);
	struct iov_iter iter;
	ssize_t ret;

	if (!request)
		return -ENOMEM;
	fill->offset += request->size;
	fill->source_offset += request->size;
	iov_iter_bvec(&iter, ITER_DEST, &request->bvec, 1, request->bvec.bv_len);
	ret = vfs_iocb_iter_read(fill->source, &request->iocb, &iter);
	if (ret != -EIOCBQUEUED)
		fill_complete(&request->iocb, ret);
	fill_request_put(request);
	return 0;
}

/* Returns only when no device can write to the model any more. */
static int fill_run(struct fill *fill, u32 depth)
{
	int ret = 0;

	sema_init(&fill->slots, depth);
	while (fill->offset < fill->end && !READ_ONCE(fill->error)) {
		ret = down_killable(&fill->slots);
		if (ret)
			break;
		ret = fill_submit(fill);
		if (ret) {
			up(&fill->slots);
			break;
		}
		cond_resched();
	}
	while (depth--)
		down(&fill->slots);
	return fill->error ?: ret;
}

static int fill_check_source(const struct file *source)
{
	umode_t mode = file_inode(source)->i_mode;

	if (!(source->f_mode & FMODE_READ))
		return -EBADF;
	if (S_ISDIR(mode))
		return -EISDIR;
	if (!S_ISREG(mode) && !S_ISBLK(mode))
		return -ESPIPE;
	return source->f_op->read_iter ? 0 : -EINVAL;
}

static int fill_check_range(const struct llmos_model *model, const struct llmos_model_fill *args)
{
	if (args->reserved || args->depth > FILL_DEPTH_MAX)
		return -EINVAL;
	if (args->offset >= model->bytes || args->length > model->bytes - args->offset)
		return -EFBIG;
	if (args->source_offset > S64_MAX - model->bytes)
		return -EOVERFLOW;
	/* A block must not reach into bytes that were not asked for. */
	if (args->offset % FILL_ALIGN)
		return -EINVAL;
	if (args->length % FILL_ALIGN && args->length != model->bytes - args->offset)
		return -EINVAL;
	return 0;
}

int llmos_fill(struct llmos_model *model, struct llmos_model_fill *args)
{
	struct fill fill = {
		.model = model,
		.offset = args->offset,
		.source_offset = args->source_offset,
		.end = args->length ? args->offset + args->length : model->bytes,
	};
	int ret = fill_check_range(model, args);

	if (ret)
		return ret;
	fill.source = fget(args->fd);
	if (!fill.source)
		return -EBADF;
	ret = fill_check_source(fill.source);
	if (!ret)
		ret = fill_run(&fill, args->depth ?: FILL_DEPTH_DEFAULT);
	fput(fill.source);
	args->done = atomic64_read(&fill.done);
	return ret;
}
