/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internal types.
 *
 * Locks, outer to inner:
 *
 *   names_mutex          changes to the table of names (publish, remove)
 *   inode lock of the models' root directory (taken by the VFS)
 *   i_mmap_rwsem         listing of grants
 *   names_lock           spinlock: the table itself, the order of eviction
 *   model.lock           spinlock: state, users, grants, deny list. Walks let go of it every
 *                        so often: of grants there may be millions, made by who may read
 *
 *   lanes->lock          spinlock, softirqs off: turns on one device; see lane.h
 *   threads_lock         spinlock, under no lock of ours: who asked for lanes; see task_class.c
 *
 * A policy is asked under the spinlocks of names and model (evict_score), or under
 * no lock at all.
 *
 * The fault path takes only the folio lock and READ_ONCE(grant->revoked).
 * Reclaim (evict.c) takes only the two spinlocks, and folio locks of models
 * that nobody uses.
 *
 * A model is its inode. Its files refer to it as files do. Everybody else, the
 * table of names too, holds it by llmos_model_hold(), which keeps its filesystem
 * mounted as well: that may be mounted nowhere else.
 */
#ifndef LLMOS_H
#define LLMOS_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/xarray.h>
#include <linux/llmos.h>

struct cgroup;
struct key;
struct kobject;
struct pid;
struct shrinker;

/* memory.c: what all models take together */
int llmos_memory_init(void);
int llmos_memory_charge(u64 bytes);
void llmos_memory_uncharge(u64 bytes);
u64 llmos_memory_max(void);
u64 llmos_memory_current(void);
u64 llmos_memory_peak(void);
void llmos_memory_set_max(u64 bytes);

/* Where pages come from; a copy of what the creator asked for. */
struct llmos_placement {
	u32 policy;		/* LLMOS_NODES_* */
	nodemask_t nodes;
	unsigned int order;	/* of the largest folio */
	bool strict;		/* no smaller folio instead, but for the tail */
};

struct llmos_model {
	struct inode inode;
	char name[LLMOS_NAME_SIZE];
	u64 bytes;
	u64 charged;			/* to memory.c; 0 once given back */
	bool replace;

	/* -ve: closed for ever or while sealing; else writes and fills in flight */
	atomic_t writers;
	atomic64_t filled;
	atomic64_t hashed;
	u64 resident;			/* set once by pages.c; 0 after eviction */
	u64 huge;
	unsigned int folios;
	atomic_t dma_maps;		/* of dma-bufs by devices */

	spinlock_t lock;
	u32 state;			/* LLMOS_STATE_*; may be read without the lock */
	u32 flags;			/* LLMOS_MODEL_* */
	s32 priority;
	unsigned int users;		/* grants and others that need the pages */
	u64 idle_since;			/* ktime, valid while users == 0 */
	struct xarray grants;		/* struct llmos_grant_entry by id */
	struct xarray users_of;		/* struct llmos_user by the cgroup's id */
	unsigned int granted;		/* grants that are not revoked */
	struct list_head denied;
	unsigned int denied_count;

	/* names_lock */
	bool named;			/* may be read without the lock */
	u32 id;				/* position in the directory */
	struct hlist_node hash;
	struct vfsmount *mount;		/* constant once named */

	u8 digest[LLMOS_DIGEST_SIZE];	/* constant once sealed */
};

static inline struct llmos_model *llmos_model(const struct inode *inode)
{
	return container_of(inode, struct llmos_model, inode);
}

static inline struct llmos_model *llmos_model_of(const struct file *file)
{
	return llmos_model(file_inode(file));
}

/* model.c: the object, its states and the table of names */
extern spinlock_t llmos_names_lock;
struct llmos_model *llmos_model_create(struct llmos_model_create *args);
struct llmos_model *llmos_model_get(const char *name);
void llmos_model_hold(struct llmos_model *model);
void llmos_model_put(struct llmos_model *model);
struct llmos_model *llmos_model_next(u32 *id);	/* holding llmos_names_lock; no reference */
unsigned int llmos_model_count(void);
unsigned int llmos_models_max(void);
void llmos_models_set_max(unsigned int count);
bool llmos_model_use(struct llmos_model *model);	/* keep the pages of a sealed model */
void llmos_model_unuse(struct llmos_model *model);
bool llmos_model_begin_write(struct llmos_model *model);
void llmos_model_end_write(struct llmos_model *model);
int llmos_model_seal(struct llmos_model *model, const struct llmos_model_seal *args);
int llmos_model_remove(struct llmos_model *model);
void llmos_model_stat(struct llmos_model *model, struct llmos_model_stat *stat);
void llmos_model_set(struct llmos_model *model, const struct llmos_model_set *args);
bool llmos_model_may_control(struct llmos_model *model);
bool llmos_name_valid(const char *name);

/* pages.c: the folios of one model, all of them in its page cache */
int llmos_pages_alloc(struct llmos_model *model, const struct llmos_placement *placement,
		      s32 *failed_node);
void llmos_pages_free(struct llmos_model *model);
struct folio *llmos_pages_folio(struct llmos_model *model, u64 offset);	/* no reference */
void llmos_pages_prepare(struct folio *folio);	/* zeroed if it never held data */
int llmos_pages_finish(struct llmos_model *model);
u64 llmos_pages_pinned(struct llmos_model *model);	/* bytes pinned for DMA */
bool llmos_pages_locked(struct llmos_model *model);	/* any of them, by anybody */

