// SPDX-License-Identifier: GPL-2.0-only
/*
 * scx_llmos: a scheduler of CPUs (sched_ext, Linux 6.19 or newer) under which the
 * threads that have a lane's turn, or feed one, come first on their NUMA node. Who
 * did so a moment ago is taken to prepare the next turn, and feeds it. All
 * others share what is left fairly, by the weights of their nice values. When it is
 * detached, or the kernel throws it out, EEVDF schedules everybody again.
 *
 * Each node has two queues: "lanes", by age, where who has a turn is taken to be one
 * slice older than who feeds; and "others", by virtual time. What is promised, where
 * `tick` is the kernel's (4 ms at 250 Hz), at which slices end:
 *
 *  - A lane's thread that wakes takes a CPU of its node from one of the others at
 *    once. Where they have a CPU by right (see below), it waits others_slice + tick.
 *  - While others wait, lanes' threads keep a CPU for lanes_max + tick; then the
 *    others have it for others_slice, whoever of them that is. What they had of it
 *    before, in the same proportion, counts.
 *  - Among lanes' threads, and among the others, slices go around.
 */
#include <llmos/policy.bpf.h>
#include <llmos/scheduler.h>

char LICENSE[] SEC("license") = "GPL";

/* ---- what is used of the kernel ---- */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cpumask {
	u64 bits[1];
};

struct sched_ext_entity {
	u32 flags;
	u32 weight;
	u64 dsq_vtime;
};

struct task_struct___scx {
	u32 flags;
	s32 nr_cpus_allowed;
	const struct cpumask *cpus_ptr;
	struct cpumask cpus_mask;	/* so that clang 14 describes the type, and not only its name */
	struct sched_ext_entity scx;
};

enum scx_exit_kind {
	SCX_EXIT_NONE,
};

struct scx_exit_info {
	enum scx_exit_kind kind;
	s64 exit_code;
	const char *reason;
	char *msg;
};

struct sched_ext_ops {
	s32 (*select_cpu)(struct task_struct *p, s32 prev_cpu, u64 wake_flags);
	void (*enqueue)(struct task_struct *p, u64 enq_flags);
	void (*dispatch)(s32 cpu, struct task_struct *prev);
	void (*tick)(struct task_struct *p);
	void (*running)(struct task_struct *p);
	void (*stopping)(struct task_struct *p, bool runnable);
	void (*enable)(struct task_struct *p);
	void (*cpu_online)(s32 cpu);
	void (*cpu_offline)(s32 cpu);
	s32 (*init)(void);
	void (*exit)(struct scx_exit_info *info);
	u64 flags;
	u32 timeout_ms;
	char name[128];
};

#pragma clang attribute pop

#define PF_KTHREAD		0x00200000
#define SCX_TASK_QUEUED		1
#define SCX_DSQ_LOCAL		((1ULL << 63) | 2)
#define SCX_ENQ_PREEMPT		(1ULL << 32)
#define SCX_ENQ_CPU_SELECTED	(1ULL << 20)
#define SCX_KICK_IDLE		1
#define SCX_KICK_PREEMPT	2

extern s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags, bool *is_idle) __ksym;
extern s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
extern void scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym;
extern void scx_bpf_dsq_insert_vtime(struct task_struct *p, u64 dsq_id, u64 slice, u64 vtime, u64 enq_flags) __ksym;
extern bool scx_bpf_dsq_move_to_local(u64 dsq_id) __ksym;
extern struct task_struct *scx_bpf_dsq_peek(u64 dsq_id) __ksym;
extern s32 scx_bpf_dsq_nr_queued(u64 dsq_id) __ksym;
extern bool scx_bpf_task_set_slice(struct task_struct *p, u64 slice) __ksym;
extern bool scx_bpf_task_set_dsq_vtime(struct task_struct *p, u64 vtime) __ksym;
extern void scx_bpf_kick_cpu(s32 cpu, u64 flags) __ksym;
extern s32 scx_bpf_task_cpu(const struct task_struct *p) __ksym;
extern s32 scx_bpf_cpu_node(s32 cpu) __ksym;
extern u32 scx_bpf_nr_cpu_ids(void) __ksym;
extern u32 scx_bpf_nr_node_ids(void) __ksym;
extern u64 scx_bpf_now(void) __ksym;
extern s32 scx_bpf_pick_idle_cpu(const struct cpumask *cpus_allowed, u64 flags) __ksym;
extern bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *cpumask) __ksym;

