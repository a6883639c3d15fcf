// SPDX-License-Identifier: MIT
#include "simt/simt.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "simt/fiber.hpp"

namespace simt {
namespace {

constexpr size_t worth_sharing = 16384;  // threads in a grid, from which on several OS threads are worth their start
constexpr int poison = 0xCB;

std::string place(const Site& site) {
  return std::string(site.what) + " at " + site.file + ":" + std::to_string(site.line);
}

struct Copy {
  void* to;
  const void* from;  // nullptr: zeros
  size_t bytes;
};

struct Thread {
  Fiber fiber;
  Coordinates here;
  unsigned warp = 0;
  std::vector<Copy> copies;  // under way
};

// Threads that wait for one another: at a block's barrier, or lanes of one mask.
struct Meeting {
  const Site* site = nullptr;  // where those who wait do so
  std::vector<Thread*> waiting;
};

struct Collective : Meeting {
  explicit Collective(unsigned lanes) : mask(lanes) {}
  const unsigned mask;
  unsigned generation = 0;
  std::byte slots[2][32][most_exchanged_bytes];
};

struct Warp {
  unsigned lanes = 0;  // that exist and have not ended
  std::vector<std::unique_ptr<Collective>> collectives;
};

struct SharedArray {
  const Site* site;
  size_t bytes;
  std::byte* memory;
};

class Block {
 public:
  Block(dim3 grid, dim3 size, const std::function<void()>& body, const Schedule& schedule, const Stacks& stacks);
  ~Block() { forget_shared(); }

  void run(uint3 index);

  void barrier(const Site& site);
  Slots exchange(unsigned mask, const void* value, size_t bytes, const Site& site);
  void* shared(const Site& site, size_t bytes);
  std::vector<Copy>& copies() { return current_->copies; }

 private:
  static void entry();
  void fail(const std::string& message);
  void wait();
  void go_on(Thread* from, bool last);
  Thread* next();
  void join(Meeting& meeting, const Site& site);
  void release(Meeting& meeting);
  void end();
  void forget_shared();

