// SPDX-License-Identifier: MIT
// The protocol: negotiation comes first, structs may be longer or shorter than the module's, nothing unknown is
// ignored.
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cstring>
#include <functional>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Abi = ModuleTest;

struct DeviceCommand {
  const char* name;
  unsigned long number;
  uint32_t size;
};

const DeviceCommand device_commands[] = {
    {"QUERY", LLMOS_QUERY, sizeof(llmos_query)},
    {"CREATE", LLMOS_MODEL_CREATE, sizeof(llmos_model_create)},
    {"REMOVE", LLMOS_MODEL_REMOVE, sizeof(llmos_model_name)},
    {"SET", LLMOS_MODEL_SET, sizeof(llmos_model_set)},
    {"EVICT", LLMOS_MODEL_EVICT, sizeof(llmos_model_name)},
    {"REVOKE", LLMOS_MODEL_REVOKE, sizeof(llmos_model_revoke)},
    {"LIST", LLMOS_GRANT_LIST, sizeof(llmos_grant_list)},
    {"STAT", LLMOS_MODEL_STAT, sizeof(llmos_model_stat)},
};

const DeviceCommand file_commands[] = {
    {"STAT", LLMOS_MODEL_STAT, sizeof(llmos_model_stat)},
    {"FILL", LLMOS_MODEL_FILL, sizeof(llmos_model_fill)},
    {"SEAL", LLMOS_MODEL_SEAL, sizeof(llmos_model_seal)},
    {"DMABUF", LLMOS_MODEL_DMABUF, sizeof(llmos_model_dmabuf)},
};

// Room for any struct and what a caller from the future might add to it.
struct Buffer {
  alignas(8) uint8_t bytes[8192] = {};
  explicit Buffer(uint32_t size) { memcpy(bytes, &size, sizeof(size)); }
  uint32_t size() const {
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
  }
};

// ---- negotiation ----

TEST_F(Abi, EveryCommandBeforeTheQueryFails) {
  const Fd fd = open_device();
  for (const auto& each : device_commands) {
    if (each.number == LLMOS_QUERY) continue;
    Buffer buffer(each.size);
    EXPECT_ERRNO(EPROTO, ioctl(fd, each.number, buffer.bytes)) << each.name;
  }
  EXPECT_ERRNO(EPROTO, ioctl(fd, 0x1234, nullptr));
}

TEST_F(Abi, AFailedQueryNegotiatesNothing) {
  const Fd fd = open_device();
  auto args = sized<llmos_query>();
  args.abi = LLMOS_ABI_VERSION + 1;
  EXPECT_ERRNO(EPROTO, command(fd, LLMOS_QUERY, args));
  args = sized<llmos_query>();
  args.abi = LLMOS_ABI_VERSION;
  args.features = 1ULL << 63;
  EXPECT_ERRNO(EOPNOTSUPP, command(fd, LLMOS_QUERY, args));
  EXPECT_EQ(args.features, 1ULL << 63) << "a failed call leaves its argument alone";
  auto name = sized<llmos_model_name>();
  EXPECT_ERRNO(EPROTO, command(fd, LLMOS_MODEL_REMOVE, name));
}

TEST_F(Abi, QueryTellsWhatThereIs) {
  const Fd fd = open_device();
  auto args = sized<llmos_query>();
  args.abi = LLMOS_ABI_VERSION;
  args.features = LLMOS_FEATURE_MODELS | LLMOS_FEATURE_GRANTS;
  ASSERT_EQ(command(fd, LLMOS_QUERY, args), 0);
  EXPECT_EQ(args.abi, uint32_t{LLMOS_ABI_VERSION});
  const uint64_t always = LLMOS_FEATURE_MODELS | LLMOS_FEATURE_GRANTS | LLMOS_FEATURE_EVICTION |
                          LLMOS_FEATURE_SIGNATURES | LLMOS_FEATURE_DMABUF | LLMOS_FEATURE_AUDIT |
                          LLMOS_FEATURE_DEVICES | LLMOS_FEATURE_LANES;
  EXPECT_EQ(args.features & ~uint64_t{LLMOS_FEATURE_HOOKS}, always) << "hooks depend on the kernel";
  EXPECT_EQ(args.page_size, huge_page);
  EXPECT_EQ(args.memory_max, read_number(memory_max_file));
  EXPECT_EQ(args.memory_current, memory_current());
  EXPECT_GE(args.memory_peak, args.memory_current);
  EXPECT_NE(args.keyring, 0);
  EXPECT_EQ(args.flags, 0u);
  EXPECT_OK(command(
      fd, LLMOS_QUERY,
      args =
          [] {
            auto again = sized<llmos_query>();
            again.abi = LLMOS_ABI_VERSION;
            return again;
          }()))
      << "a query may be repeated";
}

