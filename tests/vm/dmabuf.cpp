// SPDX-License-Identifier: MIT
// A sealed model as a dma-buf: read-only, with a grant of its own.
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#include <cstring>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

constexpr uint64_t bytes = 4 * huge_page + 3 * page + 5, whole_pages = 4 * huge_page + 4 * page;

class DmaBuf : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    if (!(query().features & LLMOS_FEATURE_DMABUF)) GTEST_SKIP() << "this kernel has no dma-buf";
    make_model("model", bytes);
  }
};

Fd export_model(uint32_t flags = 0) { return Fd(model_dmabuf(open_model("model"), flags)); }

TEST_F(DmaBuf, IsMappedReadOnlyAndHasTheSizeOfWholePages) {
  const Fd buffer = export_model();
  ASSERT_GE(buffer, 0) << error_name(errno);
  EXPECT_EQ(lseek(buffer, 0, SEEK_END), static_cast<off_t>(whole_pages));
  const Mapping map(buffer, whole_pages);
  EXPECT_EQ(pattern_differs(map.bytes().first(bytes)), std::nullopt);
  EXPECT_TRUE(all_zero(map.bytes().subspan(bytes)));
  EXPECT_NE(errno_of([&] { return mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, buffer, 0); }), 0);
  EXPECT_NE(errno_of([&] { return mmap(nullptr, whole_pages + page, PROT_READ, MAP_SHARED, buffer, 0); }), 0);
  EXPECT_ERRNO(EACCES, mprotect(map.data(), page, PROT_READ | PROT_WRITE));
  EXPECT_ERRNO(EACCES, mprotect(map.data(), page, PROT_READ | PROT_EXEC));
  EXPECT_ERRNO(EPERM, mmap(nullptr, page, PROT_READ | PROT_EXEC, MAP_SHARED, buffer, 0));
  EXPECT_NE(vm_flags(map.data()).find(" dd"), std::string::npos);
}

TEST_F(DmaBuf, IsMappedByHugePagesAtAnAlignedAddress) {
  const Fd buffer = export_model();
  const Mapping room(-1, 8 * huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
  const uint64_t at = (reinterpret_cast<uint64_t>(room.data()) + huge_page - 1) / huge_page * huge_page;
  ASSERT_NE(mmap(reinterpret_cast<void*>(at), whole_pages, PROT_READ, MAP_SHARED | MAP_FIXED, buffer, 0), MAP_FAILED);
  const auto* start = reinterpret_cast<std::byte*>(at);
  EXPECT_EQ(pattern_differs({start, bytes}), std::nullopt);
  EXPECT_EQ(smaps(start, "FilePmdMapped"), 4 * huge_page);
}

TEST_F(DmaBuf, SynchronisesWithTheProcessor) {
  const Fd buffer = export_model();
  for (const uint64_t flags : {DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ}) {
    dma_buf_sync sync = {flags};
    EXPECT_OK(ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync));
  }
}

TEST_F(DmaBuf, SurvivesTheNameAndAllDescriptors) {
  Fd buffer = export_model();
  EXPECT_OK(model_remove("model"));
  Mapping map(buffer, whole_pages);
  EXPECT_EQ(pattern_differs(map.bytes().first(bytes)), std::nullopt);
  buffer.close();
  EXPECT_EQ(map.signal_at(huge_page), 0);
  EXPECT_EQ(memory_current(), whole_pages);
  map.unmap();
  EXPECT_TRUE(eventually([] { return memory_current() == 0; }));
}

TEST_F(DmaBuf, HasAGrantOfItsOwn) {
  const Fd buffer = export_model();
  auto grants = grants_of("model");
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].pid, static_cast<uint32_t>(getpid()));
  const Mapping map(buffer, huge_page);
  EXPECT_EQ(grants_of("model")[0].mapped, huge_page);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, getpid()), 1u);
  EXPECT_EQ(map.signal_at(0), SIGBUS);
  EXPECT_ERRNO(ESTALE, mmap(nullptr, page, PROT_READ, MAP_SHARED, buffer, 0));
}

TEST_F(DmaBuf, DeniedUsersCannotExportThroughADescriptorTheyGot) {
  const Fd fd = open_model("model");
  revoke("model", LLMOS_SUBJECT_UID, 1000);
  EXPECT_ERRNO_AS(alice, EACCES, model_dmabuf(fd));
  EXPECT_ERRNO_AS(bob, 0, model_dmabuf(fd));
}

TEST_F(DmaBuf, PromiseOfADeviceThatDoesNotWriteNeedsPrivilege) {
  EXPECT_OK(export_model(LLMOS_DMABUF_BIDIRECTIONAL));
  const Fd fd = open_model("model");
  EXPECT_ERRNO_AS(alice, EPERM, model_dmabuf(fd, LLMOS_DMABUF_BIDIRECTIONAL));
  EXPECT_ERRNO_AS(alice, 0, model_dmabuf(fd));
}

TEST_F(DmaBuf, OfAnUnsealedModelIsRefused) {
  const Fd loader = create("other", page);
  EXPECT_ERRNO(EBUSY, model_dmabuf(loader));
}

}  // namespace
}  // namespace llmos::guest
