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
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "group.h"
#include "llmos.h"

#define DENIED_MAX	1024
#define WALK_CHUNK	1024	/* grants that are visited without letting go of the lock */

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
		return cgroup_is_descendant(grant->user->cgroup, subject->cgroup);
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

static void user_free(struct llmos_user *user)
{
	cgroup_put(user->cgroup);
	kfree(user);
}

static struct llmos_grant_entry *grant_alloc(struct file *file, u32 flags)
{
	struct llmos_grant_entry *grant = kzalloc(sizeof(*grant), GFP_KERNEL_ACCOUNT);
	struct llmos_user *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);

	if (!grant || !user) {
		kfree(grant);
		kfree(user);
		return NULL;
	}
	user->cgroup = llmos_current_cgroup();
	grant->user = user;
	grant->file = file;
	grant->pid = get_pid(task_tgid(current));
	grant->uid = current_fsuid();
	grant->id = atomic64_inc_return(&next_id);
	grant->opened_ns = ktime_get_real_ns();
	grant->flags = flags;
	return grant;
}

/* Not its user, whom others may share. */
static void grant_free(struct llmos_grant_entry *grant)
{
	put_pid(grant->pid);
	kfree(grant);
}

/* So that both tables have room once the lock is taken; who closes in between may take it away. */
static int grant_reserve(struct llmos_model *model, const struct llmos_grant_entry *grant)
{
	int ret = xa_reserve(&model->grants, grant->id, GFP_KERNEL_ACCOUNT);

	return ret ?: xa_reserve(&model->users_of, cgroup_id(grant->user->cgroup),
				 GFP_KERNEL_ACCOUNT);
}

static void grant_unreserve(struct llmos_model *model, const struct llmos_grant_entry *grant)
{
	xa_release(&model->grants, grant->id);
	xa_release(&model->users_of, cgroup_id(grant->user->cgroup));
}

/* Replaces ->user by the one that this cgroup has already. */
static int grant_enter(struct llmos_model *model, struct llmos_grant_entry *grant)
{
	u64 cgroup = cgroup_id(grant->user->cgroup);
	struct llmos_user *user = xa_load(&model->users_of, cgroup);
	int ret;

	if (!user) {
		user = grant->user;
		ret = xa_err(xa_store(&model->users_of, cgroup, user, GFP_ATOMIC | __GFP_ACCOUNT));
		if (ret)
			return ret;
	}
	ret = xa_err(xa_store(&model->grants, grant->id, grant, GFP_ATOMIC | __GFP_ACCOUNT));
	if (ret) {
		if (user == grant->user)
			xa_erase(&model->users_of, cgroup);
		return ret;
	}
	grant->user = user;
	user->grants++;
	user->granted++;
	model->granted++;
	model->users++;
	return 0;
}

static void grant_forget(struct llmos_model *model, struct llmos_grant_entry *grant)
{
	grant->user->granted--;
	model->granted--;
}

/* Returns the user, for the caller to free, when this was its last. */
static struct llmos_user *grant_leave(struct llmos_model *model, struct llmos_grant_entry *grant)
{
	struct llmos_user *user = grant->user;

	xa_erase(&model->grants, grant->id);
	if (!grant->revoked)
		grant_forget(model, grant);
	if (--user->grants)
		return NULL;
	xa_erase(&model->users_of, cgroup_id(user->cgroup));
	return user;
}

/* Each grant up to @last in the order of ids, under the lock, which is let go of every so often. */
static void grants_walk(struct llmos_model *model, u64 last,
			void (*visit)(struct llmos_grant_entry *grant, void *data), void *data)
{
	struct llmos_grant_entry *grant;
	unsigned long id, from = 0;
	unsigned int visited;

	do {
		visited = 0;
		spin_lock(&model->lock);
		xa_for_each_range(&model->grants, id, grant, from, last) {
			visit(grant, data);
			from = id + 1;
			if (++visited == WALK_CHUNK)
				break;
		}
		spin_unlock(&model->lock);
		cond_resched();
	} while (visited == WALK_CHUNK);
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
	struct llmos_user *fresh;
	int ret;

	if (!grant)
		return -ENOMEM;
	fresh = grant->user;
	ret = grant_reserve(model, grant);
	if (!ret) {
		spin_lock(&model->lock);
		ret = grant_state_error(model->state, flags);
		if (!ret && grant_denied(model, grant))
			ret = -EACCES;
		if (!ret)
			ret = grant_enter(model, grant);
		spin_unlock(&model->lock);
	}

	if (ret) {
		grant_unreserve(model, grant);
		grant_free(grant);
		user_free(fresh);
		return ret;
	}
	file->private_data = grant;
	if (grant->user != fresh)
		user_free(fresh);
	return 0;
}

void llmos_grant_close(struct llmos_model *model, struct file *file)
{
	struct llmos_grant_entry *grant = llmos_grant_of(file);
	struct llmos_user *user;

	if (!grant)
		return;		/* a loader that was never opened */
	spin_lock(&model->lock);
	user = grant_leave(model, grant);
	spin_unlock(&model->lock);
	llmos_model_unuse(model);
	grant_free(grant);
	if (user)
		user_free(user);
}

int llmos_grant_check(const struct file *file)
{
	if (READ_ONCE(llmos_grant_of(file)->revoked))
		return -ESTALE;
	return READ_ONCE(llmos_model_of(file)->state) == LLMOS_STATE_SEALED ? 0 : -EBUSY;
}