TEST_F(Abi, ReservedAndOutputFieldsOfTheQueryMustBeZero) {
  auto args = sized<llmos_query>();
  args.abi = LLMOS_ABI_VERSION;
  args.reserved = 1;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_QUERY, args));
  args.reserved = 0;
  args.flags = LLMOS_QUERY_SIGNATURE_REQUIRED;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_QUERY, args));
}

// ---- sizes ----

void sizes_are_checked(int fd, const DeviceCommand& each) {
  SCOPED_TRACE(each.name);
  for (const uint32_t size : {0u, 1u, 3u}) {
    Buffer buffer(size);
    EXPECT_ERRNO(EINVAL, ioctl(fd, each.number, buffer.bytes)) << size;
  }
  for (const uint32_t size : {4097u, UINT32_MAX}) {
    Buffer buffer(size);
    EXPECT_ERRNO(E2BIG, ioctl(fd, each.number, buffer.bytes)) << size;
  }
  Buffer longer(each.size + 8);
  longer.bytes[each.size + 7] = 1;
  EXPECT_ERRNO(E2BIG, ioctl(fd, each.number, longer.bytes));
  EXPECT_ERRNO(EFAULT, ioctl(fd, each.number, nullptr));
  EXPECT_ERRNO(EFAULT, ioctl(fd, each.number, reinterpret_cast<void*>(UINT64_MAX - 100)));
}

TEST_F(Abi, SizesOfEveryCommandAreChecked) {
  for (const auto& each : device_commands) sizes_are_checked(device(), each);
  const Fd loader = create("model", page);
  for (const auto& each : file_commands) sizes_are_checked(loader, each);
}

