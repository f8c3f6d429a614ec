#include "master/admission/tolerations.h"

namespace master {

namespace json = base::json;

void add_default_tolerations(json::value& pod) {
  json::object& spec = base::object_at(pod.get_object(), "spec");
  json::value& list = spec["tolerations"];
  if (!list.is_array()) list = json::array();
  for (std::string_view key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool tolerated = false;
    for (const json::value& toleration : list.get_array()) {
      std::string_view effect = base::string_at(toleration, "effect"),
                       wanted = base::string_at(toleration, "key");
      tolerated |=
          (wanted == key || (wanted.empty() && base::string_at(toleration, "operator") == "Exists")) &&
          (effect.empty() || effect == "NoExecute");
    }
    if (!tolerated)
      list.get_array().push_back(json::object{
          {"key", key}, {"operator", "Exists"}, {"effect", "NoExecute"}, {"tolerationSeconds", 300}});
  }
}

}  // namespace master
