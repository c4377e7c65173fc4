// A scheme built on an assembly with its options by name.
#pragma once

#include "assembly.hpp"
#include "options.hpp"

namespace amcore::bindings {

using BuildScheme = std::unique_ptr<Scheme>(const Assembly&, const py::dict& options, Collective&);

// The build instantiates it for every scheme, in a file each.
template <template <class> class Of> std::unique_ptr<Scheme> build(const Assembly& assembly,
                                                                   const py::dict& given,
                                                                   Collective& collective) {
  typename Of<double>::Options options;
  OptionReader reader(given, assembly.layers.size());
  options.each(reader);
  reader.finish();
  return dispatch(assembly.X, "X", [&](auto zero) -> std::unique_ptr<Scheme> {
    using T = decltype(zero);
    return std::make_unique<Of<T>>(assembly.problem<T>(Of<T>::declaration()), options,
                                   Execution{assembly.threads, collective, assembly.keep_products});
  });
}

}  // namespace amcore::bindings