  const dim3 grid_, size_;
  const std::function<void()>& body_;
  const Schedule schedule_;
  const Stacks& stacks_;
  const unsigned count_;
  std::unique_ptr<Thread[]> threads_;
  std::vector<Warp> warps_;
  std::vector<Thread*> ready_;
  size_t first_ready_ = 0;
  Meeting barrier_;
  Fiber outside_;
  Thread* current_ = nullptr;
  unsigned alive_ = 0;
  uint32_t random_ = 0;
  std::vector<SharedArray> shared_;
  size_t shared_bytes_ = 0;
  std::string fault_;
};

thread_local Block* running = nullptr;

Block::Block(dim3 grid, dim3 size, const std::function<void()>& body, const Schedule& schedule, const Stacks& stacks)
    : grid_(grid),
      size_(size),
      body_(body),
      schedule_(schedule),
      stacks_(stacks),
      count_(size.x * size.y * size.z),
      threads_(new Thread[count_]),
      warps_((count_ + 31) / 32) {
  for (unsigned i = 0; i < count_; i++) {
    threads_[i].here = {.thread = {i % size.x, i / size.x % size.y, i / (size.x * size.y)},
                        .block = {},
                        .threads = size,
                        .blocks = grid,
                        .lane = i % 32};
    threads_[i].warp = i / 32;
  }
}

void Block::run(uint3 index) {
  running = this;
  random_ = schedule_.seed + 7919 * index.x + 104729 * index.y + 1299709 * index.z;
  alive_ = count_;
  ready_.clear();
  first_ready_ = 0;
  forget_shared();
  for (Warp& warp : warps_) warp.lanes = 0;
  for (unsigned i = 0; i < count_; i++) {
    Thread& thread = threads_[i];
    thread.here.block = index;
    thread.copies.clear();
    thread.fiber.prepare(stacks_[i], entry);
    warps_[thread.warp].lanes |= 1u << thread.here.lane;
    ready_.push_back(&thread);
  }
  current_ = next();
  here_now = &current_->here;
  outside_.switch_to(current_->fiber);
  running = nullptr;
  if (!fault_.empty()) throw Fault(fault_);
}

void Block::entry() {
  Fiber::started();
  Block& block = *running;
  try {
    block.body_();
    block.end();
  } catch (const std::exception& error) {
    block.fail(error.what());
  }
  block.go_on(nullptr, true);
}

// Ends the launch: whoever is current leaves, nobody else goes on.
void Block::fail(const std::string& message) {
  const uint3 block = current_->here.block, thread = current_->here.thread;
  const auto name = [](uint3 i) {
    return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
  };
  fault_ = message + ", in block " + name(block) + " thread " + name(thread);
  ready_.clear();
  first_ready_ = 0;
}

Thread* Block::next() {
  const size_t count = ready_.size() - first_ready_;
  if (count == 0) return nullptr;
  if (schedule_.order == Order::lifo) {
    Thread* last = ready_.back();
    ready_.pop_back();
    return last;
  }
  if (schedule_.order == Order::random) {
    random_ = random_ * 1664525u + 1013904223u;
    std::swap(ready_[first_ready_], ready_[first_ready_ + (random_ >> 8) % count]);
  }
  Thread* first = ready_[first_ready_++];
  if (first_ready_ == ready_.size()) {
    ready_.clear();
    first_ready_ = 0;
  }
  return first;
}

// Runs the next thread that can run; without one the block has ended, or is stuck.
void Block::go_on(Thread* from, bool last) {
  Thread* to = fault_.empty() ? next() : nullptr;
  if (!to && alive_ > 0 && fault_.empty()) {
    std::string where;
    for (const Warp& warp : warps_)
      for (const auto& one : warp.collectives)
        if (!one->waiting.empty()) where = place(*one->site);
    if (!barrier_.waiting.empty()) where = place(*barrier_.site);
    fail(std::to_string(alive_) + " threads wait for one another, some of them in " + where);
  }
  Thread* const self = current_;
  if (to && to == from) return;
  current_ = to;
  if (to) here_now = &to->here;
  self->fiber.switch_to(to ? to->fiber : outside_, last);
}

void Block::wait() { go_on(current_, false); }

void Block::join(Meeting& meeting, const Site& site) {
  if (meeting.waiting.empty()) meeting.site = &site;
  if (meeting.site != &site)
    throw Fault("some threads are in " + place(site) + " while others are in " + place(*meeting.site));
  meeting.waiting.push_back(current_);
}

void Block::release(Meeting& meeting) {
  for (Thread* thread : meeting.waiting)
    if (thread != current_) ready_.push_back(thread);
  meeting.waiting.clear();
}

void Block::barrier(const Site& site) {
  if (alive_ < count_) throw Fault(place(site) + " is not reached by threads that have ended");
  join(barrier_, site);
  if (barrier_.waiting.size() < count_) return wait();
  release(barrier_);
}

Slots Block::exchange(unsigned mask, const void* value, size_t bytes, const Site& site) {
  Warp& warp = warps_[current_->warp];
  const unsigned lane = current_->here.lane;
  if (!(mask >> lane & 1)) throw Fault("the mask of " + place(site) + " leaves out the lane that calls it");
  if (mask & ~warp.lanes) throw Fault("the mask of " + place(site) + " names lanes that are not there, or have ended");
  auto found = std::find_if(warp.collectives.begin(), warp.collectives.end(),
                            [&](const auto& one) { return one->mask == mask; });
  if (found == warp.collectives.end()) found = warp.collectives.insert(found, std::make_unique<Collective>(mask));
  Collective& all = **found;
  const unsigned side = all.generation & 1;  // the other side may still be read by lanes that were slow to wake
  std::memcpy(all.slots[side][lane], value, bytes);
  join(all, site);
  if (all.waiting.size() < static_cast<unsigned>(__builtin_popcount(mask))) {
    wait();
  } else {
    all.generation++;
    release(all);
  }
  return all.slots[side];
}

void* Block::shared(const Site& site, size_t bytes) {
  for (const SharedArray& array : shared_)
    if (array.site == &site) return array.memory;
  shared_bytes_ += bytes;
  if (shared_bytes_ > most_shared_bytes) throw Fault("more than 48 KiB of static shared memory, " + place(site));
  auto* memory = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{16}));
  std::memset(memory, poison, bytes);
  shared_.push_back({&site, bytes, memory});
  return memory;
}

