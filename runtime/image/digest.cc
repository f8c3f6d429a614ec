#include "runtime/image/digest.h"

#include <openssl/evp.h>

#include <utility>

#include "base/result.h"

namespace runtime {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  SAMPAN_CHECK(context_ && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() { EVP_MD_CTX_free(context_); }
Sha256::Sha256(Sha256&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
Sha256& Sha256::operator=(Sha256&& other) noexcept {
  std::swap(context_, other.context_);
  return *this;
}
void Sha256::update(std::string_view data) {
  SAMPAN_CHECK(EVP_DigestUpdate(context_, data.data(), data.size()) == 1);
}
std::string Sha256::digest() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  SAMPAN_CHECK(EVP_DigestFinal_ex(context_, bytes, &size) == 1);
  std::string out = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    out += "0123456789abcdef"[bytes[i] >> 4];
    out += "0123456789abcdef"[bytes[i] & 15];
  }
  return out;
}
std::string sha256_digest(std::string_view data) {
  Sha256 hash;
  hash.update(data);
  return hash.digest();
}

}  // namespace runtime
