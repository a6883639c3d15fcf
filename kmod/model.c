// SPDX-License-Identifier: GPL-2.0-only
/*
 * The model: FILLING -> SEALING -> SEALED -> EVICTED, and the table of names.
 *
 * SEALING goes back to FILLING when the seal fails; no other step is ever taken
 * back. Bytes can change only while ->writers is not negative, and be read only
 * from SEALED on; the gate closes before the digest is taken and the state is
 * set after it, so no reader ever sees a byte change.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/ktime.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/stringhash.h>
#include <linux/xarray.h>

#include "hook.h"
#include "llmos.h"

#define WRITERS_CLOSED	(INT_MIN / 2)
#define MODEL_BYTES_MAX	(1ULL << 46)
#define MODELS_MAX_DEFAULT	4096	/* walks over all of them hold names_lock, also in reclaim */

#define CREATE_FLAGS	(LLMOS_MODEL_EVICTABLE | LLMOS_CREATE_REPLACE)

static DEFINE_MUTEX(names_mutex);
DEFINE_SPINLOCK(llmos_names_lock);
static DEFINE_HASHTABLE(names, 8);
static DEFINE_XARRAY_ALLOC1(ids);
static unsigned int names_count;
static unsigned int models_max = MODELS_MAX_DEFAULT;

/* ---- names ---- */

static bool name_char_valid(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("._+@:=-", c));
}

bool llmos_name_valid(const char *name)
{
	size_t i, length = strnlen(name, LLMOS_NAME_SIZE);

	if (!length || length == LLMOS_NAME_SIZE || name[0] == '.' || name[0] == '-')
		return false;
	for (i = 0; i < length; i++)
		if (!name_char_valid(name[i]))
			return false;
	return true;
}

