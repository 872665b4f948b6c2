// What a build of torch for CPUs lacks before tensors without memory can claim to be on a GPU: a device guard, and
// hooks that say there is an accelerator, while `fake_cuda_present` is set.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/FakeGuardImpl.h>

namespace at {
namespace {

bool present = false;

// torch looks for this name.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  bool hasCUDA() const override { return present; }
  bool isBuilt() const override { return present; }
  bool isAvailable() const override { return present; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return present; }
  c10::DeviceIndex deviceCount() const override { return present ? 1 : 0; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

}  // namespace

REGISTER_CUDA_HOOKS(CUDAHooks)
}  // namespace at

extern "C" void fake_cuda_present(bool value) { at::present = value; }

C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>)
