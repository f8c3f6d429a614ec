#include "master/auth/jws.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>

#include "base/base64.h"
#include "base/tls_openssl.h"

namespace master::jws {

namespace json = base::json;
namespace tls = base::tls;
using base::Result;

namespace {

constexpr unsigned kRsaBits = 2048;  // as kubeadm's sa.key
constexpr size_t kPart = 32;         // bytes of one number of a P-256 signature or point

EVP_PKEY* pkey(const std::shared_ptr<void>& key) { return static_cast<EVP_PKEY*>(key.get()); }

std::string number_bytes(const BIGNUM* number, size_t size) {
  std::string out(size ? size : static_cast<size_t>(BN_num_bytes(number)), '\0');
  if (size) BN_bn2binpad(number, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(size));
  else BN_bn2bin(number, reinterpret_cast<unsigned char*>(out.data()));
  return out;
}
std::string key_number(EVP_PKEY* key, const char* name, size_t size) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return {};
  std::string out = number_bytes(number, size);
  BN_free(number);
  return out;
}

// OpenSSL's form of an ECDSA signature (DER) to that of JWS (two numbers), and back.
Result<std::string> raw_of_der(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  std::unique_ptr<ECDSA_SIG, tls::Freer<ECDSA_SIG_free>> signature(
      d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!signature) return tls::openssl_error("sign token");
  return number_bytes(ECDSA_SIG_get0_r(signature.get()), kPart) +
         number_bytes(ECDSA_SIG_get0_s(signature.get()), kPart);
}
std::string der_of_raw(std::string_view raw) {
  std::unique_ptr<ECDSA_SIG, tls::Freer<ECDSA_SIG_free>> signature(ECDSA_SIG_new());
  const auto* at = reinterpret_cast<const unsigned char*>(raw.data());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(at, kPart, nullptr), BN_bin2bn(at + kPart, kPart, nullptr));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(signature.get(), &der);
  std::string out(reinterpret_cast<char*>(der), size > 0 ? static_cast<size_t>(size) : 0);
  OPENSSL_free(der);
  return out;
}

// "header.payload.signature"
struct Parts {
  std::string_view header, payload, signature, signed_text;
};
bool split_token(std::string_view token, Parts* out) {
  size_t first = token.find('.');
  size_t second = first == token.npos ? first : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return false;
  *out = {token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1),
          token.substr(0, second)};
  return true;
}
base::Error no_token() {
  return base::make_error(base::Kind::kInvalid, "read token", "", "it is not a signed JSON web token");
}

}  // namespace

Result<std::string> Key::make(std::string_view algorithm) {
  tls::Key key(algorithm == "RS256" ? EVP_RSA_gen(kRsaBits) : EVP_EC_gen("P-256"));
  tls::Bio text(BIO_new(BIO_s_mem()));
  if (!key || PEM_write_bio_PrivateKey(text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return tls::openssl_error("make key", "of service accounts");
  return tls::text_of(text.get());
}

Result<Key> Key::read(const std::string& pem) {
  Key out;
  tls::Key key;
  if (auto read = tls::read_key(pem, "of service accounts"); read.ok()) {
    key = std::move(*read);
    out.private_ = true;
  } else {
    key.reset(PEM_read_bio_PUBKEY(tls::bio_of(pem).get(), nullptr, nullptr, nullptr));
    if (!key)
      return tls::openssl_error("read key", "of service accounts", "it must be PEM without a password");
  }
  out.rsa_ = EVP_PKEY_is_a(key.get(), "RSA") == 1;
  if (!out.rsa_ && (EVP_PKEY_is_a(key.get(), "EC") != 1 || EVP_PKEY_get_bits(key.get()) != 256))
    return base::make_error(base::Kind::kInvalid, "read key", "of service accounts", "neither RSA nor P-256");
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(key.get(), &der);
  unsigned char digest[32];
  EVP_Digest(der, static_cast<size_t>(size), digest, nullptr, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  out.id_ = base::base64url_encode({reinterpret_cast<char*>(digest), sizeof digest});
  out.key_ = std::shared_ptr<void>(key.release(), [](void* p) { EVP_PKEY_free(static_cast<EVP_PKEY*>(p)); });
  return out;
}

json::object Key::jwk() const {
  json::object out{{"use", "sig"}, {"kty", rsa_ ? "RSA" : "EC"}, {"kid", id_}};
  if (!rsa_) out["crv"] = "P-256";
  out["alg"] = algorithm();
  if (rsa_) {
    out["n"] = base::base64url_encode(key_number(pkey(key_), OSSL_PKEY_PARAM_RSA_N, 0));
    out["e"] = base::base64url_encode(key_number(pkey(key_), OSSL_PKEY_PARAM_RSA_E, 0));
  } else {
    out["x"] = base::base64url_encode(key_number(pkey(key_), OSSL_PKEY_PARAM_EC_PUB_X, kPart));
    out["y"] = base::base64url_encode(key_number(pkey(key_), OSSL_PKEY_PARAM_EC_PUB_Y, kPart));
  }
  return out;
}

Result<std::string> Key::sign(std::string_view payload) const {
  std::string text =
      base::base64url_encode("{\"alg\":\"" + std::string(algorithm()) + "\",\"kid\":\"" + id_ + "\"}") + "." +
      base::base64url_encode(payload);
  std::unique_ptr<EVP_MD_CTX, tls::Freer<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  size_t size = 0;
  auto* data = reinterpret_cast<const unsigned char*>(text.data());
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, pkey(key_)) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, data, text.size()) != 1)
    return tls::openssl_error("sign token");
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, data,
                     text.size()) != 1)
    return tls::openssl_error("sign token");
  signature.resize(size);
  if (!rsa_) signature = TRY(raw_of_der(signature));
  return text + "." + base::base64url_encode(signature);
}

bool Key::verify(std::string_view signed_text, std::string_view signature) const {
  if (!rsa_ && signature.size() != 2 * kPart) return false;
  std::string der = rsa_ ? std::string(signature) : der_of_raw(signature);
  std::unique_ptr<EVP_MD_CTX, tls::Freer<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  bool good =
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, pkey(key_)) == 1 &&
      EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(der.data()), der.size(),
                       reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size()) == 1;
  ERR_clear_error();
  return good;
}

Result<json::value> peek(std::string_view token) {
  Parts parts;
  if (!split_token(token, &parts)) return no_token();
  auto payload = base::base64url_decode(parts.payload);
  if (!payload) return no_token();
  json::value claims = TRY(base::parse_json(*payload));
  if (!claims.is_object()) return no_token();
  return claims;
}

Result<std::string> verify(std::string_view token, const std::vector<Key>& keys) {
  Parts parts;
  if (!split_token(token, &parts)) return no_token();
  auto header_text = base::base64url_decode(parts.header), payload = base::base64url_decode(parts.payload),
       signature = base::base64url_decode(parts.signature);
  if (!header_text || !payload || !signature) return no_token();
  json::value header = TRY(base::parse_json(*header_text));
  std::string_view id = base::string_at(header, "kid"), algorithm = base::string_at(header, "alg");
  for (const Key& key : keys)
    // The key decides what algorithm is right, never the token alone (RFC 8725 section 3.1).
    if (algorithm == key.algorithm() && (id.empty() || id == key.id()) &&
        key.verify(parts.signed_text, *signature))
      return std::move(*payload);
  return base::make_error(base::Kind::kDenied, "verify token", std::string(id),
                          "no key of this cluster signed it");
}

}  // namespace master::jws
