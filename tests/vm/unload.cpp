// SPDX-License-Identifier: MIT
// The module stays while anything of it is in use, goes when nothing is, and takes everything with it.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <cstring>
#include <functional>
#include <memory>

#include "guest.hpp"
#include "importer.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

std::string module_file() {
  utsname name;
  uname(&name);
  return "/lib/modules/" + std::string(name.release) + "/updates/llmos.ko";
}

int unload(const char* name = "llmos") { return static_cast<int>(syscall(SYS_delete_module, name, O_NONBLOCK)); }

int load(const std::string& options = "") {
  const Fd file(open(module_file().c_str(), O_RDONLY | O_CLOEXEC));
  return static_cast<int>(syscall(SYS_finit_module, static_cast<int>(file), options.c_str(), 0));
}

void mount_models() {
  if (mount("none", models_dir.c_str(), "llmos_models", 0, nullptr)) throw_errno("mount");
}

// What needs the device runs in children: a descriptor of it that stayed open here would keep the module.
class Unload : public testing::Test {
 protected:
  void SetUp() override {
    if (!exists(module_file())) GTEST_SKIP() << "no " << module_file();
    ASSERT_TRUE(list_models().empty());
    groups_mounted_ = umount2(groups, MNT_DETACH) == 0;
  }
  void TearDown() override {
    if (groups_mounted_ && mount("none", groups, "llmos_groups", 0, nullptr)) throw_errno("mount");
  }

  // The module must stay while `hold` is alive in a process, and go afterwards.
  static void stays_while(const std::function<std::function<void()>()>& hold) {
    Child holder([&](Child::Parent& parent) {
      const auto release = hold();
      parent.tell();
      parent.wait();
      release();
    });
    holder.wait();
    const bool mounted = umount2(models_dir.c_str(), MNT_DETACH) == 0;
    EXPECT_ERRNO(EAGAIN, unload());
    holder.tell();
    holder.join();
    EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
    EXPECT_OK(load());
    EXPECT_TRUE(mounted);
    mount_models();
  }

  static constexpr char groups[] = "/sys/fs/llmos/groups";

 private:
  bool groups_mounted_ = false;
};

TEST_F(Unload, WaitsForTheDevice) {
  stays_while([] { return [fd = std::make_shared<Fd>(open_device())] {}; });
}

TEST_F(Unload, WaitsForAModelBeingMade) {
  stays_while([] {
    auto loader = std::make_shared<Fd>(create("model", page));
    close(device());
    return [loader] { write_pattern(*loader, page); };
  });
}

TEST_F(Unload, WaitsForANamedModel) {
  in_child([] { make_model("model", page); });
  stays_while([] { return [] { in_child([] { EXPECT_OK(model_remove("model")); }); }; });
}

TEST_F(Unload, WaitsForAMappingOfARemovedModel) {
  stays_while([] {
    auto map = std::make_shared<Mapping>();
    in_child([] { make_model("model", huge_page); });
    *map = Mapping(open_model("model"), huge_page);
    in_child([] { EXPECT_OK(model_remove("model")); });
    return [map] { EXPECT_EQ(pattern_differs(map->bytes()), std::nullopt); };
  });
}

TEST_F(Unload, WaitsForADmaBuf) {
  stays_while([] {
    auto buffer = std::make_shared<Fd>();
    in_child([] { make_model("model", page); });
    *buffer = Fd(model_dmabuf(open_model("model")));
    EXPECT_GE(*buffer, 0);
    in_child([] { EXPECT_OK(model_remove("model")); });
    return [buffer] {};
  });
}

TEST_F(Unload, WaitsForAChargeAndTakesGroupsAlong) {
  stays_while([] {
    auto charge = std::make_shared<Fd>();
    auto args = sized<llmos_charge>();
    strcpy(args.id, "cpu");
    args.bytes = page;
    *charge = Fd(command(device(), LLMOS_CHARGE_CREATE, args));
    EXPECT_GE(*charge, 0);
    close(device());
    return [charge] {};
  });
}

TEST_F(Unload, WaitsForAMountOfGroups) {
  if (mount("none", groups, "llmos_groups", 0, nullptr)) throw_errno("mount");
  EXPECT_ERRNO(EAGAIN, unload());
  EXPECT_OK(umount(groups));
}

TEST_F(Unload, WaitsForAMount) {
  EXPECT_ERRNO(EAGAIN, unload());
  ASSERT_EQ(umount(models_dir.c_str()), 0);
  EXPECT_OK(unload());
  EXPECT_OK(load());
  mount_models();
}

