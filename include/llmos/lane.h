/* SPDX-License-Identifier: MIT */
/*
 * Lanes: streams of device work that take turns. Part of llmos.h; linux/llmos.h
 * tells what a lane is. The kernel module does all of it, so everything here
 * fails with ENODEV where it is not loaded.
 *
 *   struct llmos_lane_create lane = { .device = "cpu", .name = "chat" };
 *   int fd = llmos_lane_open(&lane);
 *   while (llmos_lane_acquire(fd, NULL) == 0) {
 *           uint64_t ns = one_step();
 *           llmos_lane_release(fd, ns);
 *   }
 */
#ifndef LLMOS_LLMOS_H
#error "include <llmos/llmos.h>"
#endif
#ifndef LLMOS_LANE_H
#define LLMOS_LANE_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes a lane of the cgroup that the caller is in, and returns its descriptor:
 * the lane, with its turn or its place in the queue, lasts until the last copy is
 * closed. POLLIN says that the lane has a turn.
 *
 * Errors: ENODEV (no module, no such device), EINVAL (a name, a weight), ENOSPC
 * (the machine has as many lanes as /sys/fs/llmos/lanes/max allows), EACCES.
 */
LLMOS_API int llmos_lane_open(const struct llmos_lane_create *lane);

/*
 * Waits for a turn. `turn` may be NULL: no time-out, and deadline and cost as the
 * lane was made. With LLMOS_LANE_NONBLOCK it does not wait: EAGAIN, and the lane
 * stays in the queue; when its descriptor polls readable, another call collects
 * the turn. Fields marked "out" are written when there is a turn.
 *
 * Errors: EAGAIN, ETIMEDOUT, EINTR (a signal; the lane has left the queue), EBUSY
 * (it has a turn), EALREADY (another thread waits on it), ECANCELED, ENODEV (the
 * device was removed: for ever).
 */
LLMOS_API int llmos_lane_acquire(int lane, struct llmos_lane_turn *turn);

/*
 * Reports turn->used_ns and goes on: 0 when the lane has a turn, the old one if
 * its slice lasts, or another that was waited for as by llmos_lane_acquire().
 * Between the steps of one stream this is fairer than release and acquire: a
 * lane that asks only after its turn has ended lets another by each time.
 *
 * Errors: as llmos_lane_acquire(), after EINTR too it was reported; EPERM (it had no turn), ESTALE (the turn was
 * taken away meanwhile, as the holder was silent for too long).
 */
LLMOS_API int llmos_lane_yield(int lane, struct llmos_lane_turn *turn);

/* Ends the turn. `used_ns`: device time since the last report; at least the time
 * that the turn was held is charged. Errors: EPERM, ESTALE, ENODEV. */
LLMOS_API int llmos_lane_release(int lane, uint64_t used_ns);

/* Leaves the queue; who waits gets ECANCELED. Errors: ENOENT (it does not wait). */
LLMOS_API int llmos_lane_cancel(int lane);

/* What the lane is and has used so far. */
LLMOS_API int llmos_lane_stat(int lane, struct llmos_lane_stat *stat);

/*
 * Calls `each` once for every lane that is open in a process which the caller may
 * look into (its own; all, for root), with one of the processes that have it.
 * Stops with its result when that is not 0.
 */
typedef int (*llmos_lane_fn)(void *context, const struct llmos_lane_stat *lane, pid_t pid);
LLMOS_API int llmos_lanes(llmos_lane_fn each, void *context);

#ifdef __cplusplus
}
#endif

#endif /* LLMOS_LANE_H */
