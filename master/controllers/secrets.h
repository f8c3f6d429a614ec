// What controllers keep of Secrets: whose token one is to hold and what it has of that, never its data.
#pragma once

#include <memory>
#include <string>

#include "master/controllers/store.h"

namespace master::controllers {

struct Secret {
  Meta meta;
  bool is_token = false;  // of type kubernetes.io/service-account-token; only then the rest is read
  std::string account, account_uid;  // by its annotations; the uid is there once it was filled
  bool has_token = false, has_ca = false, has_namespace = false;

  static Store<Secret>::Reader reader(const api::Resource& resource);
  // Of a token's: its account.
  static std::vector<std::string> terms(const Secret& secret);
};

}  // namespace master::controllers
