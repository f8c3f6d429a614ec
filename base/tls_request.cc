#include "base/tls_request.h"

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>

#include <ctime>
#include <map>

#include "base/tls_openssl.h"

namespace base::tls {
namespace {

using Request = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

// Key usages and extended ones under Kubernetes' names, in OpenSSL's configuration words.
const std::map<std::string, const char*>& key_usages() {
  static const std::map<std::string, const char*> all = {{"signing", "digitalSignature"},
                                                         {"digital signature", "digitalSignature"},
                                                         {"content commitment", "nonRepudiation"},
                                                         {"key encipherment", "keyEncipherment"},
                                                         {"key agreement", "keyAgreement"},
                                                         {"data encipherment", "dataEncipherment"},
                                                         {"cert sign", "keyCertSign"},
                                                         {"crl sign", "cRLSign"},
                                                         {"encipher only", "encipherOnly"},
                                                         {"decipher only", "decipherOnly"}};
  return all;
}
const std::map<std::string, const char*>& extended_usages() {
  static const std::map<std::string, const char*> all = {{"any", "anyExtendedKeyUsage"},
                                                         {"server auth", "serverAuth"},
                                                         {"client auth", "clientAuth"},
                                                         {"code signing", "codeSigning"},
                                                         {"email protection", "emailProtection"},
                                                         {"s/mime", "emailProtection"},
                                                         {"ipsec end system", "1.3.6.1.5.5.7.3.5"},
                                                         {"ipsec tunnel", "1.3.6.1.5.5.7.3.6"},
                                                         {"ipsec user", "1.3.6.1.5.5.7.3.7"},
                                                         {"timestamping", "timeStamping"},
                                                         {"ocsp signing", "OCSPSigning"},
                                                         {"microsoft sgc", "msSGC"},
                                                         {"netscape sgc", "nsSGC"}};
  return all;
}

std::string text_of_string(const ASN1_STRING* value) {
  unsigned char* utf8 = nullptr;
  int size = ASN1_STRING_to_UTF8(&utf8, value);
  if (size < 0) return {};
  std::string out(reinterpret_cast<char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return out;
}

std::string address_text(const ASN1_OCTET_STRING* value) {
  char text[INET6_ADDRSTRLEN] = "";
  int size = ASN1_STRING_length(value);
  if (size == 4 || size == 16)
    ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), text, sizeof text);
  return text;
}

Result<Request> parse(const std::string& pem) {
  Request request(PEM_read_bio_X509_REQ(bio_of(pem).get(), nullptr, nullptr, nullptr));
  if (!request)
    return openssl_error("read certificate request", "",
                         "it must be one PEM block of type CERTIFICATE REQUEST");
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (!key || X509_REQ_verify(request.get(), key) != 1)
    return openssl_error("check the signature of a certificate request", "",
                         "it must be signed with its own key");
  return request;
}

Names alternative_names(X509_REQ* request) {
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(request);
  Names names(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, nullptr, nullptr)));
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  return names;
}

Status add_request_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    return openssl_error("add certificate extension", value);
  return {};
}

Status add_usages(X509* certificate, X509* issuer, const std::vector<std::string>& usages) {
  std::string key, extended;
  for (const std::string& usage : usages) {
    if (auto it = key_usages().find(usage); it != key_usages().end()) {
      if (key.find(it->second) == key.npos) key += std::string(",") + it->second;
    } else if (auto other = extended_usages().find(usage); other != extended_usages().end()) {
      extended += (extended.empty() ? "" : ",") + std::string(other->second);
    } else {
      return make_error(Kind::kInvalid, "sign certificate request", usage, "unknown key usage");
    }
  }
  if (!key.empty()) TRY(add_request_extension(certificate, issuer, NID_key_usage, "critical" + key));
  if (!extended.empty()) TRY(add_request_extension(certificate, issuer, NID_ext_key_usage, extended));
  return {};
}

}  // namespace

bool known_usage(const std::string& usage) {
  return key_usages().contains(usage) || extended_usages().contains(usage);
}

Result<RequestedName> read_signing_request(const std::string& pem) {
  Request request = TRY(parse(pem));
  RequestedName out;
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;)
    out.organizations.push_back(text_of_string(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
  if (int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0)
    out.common_name = text_of_string(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  Names names = alternative_names(request.get());
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) out.dns_names.push_back(text_of_string(name->d.dNSName));
    else if (name->type == GEN_IPADD) out.ip_addresses.push_back(address_text(name->d.iPAddress));
    else if (name->type == GEN_EMAIL) out.emails.push_back(text_of_string(name->d.rfc822Name));
    else if (name->type == GEN_URI) out.uris.push_back(text_of_string(name->d.uniformResourceIdentifier));
  }
  return out;
}

