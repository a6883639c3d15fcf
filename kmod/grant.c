// SPDX-License-Identifier: GPL-2.0-only
/*
 * Grants: who has a model open, and how that is taken back.
 *
 * A grant belongs to its file, and so to everyone who shares that file. Its
 * subject is who opened it. Subjects on the deny list cannot open again; the
 * check and the entry into the list of grants are one step under model->lock,
 * so a revocation misses nobody.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "llmos.h"

#define DENIED_MAX	1024
#define LIST_CHUNK	64

/* Whom a revocation is about; an entry of the deny list. */
struct subject {
	struct list_head node;
	u32 kind;		/* LLMOS_SUBJECT_* */
	kuid_t uid;
	struct pid *pid;
	struct cgroup *cgroup;
};

static DEFINE_MUTEX(list_mutex);	/* grant->mapped is scratch */
static atomic64_t next_id;

/* ---- subjects ---- */

static int subject_init_cgroup(struct subject *subject, int fd)
{
	struct cgroup *cgroup = cgroup_get_from_fd(fd);

	if (IS_ERR(cgroup))
		return PTR_ERR(cgroup);
	subject->cgroup = cgroup;
	return 0;
}

static int subject_init(struct subject *subject, u32 kind, s64 value)
{
	*subject = (struct subject) { .kind = kind };
	switch (kind) {
	case LLMOS_SUBJECT_UID:
		if (value < 0 || value > UINT_MAX)
			return -EINVAL;
		subject->uid = make_kuid(current_user_ns(), value);
		return uid_valid(subject->uid) ? 0 : -EINVAL;
	case LLMOS_SUBJECT_PID:
		if (value <= 0 || value > INT_MAX)
			return -EINVAL;
		subject->pid = find_get_pid(value);
		return subject->pid ? 0 : -ESRCH;
	case LLMOS_SUBJECT_CGROUP:
		if (value < 0 || value > INT_MAX)
			return -EBADF;
		return subject_init_cgroup(subject, value);
	default:
		return -EINVAL;
	}
}

static void subject_release(struct subject *subject)
{
	put_pid(subject->pid);
	if (subject->cgroup)
		cgroup_put(subject->cgroup);
}

static bool subject_covers(const struct subject *subject, const struct llmos_grant_entry *grant)
{
	switch (subject->kind) {
	case LLMOS_SUBJECT_UID:
		return uid_eq(subject->uid, grant->uid);
	case LLMOS_SUBJECT_PID:
		return subject->pid == grant->pid;
	default:
		return cgroup_is_descendant(grant->cgroup, subject->cgroup);
	}
}

static bool subject_equal(const struct subject *a, const struct subject *b)
{
	return a->kind == b->kind && uid_eq(a->uid, b->uid) && a->pid == b->pid &&
	       a->cgroup == b->cgroup;
}

/* ---- opening and closing ---- */

struct cgroup *llmos_current_cgroup(void)
{
	struct cgroup *cgroup;

	rcu_read_lock();
	do {
		cgroup = task_dfl_cgroup(current);
	} while (!cgroup_tryget(cgroup));
	rcu_read_unlock();
	return cgroup;
}

static struct llmos_grant_entry *grant_alloc(struct file *file, u32 flags)
{
	struct llmos_grant_entry *grant = kzalloc(sizeof(*grant), GFP_KERNEL_ACCOUNT);

	if (!grant)
		return NULL;
	grant->file = file;
	grant->pid = get_pid(task_tgid(current));
	grant->cgroup = llmos_current_cgroup();
	grant->uid = current_fsuid();
	grant->id = atomic64_inc_return(&next_id);
	grant->opened_ns = ktime_get_real_ns();
	grant->flags = flags;
	return grant;
}

static void grant_free(struct llmos_grant_entry *grant)
{
	put_pid(grant->pid);
	cgroup_put(grant->cgroup);
	kfree(grant);
}

static bool grant_denied(struct llmos_model *model, const struct llmos_grant_entry *grant)
{
	struct subject *subject;

	list_for_each_entry(subject, &model->denied, node)
		if (subject_covers(subject, grant))
			return true;
	return false;
}

