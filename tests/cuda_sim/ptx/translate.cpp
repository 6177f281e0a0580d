#include "cuda_sim/ptx/translate.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>

#include "core/check.h"
#include "cuda_sim/ptx/kernel_names.h"
#include "cuda_sim/ptx/launch.h"

namespace cuda_sim::ptx {
namespace {

/// All modules, and those of their kernels that have run.
class Library {
 public:
  Library() {
    for (const std::string& file : ptx_files()) modules_.push_back(std::make_unique<Module>(file));
  }

  std::shared_ptr<const Program> program_of(const void* kernel) {
    const std::scoped_lock lock(mutex_);
    std::shared_ptr<const Program>& program = programs_[kernel];
    if (program == nullptr) program = std::make_shared<Program>(find(names_.at(kernel)));
    return program;
  }

 private:
  Program find(const KernelName& name) const {
    const std::string wanted = plain_name(name.mangled);
    for (const auto& module : modules_) {
      const std::filesystem::path path(module->path());
      if (!name.file.empty() && path.stem() != std::filesystem::path(name.file).stem()) continue;
      for (const Module::Entry& entry : module->entries())
        if (entry.name == wanted) return decode(module->parse(entry));
    }
    hg::fail("no PTX file has the kernel {} of {}", wanted, name.file);
  }

  const KernelNames names_;
  std::vector<std::unique_ptr<Module>> modules_;
  std::mutex mutex_;
  std::map<const void*, std::shared_ptr<const Program>> programs_;
};

}  // namespace

std::vector<std::string> ptx_files() {
  const char* const architecture = std::getenv("HEADGATE_PTX");
  const std::filesystem::path folder = std::filesystem::path(HEADGATE_PTX_FOLDER) /
                                       (architecture != nullptr ? architecture : "sm_90");
  std::vector<std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(folder))
    if (file.path().extension() == ".ptx") files.push_back(file.path().string());
  std::ranges::sort(files);
  return files;
}

std::function<void()> interpret(const Call& call) {
  static Library library;
  const auto launch = std::make_shared<Launch>(library.program_of(call.kernel), call);
  return [launch] { launch->run_thread(); };
}

}  // namespace cuda_sim::ptx
