// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets faults on models sleep where a fault may: at the beginning of one function
 * of the kernel's, in the midst of ->fault or behind it. For tests alone.
 *
 * As live patching does it: ftrace sends callers of the function here, but for
 * the call from here.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>

static char *function = "finish_fault";
module_param(function, charp, 0444);
MODULE_PARM_DESC(function, "of one argument, struct vm_fault *");

static unsigned int ms = 500;
module_param(ms, uint, 0444);
MODULE_PARM_DESC(ms, "how long a fault sleeps");

static vm_fault_t (*original)(struct vm_fault *vmf);
static atomic_t sleeping;

static bool is_of_model(const struct vm_fault *vmf)
{
	const struct file *file = vmf->vma->vm_file;

	return file && !strcmp(file_inode(file)->i_sb->s_type->name, "llmos_models");
}

static noinline vm_fault_t replacement(struct vm_fault *vmf)
{
	vm_fault_t ret;

	atomic_inc(&sleeping);
	if (is_of_model(vmf))
		msleep(ms);
	ret = original(vmf);
	atomic_dec(&sleeping);	/* and so the call above returns here */
	return ret;
}

static void notrace redirect(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			     struct ftrace_regs *regs)
{
	if (!within_module(parent_ip, THIS_MODULE))
		ftrace_regs_set_instruction_pointer(regs, (unsigned long)replacement);
}

static struct ftrace_ops ops = {
	.func = redirect,
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

static int find_original(void)
{
	struct kprobe probe = { .symbol_name = function };
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	original = (void *)probe.addr;
	unregister_kprobe(&probe);
	return 0;
}

static int __init sleeper_init(void)
{
	int ret = find_original();

	if (ret)
		return ret;
	ret = ftrace_set_filter(&ops, function, strlen(function), 1) ?: register_ftrace_function(&ops);
	if (ret)
		ftrace_free_filter(&ops);
	return ret;
}

static void __exit sleeper_exit(void)
{
	unregister_ftrace_function(&ops);
	do {
		msleep(20);	/* who has left the counter still has to return */
	} while (atomic_read(&sleeping));
	msleep(20);
	ftrace_free_filter(&ops);
}

module_init(sleeper_init);
module_exit(sleeper_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The llmos authors");
MODULE_DESCRIPTION("Test module that lets faults sleep");
