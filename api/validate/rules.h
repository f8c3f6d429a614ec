// What the per-kind rules share. Private to api/validate/.
#pragma once

#include <string>

#include "api/text_checks.h"
#include "api/text_formats.h"
#include "api/types.h"
#include "api/validate/validate.h"
#include "api/validate/view.h"

namespace api::rules {

void labels(Errors& e, const std::string& field, const json::value& labels);
void pod_spec(Errors& e, const std::string& field, const PodSpec& spec);
void label_selector(Errors& e, const std::string& field, const LabelSelector& selector);
void quantity(Errors& e, const std::string& field, const std::string& value);

// ---- checks of one field, by their view -----------------------------------------------------------
void non_negative(Errors& e, const View& number);
void port_number(Errors& e, const View& number);
void one_of(Errors& e, const View& text, std::vector<std::string> allowed);  // absent or "": right
void immutable(Errors& e, const View& now, const View& was);
// A count or a percentage; 0 when absent, -1 when it is neither.
int64_t int_or_percent(Errors& e, const View& value, bool below_100);
int64_t int_or_percent(Errors& e, const std::string& field, const IntOrString& value, bool below_100);
void domain_prefixed_path(Errors& e, const View& at);  // "example.com/controller"
void pod_template(Errors& e, const View& pods);
void template_matches(Errors& e, const View& selector, const View& pods);
void template_metadata(Errors& e, const View& metadata);  // labels and annotations, nothing else
void driver_name(Errors& e, const View& name);            // of a CSI or a device driver
void claim_spec(Errors& e, const View& spec);             // of a PersistentVolumeClaim
void node_selector(Errors& e, const std::string& field, const NodeSelector& selector);
// Exactly one source of data in a Pod's volume, or in the spec of a PersistentVolume.
void volume_sources(Errors& e, const View& volume, std::string_view volume_name, bool persistent);
void always_restarted(Errors& e, const View& pods, std::string_view kind);

// ---- per kind; `before` is null for a create -------------------------------------------------------
using Check = void (*)(Errors& e, const json::value& after, const json::value* before);
using StatusCheck = void (*)(Errors& e, const json::value& after, const json::value& before);
struct KindRules {
  NameRule name = NameRule::kDns1123Subdomain;
  Check check = nullptr;
  StatusCheck status = nullptr;
};
const KindRules* kind_rules(std::string_view gvk);  // null: general rules only

void autoscaler(Errors& e, const json::value& after, const json::value* before);
void autoscaler_status(Errors& e, const json::value& after, const json::value& before);
void config_map(Errors& e, const json::value& after, const json::value* before);
void controller_revision(Errors& e, const json::value& after, const json::value* before);
void cron_job(Errors& e, const json::value& after, const json::value* before);
void csi_driver(Errors& e, const json::value& after, const json::value* before);
void csi_node(Errors& e, const json::value& after, const json::value* before);
void csi_storage_capacity(Errors& e, const json::value& after, const json::value* before);
void daemon_set(Errors& e, const json::value& after, const json::value* before);
void daemon_set_status(Errors& e, const json::value& after, const json::value& before);
void endpoint_slice(Errors& e, const json::value& after, const json::value* before);
void endpoints(Errors& e, const json::value& after);
void device_class(Errors& e, const json::value& after, const json::value* before);
void ephemeral_containers(Errors& e, const json::value& after, const json::value* before);
void event(Errors& e, const json::value& after);
void flow_schema(Errors& e, const json::value& after, const json::value* before);
void ingress(Errors& e, const json::value& after, const json::value* before);
void ingress_class(Errors& e, const json::value& after, const json::value* before);
void ingress_status(Errors& e, const json::value& after, const json::value& before);
void ip_address(Errors& e, const json::value& after, const json::value* before);
void job(Errors& e, const json::value& after, const json::value* before);
void job_status(Errors& e, const json::value& after, const json::value& before);
void lease(Errors& e, const json::value& after);
void limit_range(Errors& e, const json::value& after, const json::value* before);
void mutating_policy(Errors& e, const json::value& after, const json::value* before);
void network_policy(Errors& e, const json::value& after, const json::value* before);
void node(Errors& e, const json::value& after, const json::value* before);
void persistent_volume(Errors& e, const json::value& after, const json::value* before);
void persistent_volume_claim(Errors& e, const json::value& after, const json::value* before);
void pod(Errors& e, const json::value& after, const json::value* before);
void pod_disruption_budget(Errors& e, const json::value& after, const json::value* before);
void pod_disruption_budget_status(Errors& e, const json::value& after, const json::value& before);
void pod_resize(Errors& e, const json::value& after, const json::value* before);
void pod_status(Errors& e, const json::value& after, const json::value& before);
void pod_template_object(Errors& e, const json::value& after, const json::value* before);
void policy_binding(Errors& e, const json::value& after, const json::value* before);
void priority_class(Errors& e, const json::value& after, const json::value* before);
void priority_level(Errors& e, const json::value& after, const json::value* before);
void resource_claim(Errors& e, const json::value& after, const json::value* before);
void resource_claim_status(Errors& e, const json::value& after, const json::value& before);
void resource_claim_template(Errors& e, const json::value& after, const json::value* before);
void resource_quota(Errors& e, const json::value& after, const json::value* before);
void resource_slice(Errors& e, const json::value& after, const json::value* before);
void runtime_class(Errors& e, const json::value& after, const json::value* before);
void secret(Errors& e, const json::value& after, const json::value* before);
void service(Errors& e, const json::value& after, const json::value* before);
void service_cidr(Errors& e, const json::value& after, const json::value* before);
void stateful_set(Errors& e, const json::value& after, const json::value* before);
void stateful_set_status(Errors& e, const json::value& after, const json::value& before);
void storage_class(Errors& e, const json::value& after, const json::value* before);
void validating_policy(Errors& e, const json::value& after, const json::value* before);
void validating_policy_binding(Errors& e, const json::value& after, const json::value* before);
void volume_attachment(Errors& e, const json::value& after, const json::value* before);
void volume_attributes_class(Errors& e, const json::value& after, const json::value* before);
void workload(Errors& e, std::string_view gvk, const json::value& after, const json::value* before);
void webhook_configuration(Errors& e, const json::value& object);  // mutating and validating
void api_service(Errors& e, const json::value& object);
// A WebhookClientConfig; errors name it `shown_as`.
void webhook_client_config(Errors& e, const View& config, const std::string& shown_as);

// Decodes into a struct; an error (which check_types() rules out) is reported as one.
template <typename T>
bool read(Errors& e, const json::value& object, T* out) {
  auto decoded = decode<T>(object);
  if (!decoded.ok()) {
    e.list.push_back({FieldError::Type::type_invalid, "", {}, decoded.error().message()});
    return false;
  }
  *out = std::move(decoded).value();
  return true;
}

}  // namespace api::rules
