// Certificates and TLS contexts over OpenSSL 3. Owns no socket and does no I/O but reading the
// system's roots; a private key never leaves the KeyPair it was made in.
#include "base/tls.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "base/tls_openssl.h"

namespace base::tls {
namespace {

using SslContext = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;

bool add_name(X509_NAME* name, int nid, const std::string& text) {
  // V_ASN1_UTF8STRING and not MBSTRING_UTF8: OpenSSL then does not cut common names at 64
  // characters, which system:node:<DNS name> may pass.
  return X509_NAME_add_entry_by_NID(name, nid, V_ASN1_UTF8STRING,
                                    reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()), -1, 0) == 1;
}
bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  if (!extension) return false;
  bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}
// Built as a list, never as OpenSSL's configuration text: names come from users.
Status add_alternative_names(X509* certificate, const CertificateRequest& request) {
  if (request.dns_names.empty() && request.ip_addresses.empty()) return {};
  std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>> names(GENERAL_NAMES_new());
  for (const std::string& dns : request.dns_names) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  for (const std::string& ip : request.ip_addresses) {
    ASN1_OCTET_STRING* address = a2i_IPADDRESS(ip.c_str());
    if (!address) {
      ERR_clear_error();
      return make_error(Kind::kInvalid, "sign certificate", request.common_name,
                        "\"" + ip + "\" is not an IP address", "give names with --dns");
    }
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, 0) != 1)
    return openssl_error("add alternative names", request.common_name);
  return {};
}

Result<Certificate> blank(EVP_PKEY* key, Duration lifetime) {
  Certificate certificate(X509_new());
  unsigned char random[16];
  if (!certificate || RAND_bytes(random, sizeof random) != 1) return openssl_error("make serial");
  random[0] &= 0x7f;  // positive, and 127 random bits: RFC 5280 section 4.1.2.2
  std::unique_ptr<BIGNUM, Freer<BN_free>> number(BN_bin2bn(random, sizeof random, nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get()));
  X509_set_version(certificate.get(), X509_VERSION_3);
  std::time_t now = std::time(nullptr);
  // An hour back: the clocks of a cluster's hosts differ.
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now - 3600);
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                now + std::chrono::duration_cast<std::chrono::seconds>(lifetime).count());
  if (X509_set_pubkey(certificate.get(), key) != 1) return openssl_error("set public key");
  return certificate;
}
Result<KeyPair> pack(X509* certificate, EVP_PKEY* key) {
  Bio certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate_text.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_error("write PEM");
  return KeyPair{text_of(certificate_text.get()), text_of(key_text.get())};
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                    unsigned in_size, void*) {
  static const unsigned char ours[] = "\x02h2\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, ours, sizeof ours - 1, in, in_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;  // no common protocol: HTTP/1.1 is what we speak then, too
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Status use(SSL_CTX* context, const KeyPair& pair) {
  Certificate certificate = TRY(read_certificate(pair.certificate_pem, "ours"));
  Key key = TRY(read_key(pair.key_pem, "ours"));
  if (SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1)
    return openssl_error("use certificate and key", "", "the key must belong to the certificate");
  // What follows the first certificate in the file is its chain.
  Bio bio = bio_of(pair.certificate_pem);
  X509_free(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr))
    if (SSL_CTX_add0_chain_cert(context, next) != 1) {
      X509_free(next);
      return openssl_error("add chain certificate");
    }
  ERR_clear_error();  // the end of the file is reported as an error
  return {};
}
// All certificates of a bundle.
Status trust(SSL_CTX* context, const std::string& pem, bool announce) {
  Bio bio = bio_of(pem);
  int count = 0;
  while (X509* raw = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    Certificate certificate(raw);
    ++count;
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), raw) != 1 ||
        (announce && SSL_CTX_add_client_CA(context, raw) != 1))
      return openssl_error("trust certificate authority");
  }
  if (count == 0) return openssl_error("read certificate authority", "", "it must be PEM");
  ERR_clear_error();
  return {};
}
void configure(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  // Buffers of idle connections are freed; a write may be taken in part and retried from another
  // address, because the queue's bytes are shared and gathered anew.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(context, 1);  // record header and body by one recv
}

}  // namespace

