// Rules of one container and of what it shares with volumes. Private to api/validate*.cc.
#pragma once

#include <set>
#include <string>

#include "api/validate/rules.h"

namespace api::rules {

struct ContainerContext {
  const std::set<std::string>* volumes;  // of the Pod
  std::set<std::string>* host_ports;     // taken so far
  bool host_network = false;
  bool init = false;
};
void container(Errors& e, const std::string& field, const Container& c, const ContainerContext& context);

void relative_path(Errors& e, const std::string& field, const std::string& path);
void no_nul(Errors& e, const std::string& field,
            const std::string& path);  // the kernel would stop reading there
void no_parent_steps(Errors& e, const std::string& field, const std::string& path);
void resource_field(Errors& e, const std::string& field, const ResourceFieldSelector& from, bool in_volume);
void seccomp(Errors& e, const std::string& field, const std::optional<SeccompProfile>& profile);
void user_id(Errors& e, const std::string& field, const std::optional<int64_t>& id);

}  // namespace api::rules
