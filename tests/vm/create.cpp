// SPDX-License-Identifier: MIT
// Making a model: names, sizes, owners, and that nothing is left of one that was never sealed.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Create = ModuleTest;

TEST_F(Create, NamesOfLettersDigitsAndSomePunctuation) {
  const std::string longest(LLMOS_NAME_SIZE - 1, 'n');
  const std::string names[] = {"a", "7", "_", "llama-3.1_8B+q4@v2:latest=x", "Z..z", "a-", longest};
  for (const auto& name : names) {
    make_model(name, 1);
    EXPECT_TRUE(list_models().contains(name)) << name;
    EXPECT_OK(open_model(name)) << name;
    EXPECT_EQ(stat_of(name).name, name);
  }
}

TEST_F(Create, BadNamesAreRefused) {
  const std::string names[] = {
      "",     ".",     "..",    ".hidden", "-option", "a/b", "/",         "a b",
      "a\nb", "a\x7f", "naïve", "a\"b",    "a\\b",    "a*b", "a\x01\x02", std::string(LLMOS_NAME_SIZE, 'n')};
  for (const auto& name : names) EXPECT_ERRNO(EINVAL, model_create(name, page)) << '"' << name << '"';
  EXPECT_ERRNO(EINVAL, model_remove(".."));
  EXPECT_EQ(list_models().size(), 0u);
}

TEST_F(Create, DuplicateIsRefusedAtOnce) {
  make_model("model", page);
  EXPECT_ERRNO(EEXIST, model_create("model", page));
  EXPECT_OK(model_remove("model"));
  EXPECT_OK(Fd(model_create("model", page)));
}

TEST_F(Create, SlowerOfTwoLoadersIsRefusedAtTheSeal) {
  const Fd first = create("model", page, {}), second = create("model", page, {});
  write_pattern(first, page, 1);
  write_pattern(second, page, 2);
  EXPECT_OK(model_seal(first));
  EXPECT_ERRNO(EEXIST, model_seal(second));
  EXPECT_EQ(pattern_differs_in(open_model("model"), page, 1), std::nullopt);

  // It is a model being made as before, and has its chance once the name is free.
  EXPECT_EQ(stat_of(second).state, static_cast<uint32_t>(LLMOS_STATE_FILLING));
  write_pattern(second, page, 3);
  EXPECT_OK(model_remove("model"));
  EXPECT_OK(model_seal(second));
  EXPECT_EQ(pattern_differs_in(open_model("model"), page, 3), std::nullopt);
}

TEST_F(Create, SizesAreExact) {
  for (const uint64_t bytes :
       {uint64_t{1}, page - 1, page, page + 1, huge_page - 1, huge_page, huge_page + 1, 5 * MiB + 3}) {
    const Fd fd = make_model("model", bytes);
    struct stat stat;
    ASSERT_EQ(::stat(path_of("model").c_str(), &stat), 0);
    EXPECT_EQ(stat.st_size, static_cast<off_t>(bytes));
    EXPECT_EQ(stat.st_blocks * 512, static_cast<off_t>((bytes + page - 1) / page * page));
    EXPECT_EQ(stat.st_nlink, 1u);
    EXPECT_EQ(stat_of("model").bytes, bytes);
    EXPECT_EQ(stat_of("model").resident, (bytes + page - 1) / page * page);
    EXPECT_EQ(memory_current(), (bytes + page - 1) / page * page);
    EXPECT_OK(model_remove("model"));
  }
}

TEST_F(Create, ImpossibleSizesAreRefused) {
  EXPECT_ERRNO(EINVAL, model_create("model", 0));
  EXPECT_ERRNO(EINVAL, model_create("model", UINT64_MAX));
  EXPECT_ERRNO(EINVAL, model_create("model", (1ULL << 46) + 1));
  EXPECT_ERRNO(EDQUOT, model_create("model", 1ULL << 46));
}

