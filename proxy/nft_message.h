// Bytes of nfnetlink messages: attributes, batches, and the nftables expressions that our class
// chains are made of. Pure; the layout is that of linux/netfilter/nf_tables.h.
#pragma once

#include <linux/netfilter/nfnetlink.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace proxy {

constexpr uint16_t kNft = NFNL_SUBSYS_NFTABLES << 8;  // nftables' part of a message's type

// Appends netlink attributes to a string.
class Attributes {
 public:
  explicit Attributes(std::string& bytes) : bytes_(bytes) {}
  void put(uint16_t type, std::string_view data);
  void put_text(uint16_t type, std::string_view text);  // with the terminating zero
  void put_u32(uint16_t type, uint32_t value);          // big-endian, as nfnetlink wants numbers
  void put_u64(uint16_t type, uint64_t value);
  size_t begin(uint16_t type);  // a nested one, closed by end()
  void end(size_t begun);
  size_t size() const { return bytes_.size(); }

 private:
  std::string& bytes_;
};

// Messages for one sendmsg(2). An entry's number says which message an answer belongs to.
class NetlinkBatch {
 public:
  // `type` with its subsystem, `flags` without NLM_F_REQUEST. Returns the message's number.
  size_t begin(uint16_t type, uint16_t flags, uint8_t family, uint16_t resource = 0);
  Attributes attributes() { return Attributes(bytes_); }
  void end();
  void request_ack_for_last();
  void begin_transaction(uint32_t generation);  // 0: whatever generation it is
  void end_transaction();
  const std::string& bytes() const { return bytes_; }
  size_t last_offset() const { return start_; }
  size_t count() const { return count_; }
  uint32_t first_sequence() const { return 1; }  // sequence = number + 1

 private:
  std::string bytes_;
  size_t start_ = 0, count_ = 0;
};

// Registers by 4-byte number, 0..15.
class Expressions {
 public:
  explicit Expressions(Attributes& attributes) : at_(attributes) {}
  enum class Base : uint32_t { kNetwork = 1, kTransport = 2 };
  void payload(Base base, uint32_t offset, uint32_t length, int reg);
  void meta_l4proto(int reg);
  void random(uint32_t modulus, int reg);
  void lookup(std::string_view set, int key, int data);
  void update(std::string_view set, int key, int data, uint64_t timeout_ms);
  void jump(std::string_view chain);
  void immediate_zero(int reg, size_t length);
  void dnat(int address, int port);

 private:
  template <typename Fill>
  void add(std::string_view name, Fill fill);
  Attributes& at_;
};

}  // namespace proxy
