// Rules of what may be changed of a running Pod through its subresources.
#include <set>

#include "api/defaults.h"
#include "api/validate/rules.h"

namespace api::rules {

// PUT pods/NAME/ephemeralcontainers: adds debugging containers, changes none.
void ephemeral_containers(Errors& e, const json::value& after, const json::value* before) {
  View spec = View(&after)["spec"], list = spec["ephemeralContainers"],
       old = View(before)["spec"]["ephemeralContainers"];
  std::set<std::string> names, others;
  for (const char* kind : {"containers", "initContainers"})
    spec[kind].each([&](const View& one) { others.emplace(one["name"].text()); });
  list.each([&](const View& one) {
    View name = one["name"], target = one["targetContainerName"];
    if (!name.filled()) e.required(name.path());
    else e.all(name.path(), name.text(), check_dns1123_label(name.text()));
    if (others.contains(std::string(name.text())) || !names.insert(std::string(name.text())).second)
      e.duplicate(name.path(), name.text());
    if (!one["image"].filled()) e.required(one["image"].path());
    if (target.filled() && !others.contains(std::string(target.text())))
      e.not_found(target.path(), target.text());
    for (const char* field :
         {"ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"})
      if (one[field].filled()) e.forbidden(one[field].path(), "cannot be set for an Ephemeral Container");
    for (const char* field : {"limits", "requests", "claims"})
      if (one["resources"][field].filled())
        e.forbidden(one["resources"].path(), "cannot be set for an Ephemeral Container");
    one["volumeMounts"].each([&](const View& mount) {
      for (const char* field : {"subPath", "subPathExpr"})
        if (mount[field].filled())
          e.forbidden(mount[field].path(), "cannot be set for an Ephemeral Container");
    });
  });
  old.each([&](const View& had) {
    std::string name(had["name"].text());
    bool found = false, same = false;
    list.each([&](const View& one) {
      if (one["name"].text() != name) return;
      found = true;
      same = one.shown() == had.shown();
    });
    if (!found)
      e.forbidden(list.path(), "existing ephemeral containers \"" + name + "\" may not be removed\n");
    else if (!same)
      e.forbidden(list.path(), "existing ephemeral containers \"" + name + "\" may not be changed\n");
  });
}

// PUT pods/NAME/resize: processors and memory of containers, and nothing that changes the QoS class.
void pod_resize(Errors& e, const json::value& after, const json::value* before) {
  View object(&after), old(before);
  PodSpec spec;
  if (read(e, object["spec"].shown(), &spec)) pod_spec(e, "spec", spec);
  for (const char* kind : {"containers", "initContainers"}) {
    View list = object["spec"][kind], had = old["spec"][kind];
    if (list.size() != had.size()) {
      e.forbidden(list.path(), "containers may not be added or removed on resize");
      continue;
    }
    size_t i = 0;
    list.each([&](const View& one) {
      View was(&had.shown().get_array()[i++]);
      for (const char* part : {"requests", "limits"}) {
        View now = one["resources"][part], before_part = was["resources"][part];
        std::set<std::string> changed;
        now.each_entry([&](std::string_view name, const View& amount) {
          if (!amount.same_as(before_part[name])) changed.emplace(name);
        });
        before_part.each_entry([&](std::string_view name, const View&) {
          if (!now[name].has()) changed.emplace(name);
        });
        for (const std::string& name : changed) {
          if (name != "cpu" && name != "memory")
            e.forbidden(now.path(), "only cpu and memory resources are mutable");
          else if (!now[name].has())
            e.forbidden(now.path(), std::string("resource ") + part + " cannot be removed");
        }
      }
    });
  }
  std::string_view had = old["status"]["qosClass"].text();
  if (!had.empty() && qos_class(after) != had)
    e.invalid("metadata", had, "Pod QOS Class may not change as a result of resizing");
  std::string_view phase = old["status"]["phase"].text();
  if (phase == "Succeeded" || phase == "Failed")
    e.forbidden("status.phase", "pods that have ended cannot be resized");
}

}  // namespace api::rules
