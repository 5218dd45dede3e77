#include "core/base/json_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "core/base/error.h"

namespace strandwave {
namespace {

// The message of the Error that `call` throws, "" when it throws none.
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ParseJson, NamesSourceAndPlaceOfASyntaxError) {
  const std::string message = message_of([] { parse_json("{\"a\": 1,\n \"b\": }", "x.json"); });
  EXPECT_NE(message.find("x.json"), std::string::npos) << message;
  EXPECT_NE(message.find("line 2"), std::string::npos) << message;
}

TEST(ParseJson, RefusesWhatTheLibraryWouldAccept) {
  EXPECT_NE(message_of([] { parse_json(R"({"a": 1, "b": {"c": 1, "c": 2}})", "x"); }).find("\"c\""),
            std::string::npos);
  EXPECT_EQ(message_of([] { parse_json(R"({"a": {"c": 1}, "b": {"c": 2}})", "x"); }), "");
  const std::string deep(100000, '[');
  EXPECT_NE(message_of([&] { parse_json(deep, "x"); }).find("deeper"), std::string::npos);
}

TEST(JsonObject, ReadsValuesAndFallsBack) {
  const auto json = parse_json(
      R"({"n": 3, "x": 0.5, "flag": true, "name": "abc", "words": ["a", "b"], "raw": [1]})", "x");
  JsonObject object(json, "x");
  EXPECT_EQ(object.integer("n", 0, 1, 5), 3);
  EXPECT_EQ(object.integer("absent", 7, 1, 5), 7);
  EXPECT_EQ(object.number("x", 0, 0, 1), 0.5);
  EXPECT_TRUE(object.boolean("flag", false));
  EXPECT_EQ(object.choice("name", "", {"abc", "def"}), "abc");
  EXPECT_EQ(object.strings("words"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(object.value("raw")[0], 1);
  EXPECT_TRUE(object.value("none").is_null());
  EXPECT_NO_THROW(object.finish());
}

TEST(JsonObject, ErrorsNameKeyAndValue) {
  struct Row {
    const char* json;
    std::function<void(JsonObject&)> read;
    const char* expected;
  };
  const Row rows[] = {
      {R"({"n": 0})", [](JsonObject& o) { o.integer("n", 1, 1, 5); }, "from 1 to 5, got 0"},
      {R"({"n": 6})", [](JsonObject& o) { o.integer("n", 1, 1, 5); }, "from 1 to 5, got 6"},
      {R"({"n": 2.5})", [](JsonObject& o) { o.integer("n", 1, 1, 5); }, "got 2.5"},
      {R"({"n": 18446744073709551615})", [](JsonObject& o) { o.integer("n", 1, 1, 5); },
       "got 18446744073709551615"},
      {R"({"n": "2"})", [](JsonObject& o) { o.integer("n", 1, 1, 5); }, "got \"2\""},
      {R"({"n": null})", [](JsonObject& o) { o.integer("n", 1, 1, 5); }, "got null"},
      {R"({"x": "a"})", [](JsonObject& o) { o.number("x", 1, 0, 5); }, "\"x\" must be a number"},
      {R"({"b": 1})", [](JsonObject& o) { o.boolean("b", false); }, "true or false, got 1"},
      {R"({"s": 1})", [](JsonObject& o) { o.string("s", ""); }, "a text, got 1"},
      {R"({"s": "c"})", [](JsonObject& o) { o.choice("s", "a", {"a", "b"}); }, "a, b, got \"c\""},
      {R"({"l": [1]})", [](JsonObject& o) { o.strings("l"); }, "a list of texts, got [1]"},
      {R"({"d_sate": 1})",
       [](JsonObject& o) {
         o.integer("d_state", 1, 1, 5);
         o.finish();
       },
       "unknown key \"d_sate\"; did you mean \"d_state\"?"},
      {R"({})", [](JsonObject& o) { o.require({"k"}); }, "key \"k\" is missing"},
  };
  for (const Row& row : rows) {
    const auto json = parse_json(row.json, "x");
    const std::string message = message_of([&] {
      JsonObject object(json, "place");
      row.read(object);
    });
    EXPECT_NE(message.find(row.expected), std::string::npos) << row.json << " -> " << message;
    EXPECT_EQ(message.rfind("place", 0), 0U) << message;
  }
}

TEST(JsonObject, RefusesWhatIsNoObject) {
  const nlohmann::json list = nlohmann::json::array();
  EXPECT_NE(message_of([&] { JsonObject(list, "x"); }).find("expected an object"),
            std::string::npos);
}

}  // namespace
}  // namespace strandwave