TEST_F(Create, PageSizeWantedIsThePageSizeGot) {
  const uint64_t bytes = 4 * huge_page + 5 * page + 1;
  const struct {
    uint32_t shift;
    uint64_t huge;
  } cases[] = {{0, 4 * huge_page}, {21, 4 * huge_page}, {16, 0}, {12, 0}};
  for (const auto& [shift, huge] : cases) {
    make_model("model", bytes, {.page_shift = shift});
    EXPECT_EQ(stat_of("model").huge, huge) << "page_shift " << shift;
    EXPECT_EQ(pattern_differs_in(open_model("model"), bytes), std::nullopt);
    EXPECT_OK(model_remove("model"));
  }
}

TEST_F(Create, UnknownPageSizesAreRefused) {
  for (const uint32_t shift : {1u, 11u, 22u, 30u, UINT32_MAX}) {
    auto args = create_args("model", page);
    args.page_shift = shift;
    EXPECT_ERRNO(EINVAL, model_create(args)) << shift;
  }
}

TEST_F(Create, NothingIsVisibleBeforeTheSeal) {
  const Fd fd = create("model", page);
  EXPECT_TRUE(list_models().empty());
  EXPECT_ERRNO(ENOENT, open_model("model"));
  EXPECT_ERRNO(ENOENT, model_remove("model"));
  EXPECT_ERRNO(ENOENT, access(path_of("model").c_str(), F_OK));
  auto stat = sized<llmos_model_stat>();
  strcpy(stat.name, "model");
  EXPECT_ERRNO(ENOENT, model_stat(device(), stat));
  EXPECT_EQ(query().models, 0u);
  EXPECT_OK(model_seal(fd));
  EXPECT_EQ(query().models, 1u);
}

// Freed pages may linger in the lists of each CPU, which MemFree leaves out: a leak shows over many rounds.
TEST_F(Create, CloseBeforeTheSealLeavesNothing) {
  constexpr int rounds = 16;
  const uint64_t free_before = meminfo("MemFree");
  for (int round = 0; round < rounds; ++round) {
    Fd fd = create("model", 64 * MiB);
    EXPECT_EQ(memory_current(), 64 * MiB);
    EXPECT_LT(meminfo("MemFree"), free_before);
    fd.close();
    EXPECT_EQ(memory_current(), 0u);
  }
  EXPECT_TRUE(eventually([&] { return meminfo("MemFree") > free_before - rounds * 64 * MiB / 4; }));
}

TEST_F(Create, DeathOfTheLoaderLeavesNothing) {
  Child loader([](Child::Parent& parent) {
    const Fd fd = create("model", 64 * MiB);
    write_pattern(fd, 32 * MiB);
    parent.tell();
    for (;;) write_pattern(fd, 64 * MiB);
  });
  loader.wait();
  EXPECT_EQ(memory_current(), 64 * MiB);
  loader.kill();
  EXPECT_EQ(memory_current(), 0u);
  EXPECT_OK(Fd(model_create("model", page)));
}

TEST_F(Create, LoaderMayPassItsDescriptorOn) {
  Fd fd = create("model", page);
  Fd copy(dup(fd));
  fd.close();
  EXPECT_EQ(memory_current(), page);
  write_pattern(copy, page);
  EXPECT_OK(model_seal(copy));
  EXPECT_EQ(pattern_differs_in(open_model("model"), page), std::nullopt);
}

TEST_F(Create, OwnerGroupAndModeAreTheFiles) {
  make_model("model", page, {.mode = 0640, .uid = 1000, .gid = 77});
  struct stat stat;
  ASSERT_EQ(::stat(path_of("model").c_str(), &stat), 0);
  EXPECT_EQ(stat.st_uid, 1000u);
  EXPECT_EQ(stat.st_gid, 77u);
  EXPECT_EQ(stat.st_mode, static_cast<mode_t>(S_IFREG | 0440)) << "only read bits are kept";
  EXPECT_EQ(stat_of("model").uid, 1000u);
  EXPECT_EQ(stat_of("model").gid, 77u);
  EXPECT_EQ(stat_of("model").mode, 0440u);
  EXPECT_ERRNO(EINVAL, [] {
    auto args = create_args("other", page);
    args.mode = 01444;
    return model_create(args);
  }());
}

