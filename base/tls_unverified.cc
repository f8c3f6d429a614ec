#include "base/tls_unverified.h"

#include <openssl/ssl.h>

namespace base::tls {

Result<std::shared_ptr<Context>> unverified_client(const KeyPair& certificate) {
  std::shared_ptr<Context> context = TRY(Context::client({}, certificate));
  SSL_CTX_set_verify(context->get(), SSL_VERIFY_NONE, nullptr);
  return context;
}

}  // namespace base::tls
