// SPDX-License-Identifier: MIT
// Policies for CPUs (scx_NAME): what the kernel's sched_ext says of them, and the maps that they leave in /sys/fs/bpf.
#pragma once

#include <optional>
#include <string>

namespace llmosctl {

// By their names: they answer no hook of ours.
bool is_scheduler(const std::string& policy);

// Throws Error, which says what stands in the way: EOPNOTSUPP, no sched_ext; EBUSY, another scheduler.
void require_sched_ext();

// Why a scheduler that is attached does not run any more; nothing while it does.
std::optional<std::string> scheduler_end(const std::string& policy);

// Once nothing holds it any more: waits until the kernel's own schedules again, and removes its maps. Throws
// Error(EBUSY).
void forget_scheduler(const std::string& policy);

}  // namespace llmosctl