TEST_F(Create, OwnerIsTheCallersUnlessAskedOtherwise) {
  device();
  in_child({1000, 1000, {200}}, [] {
    const Fd fd = create("model", page);
    EXPECT_EQ(stat_of(fd).uid, 1000u);
    EXPECT_EQ(stat_of(fd).gid, 1000u);
    const Fd group = create("other", page, {.gid = 200});
    EXPECT_EQ(stat_of(group).gid, 200u) << "a group the caller is in needs no privilege";
    const auto owned_by = [](uint32_t uid, uint32_t gid) {
      auto args = create_args("third", page);
      args.uid = uid;
      args.gid = gid;
      return model_create(args);
    };
    EXPECT_ERRNO(EPERM, owned_by(0, -1));
    EXPECT_ERRNO(EPERM, owned_by(1001, -1));
    EXPECT_ERRNO(EPERM, owned_by(-1, 0));
  });
}

TEST_F(Create, NoDescriptorLeftMeansNoModel) {
  rlimit limit, none;
  getrlimit(RLIMIT_NOFILE, &limit);
  const Fd lowest(dup(0));
  none = {static_cast<rlim_t>(lowest + 1), limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const int error = errno_of([] { return model_create("model", 8 * MiB); });
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(error_name(error), "EMFILE");
  EXPECT_EQ(memory_current(), 0u);
}

TEST_F(Create, UnknownFlagsAndPlacementsAreRefused) {
  const auto with = [](auto change) {
    auto args = create_args("model", page);
    change(args);
    return model_create(args);
  };
  EXPECT_ERRNO(EINVAL, with([](auto& args) { args.flags = 1u << 5; }));
  EXPECT_ERRNO(EINVAL, with([](auto& args) { args.flags = LLMOS_MODEL_SIGNED; }));
  EXPECT_ERRNO(EINVAL, with([](auto& args) { args.reserved = 1; }));
  EXPECT_ERRNO(EINVAL, with([](auto& args) {
                 args.node_policy = 3;
                 args.nodes = 1;
               }));
  EXPECT_ERRNO(EINVAL, with([](auto& args) { args.nodes = 1; }));
  EXPECT_ERRNO(EINVAL, with([](auto& args) { args.node_policy = LLMOS_NODES_BIND; }));
}

TEST_F(Create, StatfsTellsTheLimitAndWhatIsLeft) {
  make_model("model", 8 * MiB);
  struct statfs fs;
  ASSERT_EQ(statfs(models_dir.c_str(), &fs), 0);
  EXPECT_EQ(static_cast<uint64_t>(fs.f_type), uint64_t{LLMOS_MODELS_MAGIC});
  EXPECT_EQ(fs.f_blocks * fs.f_bsize, query().memory_max / page * page);
  EXPECT_EQ((fs.f_blocks - fs.f_bfree) * fs.f_bsize, 8 * MiB);
  EXPECT_EQ(fs.f_files, 1u);
  EXPECT_EQ(fs.f_namelen, LLMOS_NAME_SIZE - 1);
}

TEST_F(Create, LoadersDescriptorTellsAdministratorsWhatItIs) {
  const std::string longest(LLMOS_NAME_SIZE - 1, 'n');
  for (const std::string& name : {std::string("model"), longest}) {
    const Fd loader = create(name, page);
    const std::string self = "/proc/self/fd/" + std::to_string(loader);
    const auto shown = [&] {
      char target[300] = {};
      if (readlink(self.c_str(), target, sizeof(target) - 1) < 0) throw_errno(self);
      return std::string(target);
    };
    EXPECT_EQ(shown(), "/llmos:" + name + " (filling)");
    EXPECT_ERRNO(EBUSY, open(self.c_str(), O_RDONLY));
    ASSERT_EQ(model_seal(loader), 0);
    EXPECT_EQ(shown(), "/llmos:" + name + " (sealed)");
    EXPECT_OK(Fd(open(self.c_str(), O_RDONLY)));
    EXPECT_OK(model_remove(name));
  }
}

}  // namespace
}  // namespace llmos::guest
