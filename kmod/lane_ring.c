// SPDX-License-Identifier: GPL-2.0-only
/*
 * A lane's commands by io_uring. One that waits is completed in its submitter's
 * context, from wherever the turn was given; once that is queued, neither the
 * command nor its data may be touched. The ring's end, and so its process's,
 * reaches a waiting command by IO_URING_F_CANCEL.
 */
#include <linux/io_uring/cmd.h>
#include <linux/jiffies.h>
#include <linux/uaccess.h>

#include "device.h"
#include "lane.h"

struct command_data {
	int result;
};

static struct llmos_lane *lane_of(struct io_uring_cmd *command)
{
	return command->file->private_data;
}

static struct llmos_lanes *lanes_of(struct llmos_lane *lane)
{
	return &lane->device->lanes;
}

/* ---- the end of a wait ---- */

static void LLMOS_URING_TASK_WORK(command_finish)
{
	LLMOS_URING_TASK_WORK_ARGS

	llmos_uring_cmd_done(command, io_uring_cmd_to_pdu(command, struct command_data)->result,
			     issue_flags);
}

/* Takes the command off the lane: whoever does must complete it. */
static struct io_uring_cmd *command_take(struct llmos_lane *lane)
{
	struct io_uring_cmd *command = lane->command;

	lane->command = NULL;
	lane->asked = false;
	timer_delete(&lane->timeout);
	return command;
}

void llmos_lane_complete(struct llmos_lane *lane, int result)
{
	struct io_uring_cmd *command = command_take(lane);

	lockdep_assert_held(&lanes_of(lane)->lock);
	io_uring_cmd_to_pdu(command, struct command_data)->result = result;
	io_uring_cmd_complete_in_task(command, command_finish);
}

static void command_arm(struct llmos_lane *lane, u64 now)
{
	u64 until = lane->command_until_ns;

	if (until != U64_MAX)
		mod_timer(&lane->timeout,
			  jiffies + nsecs_to_jiffies(until > now ? until - now : 0) + 1);
}

/* Too early where jiffies lag behind the clock, or where another command waits by now. */
void llmos_lane_timeout(struct timer_list *timer)
{
	struct llmos_lane *lane = container_of(timer, struct llmos_lane, timeout);
	u64 now;

	spin_lock(&lanes_of(lane)->lock);
	now = ktime_get_ns();
	if (lane->command && now >= lane->command_until_ns) {
		llmos_lane_complete(lane, -ETIMEDOUT);
		llmos_turn_unqueue(lane);
	} else if (lane->command) {
		command_arm(lane, now);
	}
	spin_unlock(&lanes_of(lane)->lock);
}

/* The ring goes away, or the process does. */
static int command_cancel(struct io_uring_cmd *command, unsigned int issue_flags)
{
	struct llmos_lane *lane = lane_of(command);
	bool mine;

	spin_lock_bh(&lanes_of(lane)->lock);
	mine = lane->command == command;
	if (mine) {
		command_take(lane);
		llmos_turn_unqueue(lane);
	}
	spin_unlock_bh(&lanes_of(lane)->lock);
	if (mine)
		llmos_uring_cmd_done(command, -ECANCELED, issue_flags);
	return 0;
}

/* ---- waiting ---- */

static void command_set_timeout(struct llmos_lane *lane, u64 timeout_ns)
{
	u64 now = ktime_get_ns();

	lane->command_until_ns = timeout_ns ? now + min(timeout_ns, (u64)S64_MAX / 4) : U64_MAX;
	command_arm(lane, now);
}

/*
 * The lane is queued, and asked for by nobody but this command. A command that
 * was marked cancelable must be completed as such, even if the turn has come.
 */
static int command_wait(struct io_uring_cmd *command, u64 timeout_ns, unsigned int issue_flags)
{
	struct llmos_lane *lane = lane_of(command);
	bool over;
	int ret = 0;

	io_uring_cmd_mark_cancelable(command, issue_flags);
	spin_lock_bh(&lanes_of(lane)->lock);
	over = lane->state != LLMOS_LANE_WAITING;
	if (over) {
		lane->asked = false;
		ret = llmos_lane_outcome(lane);
	} else {
		lane->command = command;
		command_set_timeout(lane, timeout_ns);
	}
	spin_unlock_bh(&lanes_of(lane)->lock);
	if (over)
		llmos_uring_cmd_done(command, ret, issue_flags);
	return -EIOCBQUEUED;
}

/* The entry lies in memory that its submitter may still write: read once. */
static int command_read(const struct io_uring_cmd *command, struct llmos_lane_turn *turn)
{
	const struct llmos_lane_command *data = (const void *)command->sqe->cmd;
	void __user *address = u64_to_user_ptr(READ_ONCE(data->turn));
	u32 size;

	if (READ_ONCE(data->reserved))
		return -EINVAL;
	if (get_user(size, (u32 __user *)address))
		return -EFAULT;
	if (size < sizeof(size))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(turn, sizeof(*turn), address, size);
}

static int command_run(struct io_uring_cmd *command, struct llmos_lane_turn *turn)
{
	struct llmos_lane *lane = lane_of(command);

	switch (command->cmd_op) {
	case LLMOS_LANE_ACQUIRE:
		return llmos_lane_acquire(lane, turn, LLMOS_ASKER_COMMAND);
	case LLMOS_LANE_YIELD:
		return llmos_lane_yield(lane, turn, LLMOS_ASKER_COMMAND);
	case LLMOS_LANE_RELEASE:
		return llmos_lane_release(lane, turn);
	case LLMOS_LANE_CANCEL:
		return llmos_lane_cancel(lane, turn);
	}
	return -ENOTTY;
}

int llmos_lane_uring_cmd(struct io_uring_cmd *command, unsigned int issue_flags)
{
	struct llmos_lane_turn turn;
	int ret;

	if (issue_flags & IO_URING_F_CANCEL)
		return command_cancel(command, issue_flags);
	ret = command_read(command, &turn);
	if (!ret)
		ret = command_run(command, &turn);
	return ret == -EIOCBQUEUED ? command_wait(command, turn.timeout_ns, issue_flags) : ret;
}