/*
 * Loops that the kernel bounds: over numbers, and over the tasks of a queue. What
 * follows the three underscores is no part of the name; recent headers have these
 * names too.
 */
struct bpf_iter_num___llmos {
	u64 opaque[1];
};
extern int bpf_iter_num_new___llmos(struct bpf_iter_num___llmos *it, int start, int end) __ksym;
extern int *bpf_iter_num_next___llmos(struct bpf_iter_num___llmos *it) __ksym;
extern void bpf_iter_num_destroy___llmos(struct bpf_iter_num___llmos *it) __ksym;
#define numbers			bpf_iter_num___llmos
#define numbers_begin		bpf_iter_num_new___llmos
#define numbers_next		bpf_iter_num_next___llmos
#define numbers_end		bpf_iter_num_destroy___llmos

struct bpf_iter_scx_dsq {
	u64 opaque[6];
};
extern int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq_id, u64 flags) __ksym;
extern struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym;
extern void scx_bpf_dsq_move_set_slice(struct bpf_iter_scx_dsq *it__iter, u64 slice) __ksym;
extern bool scx_bpf_dsq_move(struct bpf_iter_scx_dsq *it__iter, struct task_struct *p, u64 dsq_id, u64 enq_flags) __ksym;

#define scx(p) (&((struct task_struct___scx *)(p))->scx)
#define cpus_allowed(p) (((struct task_struct___scx *)(p))->cpus_ptr)

/* ---- knobs, counts, and the end: see <llmos/scheduler.h> ---- */

#define PINNED(map_name, map_type, type_of_value)		\
	struct {						\
		__uint(type, map_type);				\
		__uint(max_entries, 1);				\
		__uint(pinning, LIBBPF_PIN_BY_NAME);		\
		__type(key, u32);				\
		__type(value, type_of_value);			\
	} map_name SEC(".maps")

PINNED(llmos_scx_knobs, BPF_MAP_TYPE_ARRAY, struct llmos_scx_knobs);
PINNED(llmos_scx_stats, BPF_MAP_TYPE_PERCPU_ARRAY, struct llmos_scx_stats);
PINNED(llmos_scx_end, BPF_MAP_TYPE_ARRAY, struct llmos_scx_end);

#define KNOB(field, otherwise) ({				\
	struct llmos_scx_knobs *knobs_ = LLMOS_GET(llmos_scx_knobs);	\
	knobs_ && knobs_->field ? knobs_->field : (otherwise);	\
})

static u64 lanes_slice(void) { return KNOB(lanes_slice_ns, 12 * 1000000ULL); }
static u64 others_slice(void) { return KNOB(others_slice_ns, 4 * 1000000ULL); }
static u64 lanes_max(void) { return KNOB(lanes_max_ns, 36 * 1000000ULL); }
static u64 prepare(void) { return KNOB(prepare_ns, 10 * 1000000ULL); }

#define COUNT(field, by) ({					\
	struct llmos_scx_stats *stats_ = LLMOS_GET(llmos_scx_stats);	\
	if (stats_)						\
		stats_->field += (by);				\
})

static bool before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* ---- classes ---- */

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} prepares_until SEC(".maps");

/*
 * Between two steps a device idles until its lane is asked for again. So whoever had a
 * turn, or fed one, a moment ago must not stand behind hogs with what is left to do.
 */
static u32 class_of(struct task_struct *p)
{
	u32 class = llmos_task_class(p);
	u64 *until = bpf_task_storage_get(&prepares_until, p, NULL, class ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);

	if (!until)
		return class;
	if (class)
		*until = scx_bpf_now() + prepare();
	else if (before(scx_bpf_now(), *until))
		class = LLMOS_TASK_FEEDS;
	return class;
}

/* ---- CPUs and nodes ---- */

#define CPUS	4096

enum occupant { NOBODY, OTHER, LANE };

struct cpu {
	u64 since;		/* time is accounted up to here */
	u64 lanes_ns;		/* that lanes' threads had it while others waited */
	u64 due_ns;		/* that others have it by right */
	u32 occupant;		/* enum occupant */
	u32 node;
	bool kicked;		/* somebody has taken it, and is on the way */
	u8 pad[31];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CPUS);
	__type(key, u32);
	__type(value, struct cpu);
} cpus SEC(".maps");

static struct cpu *cpu_of(s32 number)
{
	u32 key = number;

	return bpf_map_lookup_elem(&cpus, &key);
}

