// The simulated runtime's streams, events and host functions.
#include <algorithm>

#include "cuda_sim/kernel.h"
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

/// Waiting for an event of a capture: what is recorded next stands behind it. A stream that does
/// not record yet joins.
cudaError_t wait_in_capture(cudaStream_t stream, const Mark& mark) {
  const auto capture = mark.capture.lock();
  if (!capture) return error(cudaErrorCapturedEvent, "the event is of a recording that has ended");
  if (stream->capture && stream->capture != capture) {
    stream->capture->failure = capture->failure = "of an event of another recording";
    return error(cudaErrorStreamCaptureMerge, "a wait would merge two recordings");
  }
  if (stream->blocking)
    return error(cudaErrorNotSupported,
                 "the simulation does not know captures of streams that take turns with the "
                 "default stream");
  if (!stream->capture) {
    stream->capture = capture;
    capture->streams.push_back(stream);
  }
  for (const std::size_t node : mark.nodes) {
    if (std::ranges::find(stream->nodes, node) == stream->nodes.end())
      stream->nodes.push_back(node);
  }
  return cudaSuccess;
}

cudaError_t check_not_captured(cudaEvent_t event) {
  if (!event->mark || !event->mark->captured) return cudaSuccess;
  if (const auto its = event->mark->capture.lock()) its->failure = "of a question about its event";
  return error(cudaErrorCapturedEvent, "the event is of a recording");
}

/// Asking lets the device work a little, or a loop that asks would never end.
cudaError_t query(const MarkPointer& mark, Device& its_device) {
  if (!is_done(mark)) machine().advance(current_device());
  return is_done(mark) ? state_of(its_device) : cudaErrorNotReady;
}

}  // namespace

cudaError_t cuda_sim::wait_for_device() { return wait_for(device().last_of_all(), device()); }

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
  if (const cudaError_t code = check_not_capturing(stream, "cudaStreamDestroy")) return code;
  Device& its_device = device_of(stream);
  const cudaError_t code = wait_for({its_device.last_of(stream)}, its_device);
  its_device.end_stream(stream);
  return code;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  const cudaStream_t its = its_device.stream_of(stream);
  if (const cudaError_t code = check_not_capturing(its, "cudaStreamSynchronize")) return code;
  if (const cudaError_t code = check_safe("cudaStreamSynchronize")) return code;
  return wait_for({its_device.last_of(its_device.stream_of(stream))}, its_device);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  const cudaStream_t its = its_device.stream_of(stream);
  if (const cudaError_t code = check_not_capturing(its, "cudaStreamQuery")) return code;
  return query(its_device.last_of(its_device.stream_of(stream)), its_device);
}

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t code = check_caller()) return code;
  for (const auto& capture : device().captures()) {
    capture->failure = "of cudaDeviceSynchronize";
    return error(cudaErrorStreamCaptureUnsupported, "cudaDeviceSynchronize while a stream records");
  }
  return wait_for_device();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (const cudaError_t code = check_caller()) return code;
  Device& its_device = device_of(stream);
  stream = its_device.stream_of(stream);
  if (const cudaError_t code = check_capture(stream)) return code;
  if (!event->mark) return cudaSuccess;  // never recorded
  if (event->mark->captured) return wait_in_capture(stream, *event->mark);
  if (stream->capture) {
    stream->capture->failure = "of an event of another stream";
    return error(cudaErrorStreamCaptureIsolation,
                 "a stream that records waits for an event that was not recorded with it");
  }
  if (is_done(event->mark)) return cudaSuccess;
  its_device.enqueue(stream, [] { return true; }, {event->mark});
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
  stream = its_device.stream_of(stream);
  if (const cudaError_t code = check_capture(stream)) return code;
  if (stream->capture) {
    event->mark = std::make_shared<Mark>();
    event->mark->captured = true;
    event->mark->capture = stream->capture;
    event->mark->nodes = stream->nodes;
  } else {
    event->mark = its_device.enqueue(stream, [] { return true; });
  }
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t code = check_caller()) return code;
  if (const cudaError_t code = check_safe("cudaEventSynchronize")) return code;
  if (const cudaError_t code = check_not_captured(event)) return code;
  return wait_for({event->mark}, device());
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t code = check_caller()) return code;
  if (const cudaError_t code = check_not_captured(event)) return code;
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
  stream = its_device.stream_of(stream);
  if (const cudaError_t code = check_capture(stream)) return code;
  const Work work = [=] {
    in_host_function = true;
    function(argument);
    in_host_function = false;
    return true;
  };
  its_device.enqueue(stream, work, {},
                     {.kind = "host function", .values = {bytes_of(function), bytes_of(argument)}});
  return cudaSuccess;
}
}