Result<KeyPair> make_ca(const std::string& common_name, Duration lifetime) {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("make key", common_name);
  Certificate certificate = TRY(blank(key.get(), lifetime));
  X509_NAME* name = X509_get_subject_name(certificate.get());
  if (!add_name(name, NID_commonName, common_name) || X509_set_issuer_name(certificate.get(), name) != 1 ||
      !add_extension(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE") ||
      !add_extension(certificate.get(), certificate.get(), NID_key_usage,
                     "critical,digitalSignature,keyEncipherment,keyCertSign,cRLSign") ||
      !add_extension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0)
    return openssl_error("make certificate authority", common_name);
  return pack(certificate.get(), key.get());
}

Result<KeyPair> sign(const KeyPair& ca, const CertificateRequest& request) {
  Certificate issuer = TRY(read_certificate(ca.certificate_pem, "of the authority"));
  Key issuer_key = TRY(read_key(ca.key_pem, "of the authority"));
  if (X509_check_private_key(issuer.get(), issuer_key.get()) != 1)
    return openssl_error("sign certificate", request.common_name,
                         "the authority's key must belong to its certificate");
  Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("make key", request.common_name);
  Certificate certificate = TRY(blank(key.get(), request.lifetime));
  X509_NAME* name = X509_get_subject_name(certificate.get());
  bool named = true;
  for (const std::string& organization : request.organizations)
    named = named && add_name(name, NID_organizationName, organization);
  named = named && add_name(name, NID_commonName, request.common_name);
  std::string usage = request.client && request.server ? "clientAuth,serverAuth"
                      : request.client                 ? "clientAuth"
                                                       : "serverAuth";
  if (!named || X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get())) != 1 ||
      !add_extension(certificate.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(certificate.get(), issuer.get(), NID_key_usage,
                     "critical,digitalSignature,keyEncipherment") ||
      ((request.client || request.server) &&
       !add_extension(certificate.get(), issuer.get(), NID_ext_key_usage, usage.c_str())) ||
      !add_extension(certificate.get(), issuer.get(), NID_authority_key_identifier, "keyid"))
    return openssl_error("make certificate", request.common_name);
  TRY(add_alternative_names(certificate.get(), request));
  if (X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) == 0)
    return openssl_error("sign certificate", request.common_name);
  return pack(certificate.get(), key.get());
}

Result<std::shared_ptr<Context>> Context::server(const KeyPair& certificate,
                                                 const std::string& client_ca_pem) {
  SslContext context(SSL_CTX_new(TLS_server_method()));
  if (!context) return openssl_error("make TLS context");
  configure(context.get());
  TRY(use(context.get(), certificate));
  if (!client_ca_pem.empty()) {
    TRY(trust(context.get(), client_ca_pem, true));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  }
  static const unsigned char session_context[] = "sampan";
  SSL_CTX_set_session_id_context(context.get(), session_context, sizeof session_context - 1);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // stateless tickets only
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  return std::shared_ptr<Context>(new Context(context.release()));
}

Result<std::shared_ptr<Context>> Context::client(const std::string& ca_pem, const KeyPair& certificate) {
  SslContext context(SSL_CTX_new(TLS_client_method()));
  if (!context) return openssl_error("make TLS context");
  configure(context.get());
  if (!certificate.certificate_pem.empty()) TRY(use(context.get(), certificate));
  if (ca_pem.empty()) {
    if (SSL_CTX_set_default_verify_paths(context.get()) != 1)
      return openssl_error("load the system's certificate authorities");
  } else {
    TRY(trust(context.get(), ca_pem, false));
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  static const unsigned char protocols[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context.get(), protocols, sizeof protocols - 1);
  return std::shared_ptr<Context>(new Context(context.release()));
}

Context::~Context() { SSL_CTX_free(context_); }

PeerName peer_name(const ssl_st* ssl) {
  PeerName peer;
  // Under SSL_VERIFY_PEER a handshake with a certificate that does not verify has failed already;
  // a resumed session carries its result.
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK) return peer;
  peer.verified = true;
  X509_NAME* name = X509_get_subject_name(certificate);
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, i);
    int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (nid != NID_commonName && nid != NID_organizationName) continue;
    unsigned char* text = nullptr;
    int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (size < 0) continue;
    std::string value(reinterpret_cast<char*>(text), static_cast<size_t>(size));
    OPENSSL_free(text);
    if (nid == NID_commonName) peer.common_name = std::move(value);
    else peer.organizations.push_back(std::move(value));
  }
  return peer;
}

}  // namespace base::tls
