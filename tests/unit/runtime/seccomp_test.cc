#include "runtime/launch/seccomp.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>

namespace {

namespace json = base::json;

// What the kernel would answer: the classic BPF that filters are made of, on seccomp_data.
uint32_t answer(const std::vector<sock_filter>& program, uint32_t architecture, uint32_t number) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = architecture;
  uint32_t a = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& i = program[at];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, sizeof a);
        break;
      case BPF_JMP | BPF_JA: at += i.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += a == i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JGT | BPF_K: at += a > i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: at += a >= i.k ? i.jt : i.jf; break;
      case BPF_JMP | BPF_JSET | BPF_K: at += a & i.k ? i.jt : i.jf; break;
      case BPF_RET | BPF_K: return i.k;
      default: ADD_FAILURE() << "instruction " << i.code; return 0;
    }
  }
  ADD_FAILURE() << "no answer";
  return 0;
}

constexpr uint32_t kEnosys = SECCOMP_RET_ERRNO | ENOSYS, kEperm = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kX32 = 0x40000000;

#ifdef __x86_64__
json::object profile(const char* fallback, json::array architectures) {
  return {{"defaultAction", fallback},
          {"architectures", std::move(architectures)},
          {"syscalls",
           json::array{json::object{{"names", json::array{"read", "openat"}}, {"action", "SCMP_ACT_ALLOW"}},
                       json::object{{"names", json::array{"close_range"}}, {"action", "SCMP_ACT_ERRNO"}}}}};
}
std::vector<sock_filter> compiled(const json::object& profile) {
  auto filter = runtime::compile_seccomp(profile);
  EXPECT_TRUE(filter.ok()) << (filter.ok() ? "" : filter.error().message());
  return filter.ok() ? **filter : std::vector<sock_filter>{};
}

TEST(Seccomp, CallsNewerThanTheProfileAreUnknown) {
  auto filter = compiled(profile("SCMP_ACT_ERRNO", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}));
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, SYS_read), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, SYS_mount), kEperm);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, SYS_close_range), kEperm);  // the newest that is named
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, SYS_close_range + 1), kEnosys);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, 100'000), kEnosys);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_I386, 3), SECCOMP_RET_ALLOW);  // read
  EXPECT_EQ(answer(filter, AUDIT_ARCH_I386, 21), kEperm);            // mount
  EXPECT_EQ(answer(filter, AUDIT_ARCH_I386, 437), kEnosys);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, kX32 | 0), SECCOMP_RET_ALLOW);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, kX32 | 165), kEperm);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, kX32 | 437), kEnosys);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_AARCH64, 100'000), SECCOMP_RET_KILL_THREAD);  // not in the profile
}

TEST(Seccomp, AnAbiThatTheProfileLacksIsNotMadeHarmless) {
  auto filter = compiled(profile("SCMP_ACT_ERRNO", {"SCMP_ARCH_X86_64"}));
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, kX32 | 437), SECCOMP_RET_KILL_THREAD);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_I386, 437), SECCOMP_RET_KILL_THREAD);
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, 437), kEnosys);
}

TEST(Seccomp, OnlyARefusingDefaultKnowsOfNewerCalls) {
  for (const char* fallback : {"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"})
    EXPECT_NE(answer(compiled(profile(fallback, {"SCMP_ARCH_X86_64"})), AUDIT_ARCH_X86_64, 437), kEnosys)
        << fallback;
  for (const char* fallback : {"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"})
    EXPECT_EQ(answer(compiled(profile(fallback, {"SCMP_ARCH_X86_64"})), AUDIT_ARCH_X86_64, 437), kEnosys)
        << fallback;
}

TEST(Seccomp, AProfileThatNamesNothingIsLeftAlone) {
  auto filter = compiled({{"defaultAction", "SCMP_ACT_ERRNO"}});
  EXPECT_EQ(answer(filter, AUDIT_ARCH_X86_64, 437), kEperm);
}
#endif

}  // namespace
