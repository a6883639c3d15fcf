// SPDX-License-Identifier: MIT
// The class of the task with this number, or -ESRCH: what a scheduler is told, for tests to look at.
#include <llmos/policy.bpf.h>

char LICENSE[] SEC("license") = "GPL";

extern struct task_struct *bpf_task_from_pid(s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;

struct request {
	s32 pid;
};

SEC("syscall") int task_class(struct request *request)
{
	struct task_struct *task = bpf_task_from_pid(request->pid);
	int class;

	if (!task)
		return -3;
	class = llmos_task_class(task);
	bpf_task_release(task);
	return class;
}

/* No task at all: told that it has no class, and nothing happens. */
SEC("syscall") int no_task(struct request *request)
{
	return llmos_task_class((void *)(long)request->pid) || llmos_task_class((void *)0xffff800000000000) ||
	       llmos_task_class((void *)~0ull);
}