static u64 lanes_queue(u32 node) { return 2 * (u64)node; }
static u64 others_queue(u32 node) { return 2 * (u64)node + 1; }

u64 virtual_time;		/* of the other that was served last */

/* The others ran: lanes' threads may keep the CPU for longer, in proportion. */
static void pay(struct cpu *cpu, u64 ran)
{
	u64 allowed = ran * lanes_max() / others_slice();

	cpu->due_ns -= ran < cpu->due_ns ? ran : cpu->due_ns;
	cpu->lanes_ns -= allowed < cpu->lanes_ns ? allowed : cpu->lanes_ns;
}

/* What ran since the last time goes to the CPU's account, and to the task's. */
static void account(struct cpu *cpu, struct task_struct *p)
{
	u64 now = scx_bpf_now(), ran = now - cpu->since;
	u32 weight = scx(p)->weight;

	cpu->since = now;
	if (cpu->occupant == LANE) {
		cpu->lanes_ns += ran;
		COUNT(lanes_ns, ran);
	} else if (cpu->occupant == OTHER) {
		pay(cpu, ran);
		scx_bpf_task_set_dsq_vtime(p, scx(p)->dsq_vtime + ran * 100 / (weight ? weight : 1));
		COUNT(others_ns, ran);
	}
}

/* A lane's thread joins the others, once it is one of them, where they are by then. */
static void occupy(struct cpu *cpu, struct task_struct *p)
{
	u32 occupant = class_of(p) ? LANE : OTHER;

	if (occupant == LANE || cpu->occupant == LANE)
		scx_bpf_task_set_dsq_vtime(p, virtual_time);
	cpu->occupant = occupant;
}

/* ---- a thread wants a CPU ---- */

static bool may_preempt(struct cpu *cpu, s32 number, u32 node, struct task_struct *p)
{
	return cpu && cpu->node == node && cpu->occupant == OTHER && !cpu->due_ns && !cpu->kicked &&
	       bpf_cpumask_test_cpu(number, cpus_allowed(p));
}

static bool try_preempt(s32 number, u32 node, struct task_struct *p)
{
	struct cpu *cpu = cpu_of(number);

	if (!may_preempt(cpu, number, node, p))
		return false;
	cpu->kicked = true;
	COUNT(preempted, 1);
	scx_bpf_kick_cpu(number, SCX_KICK_PREEMPT);
	return true;
}

/* Where it ran before, or the next CPU of the node that one of the others has. */
static void preempt_for(struct task_struct *p, s32 number, u32 node)
{
	u32 count = scx_bpf_nr_cpu_ids();
	struct numbers it;
	s32 *i;

	if (try_preempt(number, node, p))
		return;
	numbers_begin(&it, 1, count);
	while ((i = numbers_next(&it)) && !try_preempt(((u32)number + *i) % count, node, p))
		;
	numbers_end(&it);
}

/* Who did not wake was not asked for an idle CPU: its slice is over, or it may run elsewhere now. */
static bool woke_idle(struct task_struct *p, u64 flags)
{
	s32 number;

	if (flags & SCX_ENQ_CPU_SELECTED)
		return false;
	number = scx_bpf_pick_idle_cpu(cpus_allowed(p), 0);
	if (number < 0)
		return false;
	scx_bpf_kick_cpu(number, SCX_KICK_IDLE);
	return true;
}

static void enqueue_lane(struct task_struct *p, u32 class, u64 flags)
{
	s32 number = scx_bpf_task_cpu(p);
	struct cpu *cpu = cpu_of(number);
	u32 node = cpu ? cpu->node : 0;
	u64 age = scx_bpf_now() - (class == LLMOS_TASK_HOLDS ? lanes_slice() : 0);

	scx_bpf_dsq_insert_vtime(p, lanes_queue(node), lanes_slice(), age, flags);
	if (!woke_idle(p, flags))
		preempt_for(p, number, node);
}

/*
 * Who slept is at most one slice ahead of those that did not. And who stood among the
 * lanes' threads without ever running has a time of theirs: of the others, at the
 * least weight and the longest slice, nobody is further behind than a second.
 */
static u64 vtime_of(struct task_struct *p)
{
	u64 vtime = scx(p)->dsq_vtime, least = virtual_time - others_slice(), most = virtual_time + 1000000000;

	return before(vtime, least) ? least : before(most, vtime) ? virtual_time : vtime;
}

