# Packages of the distribution. Each becomes a target that includes as SYSTEM.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(htslib REQUIRED IMPORTED_TARGET htslib>=1.16)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
if(STRANDWAVE_AUDIO)
  # FFTW is under the GPL (docs/dependencies.md): only the audio libraries link it.
  pkg_check_modules(fftw3 REQUIRED IMPORTED_TARGET fftw3>=3.3)
  pkg_check_modules(fftw3f REQUIRED IMPORTED_TARGET fftw3f>=3.3)
  if(STRANDWAVE_SNDFILE)
    pkg_check_modules(sndfile REQUIRED IMPORTED_TARGET sndfile>=1.1)
    pkg_check_modules(soxr REQUIRED IMPORTED_TARGET soxr>=0.1.3)
  endif()
endif()
