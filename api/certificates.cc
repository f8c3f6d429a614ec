#include "api/certificates.h"

#include "base/base64.h"
#include "base/json_lists.h"

namespace api {

CertificateSpec read_certificate_spec(const base::json::value& object) {
  const base::json::value none;
  const base::json::value* spec = base::find(object, "spec");
  if (!spec) spec = &none;
  return {std::string(base::string_at(*spec, "signerName")), std::string(base::string_at(*spec, "username")),
          base::base64_decode(base::string_at(*spec, "request")).value_or(""),
          base::texts_of(base::find(*spec, "usages")), base::as_int(base::find(*spec, "expirationSeconds"))};
}

}  // namespace api
