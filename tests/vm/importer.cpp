// SPDX-License-Identifier: MIT
// What devices may do with a model, and what that means for everyone else: a driver of its own (tests/vm/importer) maps
// the dma-buf of a model and pins its pages, as drivers of graphics cards and network cards do.
#include "importer.hpp"

#include <signal.h>

#include <cstring>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

// Of pages of 2 MiB, 8 KiB and 4 KiB.
constexpr uint64_t bytes = 4 * huge_page + 2 * page + 5, whole_pages = 4 * huge_page + 3 * page;

uint64_t busy(const std::string& name = "model") {
  llmos_model_revoke result = {};
  if (model_revoke(name, LLMOS_SUBJECT_UID, 4711, LLMOS_REVOKE_KEEP_ACCESS, &result)) throw_errno("revoke");
  return result.busy_bytes;
}

class Device : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    load_importer();
    make_model("model", bytes);
  }
};

Fd export_model(uint32_t flags = 0) { return Fd(model_dmabuf(open_model("model"), flags)); }

// A device that has the model mapped; nothing else of ours has it open.
Importer mapped_device(uint32_t flags = 0) {
  Importer device;
  EXPECT_OK(device.attach(export_model(flags)));
  EXPECT_OK(device.map());
  return device;
}

// ---- dma-buf ----

TEST_F(Device, SeesExactlyTheModel) {
  const Importer device = mapped_device();
  EXPECT_EQ(device.mapped.bytes, whole_pages);
  EXPECT_EQ(device.differs(bytes), std::nullopt);
  EXPECT_TRUE(all_zero(device.read(bytes, page)));
  EXPECT_EQ(device.read(bytes, page).size(), whole_pages - bytes) << "and nothing behind it";
}

TEST_F(Device, SeesTheModelsOwnPagesAndNoCopy) {
  const Importer device = mapped_device();
  const Mapping map(open_model("model"), whole_pages);
  map.touch();
  const auto frames = page_frames(map.data(), whole_pages);
  for (uint64_t at = 0; at < whole_pages; at += page) ASSERT_EQ(device.frame(at), frames[at / page]) << at;
  EXPECT_EQ(memory_current(), whole_pages);
}

TEST_F(Device, MayOnlyRead) {
  Importer device;
  ASSERT_EQ(device.attach(export_model()), 0);
  EXPECT_ERRNO(EPERM, device.map(IMPORTER_FROM_DEVICE));
  EXPECT_ERRNO(EPERM, device.map(IMPORTER_BIDIRECTIONAL));
  EXPECT_EQ(busy(), 0u) << "nothing of what was refused is left";
  Importer promised;
  ASSERT_EQ(promised.attach(export_model(LLMOS_DMABUF_BIDIRECTIONAL)), 0);
  EXPECT_ERRNO(EPERM, promised.map(IMPORTER_FROM_DEVICE));
  EXPECT_OK(promised.map(IMPORTER_BIDIRECTIONAL));
  EXPECT_EQ(promised.differs(bytes), std::nullopt);
}

TEST_F(Device, ThatMappedTheModelCountsAsBusy) {
  Importer device;
  ASSERT_EQ(device.attach(export_model()), 0);
  EXPECT_EQ(busy(), 0u) << "attached only: it reads nothing yet";
  ASSERT_EQ(device.map(), 0);
  EXPECT_EQ(busy(), whole_pages);
  EXPECT_ERRNO(EBUSY, model_evict("model"));
  EXPECT_OK(device.unmap());
  EXPECT_EQ(busy(), 0u);
  EXPECT_ERRNO(EBUSY, model_evict("model")) << "still attached";
  EXPECT_OK(device.detach());
  EXPECT_OK(model_evict("model"));
}

TEST_F(Device, EachOfSeveralCounts) {
  Importer first = mapped_device(), second = mapped_device();
  first.close();
  EXPECT_EQ(busy(), whole_pages);
  EXPECT_EQ(second.differs(bytes), std::nullopt);
  second.close();
  EXPECT_EQ(busy(), 0u);
  EXPECT_OK(model_evict("model"));
}

TEST_F(Device, KeepsItsPagesAcrossARevocation) {
  const Fd buffer = export_model();
  Importer device;
  ASSERT_EQ(device.attach(buffer), 0);
  ASSERT_EQ(device.map(), 0);
  const Mapping map(buffer, whole_pages);
  llmos_model_revoke result = {};
  ASSERT_EQ(model_revoke("model", LLMOS_SUBJECT_PID, getpid(), 0, &result), 0);
  EXPECT_EQ(result.revoked, 1u) << "the buffer's";
  EXPECT_EQ(result.busy_bytes, whole_pages);
  EXPECT_EQ(map.signal_at(0), SIGBUS);
  EXPECT_EQ(device.differs(bytes), std::nullopt);
  EXPECT_OK(device.unmap());
  EXPECT_ERRNO(ESTALE, device.map()) << "no more";
  EXPECT_EQ(busy(), 0u);
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_ALLOW));
}

