// SPDX-License-Identifier: MIT
// A model lives as long as its name or its last user, whatever is mounted; and nothing is left at the end.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <random>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Lifetime = ModuleTest;

TEST_F(Lifetime, RemovedModelServesItsUsersToTheEnd) {
  const uint64_t bytes = 2 * huge_page + 5;
  make_model("model", bytes);
  Fd fd = open_model("model");
  Mapping map(fd, bytes);
  EXPECT_OK(model_remove("model"));
  EXPECT_ERRNO(ENOENT, open_model("model"));
  EXPECT_ERRNO(ENOENT, model_remove("model"));
  EXPECT_TRUE(list_models().empty());
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
  const std::string self = "/proc/self/fd/" + std::to_string(fd);
  EXPECT_OK(Fd(open(self.c_str(), O_RDONLY)));
  char target[300] = {};
  ASSERT_GT(readlink(self.c_str(), target, sizeof(target) - 1), 0);
  EXPECT_EQ(std::string(target), path_of("model") + " (deleted)");
  struct stat stat;
  ASSERT_EQ(fstat(fd, &stat), 0);
  EXPECT_EQ(stat.st_nlink, 0u);

  make_model("model", page, {.seed = 9});
  fd.close();
  EXPECT_EQ(memory_current(), 2 * huge_page + 2 * page);
  EXPECT_EQ(map.signal_at(huge_page), 0);
  map.unmap();
  EXPECT_EQ(memory_current(), page);
}

TEST_F(Lifetime, ModelsOutliveTheMount) {
  make_model("model", 5000);
  ASSERT_EQ(umount(models_dir.c_str()), 0) << error_name(errno);
  EXPECT_EQ(query().models, 1u);
  EXPECT_EQ(stat_of("model").bytes, 5000u);
  EXPECT_OK(Fd(model_create("other", page)));
  make_model("second", page);
  ASSERT_EQ(mount("none", models_dir.c_str(), "llmos_models", 0, nullptr), 0);
  EXPECT_EQ(list_models(), (std::set<std::string>{"model", "second"}));
  EXPECT_EQ(pattern_differs_in(open_model("model"), 5000), std::nullopt);
}

TEST_F(Lifetime, MountInUseIsBusy) {
  make_model("model", page);
  const Fd fd = open_model("model");
  EXPECT_ERRNO(EBUSY, umount(models_dir.c_str()));
}

// ---- everything at once ----

void act(std::mt19937& random) {
  const std::string name = std::string("model") + static_cast<char>('a' + random() % 3);
  switch (random() % 9) {
    case 0: {
      auto args = create_args(name, 8 + random() % (4 * MiB));
      args.flags = random() % 2 ? LLMOS_CREATE_REPLACE : 0;
      const Fd fd(model_create(args));
      if (fd >= 0) write_pattern(fd, args.bytes);
      if (fd >= 0 && random() % 4) model_seal(fd);
      break;
    }
    case 1:
      model_remove(name);
      break;
    case 2:
      model_evict(name);
      break;
    case 3:
      model_revoke(name, LLMOS_SUBJECT_PID, getpid(), random() % 2 ? LLMOS_REVOKE_KEEP_ACCESS : 0);
      break;
    case 4:
      model_revoke(name, LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_ALLOW);
      break;
    case 5:
      model_set(name, LLMOS_SET_EVICTABLE, LLMOS_MODEL_EVICTABLE, 0);
      break;
    case 6:
      list_models();
      break;
    default: {
      const Fd fd = open_model(name);
      struct stat stat;
      if (fd < 0 || fstat(fd, &stat)) break;
      char first[8];
      const auto n = pread(fd, first, sizeof(first), 0);
      if (n > 0) {
        EXPECT_EQ(pattern_differs(std::as_bytes(std::span(first).first(n))), std::nullopt);
      }
      void* at = mmap(nullptr, stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
      if (at == MAP_FAILED) break;
      const Mapping map(at, stat.st_size);
      map.signal_at(random() % stat.st_size);
      const Fd buffer(random() % 4 ? -1 : model_dmabuf(fd));
    }
  }
}

TEST_F(Lifetime, EverythingAtOnceLeavesNothing) {
  std::vector<std::unique_ptr<Child>> actors;
  for (unsigned seed = 1; seed <= 4; seed++)
    actors.push_back(std::make_unique<Child>([seed](Child::Parent&) {
      std::mt19937 random(seed);
      const time_t end = time(nullptr) + 8;
      while (time(nullptr) < end) act(random);
    }));
  for (auto& actor : actors) actor->join();
}

}  // namespace
}  // namespace llmos::guest
