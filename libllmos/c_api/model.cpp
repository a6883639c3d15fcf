// SPDX-License-Identifier: MIT
// llmos_model_*: an open model.
#include "c_api/guard.hpp"
#include "c_api/handles.hpp"

using namespace llmos::core;

namespace {

Model& of(llmos_model* model) {
  need(model, "model");
  return *model->model;
}

}  // namespace

void llmos_model_close(llmos_model* model) { delete model; }

const char* llmos_model_name(const llmos_model* model) { return model ? model->model->name().c_str() : ""; }

uint64_t llmos_model_size(const llmos_model* model) { return model ? model->model->size() : 0; }

int llmos_model_map(llmos_model* model, const void** data) {
  return guarded([&] {
    need(data, "data");
    *data = of(model).bytes().data();
  });
}

int llmos_model_alive(llmos_model* model) {
  return guarded([&]() -> int { return of(model).alive(); });
}

int llmos_model_fd(const llmos_model* model) { return model ? model->model->fd() : -EINVAL; }

int llmos_model_digest(llmos_model* model, uint8_t digest[LLMOS_DIGEST_SIZE]) {
  return guarded([&] {
    need(digest, "digest");
    const Digest found = of(model).digest();
    std::copy(found.begin(), found.end(), digest);
  });
}

int llmos_model_stat(llmos_model* model, struct llmos_model_stat* stat) {
  return guarded([&] { give(stat, of(model).stat(), "stat"); });
}

int llmos_model_dmabuf(llmos_model* model, uint32_t flags) {
  return guarded([&] { return of(model).dmabuf(flags); });
}
