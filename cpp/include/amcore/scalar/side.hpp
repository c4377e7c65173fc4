#pragma once

namespace amcore {

// From where a one-sided derivative is taken.
enum class Side { left, right };

}  // namespace amcore
