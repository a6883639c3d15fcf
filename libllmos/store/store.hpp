// SPDX-License-Identifier: MIT
// What every store can do. kernel.cpp and memory.cpp are the two; joined.cpp is both, for a user who may only read
// the kernel's.
//
// The structs of the UAPI are used as they are: one vocabulary from the kernel to the caller.
#pragma once

#include <llmos/llmos.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "store/digest.hpp"
#include "store/digest_cache.hpp"

namespace llmos::core {

// One open of a model. Every function may be called from any thread.
class Model {
 public:
  virtual ~Model() = default;

  virtual const std::string& name() const = 0;
  virtual uint64_t size() const = 0;
  // Mapped on the first call, until the model is destroyed. Throws ESTALE when the grant was revoked before.
  virtual std::span<const std::byte> bytes() = 0;
  virtual Digest digest() = 0;
  virtual struct llmos_model_stat stat() = 0;
  virtual int fd() const = 0;
  virtual bool alive() = 0;
  virtual int dmabuf(uint32_t flags) = 0;

  // Where the digest is not known without work, the file a model was loaded from stands for it. False: not needed.
  virtual bool set_origin(const FileIdentity&) { return false; }
  virtual bool came_from(const FileIdentity&) { return false; }
};

// A model that is being made. write() and fill() may be called from several threads at once; destroyed before seal(),
// it leaves nothing behind.
class Writer {
 public:
  virtual ~Writer() = default;

  virtual uint64_t size() const = 0;
  virtual void write(uint64_t offset, std::span<const std::byte> bytes) = 0;

  // Reads [offset, offset + length) of the file into the same place of the model; offset is a multiple of 2 MiB. False:
  // this file cannot be read this way (O_DIRECT where the file system has none, or no regular file).
  virtual bool fill(int file, uint64_t offset, uint64_t length) = 0;
  // How fill() is best called: bytes at once, and by how many threads.
  virtual uint64_t fill_chunk() const = 0;
  virtual unsigned fill_threads() const = 0;

  virtual uint64_t filled() const = 0;  // bytes that arrived so far
  virtual uint64_t hashed() const = 0;  // bytes that seal() digested so far
  virtual std::unique_ptr<Model> seal(std::span<const std::byte> signature) = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  virtual int kind() const = 0;  // LLMOS_STORE_*
  virtual bool may_load() const { return true; }
  virtual struct llmos_query query() = 0;

  virtual std::unique_ptr<Model> open(const std::string& name) = 0;
  // Needs name, bytes and mode; load() and create() of loader.hpp see to that.
  virtual std::unique_ptr<Writer> create(const llmos_model_options& options) = 0;

  virtual std::vector<struct llmos_model_stat> list() = 0;  // in the order of names
  virtual struct llmos_model_stat stat(const std::string& name) = 0;
  virtual void remove(const std::string& name) = 0;
  virtual void set(const struct llmos_model_set& set) = 0;
  virtual void evict(const std::string& name) = 0;
  virtual void revoke(struct llmos_model_revoke& revoke) = 0;
  virtual std::vector<struct llmos_grant> grants(const std::string& name) = 0;
};

std::unique_ptr<Store> open_store(int which);  // LLMOS_STORE_*
std::unique_ptr<Store> open_kernel_store();
std::unique_ptr<Store> open_memory_store();
// Opens what is in `kernel`, which may not load, and loads into the process.
std::unique_ptr<Store> join_memory_store(std::unique_ptr<Store> kernel);

// Throws EINVAL and says what is wrong with it.
void check_name(const std::string& name);
// Copies a checked name into a UAPI struct.
void put_name(char (&field)[LLMOS_NAME_SIZE], const std::string& name);

// The nodes that the options mean, checked against those of this machine. Throws EINVAL.
uint64_t checked_nodes(const llmos_model_options& options);

}  // namespace llmos::core
