// cgroup v2 has no devices files: a BPF program decides. Owns the making of that program from the
// same rules that v1 gets. The last rule that matches wins, so the program tests them backwards.
#include <fcntl.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/sys.h"
#include "runtime/cgroup/cgroup.h"

namespace runtime {
namespace {

bpf_insn instruction(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
  bpf_insn i{};
  i.code = code;
  i.dst_reg = dst;
  i.src_reg = src;
  i.off = off;
  i.imm = imm;
  return i;
}

std::vector<bpf_insn> build(const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> program;
  auto emit = [&](uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
    program.push_back(instruction(code, dst, src, off, imm));
  };
  // struct bpf_cgroup_dev_ctx: access_type = access << 16 | type; major; minor.
  emit(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_2, BPF_REG_1, 0, 0);
  emit(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);  // r2 = type
  emit(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_3, BPF_REG_1, 0, 0);
  emit(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);         // r3 = access
  emit(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_4, BPF_REG_1, 4, 0);  // r4 = major
  emit(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_5, BPF_REG_1, 8, 0);  // r5 = minor
  for (size_t i = rules.size(); i-- > 0;) {
    const DeviceRule& rule = rules[i];
    std::vector<size_t> to_next;
    auto unless_equal = [&](uint8_t reg, int64_t value) {
      to_next.push_back(program.size());
      emit(BPF_JMP32 | BPF_JNE | BPF_K, reg, 0, 0, static_cast<int32_t>(value));
    };
    if (rule.type != 'a')
      unless_equal(BPF_REG_2, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
    int access = 0;
    for (char c : rule.access)
      access |= c == 'r' ? BPF_DEVCG_ACC_READ : c == 'w' ? BPF_DEVCG_ACC_WRITE : BPF_DEVCG_ACC_MKNOD;
    int all = BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;
    if (access != all) {
      // An allow rule must cover all that is asked; a deny rule applies to any part of it.
      emit(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
      emit(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, rule.allow ? ~access & all : access);
      to_next.push_back(program.size());
      emit(BPF_JMP32 | (rule.allow ? BPF_JNE : BPF_JEQ) | BPF_K, BPF_REG_1, 0, 0, 0);
    }
    if (rule.major >= 0) unless_equal(BPF_REG_4, rule.major);
    if (rule.minor >= 0) unless_equal(BPF_REG_5, rule.minor);
    emit(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule.allow ? 1 : 0);
    emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (size_t at : to_next) program[at].off = static_cast<int16_t>(program.size() - at - 1);
    if (to_next.empty()) return program;  // matches everything: what is before can't be reached
  }
  emit(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
  emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  return program;
}

}  // namespace

base::Status attach_device_filter(const std::string& directory, const std::vector<DeviceRule>& rules) {
  std::vector<bpf_insn> program = build(rules);
  static const char kLicense[] = "Apache-2.0";
  bpf_attr load{};
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = reinterpret_cast<uint64_t>(program.data());
  load.insn_cnt = static_cast<uint32_t>(program.size());
  load.license = reinterpret_cast<uint64_t>(kLicense);
  base::UniqueFd fd(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load)));
  if (!fd.valid())
    return base::sys::last_error("load device filter", directory,
                                 "the kernel needs CONFIG_CGROUP_BPF and we CAP_BPF");
  base::UniqueFd dir = TRY(base::sys::open(directory, O_RDONLY | O_DIRECTORY));
  bpf_attr attach{};
  attach.target_fd = static_cast<uint32_t>(dir.get());
  attach.attach_bpf_fd = static_cast<uint32_t>(fd.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  // Programs of all levels must agree: a container can't widen what its Pod was given.
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (::syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) != 0)
    return base::sys::last_error("attach device filter", directory);
  return {};
}

}  // namespace runtime
