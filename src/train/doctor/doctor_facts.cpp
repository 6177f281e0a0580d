#include "train/doctor/doctor_facts.h"

#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>
#include <thread>

#include "build_info.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/gpu.h"
#include "core/gpu_facts.h"
#include "core/parallel.h"
#include "data/token_file.h"
#include "data/tokenizer.h"
#include "dist/cpu_share.h"
#include "dist/gather_text.h"
#include "train/fp8_support.h"
#include "train/layout.h"
#include "train/machine.h"
#include "train/run_model.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

/// What `fn` throws, as one line; empty if nothing.
template <class Fn>
std::string sentence_of(Fn&& fn) {
  try {
    fn();
  } catch (const std::exception& e) {
    std::string text = e.what();
    for (std::size_t line = 0; (line = text.find('\n', line)) != std::string::npos;)
      text.replace(line, 1, "; ");
    return text;
  }
  return {};
}

bool concerns_devices(std::string_view variable) {
  return variable.starts_with("NCCL_") || variable.starts_with("CUDA_VISIBLE_DEVICES=");
}

std::string describe_data(const RunConfig& config) {
  const auto tokenizer = load_tokenizer(config.data.tokenizer);
  HG_CHECK(tokenizer->vocab_size() <= config.model.vocab_size,
           "tokenizer {} has {} ids, more than model.vocab_size = {}", config.data.tokenizer,
           tokenizer->vocab_size(), config.model.vocab_size);
  std::string text;
  for (const std::string& prefix : {config.data.train, config.data.validation}) {
    if (prefix.empty()) continue;
    const TokenFile file(prefix, config.model.vocab_size, TokenFile::IdCheck::none);
    text += fmt::format("{} with {} tokens ({:016x}), ", prefix, file.tokens(), file.fingerprint());
  }
  return text + fmt::format("tokenizer {} ({})", config.data.tokenizer, tokenizer->fingerprint());
}

/// Of the weights and both moments, in f32.
std::int64_t checkpoint_bytes(const ModelConfig& config) {
  ParamStore store;
  const Transformer model(config, store);
  std::int64_t elements = 0;
  for (const ParamSpec& spec : store.specs()) elements += spec.numel();
  return 3 * elements * size_of(DType::f32);
}

/// That are there while the newest is written.
std::int64_t most_checkpoints(const RunConfig& config) {
  const CheckpointConfig& its = config.checkpoint;
  const std::int64_t lasting = its.keep_every > 0 && its.interval > 0
                                   ? config.training.steps / std::lcm(its.keep_every, its.interval)
                                   : 0;
  return its.keep + 1 + lasting;
}

/// A file for other ranks to find, which does not stay.
class Token {
 public:
  explicit Token(const fs::path& folder) {
    std::random_device random;
    content = fmt::format("{:08x}{:08x}", random(), random());
    path_ = folder / (".headgate-doctor-" + content);
    try {
      write_file(path_, content);
    } catch (...) {
      remove();
      throw;
    }
  }
  ~Token() { remove(); }
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  std::string content;

