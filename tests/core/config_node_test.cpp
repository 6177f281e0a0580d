// Nodes as text on one line, and members that take any node.
#include "core/config_node.h"

#include <gmock/gmock.h>

#include "core/config.h"

namespace hg {
namespace {

ConfigNode parse(const std::string& yaml) {
  ConfigProblems problems;
  return parse_yaml(yaml, "test", problems).value();
}

TEST(ConfigNode, FlowTextReadsBackToTheSameNode) {
  for (const char* yaml :
       {"{a: 1}", "{a: 3e-3, b: -1, c: +2.5}", "{a: null}", "{a: true, b: \"true\"}",
        "{a: [1, {b: [c, \"5\"]}], d.e: {}}", "{a: data/x.bin, b: \"x, y: {z}\", c: \"\"}"}) {
    const std::string once = parse(yaml).flow_text();
    EXPECT_EQ(once, yaml);
    EXPECT_EQ(parse(once).flow_text(), once);
  }
  EXPECT_EQ(parse("a: two words\nb: [1,\n  2]").flow_text(), "{a: \"two words\", b: [1, 2]}");
}

struct Anything {
  ConfigNode node;
  std::vector<ConfigNode> list;

  void fields(auto&& f) {
    f("node", node, "whatever stands there");
    f("list", list, "of the same");
  }
};

TEST(ConfigNode, AMemberTakesWhateverStandsThere) {
  const auto read = parse_config<Anything>("node: {x: [1]}\nlist: [a, {b: c}]", "test.yaml").value;
  EXPECT_EQ(read.node.flow_text(), "{x: [1]}");
  EXPECT_EQ(read.node.place.text(), "test.yaml:1:1");
  ASSERT_EQ(read.list.size(), 2U);
  EXPECT_EQ(read.list[1].place.text(), "test.yaml:2:11");
  EXPECT_EQ(to_yaml(read), "node: {x: [1]}\nlist: [a, {b: c}]\n");
  EXPECT_EQ(parse_config<Anything>("", "test.yaml").value.node.kind, ConfigNode::Kind::null);
}

}  // namespace
}  // namespace hg
