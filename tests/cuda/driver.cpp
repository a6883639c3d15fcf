// SPDX-License-Identifier: MIT
// Where there is no usable driver, device or image: each its own error. Simulated, but for the missing driver.
#include <dlfcn.h>

#include <cerrno>

#include "cuda/simulated.hpp"
#include "support/failure.hpp"

namespace llmos::core {
namespace {

using namespace cuda;

class CudaDriver : public test::Simulated {
 protected:
  static std::unique_ptr<Backend> open(const std::string& device, std::span<const std::byte> image = test::image()) {
    BackendOptions options;
    options.device = device;
    options.cuda_image = image;
    return make_backend(options);
  }
  static std::span<const std::byte> ptx(const char* text) { return std::as_bytes(std::span(text, strlen(text) + 1)); }
};

// The driver is asked anew until it has once started, so this comes first and in one piece.
TEST_F(CudaDriver, ThatDoesNotStartSaysWhyAndIsTriedAgain) {
  fake_cuda::reset({.init = no_device});
  EXPECT_FAILURE(ENODEV, "finds no device", open("cuda:0"));
  fake_cuda::reset({.init = system_driver_mismatch});
  EXPECT_FAILURE(ENODEV, "different versions", open("cuda:0"));
  fake_cuda::reset({.init = unknown_error});
  EXPECT_FAILURE(ENODEV, "does not start", open("cuda:0"));
  fake_cuda::reset({.version = 11040});
  EXPECT_FAILURE(ENOTSUP, "is for CUDA 11.4 and llmos needs 12.0", open("cuda:0"));
  fake_cuda::reset();
  EXPECT_EQ(open("cuda:0")->description(), "CUDA, simulated GPU");
}

TEST_F(CudaDriver, DevicesAreCountedAndNamedRight) {
  fake_cuda::reset({.devices = 2});
  open("cuda:1");
  EXPECT_FAILURE(ENODEV, "there is no device 'cuda:2': the driver shows 2", open("cuda:2"));
  for (const char* wrong : {"cuda:", "cuda:x", "cuda:-1", "cuda:1x"})
    EXPECT_FAILURE(EINVAL, "'cuda:0', 'cuda:1'", open(wrong));
  for (const char* unknown : {"cuda", "gpu", ""}) EXPECT_FAILURE(ENOTSUP, "'cpu' and 'cuda:N'", open(unknown));
}

TEST_F(CudaDriver, ImageWithoutKernelsForTheDeviceIsRefused) {
  fake_cuda::reset({.major = 7, .minor = 0});
  EXPECT_FAILURE(ENOTSUP, "compute capability 7.0", open("cuda:0", ptx(".version 8.0\n.target sm_75\n")));
  if (!built_in_image().empty()) {
    EXPECT_FAILURE(ENOTSUP, "compute capability 7.0", open("cuda:0", {}));
  }
  for (const auto& [major, minor] : {std::pair{7, 5}, {8, 6}, {9, 0}, {12, 0}, {13, 5}}) {
    fake_cuda::reset({.major = major, .minor = minor});
    open("cuda:0");
  }
  EXPECT_FAILURE(EIO, "INVALID_IMAGE", open("cuda:0", ptx("nonsense")));
}

TEST_F(CudaDriver, BuildWithoutKernelsSaysSo) {
  if (!built_in_image().empty()) GTEST_SKIP() << "this build has kernels";
  EXPECT_FAILURE(ENOTSUP, "built without nvcc", open("cuda:0", {}));
}

}  // namespace
}  // namespace llmos::core
