// SPDX-License-Identifier: MIT
// Modules, their kernels, and launches of these.
#include "fake_cuda/driver.hpp"
#include "fake_cuda/image.hpp"
#include "fake_cuda/kernels.hpp"

extern "C" {

Result cuModuleLoadData(ModuleHandle* module, const void* image) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (const Result result = judge_image(image, driver().settings.major, driver().settings.minor)) return result;
  *module = reinterpret_cast<ModuleHandle>(*driver().modules.insert(new int).first);
  return success;
}

Result cuModuleUnload(ModuleHandle handle) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  return destroy(driver().modules, handle);
}

Result cuModuleGetFunction(FunctionHandle* function, ModuleHandle module, const char* name) {
  CALL(in_context);
  if (!driver().modules.contains(reinterpret_cast<int*>(module))) return invalid_value;
  const RunnableKernel* found = find_kernel(name);
  *function = reinterpret_cast<FunctionHandle>(const_cast<RunnableKernel*>(found));
  return found ? success : not_found;
}

Result cuLaunchKernel(FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, StreamHandle stream, void** parameters,
                      void** extra) {
  CALL(in_context);
  const auto* kernel = reinterpret_cast<const RunnableKernel*>(function);
  const size_t threads = size_t{block_x} * block_y * block_z;
  if (!kernel || extra || shared_bytes || threads == 0 || threads > kernel->most_threads || grid_x == 0 ||
      grid_y == 0 || grid_z == 0 || grid_y > 65535 || grid_z > 65535)
    return invalid_value;
  const auto* first = static_cast<const char*>(parameters[0]);  // copied now, as the driver does
  const auto arguments = std::make_shared<std::vector<char>>(first, first + kernel->argument_bytes);
  return submit(stream, [=] {
    try {
      driver().launches.emplace_back(kernel->name);
      if (kernel->name == driver().settings.idle) return success;
      simt::launch(
          {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, [&] { kernel->run(arguments->data()); },
          driver().settings.schedule);
      return success;
    } catch (const simt::Fault& fault) {
      note_violation(std::string(kernel->name) + ": " + fault.what());
      return launch_failed;
    }
  });
}

}  // extern "C"
