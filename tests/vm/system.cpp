// SPDX-License-Identifier: MIT
#include "system.hpp"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

namespace llmos::guest {

// ---- files ----

std::string read_file(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) throw_errno(path);
  std::string text;
  char part[4096];
  ssize_t n;
  while ((n = read(fd, part, sizeof(part))) > 0) text.append(part, n);
  if (n < 0) throw_errno(path);
  return text;
}

uint64_t read_number(const std::string& path) {
  const std::string text = read_file(path);
  return text == "max\n" ? UINT64_MAX : std::stoull(text);
}

int write_file(const std::string& path, const std::string& text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd < 0) return -1;
  return write(fd, text.data(), text.size()) < 0 ? -1 : 0;
}

void must_write(const std::string& path, const std::string& text) {
  if (write_file(path, text)) throw_errno("writing \"" + text + "\" to " + path);
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// "always [madvise] never" is put back as "madvise".
static std::string chosen(const std::string& text) {
  const auto begin = text.find('['), end = text.find(']');
  return begin == std::string::npos ? text : text.substr(begin + 1, end - begin - 1);
}

Setting::Setting(std::string path, const std::string& text) : path_(std::move(path)), saved_(chosen(read_file(path_))) {
  must_write(path_, text);
}

Setting::~Setting() { write_file(path_, saved_); }

uint64_t memory_current() { return read_number("/sys/fs/llmos/memory.current"); }

static uint64_t kilobytes_line(std::istream& file, const std::string& key) {
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1)) * KiB;
  errno = ENOENT;
  throw_errno("line " + key);
}

uint64_t meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  return kilobytes_line(file, key);
}

static std::ifstream smaps_at(const void* address, const std::string& pid) {
  const auto wanted = reinterpret_cast<uint64_t>(address);
  std::ifstream file("/proc/" + pid + "/smaps");
  for (std::string line; std::getline(file, line);) {
    uint64_t begin, end;
    char rights;
    if (sscanf(line.c_str(), "%lx-%lx %c", &begin, &end, &rights) == 3 && begin <= wanted && wanted < end) return file;
  }
  errno = ENOENT;
  throw_errno("no mapping at that address");
}

uint64_t smaps(const void* address, const std::string& key, const std::string& pid) {
  auto file = smaps_at(address, pid);
  return kilobytes_line(file, key);
}

std::string vm_flags(const void* address) {
  auto file = smaps_at(address, "self");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("VmFlags:")) {
  }
  return line;
}

std::vector<uint64_t> page_frames(const void* address, uint64_t bytes) {
  const Fd fd(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::vector<uint64_t> entries(bytes / page);
  const auto at = reinterpret_cast<uint64_t>(address) / page * 8;
  if (pread(fd, entries.data(), entries.size() * 8, static_cast<off_t>(at)) != static_cast<ssize_t>(entries.size() * 8))
    throw_errno("/proc/self/pagemap");
  for (uint64_t& entry : entries) entry = entry >> 63 ? entry & ((1ULL << 55) - 1) : 0;
  return entries;
}

bool eventually(const std::function<bool()>& condition, double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    usleep(2000);
  }
  return true;
}

// ---- programs ----

Output shell(const std::string& command) {
  fflush(nullptr);
  FILE* pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "re");
  if (!pipe) throw_errno("popen");
  Output output = {0, ""};
  char part[4096];
  while (const size_t n = fread(part, 1, sizeof(part), pipe)) output.text.append(part, n);
  const int status = pclose(pipe);
  output.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

std::string must_shell(const std::string& command) {
  Output output = shell(command);
  if (output.status)
    throw std::runtime_error(command + ": status " + std::to_string(output.status) + "\n" + output.text);
  if (output.text.ends_with('\n')) output.text.pop_back();
  return output.text;
}

bool have_program(const std::string& name) { return shell("command -v " + name).status == 0; }

// ---- cgroups ----

Cgroup::Cgroup(const std::string& name, const std::string& parent) : path_(parent + "/" + name) {
  if (mkdir(path_.c_str(), 0755)) throw_errno(path_);
}

Cgroup::~Cgroup() {
  eventually([this] { return rmdir(path_.c_str()) == 0 || errno != EBUSY; });
}

uint64_t Cgroup::id() const {
  struct stat stat;
  if (::stat(path_.c_str(), &stat)) throw_errno(path_);
  return stat.st_ino;
}

void Cgroup::enter() const { must_write(path_ + "/cgroup.procs", "0"); }

uint64_t Cgroup::event(const std::string& name) const {
  std::istringstream events(read_file(path_ + "/memory.events"));
  std::string key;
  for (uint64_t value; events >> key >> value;)
    if (key == name) return value;
  return 0;
}