TEST_F(Unload, LeavesNoMemoryBehind) {
  const auto cycle = [] {
    in_child([] {
      const ScratchFile file("source", 8 * MiB);
      const Fd loader = create("model", 64 * MiB, {.flags = LLMOS_MODEL_EVICTABLE});
      model_fill(loader, file.open(O_RDONLY | O_DIRECT), 0, 0, 8 * MiB);
      model_seal(loader);
      const Mapping map(open_model("model"), 64 * MiB);
      map.touch();
      revoke("model", LLMOS_SUBJECT_UID, 5);
      model_dmabuf(loader);
      model_remove("model");
    });
    ASSERT_EQ(umount(models_dir.c_str()), 0);
    ASSERT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
    ASSERT_EQ(load(), 0);
    mount_models();
  };
  // Loading a module itself takes memory that comes back late; a single model left behind is more than that.
  cycle();
  must_write("/proc/sys/vm/drop_caches", "3");
  const uint64_t before = meminfo("MemAvailable");
  for (int i = 0; i < 10; i++) cycle();
  must_write("/proc/sys/vm/drop_caches", "3");
  EXPECT_TRUE(eventually([&] { return meminfo("MemAvailable") + 48 * MiB > before; }))
      << "lost " << (before - meminfo("MemAvailable")) / KiB << " KiB in ten rounds";
}

TEST_F(Unload, OptionsAreCheckedWhenItIsLoaded) {
  ASSERT_EQ(umount(models_dir.c_str()), 0);
  ASSERT_EQ(unload(), 0);
  EXPECT_ERRNO(EINVAL, load("memory_percent=101"));
  EXPECT_OK(load("memory_percent=25"));
  EXPECT_NEAR(static_cast<double>(read_number(memory_max_file)) / static_cast<double>(meminfo("MemTotal")), 0.25, 0.01);
  ASSERT_EQ(unload(), 0);
  EXPECT_OK(load());
  mount_models();
}

// ---- with a device that got hold of a model ----

constexpr uint64_t bytes = 3 * huge_page + page + 5, whole_pages = 3 * huge_page + 2 * page;

class UnloadWithDevice : public Unload {
 protected:
  void SetUp() override {
    Unload::SetUp();
    load_importer();
  }
  void TearDown() override {
    if (!exists("/dev/llmos")) must_shell("modprobe llmos");
    mount_models();
  }

  // A process whose device has a model, by `take`, that lost its name since. Told once, it lets go; told again, it ends.
  static std::unique_ptr<Child> holder(const std::function<void(Importer&)>& take) {
    auto child = std::make_unique<Child>([take](Child::Parent& parent) {
      Importer device;
      in_child([] { make_model("model", bytes); });
      take(device);
      in_child([] { EXPECT_OK(model_remove("model")); });
      parent.tell();
      parent.wait();
      EXPECT_EQ(device.differs(bytes), std::nullopt);
      device.close();
      parent.tell();
      parent.wait();
    });
    child->wait();
    EXPECT_OK(umount2(models_dir.c_str(), MNT_DETACH));
    return child;
  }
  static void end(Child& child) {
    child.tell();
    child.join();
  }
};

TEST_F(UnloadWithDevice, WaitsForAnImportedDmaBufAndGoesInEitherOrder) {
  const std::vector<const char*> names = {"llmos", "llmos_importer"};
  for (const int first : {0, 1}) {
    const auto child = holder([](Importer& device) {
      EXPECT_OK(device.attach(Fd(model_dmabuf(open_model("model")))));
      EXPECT_OK(device.map());
    });
    for (const char* name : names) EXPECT_ERRNO(EAGAIN, unload(name));
    child->tell();
    child->wait();
    for (const int which : {first, 1 - first})
      EXPECT_TRUE(eventually([&] { return unload(names[which]) == 0; })) << names[which] << ": " << error_name(errno);
    end(*child);
    EXPECT_OK(load());
    load_importer();
    if (first == 0) mount_models();
  }
}

// Pages whose model is gone are ordinary memory of nobody: the module need not wait for who pinned them.
TEST_F(UnloadWithDevice, LeavesPinnedPagesToWhoPinnedThem) {
  const auto child = holder([](Importer& device) {
    const Mapping map(open_model("model"), whole_pages);
    EXPECT_OK(device.pin(map.data(), whole_pages));
  });
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
  EXPECT_ERRNO(EAGAIN, unload("llmos_importer"));
  child->tell();
  child->wait();
  end(*child);
}

}  // namespace
}  // namespace llmos::guest
