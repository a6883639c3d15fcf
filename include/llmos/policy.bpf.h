/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a policy sees and answers. A policy is an eBPF program on one of llmos's
 * hooks, compiled with clang -target bpf and attached with stock bpftool; see
 * bpf/README.md. No vmlinux.h: the fields below are found by name in whatever
 * kernel and module the object is loaded on, and new ones only come at the end.
 *
 *   LLMOS_POLICY(lane_key, my_program, struct llmos_lane_ctx *lane)
 *   {
 *           return lane->cost_ns;
 *   }
 *
 * 0 is no opinion: an older policy on the same hook is asked, and in the end the
 * module's default holds. A context cannot be written to.
 *
 * lane_key     when a lane asks for a turn, or for another. The lane with the
 *              smallest key comes first on its device, and every lane with a key
 *              before those without, which share fairly by weight of group and
 *              lane. Between -2^61 and 2^61; what is beyond is brought there. The
 *              module gives one turn in eight to whoever waited longer than
 *              /sys/fs/llmos/lanes/wait_max_ms, and time.max binds whatever a key
 *              says.
 * lane_slice   at the same moments: nanoseconds that the turn should last, 100 us
 *              to 10 s. Twice as much is an over-run.
 * evict_score  of each idle evictable model when memory is short, under spinlocks:
 *              the lowest score goes first; models without an opinion have 0.
 * admit        when a model is created or device memory charged: a positive answer
 *              lets it pass, a negative one is the errno that it fails with. Limits
 *              hold all the same. May sleep: use LLMOS_POLICY_SLEEPABLE.
 *
 * How often each hook was answered, left to the default, or answered nonsense is
 * counted in /sys/fs/llmos/hooks/NAME.
 *
 * The module also tells schedulers of CPUs (sched_ext), and programs of type
 * syscall, the class of a task: llmos_task_class().
 */
#ifndef LLMOS_POLICY_BPF_H
#define LLMOS_POLICY_BPF_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define LLMOS_LANE_NAME_SIZE	32
#define LLMOS_DEVICE_ID_SIZE	32
#define LLMOS_NAME_SIZE		128

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cgroup;

struct task_struct {
	s32 pid;
	s32 tgid;
};

/* Times are in nanoseconds, moments those of CLOCK_MONOTONIC. */
struct llmos_lane_ctx {
	u64 lane;		/* its id */
	u64 group;		/* id of its cgroup: the directory's inode number */
	u64 now_ns;
	u64 deadline_ns;	/* moment at which the turn is wanted; 0: no such wish */
	u64 cost_ns;		/* device time that the turn is said to take; 0: unknown */
	u64 used_ns;		/* device time charged to the lane so far */
	u64 group_used_ns;	/* and to its cgroup, with all below it */
	u64 vruntime;		/* of the lane, in the fair order of its group */
	u64 waited_ns;		/* in all earlier waits */
	u64 turns;
	u64 slice_ns;		/* the default */
	u32 weight;
	u32 group_weight;
	u32 lane_class;		/* as the lane's maker says; believe it as far as you trust that */
	u32 overruns;
	u32 waiting;		/* lanes, on this device */
	u32 slots;		/* turns at once, on this device */
	struct cgroup *cgroup;	/* of the task that asks */
	struct task_struct *task;
	char device[LLMOS_DEVICE_ID_SIZE];
	char name[LLMOS_LANE_NAME_SIZE];
};

struct llmos_model_ctx {
	u64 model;		/* its id */
	u64 bytes;
	u64 idle_ns;		/* since its last user closed it */
	u64 now_ns;
	s32 priority;		/* as its owner set it */
	u32 flags;
	char name[LLMOS_NAME_SIZE];
};

#define LLMOS_ADMIT_MODEL	1	/* host memory for a model called name */
#define LLMOS_ADMIT_CHARGE	2	/* memory of a device */

struct llmos_admit_ctx {
	u32 what;
	u32 uid;		/* of the task, in the initial user namespace */
	u64 bytes;
	u64 current_bytes;	/* taken before this, under the limit that is nearest */
	u64 max_bytes;		/* that limit */
	u64 group;		/* id of the task's cgroup */
	struct cgroup *cgroup;
	struct task_struct *task;
	char device[LLMOS_DEVICE_ID_SIZE];
	char name[LLMOS_NAME_SIZE];
};

#pragma clang attribute pop

/*
 * The class of a task, a pointer to its struct task_struct; callable in any context.
 *
 * A lane's turn is that of the thread that asked for it last, whoever made the
 * lane and wherever its descriptor went since; a command of io_uring is asked by
 * the thread that submits it to the kernel, or by the kernel's own thread of the
 * same process that takes it from there. The other threads of that process feed
 * the turn: they compute parts of its steps, or prepare the next. Children are
 * other processes. A thread that died has no class, and its turn stays its
 * process's for as long as there is one.
 */
#define LLMOS_TASK_NONE		0
#define LLMOS_TASK_FEEDS	1	/* waits for a turn, or is in a process that has one */
#define LLMOS_TASK_HOLDS	2	/* has a turn */
extern u32 llmos_task_class(const void *task__ign) __ksym;

/* The context may have any name but ctx, which the macro uses. */
#define LLMOS_POLICY(hook, program, context) \
	SEC("fmod_ret/llmos_hook_" #hook) s64 BPF_PROG(program, context, s64 older)
#define LLMOS_POLICY_SLEEPABLE(hook, program, context) \
	SEC("fmod_ret.s/llmos_hook_" #hook) s64 BPF_PROG(program, context, s64 older)

/* Maps with one entry, key 0: knobs to turn while the policy runs, and its gate. */
#define LLMOS_ONE(map_name, type_of_value)			\
	struct {						\
		__uint(type, BPF_MAP_TYPE_ARRAY);		\
		__uint(max_entries, 1);				\
		__type(key, u32);				\
		__type(value, type_of_value);			\
	} map_name SEC(".maps")

#define LLMOS_GET(map_name) ({ u32 zero_ = 0; bpf_map_lookup_elem(&(map_name), &zero_); })

/*
 * A policy of several programs is attached one by one. So that all begin at once,
 * none has an opinion until the gate is opened: bpftool map update pinned .../gate
 * key 0 0 0 0 value 1 0 0 0.
 */
#define LLMOS_GATE()						\
	LLMOS_ONE(gate, u32);					\
	static __always_inline bool gate_open(void)		\
	{							\
		u32 *open = LLMOS_GET(gate);			\
								\
		return open && *open;				\
	}							\
	char LICENSE[] SEC("license") = "GPL"

#endif
