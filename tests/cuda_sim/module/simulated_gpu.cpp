// A machine with one simulated GPU, for as long as the module is loaded.
#include "cuda_sim/simulation.h"

namespace {
const cuda_sim::Simulation the_machine({.devices = 1, .guard_memory = true});
}