/* modelfs.c */
extern struct file_system_type llmos_modelfs_type;
int llmos_modelfs_init(void);
void llmos_modelfs_exit(void);
int llmos_modelfs_pin(void);
void llmos_modelfs_unpin(void);
struct vfsmount *llmos_modelfs_mount(void);	/* while pinned */
struct inode *llmos_modelfs_inode(void);
struct file *llmos_modelfs_open_loader(struct llmos_model *model);

/* map.c */
int llmos_mmap(struct file *file, struct vm_area_struct *vma);
void llmos_unmap(struct llmos_model *model);

/* A cgroup that has a model open; as long as it has. model->lock. */
struct llmos_user {
	struct cgroup *cgroup;
	unsigned int grants;
	unsigned int granted;		/* of them, not revoked */
};

/* One open of a model; file->private_data. Freed when the file is. */
struct llmos_grant_entry {
	struct file *file;
	struct pid *pid;
	struct llmos_user *user;
	kuid_t uid;
	u64 id;
	u64 opened_ns;
	u64 mapped;			/* scratch of the listing */
	u32 flags;			/* LLMOS_GRANT_LOADER */
	bool revoked;			/* one-way; may be read without the lock */
};

static inline struct llmos_grant_entry *llmos_grant_of(const struct file *file)
{
	return file->private_data;
}

/* grant.c */
int llmos_grant_open(struct llmos_model *model, struct file *file, u32 flags);
void llmos_grant_close(struct llmos_model *model, struct file *file);
int llmos_grant_check(const struct file *file);	/* may this open still be read? */
int llmos_grant_list(struct llmos_model *model, struct llmos_grant_list *args);
int llmos_grant_revoke(struct llmos_model *model, struct llmos_model_revoke *args);
void llmos_grant_forget_denied(struct llmos_model *model);
struct cgroup *llmos_current_cgroup(void);	/* with a reference */

/* usage.c: bytes of models that a cgroup and all below it have their part in */
u64 llmos_models_of_group(struct cgroup *cgroup);

/* groupfs.c */
int llmos_groupfs_init(void);
void llmos_groupfs_exit(void);

/* fill.c */
ssize_t llmos_write(struct kiocb *iocb, struct iov_iter *from);
int llmos_fill(struct llmos_model *model, struct llmos_model_fill *args);

/* digest.c */
int llmos_digest_init(void);
void llmos_digest_exit(void);
int llmos_digest(struct llmos_model *model, u8 *digest);

/* signature.c */
int llmos_signature_init(void);
void llmos_signature_exit(void);
bool llmos_signature_required(void);
s32 llmos_signature_keyring(void);
int llmos_signature_check(const u8 *digest, u64 address, u32 size);

/* evict.c */
int llmos_evict_init(void);
void llmos_evict_exit(void);
u64 llmos_evict_idle(void);			/* the next in order; bytes freed */
u64 llmos_evict_possible(void);			/* bytes that idle evictable models have */
int llmos_evict_model(struct llmos_model *model);

/* dmabuf.c */
#ifdef CONFIG_DMA_SHARED_BUFFER
struct file *llmos_dmabuf_export(struct file *file, const struct llmos_model_dmabuf *args);
#else
static inline struct file *llmos_dmabuf_export(struct file *file,
					       const struct llmos_model_dmabuf *args)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

/* chardev.c; also the commands of a model's descriptor */
struct llmos_call {
	struct file *file;		/* that the command came on */
	void *args;			/* the struct, copied in and out */
	struct file *result;		/* to be installed as a descriptor, if set */
};

struct llmos_command {
	unsigned int number;
	u32 size;			/* of the struct, today */
	int (*run)(struct llmos_call *call);
};

long llmos_command_run(const struct llmos_command *table, size_t count, struct file *file,
		       unsigned int number, void __user *address);
int llmos_chardev_init(void);
void llmos_chardev_exit(void);

/* sysfs.c: /sys/fs/llmos */
extern struct kobject *llmos_kobj;
int llmos_parse_bytes(const char *text, u64 *bytes);	/* "1G", "max"; may end in a newline */
int llmos_sysfs_init(void);
void llmos_sysfs_exit(void);

/* event.c: tracepoints and audit records of the same facts */
enum llmos_event {
	LLMOS_EVENT_CREATE,
	LLMOS_EVENT_FILL,
	LLMOS_EVENT_SEAL,
	LLMOS_EVENT_REMOVE,
	LLMOS_EVENT_EVICT,
	LLMOS_EVENT_OPEN,
	LLMOS_EVENT_MAP,
	LLMOS_EVENT_REVOKE,
	LLMOS_EVENT_FREE,
};

/* A refusal is an event with a negative result. May sleep. */
void llmos_event(enum llmos_event event, struct llmos_model *model, u64 bytes, int result);

#define LLMOS_FEATURES_ALL							\
	(LLMOS_FEATURE_MODELS | LLMOS_FEATURE_GRANTS | LLMOS_FEATURE_EVICTION |	\
	 LLMOS_FEATURE_SIGNATURES | LLMOS_FEATURE_DEVICES |			\
	 LLMOS_FEATURE_LANES | (llmos_hooks_available() ? LLMOS_FEATURE_HOOKS : 0) |	\
	 (IS_ENABLED(CONFIG_DMA_SHARED_BUFFER) ? LLMOS_FEATURE_DMABUF : 0) |	\
	 (IS_ENABLED(CONFIG_AUDIT) ? LLMOS_FEATURE_AUDIT : 0))

#endif
