// SHA-256 over a stream, as the "sha256:<hex>" that registries speak.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace runtime {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view data);
  std::string digest();  // once; "sha256:<64 hex>"

 private:
  evp_md_ctx_st* context_;
};
std::string sha256_digest(std::string_view data);

}  // namespace runtime