TEST_F(Device, OutlivesTheNameAndEveryDescriptor) {
  Importer device = mapped_device();
  EXPECT_EQ(grants_of("model").size(), 1u) << "the buffer's";
  EXPECT_OK(model_remove("model"));
  make_model("model", bytes, {.seed = 7});
  EXPECT_EQ(busy(), 0u) << "another model";
  EXPECT_OK(model_remove("model"));
  EXPECT_EQ(memory_current(), whole_pages);
  EXPECT_EQ(device.differs(bytes), std::nullopt);
  device.close();
  EXPECT_TRUE(eventually([] { return memory_current() == 0; }));
}

TEST_F(Device, GoesWithItsProcess) {
  Child user([](Child::Parent& parent) {
    const Importer device = mapped_device();
    parent.tell();
    parent.wait();
  });
  user.wait();
  EXPECT_EQ(busy(), whole_pages);
  user.kill();
  EXPECT_TRUE(eventually([] { return busy() == 0; }));
  EXPECT_TRUE(grants_of("model").empty());
  EXPECT_OK(model_evict("model"));
}

TEST_F(Device, KeepsTheModelFromMakingRoom) {
  const Setting limit(memory_max_file, std::to_string(whole_pages + 4 * MiB));
  EXPECT_OK(model_set("model", LLMOS_SET_EVICTABLE, LLMOS_MODEL_EVICTABLE, 0));
  Importer device = mapped_device();
  EXPECT_ERRNO(EDQUOT, model_create("other", 8 * MiB));
  EXPECT_EQ(device.differs(bytes), std::nullopt);
  device.close();
  EXPECT_OK(Fd(model_create("other", 8 * MiB)));
  EXPECT_EQ(stat_of("model").state, static_cast<uint32_t>(LLMOS_STATE_EVICTED));
}

// ---- pins ----

class Pin : public Device {};

TEST_F(Pin, OfAUsersMappingSeesTheModelsOwnPages) {
  const Mapping map(open_model("model"), whole_pages);
  for (const uint32_t flags : {0u, IMPORTER_PIN_LONGTERM}) {
    Importer device;
    ASSERT_EQ(device.pin(map.data(), whole_pages, flags), 0) << error_name(errno);
    EXPECT_EQ(device.differs(bytes), std::nullopt);
    const auto frames = page_frames(map.data(), whole_pages);
    for (uint64_t at = 0; at < whole_pages; at += page) ASSERT_EQ(device.frame(at), frames[at / page]) << at;
  }
}

TEST_F(Pin, ForWritingIsRefused) {
  const Mapping map(open_model("model"), whole_pages), buffer_map(export_model(), whole_pages);
  Importer device;
  for (const Mapping* place : {&map, &buffer_map})
    for (const uint32_t flags : {0u, IMPORTER_PIN_LONGTERM})
      for (const uint32_t force : {0u, IMPORTER_PIN_FORCE})
        EXPECT_ERRNO(EFAULT, device.pin(place->data(), whole_pages, IMPORTER_PIN_WRITE | flags | force));
  EXPECT_EQ(busy(), 0u);
  EXPECT_EQ(pattern_differs(map.bytes().first(bytes)), std::nullopt);
}

