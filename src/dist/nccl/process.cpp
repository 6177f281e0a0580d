#include "dist/nccl/process.h"

#include <algorithm>
#include <array>
#include <exception>
#include <thread>

namespace hg {
namespace {

/// 22809 is "2.28.9".
std::string version_words(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace

NcclProcess::NcclProcess(const NcclApi& api, int device) : api_(api), device_(device) {
  int version = 0;
  check(api_.nccl_version(&version), nullptr, "the version");
  HG_CHECK(version >= api_.built_with,
           "NCCL is {} here, but headgate was built with {}: expected the same or a newer one",
           version_words(version), version_words(api_.built_with));
  version_ = version_words(version);

  int devices = 0;
  if (const int code = api_.device_count(&devices)) {
    std::array<char, 512> words{};
    api_.error_words(nullptr, code, words.data(), static_cast<int>(words.size()));
    fail("NCCL needs a GPU, and CUDA finds none: {}", words.data());
  }
  HG_CHECK(0 <= device && device < devices, "there is no CUDA device {}, but {} of them here",
           device, devices);
  use_device();
}

NcclProcess::~NcclProcess() {
  api_.use(device_);
  for (const Handle comm : comms_) api_.abort(comm);
}

void NcclProcess::check(int code, Handle comm, const std::string& what) const {
  if (code == 0) return;
  std::array<char, 512> words{};
  api_.error_words(comm, code, words.data(), static_cast<int>(words.size()));
  fail("{}, {}: {}", code >= NcclApi::kCudaError ? "CUDA" : "NCCL", what, words.data());
}

void NcclProcess::throw_if_interrupted() const {
  if (interrupted_) throw CommAborted(sentence_);
}

void NcclProcess::settle(Handle comm, const std::string& what) {
  while (true) {
    {
      const std::scoped_lock lock(mutex_);
      throw_if_interrupted();
      const int state = api_.state(comm);
      if (state == 0) return;
      if (state != NcclApi::kInProgress) check(state, comm, what);
    }
    std::this_thread::yield();
  }
}

void NcclProcess::wait(Handle comm, NcclApi::Stream stream, const std::string& what) {
  while (true) {
    {
      const std::scoped_lock lock(mutex_);
      throw_if_interrupted();
      check(api_.state(comm), comm, what);
      use_device();
      int done = 0;
      check(api_.stream_done(stream, &done), comm, what);
      if (done != 0) return check(api_.state(comm), comm, what);
    }
    std::this_thread::yield();
  }
}

std::string NcclProcess::new_id() {
  std::string id(NcclApi::kIdBytes, '\0');
  call(&NcclApi::unique_id, "a new id", id.data());
  return id;
}

NcclProcess::Handle NcclProcess::initialize(int size, const std::string& id, int rank) {
  const std::string what = "connecting the ranks";
  Handle comm = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    throw_if_interrupted();
    use_device();
    const int code = api_.initialize(&comm, size, id.data(), rank);
    if (comm != nullptr) comms_.push_back(comm);
    if (code != NcclApi::kInProgress) check(code, comm, what);
  }
  settle(comm, what);
  return comm;
}

NcclProcess::Handle NcclProcess::split(Handle comm, int color, int key, const std::string& what) {
  Handle part = nullptr;
  enqueue(comm, what, [&](const NcclApi& api) {
    const int code = api.split(comm, color, key, &part);
    if (part != nullptr) comms_.push_back(part);
    return code;
  });
  if (color < 0) {
    const std::scoped_lock lock(mutex_);
    if (std::erase(comms_, part) > 0) api_.destroy(part);
    return nullptr;
  }
  settle(part, what);
  return part;
}

void NcclProcess::close(Handle comm) {
  const std::string what = "the end of a group";
  const auto forget = [&] { return std::erase(comms_, comm) > 0; };
  if (std::uncaught_exceptions() == 0) {
    try {
      enqueue(comm, what, [&](const NcclApi& api) { return api.finalize(comm); });
      const std::scoped_lock lock(mutex_);
      if (forget()) check(api_.destroy(comm), nullptr, what);
      return;
    } catch (const Error&) {
      // Nothing is lost with it; what is wrong will show in the next call.
    }
  }
  const std::scoped_lock lock(mutex_);
  if (forget()) api_.abort(comm);
}

void NcclProcess::interrupt(const std::string& sentence) {
  const std::scoped_lock lock(mutex_);
  if (interrupted_) return;
  sentence_ = sentence;
  interrupted_ = true;
  api_.use(device_);
  for (const Handle comm : comms_) api_.abort(comm);
  comms_.clear();
}

}  // namespace hg
