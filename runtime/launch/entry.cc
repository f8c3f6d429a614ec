// Where sampan-oci and sampan-pod begin, before libc: the program runs itself anew from a read-only
// detached mount of its own file (why: protect_own_program, runtime/launch/launch.h). Done this early the
// first image costs an execve and a handful of page faults; libc's start-up alone takes three times
// that under a hypervisor, where each of its CPUID instructions is an exit to the host.
// Nothing here may use libc: there are no thread-local variables, no errno and no relocated calls
// yet. Whatever fails is left to protect_own_program, which tries again and says why.
#if defined(__x86_64__) && defined(SAMPAN_STATIC)
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "runtime/launch/entry.h"

namespace {

long system_call(long number, long a, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
}
long address(const void* pointer) { return reinterpret_cast<long>(pointer); }

bool equal(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}
// Any word will do: a container called "run" costs an execve, a command that was missed would cost
// a second start of libc.
bool concerned(char** argv) {
  if (!runtime::kProtectedCommands[0]) return true;
  for (char** word = argv; *word; ++word)
    for (const char* const* command = runtime::kProtectedCommands; *command; ++command)
      if (equal(*word, *command)) return true;
  return false;
}

}  // namespace

// `stack` as the kernel made it: argc, argv, null, envp, null.
extern "C" [[gnu::used, gnu::optimize("no-stack-protector")]] void sampan_before_libc(uintptr_t* stack) {
  auto argc = static_cast<size_t>(stack[0]);
  char** argv = reinterpret_cast<char**>(stack + 1);
  char** envp = argv + argc + 1;
  if (argc == 0 || !concerned(argv)) return;
  const char* self = "/proc/self/exe";
  struct statfs info;
  long writable = system_call(SYS_faccessat, AT_FDCWD, address(self), W_OK);
  if (writable == -EROFS) return;
  if (writable == -EACCES && system_call(SYS_statfs, address(self), address(&info)) == 0 &&
      info.f_flags & ST_RDONLY)
    return;
  long tree = system_call(SYS_open_tree, AT_FDCWD, address(self), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return;
  mount_attr attributes;
  attributes.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  attributes.attr_clr = attributes.propagation = attributes.userns_fd = 0;
  if (system_call(SYS_mount_setattr, tree, address(""), AT_EMPTY_PATH, address(&attributes),
                  sizeof attributes) == 0)
    system_call(SYS_execveat, tree, address(""), address(argv), address(envp), AT_EMPTY_PATH);
  system_call(SYS_close, tree, 0);
}

// rdx is the kernel's to libc; the stack is 16-aligned here and must be so before a call.
asm(R"(
  .pushsection .text.sampan_entry,"ax",@progbits
  .globl sampan_entry
  .type sampan_entry,@function
sampan_entry:
  xorl %ebp, %ebp
  movq %rsp, %rdi
  pushq %rdx
  pushq %rdx
  call sampan_before_libc
  popq %rdx
  popq %rdx
  jmp _start
  .size sampan_entry, .-sampan_entry
  .popsection
)");
#endif