static void enqueue_other(struct task_struct *p, u64 flags)
{
	struct cpu *cpu = cpu_of(scx_bpf_task_cpu(p));

	scx_bpf_dsq_insert_vtime(p, others_queue(cpu ? cpu->node : 0), others_slice(), vtime_of(p), flags);
	woke_idle(p, flags);
}

/* The kernel's own work on one CPU: lanes wait for it, too. */
static bool is_cpus_own(struct task_struct *p)
{
	struct task_struct___scx *task = (void *)p;

	return task->flags & PF_KTHREAD && task->nr_cpus_allowed == 1;
}

SEC("struct_ops/select_cpu") s32 BPF_PROG(llmos_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 number = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle)
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, class_of(p) ? lanes_slice() : others_slice(), 0);
	return number;
}

SEC("struct_ops/enqueue") void BPF_PROG(llmos_enqueue, struct task_struct *p, u64 enq_flags)
{
	u32 class = class_of(p);

	if (class)
		enqueue_lane(p, class, enq_flags);
	else if (is_cpus_own(p))
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, others_slice(), enq_flags | SCX_ENQ_PREEMPT);
	else
		enqueue_other(p, enq_flags);
}

/* ---- a CPU wants a thread ---- */

#define PROMOTE_MAX	32

/* One that came to have a turn, or to feed one, while it stood among the others. */
static bool take_promoted(u32 node, s32 number)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	bool taken = false;
	u32 looked = 0;

	bpf_iter_scx_dsq_new(&it, others_queue(node), 0);
	while (!taken && looked++ < PROMOTE_MAX && (p = bpf_iter_scx_dsq_next(&it))) {
		if (!llmos_task_class(p) || !bpf_cpumask_test_cpu(number, cpus_allowed(p)))
			continue;
		scx_bpf_dsq_move_set_slice(&it, lanes_slice());
		taken = scx_bpf_dsq_move(&it, p, SCX_DSQ_LOCAL, 0);
	}
	bpf_iter_scx_dsq_destroy(&it);
	if (taken)
		COUNT(promoted, 1);
	return taken;
}

/* Who runs stands in no queue: is it still the first? */
static bool stays_first(struct cpu *cpu, struct task_struct *prev)
{
	struct task_struct *next = scx_bpf_dsq_peek(others_queue(cpu->node));

	return !next || before(scx(prev)->dsq_vtime, scx(next)->dsq_vtime);
}

/* The others' right, once lanes' threads have had the CPU for too long. */
static bool take_due(struct cpu *cpu)
{
	bool wanted = scx_bpf_dsq_nr_queued(others_queue(cpu->node)) > 0;

	if (wanted && cpu->lanes_ns >= lanes_max()) {
		cpu->lanes_ns = 0;
		cpu->due_ns = others_slice();
		COUNT(dues, 1);
	}
	if (wanted && cpu->due_ns && scx_bpf_dsq_move_to_local(others_queue(cpu->node)))
		return true;
	cpu->due_ns = 0;
	if (!wanted)
		cpu->lanes_ns = 0;
	return false;
}

/* Work of another node rather than none. */
static bool take_remote(u32 own)
{
	bool taken = false;
	struct numbers it;
	s32 *node;

	numbers_begin(&it, 0, scx_bpf_nr_node_ids());
	while (!taken && (node = numbers_next(&it))) {
		if ((u32)*node != own)
			taken = scx_bpf_dsq_move_to_local(lanes_queue(*node)) ||
				scx_bpf_dsq_move_to_local(others_queue(*node));
	}
	numbers_end(&it);
	return taken;
}

SEC("struct_ops/dispatch") void BPF_PROG(llmos_dispatch, s32 number, struct task_struct *prev)
{
	struct cpu *cpu = cpu_of(number);
	bool goes_on = prev && scx(prev)->flags & SCX_TASK_QUEUED;

	if (!cpu)
		return;
	if (prev)
		account(cpu, prev);
	if (goes_on)
		occupy(cpu, prev);
	cpu->kicked = false;
	if (take_due(cpu) || scx_bpf_dsq_move_to_local(lanes_queue(cpu->node)))
		return;
	if (goes_on && cpu->occupant == LANE) {
		scx_bpf_task_set_slice(prev, lanes_slice());
		return;
	}
	if (take_promoted(cpu->node, number))
		return;
	if (!(goes_on && stays_first(cpu, prev)) &&
	    (scx_bpf_dsq_move_to_local(others_queue(cpu->node)) || take_remote(cpu->node)))
		return;
	if (goes_on)
		scx_bpf_task_set_slice(prev, others_slice());
}

