"""The extension list, and nothing else: metadata is in setup.cfg, the build system in pyproject.toml."""

import os
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

# Fused multiply-adds would make the kernels decide differently from their twins on machines that have them.
FLAGS = ["-O3", "-ffp-contract=off"]
CORES = os.cpu_count() or 1
KERNELS = sorted(source.parent.name for source in Path("ext").glob("*/_kernel.pyx"))
CHECKED = "TRISAGION_CHECKED" in os.environ
"""Build with bounds checks, to run the kernel tests once more."""

setup(
    options={"build_ext": {"parallel": CORES}},
    ext_modules=cythonize(
        [
            Extension(
                f"ext.{name}._kernel",
                [f"ext/{name}/_kernel.pyx"],
                include_dirs=[np.get_include()],
                extra_compile_args=FLAGS,
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
            )
            for name in KERNELS
        ],
        language_level=3,
        nthreads=CORES,
        # Each build has its own C files, or the one would compile what the other has written.
        build_dir="build/c-checked" if CHECKED else "build/c",
        compiler_directives={
            "boundscheck": CHECKED,
            "initializedcheck": CHECKED,
            "wraparound": False,
            "cdivision": True,
        },
    ),
)
