// SPDX-License-Identifier: GPL-2.0-only
/*
 * The class of a task, for schedulers of CPUs: does a lane of it have a turn, or
 * wait for one?
 *
 * A scheduler asks in its hottest path, holding a run queue's lock, which is also
 * taken by every wake-up under our own locks. So asking takes no lock whatever: a
 * lookup under RCU, and counts. The counts change with lanes' states, under
 * lanes->lock.
 *
 * Threads and processes are known by their struct pid, which is held: a number may
 * be given to another task, and so may a task_struct's address, while a descriptor
 * keeps the lane. A task that is dead has lost its struct pid, and has no class.
 */
#include <linux/atomic.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rhashtable.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "hook.h"
#include "lane.h"
#include "task_class.h"

/* A thread that asked for lanes, or the process of such threads: its first thread. */
struct llmos_thread {
	struct rhash_head node;
	struct pid *pid;		/* constant; a reference */
	struct llmos_thread *process;	/* constant; a reference, unless it is itself */
	refcount_t refs;
	atomic_t holds;			/* turns of lanes that it asked for, */
	atomic_t waits;			/* and waits */
	atomic_t process_holds;		/* turns of its whole process, where it is that */
	struct rcu_head rcu;
};

static const struct rhashtable_params threads_params = {
	.key_len = sizeof(struct pid *),
	.key_offset = offsetof(struct llmos_thread, pid),
	.head_offset = offsetof(struct llmos_thread, node),
	.automatic_shrinking = true,
};
static struct rhashtable threads;
static DEFINE_SPINLOCK(threads_lock);	/* the last reference, and those found in the table */

/* ---- threads ---- */

static void thread_free(struct llmos_thread *thread)
{
	put_pid(thread->pid);
	kfree_rcu(thread, rcu);
}

/* The reference to @process goes to the thread, or is dropped. */
static struct llmos_thread *thread_get(struct pid *pid, struct llmos_thread *process)
{
	struct llmos_thread *fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT), *thread;

	if (!fresh) {
		llmos_thread_put(process);
		return NULL;
	}
	fresh->pid = get_pid(pid);
	fresh->process = process ?: fresh;
	refcount_set(&fresh->refs, 1);

	spin_lock(&threads_lock);
	thread = rhashtable_lookup_get_insert_fast(&threads, &fresh->node, threads_params);
	if (!IS_ERR_OR_NULL(thread))
		refcount_inc(&thread->refs);
	spin_unlock(&threads_lock);
	if (!thread)
		return fresh;
	thread_free(fresh);
	llmos_thread_put(process);
	return IS_ERR(thread) ? NULL : thread;
}

void llmos_thread_put(struct llmos_thread *thread)
{
	struct llmos_thread *process;

	if (!thread || !refcount_dec_and_lock(&thread->refs, &threads_lock))
		return;
	rhashtable_remove_fast(&threads, &thread->node, threads_params);
	spin_unlock(&threads_lock);
	process = thread->process != thread ? thread->process : NULL;
	thread_free(thread);
	llmos_thread_put(process);	/* which has no other above it */
}

struct llmos_thread *llmos_thread_asks(const struct llmos_lane *lane)
{
	struct llmos_thread *asker, *process;
	bool same;

	rcu_read_lock();
	asker = smp_load_acquire(&lane->asker);
	same = asker && asker->pid == task_pid(current);
	rcu_read_unlock();
	if (same)
		return NULL;
	process = thread_get(task_tgid(current), NULL);
	if (!process || task_pid(current) == task_tgid(current))
		return process;
	return thread_get(task_pid(current), process);
}

/* ---- counts ---- */

static void count(struct llmos_thread *thread, u32 state, int by)
{
	if (!thread)
		return;
	if (state == LLMOS_LANE_HOLDING) {
		atomic_add(by, &thread->holds);
		atomic_add(by, &thread->process->process_holds);
	} else if (state == LLMOS_LANE_WAITING) {
		atomic_add(by, &thread->waits);
	}
}

void llmos_lane_classify(struct llmos_lane *lane)
{
	u32 before = lane->counted;

	if (lane->state == before)
		return;
	lane->counted = lane->state;
	count(lane->asker, lane->counted, 1);
	count(lane->asker, before, -1);
}

void llmos_lane_set_asker(struct llmos_lane *lane, struct llmos_thread **thread)
{
	struct llmos_thread *before = lane->asker;

	if (!*thread)
		return;
	count(*thread, lane->counted, 1);
	smp_store_release(&lane->asker, *thread);	/* pairs with llmos_thread_asks() */
	count(before, lane->counted, -1);
	*thread = before;
}

/* ---- the answer ---- */

static struct llmos_thread *thread_find(struct pid *pid)
{
	return pid ? rhashtable_lookup(&threads, &pid, threads_params) : NULL;
}

static u32 class_of(const struct llmos_thread *thread, const struct llmos_thread *process)
{
	if (thread && atomic_read(&thread->holds))
		return LLMOS_TASK_HOLDS;
	if (thread && atomic_read(&thread->waits))
		return LLMOS_TASK_FEEDS;
	return process && atomic_read(&process->process_holds) ? LLMOS_TASK_FEEDS : LLMOS_TASK_NONE;
}

/* Read as from anywhere: see below. The pids are only compared. */
static bool read_pids(const struct task_struct *task, struct pid **pid, struct pid **tgid)
{
	struct signal_struct *signal;

	return !get_kernel_nofault(*pid, &task->thread_pid) &&
	       !get_kernel_nofault(signal, &task->signal) &&
	       !get_kernel_nofault(*tgid, &signal->pids[PIDTYPE_TGID]);
}

__bpf_kfunc_start_defs();

/*
 * Of any task, in any context: takes no lock.
 *
 * The verifier knows types by their identity. Where the type information of this
 * module has a task_struct of its own, because pahole could not tell that it is the
 * kernel's, no program could hand us one. So the argument is not checked (__ign), and
 * what is no task has no class.
 */
__bpf_kfunc u32 llmos_task_class(const void *task__ign)
{
	struct llmos_thread *thread, *process;
	struct pid *pid, *tgid;
	u32 class;

	if (!atomic_read(&threads.nelems) || !read_pids(task__ign, &pid, &tgid))
		return LLMOS_TASK_NONE;
	rcu_read_lock();
	thread = thread_find(pid);
	process = pid == tgid ? thread : thread_find(tgid);
	class = class_of(thread, process);
	rcu_read_unlock();
	return class;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(llmos_task_class_ids)
BTF_ID_FLAGS(func, llmos_task_class)
BTF_KFUNCS_END(llmos_task_class_ids)

static const struct btf_kfunc_id_set llmos_task_class_set = {
	.owner = THIS_MODULE,
	.set = &llmos_task_class_ids,
};

/* ---- set-up ---- */

/* Schedulers are struct_ops programs; those of type syscall let anybody else look. */
static int register_kfunc(void)
{
	int ret = register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &llmos_task_class_set);

	return ret ?: register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL, &llmos_task_class_set);
}

/* Programs that call us hold the module. Without BTF there are none. */
int llmos_task_class_init(void)
{
	int ret = rhashtable_init(&threads, &threads_params);

	if (!ret && llmos_hooks_available() && register_kfunc())
		pr_info("llmos: CPU schedulers cannot ask for the class of a task\n");
	return ret;
}

void llmos_task_class_exit(void)
{
	WARN_ON_ONCE(atomic_read(&threads.nelems));
	rhashtable_destroy(&threads);
}
