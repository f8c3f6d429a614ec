// How protocol buffers lie on the wire: tags, numbers, bytes with their length. Private to api/.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace api {

enum WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytesValue = 2, kFixed32 = 5 };

inline void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
inline void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_varint(out, uint64_t{field} << 3 | kBytesValue);
  put_varint(out, bytes.size());
  out += bytes;
}

}  // namespace api
