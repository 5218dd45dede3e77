# Packages of the distribution. Each becomes a target that includes as SYSTEM.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(htslib REQUIRED IMPORTED_TARGET htslib>=1.16)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