 private:
  void remove() const {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  fs::path path_;
};

/// `path` and how many of its last parts have to be made.
std::pair<fs::path, int> existing_part(fs::path path) {
  int missing = 0;
  for (; !fs::exists(path) && path.has_relative_path(); ++missing) path = path.parent_path();
  return {path, missing};
}

/// Waits a little: network file systems may show a new name late.
bool finds(const fs::path& path, const std::string& content) {
  const auto start = Clock::now();
  while (true) {
    std::string found;
    if (sentence_of([&] { found = read_file(path); }).empty() && found == content) return true;
    if (seconds_since(start) > 2) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace

void add_node_facts(RankFacts& facts, const World& world, const char* const* variables) {
  facts.source = world.sentence();
  facts.local_size = world.local_size;
  const std::vector<std::string> names = variables_of(world.source);
  for (; *variables != nullptr; ++variables) {
    const std::string variable = *variables;
    const std::size_t equals = variable.find('=');
    if (std::ranges::find(names, variable.substr(0, equals)) != names.end())
      facts.variables.push_back(variable);
    if (equals != variable.npos && concerns_devices(variable))
      facts.device_variables[variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  std::ranges::sort(facts.variables);
  const CpuInfo cpu = detect_cpu();
  facts.host = host_name();
  facts.build = fmt::format("{} ({})", build::kVersion, build::kRevision);
  facts.processor = fmt::format("{} ({})", cpu.model, cpu.to_string());
  facts.cpus = usable_cpus();
  facts.node_cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  facts.cpu_quota = cpu_quota();
  facts.threads = num_threads();
  facts.memory_available = available_memory();
}

void add_gpu_facts(RankFacts& facts, const RunConfig& config, const GpuOptions& options) {
  facts.wants_gpu = config.training.device == Device::cuda;
  facts.gpu_error = sentence_of([&] {
    const auto gpu = open_gpu(config, options);
    if (gpu == nullptr) return;
    check_fp8(config.training.fp8, *gpu);
    const GpuFacts its = facts_of(*gpu);
    facts.gpu = gpu->description();
    facts.gpu_address = its.address;
    facts.gpu_available = its.available;
  });
}

void add_config_facts(RankFacts& facts, const RunConfig& config, const std::string& resolved,
                      int rank, int ranks) {
  facts.has_config = true;
  facts.config_hash = fmt::format("{:016x}", XXH3_64bits(resolved.data(), resolved.size()));
  if (config.training.threads > 0) facts.threads = static_cast<int>(config.training.threads);
  const CpuInfo cpu = detect_cpu();
  facts.precision = name_of(compute_dtype(config.training.precision, cpu, config.training.device));
  facts.layout_error = sentence_of([&] {
    const MeshShape shape = layout_of(config, ranks);
    facts.layout = fmt::format("{}, ZeRO stage {}", shape.to_string(),
                               static_cast<int>(config.parallelism.zero_stage));
    const StepPlan plan = plan_step(config, cpu, Mesh::place(shape, rank));
    facts.plan_bytes = static_cast<std::int64_t>(plan.total_bytes());
    facts.checkpoint_bytes = checkpoint_bytes(config.model);
    facts.kept_bytes = facts.checkpoint_bytes * most_checkpoints(config);
  });
  facts.data_error = sentence_of([&] { facts.data = describe_data(config); });
}

void add_folder_facts(RankFacts& facts, Comm& world, const fs::path& folder) {
  facts.folder = folder.string();
  const fs::path wanted = fs::absolute(folder).lexically_normal();
  auto [existing, missing] = existing_part(wanted);
  std::optional<Token> token;
  if (world.rank() == 0) {
    facts.folder_error = sentence_of([&] {
      HG_CHECK(fs::is_directory(existing), "{} is not a folder", existing.string());
      token.emplace(existing);
    });
  }
  // What the others look for: how far above the run folder, and what.
  const std::string told = token ? fmt::format("{} {}", missing, token->content) : std::string();
  const std::string of_rank_0 = gather_text(world, told, "run folder").front();
  if (world.rank() > 0 && !of_rank_0.empty()) {
    const std::size_t space = of_rank_0.find(' ');
    fs::path parent = wanted;
    for (int i = std::stoi(of_rank_0); i > 0; --i) parent = parent.parent_path();
    const std::string content = of_rank_0.substr(space + 1);
    if (!finds(parent / (".headgate-doctor-" + content), content)) {
      facts.folder_error =
          fmt::format("{} does not show here what rank 0 has written there: it is another folder",
                      parent.string());
    }
  }
  struct statvfs space {};
  if (::statvfs(existing.c_str(), &space) == 0) {
    facts.disk_available =
        static_cast<std::int64_t>(space.f_bavail) * static_cast<std::int64_t>(space.f_frsize);
  } else if (facts.folder_error.empty()) {
    facts.folder_error = sentence_of([&] {
      fail_errno(errno, fmt::format("cannot ask for the space of {}", existing.string()));
    });
  }
  world.barrier("run folder");
}

std::vector<RankFacts> gather_facts(Comm& world, const RankFacts& facts) {
  nlohmann::json own;
  RankFacts::fields(facts, [&](const char* name, const auto& value) { own[name] = value; });
  using Handler = nlohmann::json::error_handler_t;  // names of files may not be UTF-8
  std::vector<RankFacts> all;
  // A rank of another version may say less; that it is another one is a fact, too.
  for (const auto& text :
       gather_text(world, own.dump(-1, ' ', false, Handler::replace), "facts of ranks")) {
    const auto json = nlohmann::json::parse(text);
    RankFacts::fields(all.emplace_back(), [&](const char* name, auto& value) {
      if (json.contains(name)) json.at(name).get_to(value);
    });
  }
  return all;
}

}  // namespace hg
