// CEL, the expression language of Kubernetes' validation rules and admission policies: compiled once,
// evaluated often. Pure. A Program is immutable and safe from any thread; evaluation keeps its state in
// the caller's arguments. Neither hostile texts nor hostile data can crash it, recurse without end or
// run longer than the budget says.
// Source of the rules: github.com/google/cel-spec; kubernetes.io, "Common Expression Language in
// Kubernetes", for the libraries and the costs' meaning.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/cel/value.h"
#include "base/result.h"

namespace api::cel {

// k8s.io/apiserver/pkg/apis/cel: what one expression, and all of one object's, may cost.
constexpr uint64_t kExpressionBudget = 1'000'000;
constexpr int64_t kObjectBudget = 10'000'000;

struct Variable {
  std::string name;
  TypeRef type;
};

// Whether an expression may make Object{…}, Object.spec{…} and JSONPatch{…}: only where it says how an object
// is to be changed.
enum class Constructors : uint8_t { kNone, kPatches };

struct Node;
class Program {
 public:
  ~Program();
  // Whether the expression names a variable, by its place among those declared.
  bool uses(size_t variable) const { return uses_[variable]; }
  const TypeRef& type() const { return type_; }

  // `variables` in the order in which they were declared. The error's reason is cel-go's, such as
  // "no such key: x" or "operation cancelled: actual cost limit exceeded". The value may look into
  // `variables` and into the program. `cost` says what was spent, in any case.
  base::Result<Value> evaluate(const std::vector<Value>& variables, uint64_t budget, uint64_t* cost) const;

 private:
  friend base::Result<std::shared_ptr<const Program>> compile(std::string_view, const std::vector<Variable>&,
                                                              Constructors);
  Program();
  std::unique_ptr<Node> root_;
  TypeRef type_;
  std::vector<bool> uses_;
  size_t slots_ = 0;
};

// The error's reason is cel-go's: "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')"
// with the line and a mark; of several errors, one below the other.
base::Result<std::shared_ptr<const Program>> compile(std::string_view text,
                                                     const std::vector<Variable>& variables,
                                                     Constructors constructors = Constructors::kNone);

}  // namespace api::cel
