#include "runtime/launch/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace runtime {

bool have_capability(int number) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  return data[number / 32].effective & (1u << (number % 32));
}

int child_drop_bounding(const Step& step) {
  for (int i = 0; i < 64; ++i) {
    if (step.x & (uint64_t{1} << i)) continue;
    if (::prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;  // past the kernel's last capability
    return -errno;
  }
  return 0;
}
int child_set_capabilities(const Step& step) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int i = 0; i < 2; ++i) {
    data[i].effective = static_cast<uint32_t>(step.x >> (32 * i));
    data[i].permitted = static_cast<uint32_t>(step.y >> (32 * i));
    data[i].inheritable = static_cast<uint32_t>(step.z >> (32 * i));
  }
  if (::syscall(SYS_capset, &header, data) == 0) return 0;
  if (errno != EPERM) return -errno;
  // The specification: what we can't grant is no failure. Take what is left.
  __user_cap_data_struct have[2]{};
  if (::syscall(SYS_capget, &header, have) != 0) return -errno;
  for (int i = 0; i < 2; ++i) {
    data[i].effective &= have[i].permitted;
    data[i].permitted &= have[i].permitted;
    data[i].inheritable &= have[i].permitted | have[i].inheritable;
  }
  return ::syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}
int child_raise_ambient(const Step& step) {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return -errno;
  for (int i = 0; i < 64; ++i)
    if ((step.x & (uint64_t{1} << i)) && ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) != 0 &&
        errno != EPERM)
      return -errno;  // EPERM: not permitted or not inheritable here, so it can't be granted
  return 0;
}

}  // namespace runtime