TEST_F(Pin, OfAPrivateMappingIsOfTheProcesssOwnCopy) {
  const Fd fd = open_model("model");
  const Mapping map(fd, whole_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  const auto own = [&](uint64_t offset, uint32_t flags) {
    Importer device;
    ASSERT_EQ(device.pin(map.data() + offset, page, flags), 0) << error_name(errno);
    EXPECT_EQ(busy(), 0u);
    map.data()[offset] = std::byte{0xee};
    EXPECT_EQ(device.read(0, 1)[0], std::byte{0xee});
  };
  own(huge_page, IMPORTER_PIN_LONGTERM | IMPORTER_PIN_WRITE);
  own(huge_page, IMPORTER_PIN_LONGTERM);  // written already
  own(4 * huge_page, IMPORTER_PIN_LONGTERM);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
}

// The kernel has no way to make that copy, and would try for ever: the process fails instead, as Child::join() sees.
TEST_F(Pin, ForReadingOfAPrivateHugePageFailsAndDoesNotHang) {
  Child user([](Child::Parent&) {
    const Mapping map(open_model("model"), whole_pages, PROT_READ, MAP_PRIVATE);
    map.touch();
    EXPECT_GT(smaps(map.data(), "FilePmdMapped"), 0u);
    Importer device;
    EXPECT_ERRNO(EFAULT, device.pin(map.data(), page, IMPORTER_PIN_LONGTERM));
    EXPECT_EQ(map.signal_at(0), 0);
    EXPECT_OK(device.pin(map.data(), page, 0)) << "for a short time";
  });
  EXPECT_TRUE(eventually(
      [&] { return shell("grep -q '^State:.Z' /proc/" + std::to_string(user.pid()) + "/status").status == 0; }, 30))
      << "it hangs";
}

TEST_F(Pin, MakesThePagesItTouchesBusy) {
  const Mapping map(open_model("model"), whole_pages);
  map.touch();
  Importer huge, tail, both;
  ASSERT_EQ(huge.pin(map.data() + huge_page + 5 * page, page), 0);
  EXPECT_EQ(busy(), huge_page) << "of which a part is pinned";
  ASSERT_EQ(tail.pin(map.data() + 4 * huge_page + 2 * page, page), 0);
  EXPECT_EQ(busy(), huge_page + page);
  ASSERT_EQ(both.pin(map.data(), whole_pages), 0);
  EXPECT_EQ(busy(), whole_pages);
  both.close();
  EXPECT_EQ(busy(), huge_page + page);
  huge.close();
  tail.close();
  EXPECT_EQ(busy(), 0u);
}

TEST_F(Pin, KeepsItsPagesAcrossARevocation) {
  const Mapping map(open_model("model"), whole_pages);
  map.touch();
  Importer device;
  ASSERT_EQ(device.pin(map.data(), 2 * huge_page), 0);
  llmos_model_revoke result = {};
  ASSERT_EQ(model_revoke("model", LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_KEEP_ACCESS, &result), 0);
  EXPECT_EQ(result.revoked, 1u);
  EXPECT_EQ(result.busy_bytes, 2 * huge_page);
  EXPECT_EQ(map.signal_at(0), SIGBUS);
  EXPECT_EQ(device.differs(2 * huge_page), std::nullopt);
  Importer late;
  EXPECT_ERRNO(EFAULT, late.pin(map.data(), page));
  device.close();
  EXPECT_EQ(busy(), 0u);
}

TEST_F(Pin, KeepsAnIdleModelFromEviction) {
  const Setting limit(memory_max_file, std::to_string(whole_pages + 12 * MiB));
  EXPECT_OK(model_set("model", LLMOS_SET_EVICTABLE | LLMOS_SET_PRIORITY, LLMOS_MODEL_EVICTABLE, -9));
  make_model("other", 8 * MiB, {.flags = LLMOS_MODEL_EVICTABLE});
  Importer device;
  {
    const Mapping map(open_model("model"), whole_pages);
    ASSERT_EQ(device.pin(map.data() + huge_page, huge_page), 0);
  }
  EXPECT_EQ(stat_of("model").grants, 0u);
  EXPECT_ERRNO(EBUSY, model_evict("model"));
  EXPECT_OK(Fd(model_create("new", 8 * MiB))) << "at the cost of the next in order";
  EXPECT_EQ(stat_of("model").state, static_cast<uint32_t>(LLMOS_STATE_SEALED));
  EXPECT_EQ(stat_of("other").state, static_cast<uint32_t>(LLMOS_STATE_EVICTED));
  EXPECT_EQ(pattern_differs(device.read(0, huge_page), huge_page), std::nullopt);
  device.close();
  EXPECT_OK(model_evict("model"));
}

// The pages outlive the model then; they are ordinary memory of nobody until the device lets go.
TEST_F(Pin, KeepsItsPagesAfterTheModelIsGone) {
  Importer device;
  {
    const Mapping map(open_model("model"), whole_pages);
    ASSERT_EQ(device.pin(map.data(), whole_pages), 0);
  }
  EXPECT_OK(model_remove("model"));
  EXPECT_TRUE(eventually([] { return memory_current() == 0; }));
  for (const uint64_t seed : {1, 2, 3}) {
    make_model("next", 8 * MiB, {.seed = seed});
    EXPECT_OK(model_remove("next"));
  }
  EXPECT_EQ(device.differs(bytes), std::nullopt);
}

}  // namespace
}  // namespace llmos::guest