static int grant_state_error(u32 state, u32 flags)
{
	switch (state) {
	case LLMOS_STATE_SEALED:
		return 0;
	case LLMOS_STATE_EVICTED:
		return -ESTALE;
	default:
		return flags & LLMOS_GRANT_LOADER ? 0 : -EBUSY;
	}
}

int llmos_grant_open(struct llmos_model *model, struct file *file, u32 flags)
{
	struct llmos_grant_entry *grant = grant_alloc(file, flags);
	int ret;

	if (!grant)
		return -ENOMEM;
	spin_lock(&model->lock);
	ret = grant_state_error(model->state, flags);
	if (!ret && grant_denied(model, grant))
		ret = -EACCES;
	if (!ret) {
		list_add_tail(&grant->node, &model->grants);
		model->users++;
	}
	spin_unlock(&model->lock);

	if (ret)
		grant_free(grant);
	else
		file->private_data = grant;
	return ret;
}

void llmos_grant_close(struct llmos_model *model, struct file *file)
{
	struct llmos_grant_entry *grant = llmos_grant_of(file);

	if (!grant)
		return;		/* a loader that was never opened */
	spin_lock(&model->lock);
	list_del(&grant->node);
	spin_unlock(&model->lock);
	llmos_model_unuse(model);
	grant_free(grant);
}

int llmos_grant_check(const struct file *file)
{
	if (READ_ONCE(llmos_grant_of(file)->revoked))
		return -ESTALE;
	return READ_ONCE(llmos_model_of(file)->state) == LLMOS_STATE_SEALED ? 0 : -EBUSY;
}

/* ---- listing ---- */

/* Fills in ->mapped of every grant that is mapped anywhere. */
static void list_count_mapped(struct llmos_model *model)
{
	struct address_space *mapping = model->inode.i_mapping;
	struct llmos_grant_entry *grant;
	struct vm_area_struct *vma;
	struct rb_node *node;

	i_mmap_lock_read(mapping);
	spin_lock(&model->lock);
	list_for_each_entry(grant, &model->grants, node)
		grant->mapped = 0;
	spin_unlock(&model->lock);
	for (node = rb_first_cached(&mapping->i_mmap); node; node = rb_next(node)) {
		vma = rb_entry(node, struct vm_area_struct, shared.rb);
		llmos_grant_of(vma->vm_file)->mapped += vma->vm_end - vma->vm_start;
	}
	i_mmap_unlock_read(mapping);
}

static void list_export(const struct llmos_grant_entry *grant, struct llmos_grant *out)
{
	*out = (struct llmos_grant) {
		.id = grant->id,
		.cgroup = cgroup_id(grant->cgroup),
		.opened_ns = grant->opened_ns,
		.mapped = grant->mapped,
		.pid = pid_vnr(grant->pid),
		.uid = from_kuid_munged(current_user_ns(), grant->uid),
		.flags = grant->flags | (grant->revoked ? LLMOS_GRANT_REVOKED : 0),
	};
}

static u32 list_chunk(struct llmos_model *model, u64 after, struct llmos_grant *out, u32 count)
{
	struct llmos_grant_entry *grant;
	u32 n = 0;

	mutex_lock(&list_mutex);
	list_count_mapped(model);
	spin_lock(&model->lock);
	list_for_each_entry(grant, &model->grants, node) {
		if (n == count)
			break;
		if (grant->id > after)
			list_export(grant, &out[n++]);
	}
	spin_unlock(&model->lock);
	mutex_unlock(&list_mutex);
	return n;
}

int llmos_grant_list(struct llmos_model *model, struct llmos_grant_list *args)
{
	struct llmos_grant __user *user = u64_to_user_ptr(args->grants);
	struct llmos_grant *chunk;
	u64 after = args->after;
	u32 done = 0, n;
	int ret = 0;

	if (args->reserved || args->entry_size != sizeof(*chunk))
		return -EINVAL;
	chunk = kcalloc(LIST_CHUNK, sizeof(*chunk), GFP_KERNEL);
	if (!chunk)
		return -ENOMEM;

	while (done < args->count) {
		n = list_chunk(model, after, chunk, min_t(u32, args->count - done, LIST_CHUNK));
		if (!n)
			break;
		if (copy_to_user(user + done, chunk, n * sizeof(*chunk))) {
			ret = -EFAULT;
			break;
		}
		after = chunk[n - 1].id;
		done += n;
	}

	kfree(chunk);
	if (!ret)
		args->count = done;
	return ret;
}