/* ---- listing ---- */

static void grant_unmapped(struct llmos_grant_entry *grant, void *unused)
{
	grant->mapped = 0;
}

/* Fills in ->mapped of every grant that is mapped anywhere. */
static void list_count_mapped(struct llmos_model *model)
{
	struct address_space *mapping = model->inode.i_mapping;
	struct vm_area_struct *vma;
	struct rb_node *node;

	grants_walk(model, ULONG_MAX, grant_unmapped, NULL);
	i_mmap_lock_read(mapping);
	for (node = rb_first_cached(&mapping->i_mmap); node; node = rb_next(node)) {
		vma = rb_entry(node, struct vm_area_struct, shared.rb);
		llmos_grant_of(vma->vm_file)->mapped += vma->vm_end - vma->vm_start;
		cond_resched();
	}
	i_mmap_unlock_read(mapping);
}

static void list_export(const struct llmos_grant_entry *grant, struct llmos_grant *out)
{
	*out = (struct llmos_grant) {
		.id = grant->id,
		.cgroup = cgroup_id(grant->user->cgroup),
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
	unsigned long id;
	u32 n = 0;

	mutex_lock(&list_mutex);
	list_count_mapped(model);
	spin_lock(&model->lock);
	xa_for_each_start(&model->grants, id, grant, after + 1) {
		if (n == count)
			break;
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
	chunk = kvcalloc(min_t(u32, args->count, WALK_CHUNK), sizeof(*chunk), GFP_KERNEL);
	if (!chunk)
		return -ENOMEM;

	while (done < args->count && after < U64_MAX) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		n = list_chunk(model, after, chunk, min_t(u32, args->count - done, WALK_CHUNK));
		if (!n)
			break;
		if (copy_to_user(user + done, chunk, n * sizeof(*chunk))) {
			ret = -EFAULT;
			break;
		}
		after = chunk[n - 1].id;
		done += n;
	}

	kvfree(chunk);
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

/* Nobody it covers can ever open again. */
static bool subject_dead(const struct subject *subject)
{
	bool dead = false;

	if (subject->kind == LLMOS_SUBJECT_CGROUP)
		return !llmos_cgroup_is_online(subject->cgroup);
	if (subject->kind == LLMOS_SUBJECT_PID) {
		rcu_read_lock();
		dead = !pid_task(subject->pid, PIDTYPE_TGID);
		rcu_read_unlock();
	}
	return dead;
}

static void denied_prune(struct llmos_model *model, struct list_head *dead)
{
	struct subject *subject, *next;

	list_for_each_entry_safe(subject, next, &model->denied, node) {
		if (subject_dead(subject)) {
			list_move(&subject->node, dead);
			model->denied_count--;
		}
	}
}

static void denied_free_all(struct list_head *subjects)
{
	struct subject *subject, *next;

	list_for_each_entry_safe(subject, next, subjects, node)
		denied_free(subject);
}

/* Takes @deny over, or frees it. */
static int revoke_deny(struct llmos_model *model, struct subject *deny)
{
	LIST_HEAD(dead);
	int ret = 0;

	spin_lock(&model->lock);
	if (model->denied_count == DENIED_MAX)
		denied_prune(model, &dead);
	if (denied_find(model, deny)) {
		list_add(&deny->node, &dead);
	} else if (model->denied_count == DENIED_MAX) {
		list_add(&deny->node, &dead);
		ret = -ENOSPC;
	} else {
		list_add(&deny->node, &model->denied);
		model->denied_count++;
	}
	spin_unlock(&model->lock);
	denied_free_all(&dead);
	return ret;
}

struct marking {
	struct llmos_model *model;
	const struct subject *subject;
	u64 revoked;
};

static void grant_mark(struct llmos_grant_entry *grant, void *data)
{
	struct marking *marking = data;

	if (grant->revoked || !subject_covers(marking->subject, grant))
		return;
	WRITE_ONCE(grant->revoked, true);
	grant_forget(marking->model, grant);
	marking->revoked++;
}

/*
 * After the subject was denied, or not at all: who opens from now on is no business
 * of this. From here on no fault begins that would succeed; those that have begun are
 * llmos_unmap()'s business.
 */
static u64 revoke_mark(struct llmos_model *model, const struct subject *subject)
{
	struct marking marking = { .model = model, .subject = subject };

	grants_walk(model, atomic64_read(&next_id), grant_mark, &marking);
	return marking.revoked;
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

/* A full deny list keeps nobody from losing what is open. */
static int revoke_subject(struct llmos_model *model, const struct subject *subject, u32 flags,
			  struct llmos_model_revoke *args)
{
	u64 revoked, busy = 0;
	int ret = 0;

	if (flags & LLMOS_REVOKE_ALLOW)
		return revoke_allow(model, subject);
	if (!(flags & LLMOS_REVOKE_KEEP_ACCESS)) {
		struct subject *deny = subject_clone(subject);

		if (!deny)
			return -ENOMEM;
		ret = revoke_deny(model, deny);
	}
	revoked = revoke_mark(model, subject);
	if (llmos_model_use(model)) {	/* else there is nothing left to unmap */
		if (revoked)
			llmos_unmap(model);
		busy = llmos_pages_pinned(model);
		llmos_model_unuse(model);
	}
	args->revoked = revoked;
	args->busy_bytes = busy;
	return ret;
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
	denied_free_all(&model->denied);
	INIT_LIST_HEAD(&model->denied);
}