/* ---- a thread has a CPU ---- */

SEC("struct_ops/running") void BPF_PROG(llmos_running, struct task_struct *p)
{
	struct cpu *cpu = cpu_of(scx_bpf_task_cpu(p));

	if (!cpu)
		return;
	cpu->since = scx_bpf_now();
	occupy(cpu, p);
	if (cpu->occupant == OTHER && before(virtual_time, scx(p)->dsq_vtime))
		virtual_time = scx(p)->dsq_vtime;
}

SEC("struct_ops/stopping") void BPF_PROG(llmos_stopping, struct task_struct *p, bool runnable)
{
	struct cpu *cpu = cpu_of(scx_bpf_task_cpu(p));

	if (!cpu)
		return;
	account(cpu, p);
	cpu->occupant = NOBODY;
}

/* Turns come and go while threads run; and a kick that went wrong costs no more than a tick. */
SEC("struct_ops/tick") void BPF_PROG(llmos_tick, struct task_struct *p)
{
	struct cpu *cpu = cpu_of(scx_bpf_task_cpu(p));
	bool over;

	if (!cpu)
		return;
	account(cpu, p);
	occupy(cpu, p);
	if (cpu->occupant == LANE)
		over = cpu->lanes_ns >= lanes_max() && scx_bpf_dsq_nr_queued(others_queue(cpu->node)) > 0;
	else
		over = !cpu->due_ns && scx_bpf_dsq_nr_queued(lanes_queue(cpu->node)) > 0;
	if (over)
		scx_bpf_task_set_slice(p, 0);
}

SEC("struct_ops/enable") void BPF_PROG(llmos_enable, struct task_struct *p)
{
	scx_bpf_task_set_dsq_vtime(p, virtual_time);
}

/* ---- beginning and end ---- */

/* Without these the kernel throws a scheduler out when a CPU comes or goes. */
SEC("struct_ops/cpu_online") void BPF_PROG(llmos_cpu_online, s32 number)
{
}

SEC("struct_ops/cpu_offline") void BPF_PROG(llmos_cpu_offline, s32 number)
{
}

static void find_nodes(void)
{
	struct cpu *cpu;
	struct numbers it;
	s32 *i;

	numbers_begin(&it, 0, scx_bpf_nr_cpu_ids());
	while ((i = numbers_next(&it))) {
		cpu = cpu_of(*i);
		if (cpu)
			cpu->node = scx_bpf_cpu_node(*i);
	}
	numbers_end(&it);
}

static s32 make_queues(void)
{
	struct numbers it;
	s32 *node, ret = 0;

	numbers_begin(&it, 0, scx_bpf_nr_node_ids());
	while (!ret && (node = numbers_next(&it))) {
		ret = scx_bpf_create_dsq(lanes_queue(*node), *node);
		if (!ret)
			ret = scx_bpf_create_dsq(others_queue(*node), *node);
	}
	numbers_end(&it);
	return ret;
}

SEC("struct_ops.s/init") s32 BPF_PROG(llmos_init)
{
	if (scx_bpf_nr_cpu_ids() > CPUS)
		return -7;	/* E2BIG */
	find_nodes();
	return make_queues();
}

SEC("struct_ops/exit") void BPF_PROG(llmos_exit, struct scx_exit_info *info)
{
	struct llmos_scx_end *ended = LLMOS_GET(llmos_scx_end);

	if (!ended)
		return;
	ended->kind = info->kind;
	ended->code = info->exit_code;
	bpf_probe_read_kernel_str(ended->reason, sizeof(ended->reason), info->reason);
	bpf_probe_read_kernel_str(ended->message, sizeof(ended->message), info->msg);
}

SEC(".struct_ops.link") struct sched_ext_ops scx_llmos = {
	.select_cpu = (void *)llmos_select_cpu,
	.enqueue = (void *)llmos_enqueue,
	.dispatch = (void *)llmos_dispatch,
	.tick = (void *)llmos_tick,
	.running = (void *)llmos_running,
	.stopping = (void *)llmos_stopping,
	.enable = (void *)llmos_enable,
	.cpu_online = (void *)llmos_cpu_online,
	.cpu_offline = (void *)llmos_cpu_offline,
	.init = (void *)llmos_init,
	.exit = (void *)llmos_exit,
	.timeout_ms = 10000,
	.name = "llmos",
};