Fd Cgroup::open() const { return Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

// ---- scratch files ----

ScratchFile::ScratchFile(const std::string& name, uint64_t bytes, uint64_t seed) : path_(scratch + "/" + name) {
  const Fd fd(::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd < 0) throw_errno(path_);
  if (bytes) write_pattern(fd, bytes, seed);
  if (fsync(fd)) throw_errno("fsync");
}

ScratchFile::~ScratchFile() { unlink(path_.c_str()); }

Fd ScratchFile::open(int flags) const {
  Fd fd(::open(path_.c_str(), flags | O_CLOEXEC));
  if (fd < 0) throw_errno(path_);
  return fd;
}

// ---- device mapper ----

namespace {

struct DmCall {
  dm_ioctl head;
  char body[4096];
};

Fd dm_control() {
  shell("modprobe -a dm_mod dm_zero dm_delay");
  Fd fd(open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
  if (fd < 0) {
    errno = ENODEV;
    throw_errno("the device mapper");
  }
  return fd;
}

DmCall dm_call(const std::string& name, uint32_t flags = 0) {
  DmCall call = {};
  call.head.version[0] = DM_VERSION_MAJOR;
  call.head.data_size = sizeof(call);
  call.head.data_start = offsetof(DmCall, body);
  call.head.flags = flags;
  strncpy(call.head.name, name.c_str(), sizeof(call.head.name) - 1);
  return call;
}

void dm_load(DmCall& call, const std::vector<MappedDisk::Target>& targets) {
  uint64_t sector = 0;
  size_t at = 0;
  for (const auto& target : targets) {
    dm_target_spec spec = {};
    spec.sector_start = sector;
    spec.length = target.bytes / 512;
    strncpy(spec.target_type, target.type.c_str(), sizeof(spec.target_type) - 1);
    spec.next = (sizeof(spec) + target.arguments.size() + 1 + 7) / 8 * 8;
    memcpy(call.body + at, &spec, sizeof(spec));
    memcpy(call.body + at + sizeof(spec), target.arguments.c_str(), target.arguments.size() + 1);
    at += spec.next;
    sector += spec.length;
  }
  call.head.target_count = targets.size();
}

}  // namespace

MappedDisk::MappedDisk(const std::string& name, const std::vector<Target>& targets) : name_(name) {
  const Fd control = dm_control();
  DmCall create = dm_call(name);
  if (ioctl(control, DM_DEV_CREATE, &create)) throw_errno("DM_DEV_CREATE");
  minor_ = minor(create.head.dev);
  DmCall table = dm_call(name), resume = dm_call(name);
  dm_load(table, targets);
  if (ioctl(control, DM_TABLE_LOAD, &table) || ioctl(control, DM_DEV_SUSPEND, &resume)) {
    DmCall remove = dm_call(name);
    ioctl(control, DM_DEV_REMOVE, &remove);
    errno = ENODEV;
    throw_errno("the device mapper's table");
  }
}

MappedDisk::~MappedDisk() {
  const Fd control = dm_control();
  DmCall remove = dm_call(name_);
  eventually([&] { return ioctl(control, DM_DEV_REMOVE, &remove) == 0 || errno != EBUSY; });
}

Fd MappedDisk::open(int flags) const {
  const std::string path = "/dev/dm-" + std::to_string(minor_);
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd < 0) throw_errno(path);
  return fd;
}

// ---- loop devices ----

LoopDisk::LoopDisk(const std::string& name, uint64_t bytes, uint64_t seed) : file_(name, bytes, seed) {
  shell("modprobe loop");
  const Fd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  const int number = ioctl(control, LOOP_CTL_GET_FREE);
  if (number < 0) {
    errno = ENODEV;
    throw_errno("loop devices");
  }
  path_ = "/dev/loop" + std::to_string(number);
  const Fd loop(open(path_.c_str(), O_RDWR | O_CLOEXEC)), file = file_.open(O_RDWR);
  if (ioctl(loop, LOOP_SET_FD, static_cast<int>(file))) throw_errno("LOOP_SET_FD");
}

LoopDisk::~LoopDisk() {
  const Fd loop(open(path_.c_str(), O_RDWR | O_CLOEXEC));
  ioctl(loop, LOOP_CLR_FD, 0);
}

std::string LoopDisk::number() const {
  struct stat stat;
  if (::stat(path_.c_str(), &stat)) throw_errno(path_);
  return std::to_string(major(stat.st_rdev)) + ":" + std::to_string(minor(stat.st_rdev));
}

// ---- races made wider ----

// Some hundred microseconds of counting. The verifier walks through all of it, and older ones take time that grows with
// the square of the number of jumps: so few rounds, of many instructions each.
static Fd load_busy_wait() {
  constexpr int rounds = 20000, padding = 38;
  std::vector<bpf_insn> program = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = rounds}};
  program.insert(program.end(), padding, {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0});
  program.push_back({.code = BPF_ALU64 | BPF_SUB | BPF_K, .dst_reg = 1, .imm = 1});
  program.push_back({.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 1, .off = -(padding + 2), .imm = 0});
  program.push_back({.code = BPF_JMP | BPF_EXIT});
  bpf_attr attr = {};
  attr.prog_type = BPF_PROG_TYPE_KPROBE;
  attr.insn_cnt = static_cast<uint32_t>(program.size());
  attr.insns = reinterpret_cast<uint64_t>(program.data());
  attr.license = reinterpret_cast<uint64_t>("GPL");
  Fd fd(static_cast<int>(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr))));
  if (fd < 0) throw_errno("BPF_PROG_LOAD");
  return fd;
}

SlowFunction::SlowFunction(const std::string& function) : program_(load_busy_wait()) {
  perf_event_attr attr = {};
  attr.size = sizeof(attr);
  attr.type = static_cast<uint32_t>(read_number("/sys/bus/event_source/devices/kprobe/type"));
  attr.kprobe_func = reinterpret_cast<uint64_t>(function.c_str());
  probe_ = Fd(static_cast<int>(syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
  if (probe_ < 0) throw_errno("kprobe on " + function);
  if (ioctl(probe_, PERF_EVENT_IOC_SET_BPF, static_cast<int>(program_)) || ioctl(probe_, PERF_EVENT_IOC_ENABLE, 0))
    throw_errno("kprobe on " + function);
}

}  // namespace llmos::guest