void Block::forget_shared() {
  for (const SharedArray& array : shared_) ::operator delete (array.memory, std::align_val_t{16});
  shared_.clear();
  shared_bytes_ = 0;
}

void Block::end() {
  if (!current_->copies.empty()) throw Fault("a thread ended and did not wait for its copies");
  Warp& warp = warps_[current_->warp];
  const unsigned lane = 1u << current_->here.lane;
  if (!barrier_.waiting.empty()) throw Fault("a thread ended while others wait in " + place(*barrier_.site));
  for (const auto& one : warp.collectives)
    if (!one->waiting.empty() && (one->mask & lane))
      throw Fault("a lane ended while others wait for it in " + place(*one->site));
  warp.lanes &= ~lane;
  alive_--;
}

Stacks& stacks_for(unsigned count) {
  static thread_local std::unique_ptr<Stacks> stacks;
  if (!stacks || stacks->count() < count) stacks = std::make_unique<Stacks>(count);
  return *stacks;
}

}  // namespace

constinit thread_local const Coordinates* here_now = nullptr;

void block_barrier(const Site& site) { running->barrier(site); }
Slots exchange(unsigned mask, const void* value, size_t bytes, const Site& site) {
  return running->exchange(mask, value, bytes, site);
}
void* shared(const Site& site, size_t bytes) { return running->shared(site, bytes); }

void copy_async(void* to, const void* from, size_t bytes) {
  for (const void* place : {const_cast<const void*>(to), from})
    if (reinterpret_cast<uintptr_t>(place) % bytes != 0) misaligned(place, bytes);
  running->copies().push_back({to, from, bytes});
}

void wait_for_copies() {
  for (const Copy& copy : running->copies())
    copy.from ? static_cast<void>(std::memcpy(copy.to, copy.from, copy.bytes))
              : static_cast<void>(std::memset(copy.to, 0, copy.bytes));
  running->copies().clear();
}

void misaligned(const void* address, size_t bytes) {
  throw Fault("a load of " + std::to_string(bytes) + " bytes from the address ..." +
              std::to_string(reinterpret_cast<uintptr_t>(address) % 256) + " is misaligned");
}

void launch(dim3 grid, dim3 block, const std::function<void()>& body, const Schedule& schedule) {
  const size_t blocks = size_t{grid.x} * grid.y * grid.z, threads = size_t{block.x} * block.y * block.z;
  if (blocks == 0 || threads == 0 || threads > most_threads || grid.y > 65535 || grid.z > 65535)
    throw Fault("a launch of " + std::to_string(blocks) + " blocks of " + std::to_string(threads) + " threads");
  std::atomic<size_t> taken{0};
  std::mutex mutex;
  std::string fault;
  const auto work = [&] {
    try {
      Block one(grid, block, body, schedule, stacks_for(static_cast<unsigned>(threads)));
      for (size_t i; (i = taken++) < blocks;)
        one.run({static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                 static_cast<unsigned>(i / (size_t{grid.x} * grid.y))});
    } catch (const Fault& error) {
      const std::lock_guard lock(mutex);
      fault = error.what();
      taken = blocks;
    }
  };
  std::vector<std::thread> others;
  if (blocks * threads >= worth_sharing)
    for (size_t i = 1; i < std::min<size_t>(schedule.workers, blocks); i++) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  if (!fault.empty()) throw Fault(fault);
}

}  // namespace simt
