// Waits for a GPU stand in the rank's flight record, so that the watchdog sees those without an
// end: what another rank does not come to, a GPU waits for alone, and no call of the host is
// pending.
#pragma once

#include <memory>
#include <vector>

#include "core/gpu.h"
#include "dist/flight_record.h"

namespace hg {

/// Begins events of kind gpu_wait in `host`, of the world that the watchdog looks at. Their labels
/// name the calls that came last in `gpu`, the records of the worlds that the GPU's streams serve.
GpuStream::WaitWatch waits_into(std::shared_ptr<FlightRecord> host,
                                std::vector<std::shared_ptr<FlightRecord>> gpu, int device);

}  // namespace hg
