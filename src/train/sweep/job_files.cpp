#include "train/sweep/job_files.h"

#include <algorithm>
#include <cctype>

#include "train/sweep/run_needs.h"

namespace hg {
namespace {

/// A name as Kubernetes wants them: "lr-tiny".
std::string lower_name(const std::string& name) {
  std::string result;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    result += std::isalnum(byte) != 0 ? static_cast<char>(std::tolower(byte)) : '-';
  }
  return result;
}

/// In single quotes for a shell.
std::string shell_quote(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// Of each process.
std::int64_t cores(const Sweep& sweep) { return std::max<std::int64_t>(sweep.config.threads, 1); }

}  // namespace

std::string slurm_script(const Sweep& sweep) {
  const RunNeeds needs = needs_of(sweep);
  const std::string gpus =
      needs.gpus == 0 ? "" : fmt::format("#SBATCH --gpus-per-node={}\n", needs.gpus);
  return fmt::format(
      R"(#!/usr/bin/env bash
# The sweep {name}: one task for each of its {count} runs, from the folder that this is submitted in. A task that is
# started again continues its run. Afterwards headgate sweep {path} --collect writes sweep.json.
#SBATCH --job-name={name}
#SBATCH --array=0-{last}%{jobs}
#SBATCH --nodes=1
#SBATCH --ntasks={ranks}
#SBATCH --cpus-per-task={cores}
{gpus}#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
export OMP_WAIT_POLICY=${{OMP_WAIT_POLICY-passive}}
exec "${{HEADGATE:-build/release/tools/headgate}}" sweep {quoted} --point "$SLURM_ARRAY_TASK_ID"
)",
      fmt::arg("name", sweep.config.name), fmt::arg("count", sweep.points.size()),
      fmt::arg("path", sweep.path), fmt::arg("last", sweep.points.size() - 1),
      fmt::arg("jobs", sweep.config.jobs), fmt::arg("ranks", needs.ranks),
      fmt::arg("cores", cores(sweep)), fmt::arg("gpus", gpus),
      fmt::arg("quoted", shell_quote(sweep.path)));
}

std::string kubernetes_job(const Sweep& sweep) {
  const RunNeeds needs = needs_of(sweep);
  const std::string gpus =
      needs.gpus == 0 ? "" : fmt::format(", nvidia.com/gpu: \"{}\"", needs.gpus);
  return fmt::format(
      R"(# The sweep {name}: pod i is run i of {count}. A pod that is started again continues its run. Afterwards
# headgate sweep {path} --collect writes sweep.json.
apiVersion: batch/v1
kind: Job
metadata:
  name: headgate-{lower}
spec:
  completionMode: Indexed
  completions: {count}
  parallelism: {jobs}
  backoffLimitPerIndex: 3
  maxFailedIndexes: {count}
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: headgate
          image: headgate   # yours, with the program in /opt/headgate
          command: [/opt/headgate/tools/headgate, sweep, {yaml}, --point, $(JOB_COMPLETION_INDEX)]
          workingDir: /work
          resources:
            requests: {{cpu: "{cores}"{gpus}}}
            limits: {{cpu: "{cores}"{gpus}}}
          volumeMounts:
            - {{name: work, mountPath: /work}}
      volumes:
        - name: work
          persistentVolumeClaim:
            claimName: headgate-work   # ReadWriteMany: configs, data and runs, which all pods must see alike
)",
      fmt::arg("name", sweep.config.name), fmt::arg("count", sweep.points.size()),
      fmt::arg("path", sweep.path), fmt::arg("lower", lower_name(sweep.config.name)),
      fmt::arg("jobs", sweep.config.jobs), fmt::arg("yaml", config::quote(sweep.path)),
      fmt::arg("cores", needs.ranks * cores(sweep)), fmt::arg("gpus", gpus));
}

}  // namespace hg
