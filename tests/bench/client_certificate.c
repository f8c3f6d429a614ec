/* wrk and h2load cannot show a client certificate. Preloaded into them, this gives every TLS context
 * the one in $CLIENT_CERTIFICATE and $CLIENT_KEY (PEM files). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdlib.h>

SSL_CTX* SSL_CTX_new(const SSL_METHOD* method) {
  SSL_CTX* (*made)(const SSL_METHOD*) = (SSL_CTX * (*)(const SSL_METHOD*)) dlsym(RTLD_NEXT, "SSL_CTX_new");
  SSL_CTX* context = made(method);
  if (SSL_CTX_use_certificate_file(context, getenv("CLIENT_CERTIFICATE"), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, getenv("CLIENT_KEY"), SSL_FILETYPE_PEM) != 1)
    abort();
  return context;
}
