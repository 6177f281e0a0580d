#include "cuda_sim/ptx/forms.h"

#include "core/check.h"

namespace cuda_sim::ptx {
namespace {

const Forms& all_forms() {
  static const Forms forms = [] {
    Forms result;
    add_integers(result);
    add_floats(result);
    add_conversions(result);
    add_memory(result);
    add_warp_operations(result);
    add_control(result);
    return result;
  }();
  return forms;
}

const Op* jump(const Op* op, Lane&) { return op->target; }
const Op* end(const Op*, Lane&) { return nullptr; }

template <bool wanted>
const Op* jump_if(const Op* op, Lane& lane) {
  return (get<Predicate>(lane, op->slot[0]) != 0) == wanted ? op->target : op + 1;
}

}  // namespace

void Forms::add(const std::string& opcode, const Form& form) {
  HG_CHECK(forms_.emplace(opcode, form).second, "{} has two forms", opcode);
}

const Form* Forms::find(std::string_view opcode) const {
  const auto found = forms_.find(opcode);
  return found == forms_.end() ? nullptr : &found->second;
}

const Form* find_form(std::string_view opcode) { return all_forms().find(opcode); }

void add_control(Forms& forms) {
  const Form jumps{.run = jump, .kind = Form::Kind::branch};
  forms.add("bra", jumps);
  forms.add("bra.uni", jumps);
  forms.add(kJumpIf, {.run = jump_if<true>, .slots = 1, .kind = Form::Kind::branch});
  forms.add(kJumpUnless, {.run = jump_if<false>, .slots = 1, .kind = Form::Kind::branch});
  forms.add("ret", {.run = end, .kind = Form::Kind::ends});
}

}  // namespace cuda_sim::ptx
