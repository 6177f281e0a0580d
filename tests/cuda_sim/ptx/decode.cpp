// From the instructions of a function to a program.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/check.h"
#include "cuda_sim/ptx/program.h"

namespace cuda_sim::ptx {
namespace {

constexpr std::uint32_t kConstant = 1U << 31;  // marks an index of a constant among registers
constexpr std::uint32_t kSpecial = kSpecialRegisters.size();

struct Draft {
  const Form* form;
  std::vector<std::uint32_t> operands;  // registers, and constants
  std::int64_t offset = 0;
  std::string label;  // of a branch
  std::optional<std::size_t> target;
  Where where;
};

[[noreturn]] void fail_in(const Instruction& instruction, const std::string& sentence) {
  hg::fail("{}:{}: {}: {}", instruction.where.file_name(), instruction.where.line(),
           instruction.opcode, sentence);
}

class Decoder {
 public:
  explicit Decoder(const Function& function) : function_(function), registers_(function.registers) {
    for (const Label& label : function.labels) labels_[label.name] = label.instruction;
  }

  Program decode() {
    for (const Instruction& instruction : function_.instructions) {
      first_draft_.push_back(drafts_.size());
      add(instruction);
    }
    first_draft_.push_back(drafts_.size());
    for (Draft& draft : drafts_)
      if (!draft.label.empty()) draft.target = target(draft);

    Program program{.name = function_.name,
                    .parameters = function_.parameters,
                    .shared = function_.shared,
                    .local_bytes = function_.local_bytes,
                    .parameter_bytes = 0,
                    .max_threads = function_.max_threads,
                    .ops = std::vector<Op>(drafts_.size()),
                    .places = {},
                    .slots = {},
                    .constants = constants_,
                    .slot_count = 0};
    if (!function_.parameters.empty())
      program.parameter_bytes =
          function_.parameters.back().offset + function_.parameters.back().bytes;
    place(program);
    return program;
  }

 private:
  void add(const Instruction& instruction) {
    std::string opcode = instruction.opcode;
    // Several operands in braces are an operation of its own for mov alone.
    if (opcode.starts_with("mov.") && instruction.operands.size() == 2) {
      const auto &to = instruction.operands[0], &from = instruction.operands[1];
      if (from.kind == Operand::Kind::vector) opcode += fmt::format(" = {{{}}}", from.parts.size());
      if (to.kind == Operand::Kind::vector) opcode += fmt::format(" {{{}}} =", to.parts.size());
    }
    const Form* const form = find_form(opcode);
    if (form == nullptr)
      fail_in(instruction, "the simulation does not implement this instruction of PTX");
    Draft draft{
        .form = form, .operands = {}, .label = {}, .target = {}, .where = instruction.where};
    for (std::size_t i = 0; i < instruction.operands.size(); ++i) {
      flatten(instruction, instruction.operands[i], draft);
      if (i == 0 && form->kind == Form::Kind::pair && draft.operands.size() == 1)
        draft.operands.push_back(registers_++);
    }
    if (draft.operands.size() != form->slots)
      fail_in(instruction, fmt::format("{} operands where {} are implemented",
                                       draft.operands.size(), form->slots));
    if (instruction.guarded)
      add_guard(instruction, draft);
    else
      drafts_.push_back(draft);
  }

  /// A branch itself becomes conditional; anything else is jumped over.
  void add_guard(const Instruction& instruction, const Draft& draft) {
    const bool branch = draft.form->kind == Form::Kind::branch;
    Draft guard{.form = find_form(instruction.guard == branch ? kJumpIf : kJumpUnless),
                .operands = {instruction.guard_number},
                .label = draft.label,
                .target = {},
                .where = instruction.where};
    if (!branch) guard.target = drafts_.size() + 2;
    drafts_.push_back(guard);
    if (!branch) drafts_.push_back(draft);
  }

  void flatten(const Instruction& instruction, const Operand& operand, Draft& draft) {
    switch (operand.kind) {
      case Operand::Kind::register_:
        draft.operands.push_back(operand.number);
        return;
      case Operand::Kind::constant:
        draft.operands.push_back(constant(operand.value));
        return;
      case Operand::Kind::nothing:
        draft.operands.push_back(registers_++);
        return;
      case Operand::Kind::label:
        draft.label = operand.label;
        return;
      case Operand::Kind::address:
      case Operand::Kind::parameter:
        if (draft.offset != 0 && operand.value != 0) fail_in(instruction, "two offsets");
        draft.offset += static_cast<std::int64_t>(operand.value);
        [[fallthrough]];
      case Operand::Kind::vector:
        for (const Operand& part : operand.parts) flatten(instruction, part, draft);
    }
  }

  std::uint32_t constant(std::uint64_t value) {
    const auto [found, is_new] =
        constant_numbers_.emplace(value, static_cast<std::uint32_t>(constants_.size()));
    if (is_new) constants_.push_back(value);
    return kConstant | found->second;
  }

  std::size_t target(const Draft& draft) const {
    const auto found = labels_.find(draft.label);
    HG_CHECK(found != labels_.end(), "{}:{}: there is no label {}", draft.where.file_name(),
             draft.where.line(), draft.label);
    return first_draft_.at(found->second);
  }

  /// Gives slots to registers: special ones, constants, then the rest.
  void place(Program& program) {
    std::vector<Uses> uses;
    for (const Draft& draft : drafts_) {
      Uses& its = uses.emplace_back();
      its.target = draft.target;
      its.ends = draft.form->kind == Form::Kind::ends ||
                 (draft.form->kind == Form::Kind::branch && draft.form->slots == 0);
      for (std::size_t i = 0; i < draft.operands.size(); ++i) {
        const std::uint32_t operand = draft.operands[i];
        const bool ordinary = (operand & kConstant) == 0 && operand >= kSpecial;
        if (ordinary) (i < draft.form->writes ? its.writes : its.reads).push_back(operand);
      }
    }
    const SharedSlots shared = share_slots(uses, registers_);
    const auto first = kSpecial + static_cast<std::uint32_t>(constants_.size());
    program.slot_count = first + shared.count;
    const auto slot_of = [&](std::uint32_t operand) {
      if ((operand & kConstant) != 0) return kSpecial + (operand & ~kConstant);
      return operand < kSpecial ? operand : first + shared.of_register[operand];
    };
    std::size_t many = 0;
    for (const Draft& draft : drafts_)
      if (draft.operands.size() > kInlineSlots) many += draft.operands.size();
    program.slots.reserve(many);  // ops point into it
    for (std::size_t i = 0; i < drafts_.size(); ++i) {
      const Draft& draft = drafts_[i];
      Op& op = program.ops[i];
      op.run = draft.form->run;
      op.offset = draft.offset;
      program.places.push_back(draft.where);
      if (draft.target) op.target = program.ops.data() + *draft.target;
      if (draft.operands.size() > kInlineSlots) {
        op.slots = program.slots.data() + program.slots.size();
        for (const std::uint32_t operand : draft.operands)
          program.slots.push_back(slot_of(operand));
      } else {
        std::ranges::transform(draft.operands, op.slot.begin(), slot_of);
      }
    }
  }

  const Function& function_;
  std::uint32_t registers_;
  std::unordered_map<std::string, std::size_t> labels_;
  std::vector<Draft> drafts_;
  std::vector<std::size_t> first_draft_;  // of every instruction
  std::vector<std::uint64_t> constants_;
  std::map<std::uint64_t, std::uint32_t> constant_numbers_;
};

}  // namespace

Program decode(const Function& function) { return Decoder(function).decode(); }

}  // namespace cuda_sim::ptx