Result<SigningRequest> make_signing_request(const RequestedName& wanted) {
  Key key(EVP_EC_gen("P-256"));
  Request request(X509_REQ_new());
  if (!key || !request) return openssl_error("make certificate request", wanted.common_name);
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  auto add = [&](int nid, const std::string& text) {
    return X509_NAME_add_entry_by_NID(subject, nid, V_ASN1_UTF8STRING,
                                      reinterpret_cast<const unsigned char*>(text.data()),
                                      static_cast<int>(text.size()), -1, 0) == 1;
  };
  bool named = true;
  for (const std::string& organization : wanted.organizations)
    named = named && add(NID_organizationName, organization);
  named =
      named && add(NID_commonName, wanted.common_name) && X509_REQ_set_pubkey(request.get(), key.get()) == 1;
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  Names names(GENERAL_NAMES_new());
  for (const std::string& dns : wanted.dns_names) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names.get(), name);
  }
  for (const std::string& ip : wanted.ip_addresses)
    if (ASN1_OCTET_STRING* address = a2i_IPADDRESS(ip.c_str())) {
      GENERAL_NAME* name = GENERAL_NAME_new();
      GENERAL_NAME_set0_value(name, GEN_IPADD, address);
      sk_GENERAL_NAME_push(names.get(), name);
    }
  if (sk_GENERAL_NAME_num(names.get()) > 0)
    named = named && X509V3_add1_i2d(&extensions, NID_subject_alt_name, names.get(), 0, 0) == 1 &&
            X509_REQ_add_extensions(request.get(), extensions) == 1;
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  if (!named || X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0)
    return openssl_error("make certificate request", wanted.common_name);
  Bio request_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509_REQ(request_text.get(), request.get()) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_error("write PEM");
  return SigningRequest{text_of(request_text.get()), text_of(key_text.get())};
}

Result<std::string> sign_request(const KeyPair& ca, const std::string& request_pem,
                                 const std::vector<std::string>& usages, Duration lifetime) {
  Request request = TRY(parse(request_pem));
  Certificate issuer = TRY(read_certificate(ca.certificate_pem, "of the authority"));
  Key issuer_key = TRY(read_key(ca.key_pem, "of the authority"));
  Certificate certificate(X509_new());
  unsigned char random[16];
  if (!certificate || RAND_bytes(random, sizeof random) != 1) return openssl_error("make serial");
  random[0] &= 0x7f;  // positive: RFC 5280 section 4.1.2.2
  std::unique_ptr<BIGNUM, Freer<BN_free>> number(BN_bin2bn(random, sizeof random, nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get()));
  X509_set_version(certificate.get(), X509_VERSION_3);
  std::time_t now = std::time(nullptr);
  // Five minutes back, as kube-controller-manager does: clocks differ. Never longer than the authority.
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now - 300);
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                now + std::chrono::duration_cast<std::chrono::seconds>(lifetime).count());
  if (ASN1_TIME_compare(X509_get0_notAfter(certificate.get()), X509_get0_notAfter(issuer.get())) > 0)
    X509_set1_notAfter(certificate.get(), X509_get0_notAfter(issuer.get()));
  if (X509_set_subject_name(certificate.get(), X509_REQ_get_subject_name(request.get())) != 1 ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer.get())) != 1 ||
      X509_set_pubkey(certificate.get(), X509_REQ_get0_pubkey(request.get())) != 1)
    return openssl_error("make certificate");
  TRY(add_request_extension(certificate.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE"));
  TRY(add_usages(certificate.get(), issuer.get(), usages));
  TRY(add_request_extension(certificate.get(), issuer.get(), NID_authority_key_identifier, "keyid"));
  if (Names names = alternative_names(request.get());
      names && X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, names.get(), 0, 0) != 1)
    return openssl_error("add alternative names");
  if (X509_sign(certificate.get(), issuer_key.get(), EVP_sha256()) == 0)
    return openssl_error("sign certificate");
  Bio text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(text.get(), certificate.get()) != 1) return openssl_error("write PEM");
  return text_of(text.get());
}

}  // namespace base::tls