/* ---- revoking ---- */

static struct subject *denied_find(struct llmos_model *model, const struct subject *subject)
{
	struct subject *entry;

	list_for_each_entry(entry, &model->denied, node)
		if (subject_equal(entry, subject))
			return entry;
	return NULL;
}

static void denied_free(struct subject *subject)
{
	subject_release(subject);
	kfree(subject);
}

static int revoke_allow(struct llmos_model *model, const struct subject *subject)
{
	struct subject *entry;

	spin_lock(&model->lock);
	entry = denied_find(model, subject);
	if (entry) {
		list_del(&entry->node);
		model->denied_count--;
	}
	spin_unlock(&model->lock);
	if (!entry)
		return -ENOENT;
	denied_free(entry);
	return 0;
}

/*
 * @deny takes the subject over, or is freed. From here on no fault begins that
 * would succeed; those that have begun are llmos_unmap()'s business.
 */
static int revoke_mark(struct llmos_model *model, const struct subject *subject,
		       struct subject *deny, u64 *revoked)
{
	struct llmos_grant_entry *grant;
	int ret = 0;

	spin_lock(&model->lock);
	if (deny && !denied_find(model, subject)) {
		if (model->denied_count == DENIED_MAX) {
			ret = -ENOSPC;
			goto out;
		}
		list_add(&deny->node, &model->denied);
		model->denied_count++;
		deny = NULL;
	}
	list_for_each_entry(grant, &model->grants, node) {
		if (grant->revoked || !subject_covers(subject, grant))
			continue;
		WRITE_ONCE(grant->revoked, true);
		(*revoked)++;
	}
out:
	spin_unlock(&model->lock);
	if (deny)
		denied_free(deny);
	return ret;
}

/* A second reference to whatever the subject refers to. */
static struct subject *subject_clone(const struct subject *subject)
{
	struct subject *clone = kmemdup(subject, sizeof(*subject), GFP_KERNEL_ACCOUNT);

	if (!clone)
		return NULL;
	get_pid(clone->pid);
	if (clone->cgroup)
		cgroup_get(clone->cgroup);
	return clone;
}

static int revoke_subject(struct llmos_model *model, const struct subject *subject, u32 flags,
			  struct llmos_model_revoke *args)
{
	struct subject *deny = NULL;
	u64 revoked = 0, busy = 0;
	int ret;

	if (flags & LLMOS_REVOKE_ALLOW)
		return revoke_allow(model, subject);
	if (!(flags & LLMOS_REVOKE_KEEP_ACCESS)) {
		deny = subject_clone(subject);
		if (!deny)
			return -ENOMEM;
	}
	ret = revoke_mark(model, subject, deny, &revoked);
	if (ret)
		return ret;
	if (llmos_model_use(model)) {	/* else there is nothing left to unmap */
		if (revoked)
			llmos_unmap(model);
		busy = llmos_pages_pinned(model);
		llmos_model_unuse(model);
	}
	args->revoked = revoked;
	args->busy_bytes = busy;
	return 0;
}

int llmos_grant_revoke(struct llmos_model *model, struct llmos_model_revoke *args)
{
	const u32 flags = args->flags;
	struct subject subject;
	int ret;

	if (args->reserved || flags & ~(LLMOS_REVOKE_KEEP_ACCESS | LLMOS_REVOKE_ALLOW) ||
	    hweight32(flags) > 1)
		return -EINVAL;
	ret = subject_init(&subject, args->subject, args->value);
	if (ret)
		return ret;
	ret = revoke_subject(model, &subject, flags, args);
	subject_release(&subject);
	return ret;
}

void llmos_grant_forget_denied(struct llmos_model *model)
{
	struct subject *subject, *next;

	list_for_each_entry_safe(subject, next, &model->denied, node)
		denied_free(subject);
	INIT_LIST_HEAD(&model->denied);
}
