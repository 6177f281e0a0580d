// Files for clusters: that they are what Slurm and Kubernetes read.
#include "train/sweep/job_files.h"

#include <gmock/gmock.h>
#include <yaml-cpp/yaml.h>

#include "core/file.h"
#include "support/finish.h"
#include "support/temp_folder.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using testing::Not;

Sweep sweep_of(std::size_t points) {
  Sweep sweep{.path = "my sweeps/a'b.yaml",
              .config = {},
              .base = {},
              .folder = {},
              .axes = {},
              .points = {}};
  sweep.config.name = "LR_tiny";
  sweep.config.jobs = 3;
  sweep.config.threads = 8;
  sweep.points.resize(points);
  return sweep;
}

TEST(JobFiles, SlurmHasATaskForEachPoint) {
  const std::string script = slurm_script(sweep_of(12));
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --array=0-11%3\n"));
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --cpus-per-task=8\n"));
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --job-name=LR_tiny\n"));
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --ntasks=1\n"));
  EXPECT_THAT(script, Not(HasSubstr("gpu")));
  const TempFolder folder;
  write_file(folder / "job", script);
  write_file(folder / "headgate", "#!/bin/sh\nprintf '%s|' \"$@\"\n");
  const Finished run =
      finish(fmt::format("cd {0} && chmod +x headgate && SLURM_SUBMIT_DIR={0} "
                         "SLURM_ARRAY_TASK_ID=7 HEADGATE=./headgate "
                         "bash job",
                         folder.path().string()));
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.output, "sweep|my sweeps/a'b.yaml|--point|7|");
}

TEST(JobFiles, KubernetesHasAPodForEachPoint) {
  const YAML::Node job = YAML::Load(kubernetes_job(sweep_of(12)));
  EXPECT_EQ(job["metadata"]["name"].as<std::string>(), "headgate-lr-tiny");
  const YAML::Node spec = job["spec"];
  EXPECT_EQ(spec["completionMode"].as<std::string>(), "Indexed");
  EXPECT_EQ(spec["completions"].as<int>(), 12);
  EXPECT_EQ(spec["parallelism"].as<int>(), 3);
  const YAML::Node container = spec["template"]["spec"]["containers"][0];
  EXPECT_EQ(container["command"].as<std::vector<std::string>>(),
            (std::vector<std::string>{"/opt/headgate/tools/headgate", "sweep", "my sweeps/a'b.yaml",
                                      "--point", "$(JOB_COMPLETION_INDEX)"}));
  EXPECT_EQ(container["resources"]["limits"]["cpu"].as<std::string>(), "8");
}

TEST(JobFiles, AskForTheRanksAndGpusOfARun) {
  Sweep sweep = sweep_of(2);
  sweep.config.ranks = 4;
  EXPECT_THAT(slurm_script(sweep), Not(HasSubstr("gpu")));
  EXPECT_THAT(kubernetes_job(sweep), Not(HasSubstr("gpu")));
  sweep.points[1].config.training.device = Device::cuda;
  const std::string script = slurm_script(sweep);
  EXPECT_THAT(script, HasSubstr("\n#SBATCH --ntasks=4\n#SBATCH --cpus-per-task=8\n"
                                "#SBATCH --gpus-per-node=4\n#SBATCH --time"));
  const YAML::Node resources =
      YAML::Load(kubernetes_job(sweep))["spec"]["template"]["spec"]["containers"][0]["resources"];
  for (const char* kind : {"requests", "limits"}) {
    EXPECT_EQ(resources[kind]["cpu"].as<std::string>(), "32");
    EXPECT_EQ(resources[kind]["nvidia.com/gpu"].as<std::string>(), "4");
  }
}

TEST(JobFiles, AreRefusedWhereNobodyKnowsTheRanks) {
  Sweep sweep = sweep_of(2);
  sweep.config.launcher = {"mpirun", "-n", "8"};
  for (const auto& make : {slurm_script, kubernetes_job})
    EXPECT_THAT(error_of([&] { make(sweep); }),
                HasSubstr("launcher is mpirun -n 8, but ranks is not set"));
  sweep.config.ranks = 8;
  EXPECT_THAT(slurm_script(sweep), HasSubstr("--ntasks=8"));
}

}  // namespace
}  // namespace hg::test
