// SPDX-License-Identifier: MIT
// What llmosctl makes of NVIDIA's management library, which is a fake one here: present, absent, old, and out of order.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <llmos/llmos.hpp>

#include "nvml.hpp"

namespace llmosctl {
namespace {

constexpr char kDevice[] = "0000:65:00.0";

// The fake, without one of its calls. Once loaded, it is what is found under the library's name.
class FakeNvml {
 public:
  explicit FakeNvml(const std::string& missing = "nothing")
      : library_(::dlopen((LLMOS_FAKE_NVML "/" + missing + "/libnvidia-ml.so.1").c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!library_) throw std::runtime_error(::dlerror());
    ::setenv("FAKE_NVML_DEVICES", "0000:17:00.0=17,0000:65:00.0=85899345920,0000:99:00.0=0", 1);
    ::unsetenv("FAKE_NVML_FAILS");
  }
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;
  ~FakeNvml() { ::dlclose(library_); }

  static void fail(const std::string& call, int error) {
    ::setenv("FAKE_NVML_FAILS", (call + "=" + std::to_string(error)).c_str(), 1);
  }
  int started() const { return *static_cast<int*>(::dlsym(library_, "fake_nvml_started")); }

 private:
  void* library_;
};

void expect_failure(int code, const std::string& part, const std::string& device = kDevice) {
  try {
    FAIL() << Nvml().memory(device) << " bytes";
  } catch (const llmos::Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Nvml, tells_what_a_device_has) {
  const FakeNvml fake;
  {
    const Nvml nvml;
    EXPECT_EQ(fake.started(), 1);
    EXPECT_EQ(nvml.memory(kDevice), uint64_t{80} << 30);
    EXPECT_EQ(nvml.memory("00000000:17:00.0"), 17u);
  }
  EXPECT_EQ(fake.started(), 0);
}

TEST(Nvml, that_is_absent_is_said_so) {
  if (void* real = ::dlopen("libnvidia-ml.so.1", RTLD_NOW)) {
    ::dlclose(real);
    GTEST_SKIP() << "there is one on this machine";
  }
  expect_failure(ENOTSUP, "is not here to be asked: give the capacity in bytes");
}

TEST(Nvml, that_does_not_start_is_not_stopped) {
  const FakeNvml fake;
  FakeNvml::fail("nvmlInit_v2", 9);
  expect_failure(ENOTSUP, "does not start (Driver Not Loaded)");
  EXPECT_EQ(fake.started(), 0);
}

TEST(Nvml, that_fails_later_is_stopped) {
  const FakeNvml fake;
  expect_failure(ENODEV, "does not know device \"0000:01:00.0\" (Not Found)", "0000:01:00.0");
  expect_failure(ENODEV, "does not know device \"gpu0\"", "gpu0");
  expect_failure(EIO, "of \"0000:99:00.0\": give the capacity in bytes", "0000:99:00.0");  // which has 0 bytes
  FakeNvml::fail("nvmlDeviceGetHandleByPciBusId_v2", 999);
  expect_failure(ENODEV, "(Unknown Error)");
  FakeNvml::fail("nvmlDeviceGetMemoryInfo", 3);
  expect_failure(EIO, "(Not Supported): give the capacity in bytes");
  EXPECT_EQ(fake.started(), 0);
}

TEST(Nvml, of_an_old_version_lacks_calls) {
  for (const std::string missing : {"nvmlInit_v2", "nvmlDeviceGetHandleByPciBusId_v2", "nvmlDeviceGetMemoryInfo"}) {
    const FakeNvml fake(missing);
    expect_failure(ENOTSUP, "has no " + missing + ": update the driver");
    EXPECT_EQ(fake.started(), 0) << missing;
  }
  const FakeNvml fake("nvmlErrorString");
  EXPECT_GT(Nvml().memory(kDevice), 0u);
  FakeNvml::fail("nvmlDeviceGetMemoryInfo", 3);
  expect_failure(EIO, "(error 3)");
}

}  // namespace
}  // namespace llmosctl