static u32 name_hash(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

static struct llmos_model *names_find(const char *name)
{
	struct llmos_model *model;

	lockdep_assert_held(&llmos_names_lock);
	hash_for_each_possible(names, model, hash, name_hash(name))
		if (!strcmp(model->name, name))
			return model;
	return NULL;
}

struct llmos_model *llmos_model_get(const char *name)
{
	struct llmos_model *model;

	spin_lock(&llmos_names_lock);
	model = names_find(name);
	if (model)
		llmos_model_hold(model);
	spin_unlock(&llmos_names_lock);
	return model;
}

/* The model is named, or the caller has another reference. */
void llmos_model_hold(struct llmos_model *model)
{
	ihold(&model->inode);
	mntget(model->mount);
}

void llmos_model_put(struct llmos_model *model)
{
	struct vfsmount *mount;

	if (!model)
		return;
	mount = model->mount;
	iput(&model->inode);
	mntput(mount);
}

/* The model with the smallest id that is not below *@id. */
struct llmos_model *llmos_model_next(u32 *id)
{
	unsigned long index = *id;
	struct llmos_model *model;

	lockdep_assert_held(&llmos_names_lock);
	model = xa_find(&ids, &index, UINT_MAX, XA_PRESENT);
	*id = index;
	return model;
}

unsigned int llmos_model_count(void)
{
	return READ_ONCE(names_count);
}

unsigned int llmos_models_max(void)
{
	return READ_ONCE(models_max);
}

void llmos_models_set_max(unsigned int count)
{
	WRITE_ONCE(models_max, count);
}

bool llmos_model_may_control(struct llmos_model *model)
{
	return inode_owner_or_capable(&nop_mnt_idmap, &model->inode) || capable(CAP_SYS_ADMIN);
}

static void names_insert(struct llmos_model *model)
{
	xa_store(&ids, model->id, model, GFP_ATOMIC);	/* reserved: allocates nothing */
	hash_add(names, &model->hash, name_hash(model->name));
	WRITE_ONCE(model->named, true);
	names_count++;
	llmos_model_hold(model);
}

static void names_delete(struct llmos_model *model)
{
	WRITE_ONCE(model->named, false);
	hash_del(&model->hash);
	xa_erase(&ids, model->id);
	names_count--;
}

/* Drops the reference that the table held. */
static void names_release(struct llmos_model *model)
{
	struct dentry *dentry;

	clear_nlink(&model->inode);
	dentry = d_find_alias(&model->inode);
	if (dentry) {		/* so that /proc shows "(deleted)" */
		d_drop(dentry);
		dput(dentry);
	}
	llmos_model_put(model);
}

static int names_may_take(struct llmos_model *model, struct llmos_model *old)
{
	if (!old)
		return llmos_model_count() < llmos_models_max() ? 0 : -ENOSPC;
	if (!model->replace)
		return -EEXIST;
	return llmos_model_may_control(old) ? 0 : -EPERM;
}

/*
 * Gives a digested model its name. Old opens of a replaced one keep the old
 * bytes. The filesystem is pinned.
 */
static int names_publish(struct llmos_model *model)
{
	static u32 next_id;
	struct llmos_model *old;
	int ret;

	lockdep_assert_held(&names_mutex);
	ret = xa_alloc_cyclic(&ids, &model->id, NULL, xa_limit_31b, &next_id, GFP_KERNEL);
	if (ret < 0)
		return ret;

	/* Rights may sleep; only holders of names_mutex change the table. */
	old = llmos_model_get(model->name);
	ret = names_may_take(model, old);
	if (ret)
		goto err_id;

	set_nlink(&model->inode, 1);
	model->mount = llmos_modelfs_mount();
	spin_lock(&llmos_names_lock);
	if (old)
		names_delete(old);
	names_insert(model);
	spin_lock(&model->lock);
	WRITE_ONCE(model->state, LLMOS_STATE_SEALED);
	spin_unlock(&model->lock);
	spin_unlock(&llmos_names_lock);

	if (old) {
		llmos_event(LLMOS_EVENT_REMOVE, old, old->bytes, 0);
		names_release(old);
		llmos_model_put(old);
	}
	return 0;

err_id:
	llmos_model_put(old);
	xa_erase(&ids, model->id);
	return ret;
}

int llmos_model_remove(struct llmos_model *model)
{
	bool named;

	mutex_lock(&names_mutex);
	spin_lock(&llmos_names_lock);
	named = model->named;
	if (named)
		names_delete(model);
	spin_unlock(&llmos_names_lock);
	mutex_unlock(&names_mutex);

	if (!named)
		return -ENOENT;
	llmos_event(LLMOS_EVENT_REMOVE, model, model->bytes, 0);
	names_release(model);
	return 0;
}

/* ---- creation ---- */

static int create_placement(const struct llmos_model_create *args,
			    struct llmos_placement *placement, s32 *failed_node)
{
	int node;

	placement->policy = args->node_policy;
	placement->strict = args->page_shift > PAGE_SHIFT;
	placement->order = args->page_shift ? args->page_shift - PAGE_SHIFT : HPAGE_PMD_ORDER;
	nodes_clear(placement->nodes);

	if (args->node_policy == LLMOS_NODES_LOCAL)
		return args->nodes ? -EINVAL : 0;
	if (args->node_policy > LLMOS_NODES_INTERLEAVE || !args->nodes)
		return -EINVAL;

	for (node = 0; node < LLMOS_NODES_MAX; node++) {
		if (!(args->nodes & BIT_ULL(node)))
			continue;
		if (node >= MAX_NUMNODES || !node_state(node, N_MEMORY)) {
			*failed_node = node;
			return -EINVAL;
		}
		node_set(node, placement->nodes);
	}
	return 0;
}

static int create_check(const struct llmos_model_create *args)
{
	if (args->reserved || args->flags & ~CREATE_FLAGS || args->mode & ~0777)
		return -EINVAL;
	if (!args->bytes || args->bytes > MODEL_BYTES_MAX)
		return -EINVAL;
	if (args->page_shift && (args->page_shift < PAGE_SHIFT || args->page_shift > HPAGE_PMD_SHIFT))
		return -EINVAL;
	return llmos_name_valid(args->name) ? 0 : -EINVAL;
}

/* As chown(2) would have it. */
static int create_owner(struct llmos_model *model, const struct llmos_model_create *args)
{
	struct user_namespace *ns = current_user_ns();
	kuid_t uid = args->uid == (u32)-1 ? current_fsuid() : make_kuid(ns, args->uid);
	kgid_t gid = args->gid == (u32)-1 ? current_fsgid() : make_kgid(ns, args->gid);

	if (!uid_valid(uid) || !gid_valid(gid))
		return -EINVAL;
	if (!uid_eq(uid, current_fsuid()) && !capable(CAP_CHOWN))
		return -EPERM;
	if (!gid_eq(gid, current_fsgid()) && !in_group_p(gid) && !capable(CAP_CHOWN))
		return -EPERM;
	model->inode.i_uid = uid;
	model->inode.i_gid = gid;
	return 0;
}

/* Early, so that nobody fills a model for nothing; the seal decides. */
static int create_name_free(struct llmos_model *model)
{
	struct llmos_model *old = llmos_model_get(model->name);
	int ret = names_may_take(model, old);

	llmos_model_put(old);
	return ret;
}

static int create_fill_in(struct llmos_model *model, struct llmos_model_create *args,
			  const struct llmos_placement *placement)
{
	int ret;

	strscpy(model->name, args->name);
	model->bytes = args->bytes;
	model->flags = args->flags & LLMOS_MODEL_EVICTABLE;
	model->replace = args->flags & LLMOS_CREATE_REPLACE;
	model->priority = args->priority;
	model->inode.i_mode = S_IFREG | (args->mode & 0444);
	i_size_write(&model->inode, args->bytes);
	model->inode.i_blocks = DIV_ROUND_UP(args->bytes, PAGE_SIZE) << (PAGE_SHIFT - 9);

	ret = create_owner(model, args);
	if (ret)
		return ret;
	ret = create_name_free(model);
	if (ret)
		return ret;
	ret = llmos_memory_charge(PAGE_ALIGN(args->bytes));
	if (ret)
		return ret;
	model->charged = PAGE_ALIGN(args->bytes);
	return llmos_pages_alloc(model, placement, &args->failed_node);
}

/* What a policy says to it. */
static int create_admit(const struct llmos_model_create *args)
{
	struct llmos_admit_ctx ctx = {
		.what = LLMOS_ADMIT_MODEL,
		.bytes = args->bytes,
		.current_bytes = llmos_memory_current(),
		.max_bytes = llmos_memory_max(),
	};

	memcpy(ctx.name, args->name, sizeof(ctx.name));
	return llmos_ask_admit(&ctx);
}

/* The filesystem is pinned by the caller for as long as the model has no file. */
struct llmos_model *llmos_model_create(struct llmos_model_create *args)
{
	struct llmos_placement placement;
	struct inode *inode;
	int ret;

	args->failed_node = -1;
	ret = create_check(args);
	if (ret)
		return ERR_PTR(ret);
	ret = create_admit(args);
	if (ret)
		return ERR_PTR(ret);
	ret = create_placement(args, &placement, &args->failed_node);
	if (ret)
		return ERR_PTR(ret);
	inode = llmos_modelfs_inode();
	if (!inode)
		return ERR_PTR(-ENOMEM);
	ret = create_fill_in(llmos_model(inode), args, &placement);
	llmos_event(LLMOS_EVENT_CREATE, llmos_model(inode), args->bytes, ret);
	if (ret) {
		iput(inode);
		return ERR_PTR(ret);
	}
	return llmos_model(inode);
}

/* ---- states ---- */

bool llmos_model_use(struct llmos_model *model)
{
	bool sealed;

	spin_lock(&model->lock);
	sealed = model->state == LLMOS_STATE_SEALED;
	model->users += sealed;
	spin_unlock(&model->lock);
	return sealed;
}

void llmos_model_unuse(struct llmos_model *model)
{
	spin_lock(&model->lock);
	if (!--model->users)
		model->idle_since = ktime_get_ns();
	spin_unlock(&model->lock);
}

bool llmos_model_begin_write(struct llmos_model *model)
{
	return atomic_inc_unless_negative(&model->writers);
}

void llmos_model_end_write(struct llmos_model *model)
{
	atomic_dec(&model->writers);
}

static void seal_set_state(struct llmos_model *model, u32 state)
{
	spin_lock(&model->lock);
	WRITE_ONCE(model->state, state);
	spin_unlock(&model->lock);
}

/* What can be said before all of it is hashed; the name is decided at the end. */
static int seal_may(struct llmos_model *model, const struct llmos_model_seal *args)
{
	if (!args->signature_size && llmos_signature_required())
		return -ENOKEY;
	return create_name_free(model);
}

static int seal_content(struct llmos_model *model, const struct llmos_model_seal *args)
{
	int ret = llmos_pages_finish(model);

	if (ret)
		return ret;
	atomic64_set(&model->hashed, 0);
	ret = llmos_digest(model, model->digest);
	if (ret)
		return ret;
	if (!args->signature_size)
		return 0;
	ret = llmos_signature_check(model->digest, args->signature, args->signature_size);
	if (!ret)
		model->flags |= LLMOS_MODEL_SIGNED;
	return ret;
}

static int seal_publish(struct llmos_model *model)
{
	int ret = llmos_modelfs_pin();

	if (ret)
		return ret;
	mutex_lock(&names_mutex);
	ret = names_publish(model);
	mutex_unlock(&names_mutex);
	llmos_modelfs_unpin();
	return ret;
}

/* The gate is closed. */
static int seal_run(struct llmos_model *model, const struct llmos_model_seal *args)
{
	int ret;

	seal_set_state(model, LLMOS_STATE_SEALING);
	ret = seal_may(model, args);
	if (!ret)
		ret = seal_content(model, args);
	if (!ret)
		ret = seal_publish(model);
	if (ret) {
		model->flags &= ~LLMOS_MODEL_SIGNED;
		seal_set_state(model, LLMOS_STATE_FILLING);
		atomic_set(&model->writers, 0);
	}
	return ret;
}

int llmos_model_seal(struct llmos_model *model, const struct llmos_model_seal *args)
{
	int ret;

	if (!atomic_cmpxchg(&model->writers, 0, WRITERS_CLOSED))
		ret = seal_run(model, args);
	else
		ret = READ_ONCE(model->state) >= LLMOS_STATE_SEALED ? -EPERM : -EBUSY;
	llmos_event(LLMOS_EVENT_SEAL, model, model->bytes, ret);
	return ret;
}

/* ---- attributes ---- */

void llmos_model_stat(struct llmos_model *model, struct llmos_model_stat *stat)
{
	struct user_namespace *ns = current_user_ns();

	*stat = (struct llmos_model_stat) {
		.size = stat->size,
		.bytes = model->bytes,
		.filled = min_t(u64, atomic64_read(&model->filled), model->bytes),
		.hashed = atomic64_read(&model->hashed),
		.uid = from_kuid_munged(ns, model->inode.i_uid),
		.gid = from_kgid_munged(ns, model->inode.i_gid),
		.mode = model->inode.i_mode & 0777,
	};
	strscpy(stat->name, model->name);

	spin_lock(&model->lock);
	stat->state = model->state;
	stat->flags = model->flags;
	stat->priority = model->priority;
	stat->resident = model->resident;
	stat->huge = model->huge;
	stat->idle_ns = model->users ? 0 : ktime_get_ns() - model->idle_since;
	stat->grants = model->granted;
	spin_unlock(&model->lock);

	if (stat->state >= LLMOS_STATE_SEALED)
		memcpy(stat->digest, model->digest, sizeof(stat->digest));
}

void llmos_model_set(struct llmos_model *model, const struct llmos_model_set *args)
{
	spin_lock(&model->lock);
	if (args->mask & LLMOS_SET_EVICTABLE)
		model->flags = (model->flags & ~LLMOS_MODEL_EVICTABLE) | args->flags;
	if (args->mask & LLMOS_SET_PRIORITY)
		model->priority = args->priority;
	spin_unlock(&model->lock);
}
