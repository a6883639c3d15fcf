/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Questions that policies answer: eBPF programs of type fmod_ret on the functions
 * llmos_hook_NAME. What they see is documented in include/llmos/policy.bpf.h,
 * which names the same fields: add only at the end, libbpf finds them by name.
 */
#ifndef LLMOS_HOOK_H
#define LLMOS_HOOK_H

#include <linux/types.h>
#include <linux/llmos.h>

struct cgroup;
struct llmos_lane;
struct llmos_model;
struct task_struct;

struct llmos_lane_ctx {
	u64 lane;
	u64 group;		/* id of the lane's cgroup */
	u64 now_ns;
	u64 deadline_ns;
	u64 cost_ns;
	u64 used_ns;
	u64 group_used_ns;
	u64 vruntime;
	u64 waited_ns;
	u64 turns;
	u64 slice_ns;
	u32 weight;
	u32 group_weight;
	u32 lane_class;
	u32 overruns;
	u32 waiting;
	u32 slots;
	struct cgroup *cgroup;
	struct task_struct *task;
	char device[LLMOS_DEVICE_ID_SIZE];
	char name[LLMOS_LANE_NAME_SIZE];
};

struct llmos_model_ctx {
	u64 model;
	u64 bytes;
	u64 idle_ns;
	u64 now_ns;
	s32 priority;
	u32 flags;
	char name[LLMOS_NAME_SIZE];
};

#define LLMOS_ADMIT_MODEL	1
#define LLMOS_ADMIT_CHARGE	2

struct llmos_admit_ctx {
	u32 what;
	u32 uid;
	u64 bytes;
	u64 current_bytes;
	u64 max_bytes;
	u64 group;
	struct cgroup *cgroup;
	struct task_struct *task;
	char device[LLMOS_DEVICE_ID_SIZE];
	char name[LLMOS_NAME_SIZE];
};

/* What programs are attached to: nobody else calls them but hook.c. */
s64 llmos_hook_lane_key(struct llmos_lane_ctx *ctx);
s64 llmos_hook_lane_slice(struct llmos_lane_ctx *ctx);
s64 llmos_hook_evict_score(struct llmos_model_ctx *ctx);
s64 llmos_hook_admit(struct llmos_admit_ctx *ctx);

/* 0: no policy had an opinion. No lock of ours may be held. */
s64 llmos_ask_lane_key(struct llmos_lane_ctx *ctx);
/* The slice to use. */
u64 llmos_ask_lane_slice(struct llmos_lane_ctx *ctx);
/* 0: no opinion. Callable under spinlocks. */
s64 llmos_ask_evict_score(struct llmos_model_ctx *ctx);
/*
 * May this pass? 0, or what to refuse it with. May sleep for as long as a policy
 * does: only locks of the one who asks may be held. The caller fills in @what,
 * @bytes, @current_bytes, @max_bytes, and @device or @name; the rest is filled in
 * here, for the current task.
 */
int llmos_ask_admit(struct llmos_admit_ctx *ctx);

bool llmos_hooks_available(void);
int llmos_hook_init(void);
void llmos_hook_exit(void);

#endif
