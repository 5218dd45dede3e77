// What one kind of layer is made of, as data.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace strandwave {

// In config.json: {"kind": "mamba", "d_state": 16, ...}: `options` holds everything but the kind.
// What a kind knows is in its own header (MambaConfig); unknown options are errors.
struct LayerConfig {
  std::string kind = "mamba";
  nlohmann::json options = nlohmann::json::object();
};

}  // namespace strandwave
