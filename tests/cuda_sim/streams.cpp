// The simulated runtime's streams, events and host functions.
#include <algorithm>

#include "cuda_sim/machine.h"

using namespace cuda_sim;

namespace {

thread_local bool in_host_function = false;

Device& device_of(cudaStream_t stream) {
  const bool is_default = stream == nullptr || stream == cudaStreamLegacy;
  return is_default ? device() : *machine().devices.at(static_cast<std::size_t>(stream->device));
}

bool is_done(const MarkPointer& mark) { return !mark || mark->done.load(); }

/// What a call returns that finds out how the device is.
cudaError_t state_of(Device& its_device) {
  const std::string failure = its_device.failure();
  return failure.empty() ? cudaSuccess : error(cudaErrorLaunchFailure, failure);
}

cudaError_t wait_for(const std::vector<MarkPointer>& marks, Device& its_device) {
  ++machine().waits;
  for (const MarkPointer& mark : marks)
    machine().wait(current_device(), [&] { return is_done(mark); });
  return state_of(its_device);
}

/// Asking lets the device work a little, or a loop that asks would never end.
cudaError_t query(const MarkPointer& mark, Device& its_device) {
  if (!is_done(mark)) machine().advance(current_device());
  return is_done(mark) ? state_of(its_device) : cudaErrorNotReady;
}

}  // namespace

cudaError_t cuda_sim::check_caller() {
  if (!in_host_function) return cudaSuccess;
  return error(cudaErrorNotPermitted, "a host function calls CUDA");
}

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  *stream = device().new_stream(flags != cudaStreamNonBlocking);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

/// The real one returns at once, too, but what is in the stream goes on by itself.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  const cudaError_t code = wait_for({its_device.last_of(stream)}, its_device);
  its_device.end_stream(stream);
  return code;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  return wait_for({its_device.last_of(its_device.stream_of(stream))}, its_device);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  return query(its_device.last_of(its_device.stream_of(stream)), its_device);
}

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t code = check_caller()) return code;
  return wait_for(device().last_of_all(), device());
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t code = check_caller()) return code;
  if (is_done(event->mark)) return cudaSuccess;  // one that was never recorded, too
  Device& its_device = device_of(stream);
  its_device.enqueue(its_device.stream_of(stream), [] { return true; }, {event->mark});
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{.timed = (flags & cudaEventDisableTiming) == 0};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  event->mark = its_device.enqueue(its_device.stream_of(stream), [] { return true; });
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t code = check_caller()) return code;
  return wait_for({event->mark}, device());
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t code = check_caller()) return code;
  return query(event->mark, device());
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  if (!start->timed || !end->timed || !start->mark || !end->mark)
    return error(cudaErrorInvalidResourceHandle, "an event is not timed, or was not recorded");
  if (!is_done(start->mark) || !is_done(end->mark)) return cudaErrorNotReady;
  *milliseconds =
      std::chrono::duration<float, std::milli>(end->mark->when - start->mark->when).count();
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  its_device.enqueue(its_device.stream_of(stream), [=] {
    in_host_function = true;
    function(argument);
    in_host_function = false;
    return true;
  });
  return cudaSuccess;
}
}
