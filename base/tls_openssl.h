// OpenSSL's objects with owners, and its errors as ours. For the sources that call OpenSSL; their
// headers show none of it.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace base::tls {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;

// The first error of OpenSSL's queue, which is emptied: the next failure must not show this one.
inline Error openssl_error(std::string operation, std::string subject = {}, std::string hint = {}) {
  char text[256] = "no reason given";
  if (unsigned long code = ERR_get_error()) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return make_error(Kind::kInvalid, std::move(operation), std::move(subject), text, std::move(hint));
}

inline Bio bio_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}
inline std::string text_of(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}
inline Result<Certificate> read_certificate(const std::string& pem, const char* what) {
  Certificate certificate(PEM_read_bio_X509(bio_of(pem).get(), nullptr, nullptr, nullptr));
  if (!certificate) return openssl_error("read certificate", what, "it must be PEM");
  return certificate;
}
inline Result<Key> read_key(const std::string& pem, const char* what) {
  // No password callback: an encrypted key must fail, not ask on the terminal.
  auto no_password = [](char*, int, int, void*) { return -1; };
  Key key(PEM_read_bio_PrivateKey(bio_of(pem).get(), nullptr, no_password, nullptr));
  if (!key) return openssl_error("read private key", what, "it must be PEM without a password");
  return key;
}

}  // namespace base::tls
