#include "master/registry/admission.h"

namespace master {

std::string_view to_string(Operation operation) {
  switch (operation) {
    case Operation::kCreate: return "CREATE";
    case Operation::kUpdate: return "UPDATE";
    case Operation::kDelete: return "DELETE";
    case Operation::kConnect: return "CONNECT";
  }
  return "";
}

void AdmissionAttributes::end(bool committed) {
  for (auto& each : std::exchange(on_end, {})) each(committed);
}

void AdmissionChain::mutate(AttributesPtr attributes, Done done) {
  auto again = [this, attributes, done = std::move(done)](base::json::value refusal) mutable {
    if (!refusal.is_null() || !attributes->reinvoke) return done(std::move(refusal));
    run(attributes, Turn::kReinvoke, 0, std::move(done));
  };
  run(std::move(attributes), Turn::kMutate, 0, std::move(again));
}

void AdmissionChain::run(AttributesPtr attributes, Turn turn, size_t index, Done done) {
  while (index < plugins_.size() && !plugins_[index]->handles(attributes->operation)) ++index;
  if (index == plugins_.size()) return done(nullptr);
  AdmissionPlugin& plugin = *plugins_[index];
  auto next = [this, attributes, turn, index, done = std::move(done)](base::json::value refusal) mutable {
    if (!refusal.is_null()) return done(std::move(refusal));
    run(std::move(attributes), turn, index + 1, std::move(done));
  };
  if (turn == Turn::kMutate) plugin.mutate(std::move(attributes), std::move(next));
  else if (turn == Turn::kReinvoke) plugin.reinvoke(std::move(attributes), std::move(next));
  else plugin.validate(std::move(attributes), std::move(next));
}

}  // namespace master