TEST_F(Abi, StructThatEndsInAnUnmappedPage) {
  const Mapping room(-1, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  ASSERT_EQ(munmap(room.data() + page, page), 0);
  auto* size = reinterpret_cast<uint32_t*>(room.data() + page - 8);
  *size = sizeof(llmos_query);
  EXPECT_ERRNO(EFAULT, ioctl(device(), LLMOS_QUERY, size));
}

TEST_F(Abi, LongerStructWithZeroesIsWelcome) {
  make_model("model", 5000);
  Buffer buffer(sizeof(llmos_model_stat) + 64);
  auto* stat = reinterpret_cast<llmos_model_stat*>(buffer.bytes);
  strcpy(stat->name, "model");
  ASSERT_EQ(ioctl(device(), LLMOS_MODEL_STAT, stat), 0);
  EXPECT_EQ(stat->bytes, 5000u);
  EXPECT_EQ(stat->size, sizeof(llmos_model_stat)) << "the module tells the size it knows";
}

TEST_F(Abi, ShorterStructIsZeroExtendedAndNotOverrun) {
  Buffer buffer(16);
  auto* args = reinterpret_cast<llmos_query*>(buffer.bytes);
  args->abi = LLMOS_ABI_VERSION;
  args->memory_max = 0x5a5a5a5a5a5a5a5a;
  ASSERT_EQ(ioctl(device(), LLMOS_QUERY, args), 0);
  EXPECT_NE(args->features, 0u);
  EXPECT_EQ(args->size, sizeof(llmos_query));
  EXPECT_EQ(args->memory_max, 0x5a5a5a5a5a5a5a5au) << "written past the caller's struct";
}

// ---- nothing unknown ----

TEST_F(Abi, UnknownCommandsAreRefused) {
  const Fd fd = make_model("model", page);
  for (const int each : {device(), static_cast<int>(fd)}) {
    Buffer buffer(8);
    EXPECT_ERRNO(ENOTTY, ioctl(each, _IO(LLMOS_IOC_MAGIC, 0x7f), buffer.bytes));
    EXPECT_ERRNO(ENOTTY, ioctl(each, _IO(LLMOS_IOC_MAGIC + 1, 0), buffer.bytes));
  }
  Buffer query_on_a_model(sizeof(llmos_query));
  EXPECT_ERRNO(ENOTTY, ioctl(fd, LLMOS_QUERY, query_on_a_model.bytes));
  Buffer fill_on_the_device(sizeof(llmos_model_fill));
  EXPECT_ERRNO(ENOTTY, ioctl(device(), LLMOS_MODEL_FILL, fill_on_the_device.bytes));
}

template <typename Args>
int changed(int fd, unsigned long number, const std::function<void(Args&)>& change) {
  auto args = sized<Args>();
  if constexpr (requires { args.name; }) strcpy(args.name, "model");
  change(args);
  return command(fd, number, args);
}

TEST_F(Abi, ReservedFieldsAndUnknownFlagsAreRefused) {
  const Fd fd = make_model("model", page), loader = create("other", page);
  const int dev = device();
  EXPECT_ERRNO(EINVAL, changed<llmos_model_name>(dev, LLMOS_MODEL_REMOVE, [](auto& args) { args.flags = 1; }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_name>(dev, LLMOS_MODEL_EVICT, [](auto& args) { args.flags = 1; }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_set>(dev, LLMOS_MODEL_SET, [](auto& args) { args.mask = 4; }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_set>(dev, LLMOS_MODEL_SET, [](auto& args) { args.flags = 2; }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_revoke>(dev, LLMOS_MODEL_REVOKE, [](auto& args) {
                 args.subject = LLMOS_SUBJECT_UID;
                 args.reserved = 1;
               }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_revoke>(dev, LLMOS_MODEL_REVOKE, [](auto& args) {
                 args.subject = LLMOS_SUBJECT_UID;
                 args.flags = 4;
               }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_revoke>(dev, LLMOS_MODEL_REVOKE, [](auto& args) {
                 args.subject = LLMOS_SUBJECT_UID;
                 args.flags = LLMOS_REVOKE_ALLOW | LLMOS_REVOKE_KEEP_ACCESS;
               }));
  EXPECT_ERRNO(EINVAL, changed<llmos_grant_list>(dev, LLMOS_GRANT_LIST, [](auto& args) {
                 args.entry_size = sizeof(llmos_grant);
                 args.reserved = 1;
               }));
  EXPECT_ERRNO(EINVAL, changed<llmos_grant_list>(dev, LLMOS_GRANT_LIST, [](auto& args) { args.entry_size = 8; }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_fill>(loader, LLMOS_MODEL_FILL, [](auto& args) { args.reserved = 1; }));
  EXPECT_ERRNO(EINVAL, changed<llmos_model_dmabuf>(fd, LLMOS_MODEL_DMABUF, [](auto& args) { args.flags = 2; }));
  EXPECT_ERRNO(EMSGSIZE, changed<llmos_model_seal>(loader, LLMOS_MODEL_SEAL,
                                                   [](auto& args) { args.signature_size = LLMOS_SIGNATURE_MAX + 1; }));
}

TEST_F(Abi, NamesAreCheckedByEveryCommand) {
  for (const auto& each : device_commands) {
    if (each.number == LLMOS_QUERY || each.number == LLMOS_MODEL_CREATE) continue;
    Buffer none(each.size);
    if (each.number == LLMOS_GRANT_LIST)
      reinterpret_cast<llmos_grant_list*>(none.bytes)->entry_size = sizeof(llmos_grant);
    EXPECT_ERRNO(EINVAL, ioctl(device(), each.number, none.bytes)) << each.name;
    Buffer unterminated = none, missing = none;
    memset(unterminated.bytes + each.size - LLMOS_NAME_SIZE, 'a', LLMOS_NAME_SIZE);
    EXPECT_ERRNO(EINVAL, ioctl(device(), each.number, unterminated.bytes)) << each.name;
    memset(missing.bytes + each.size - LLMOS_NAME_SIZE, 'a', 5);
    EXPECT_ERRNO(ENOENT, ioctl(device(), each.number, missing.bytes)) << each.name;
  }
}

TEST_F(Abi, DescriptorsAreClosedOnExec) {
  const Fd loader = make_model("model", page), dmabuf(model_dmabuf(loader));
  EXPECT_EQ(fcntl(loader, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(dmabuf, F_GETFD), FD_CLOEXEC);
}

// A 32-bit program reaches the same commands: the structs have no pointers and no holes.
TEST_F(Abi, ThirtyTwoBitCalls) {
  make_model("model", 5000);
  void* low = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  ASSERT_NE(low, MAP_FAILED);
  const Mapping room(low, page);
  auto* stat = new (low) llmos_model_stat(sized<llmos_model_stat>());
  strcpy(stat->name, "model");
  const auto ioctl32 = [](int fd, uint32_t number, void* address) {
    int result;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(54), "b"(fd), "c"(number), "d"(address)
                 : "memory", "r8", "r9", "r10", "r11");
    return result;
  };
  Child probe([&](Child::Parent&) { ioctl32(-1, 0, nullptr); });
  if (probe.wait_status()) GTEST_SKIP() << "this kernel runs no 32-bit programs";
  EXPECT_EQ(ioctl32(device(), LLMOS_MODEL_STAT, stat), 0);
  EXPECT_EQ(stat->bytes, 5000u);
  const Fd fd = open_model("model");
  *stat = sized<llmos_model_stat>();
  EXPECT_EQ(ioctl32(fd, LLMOS_MODEL_STAT, stat), 0);
  EXPECT_STREQ(stat->name, "model");
}

}  // namespace
}  // namespace llmos::guest
