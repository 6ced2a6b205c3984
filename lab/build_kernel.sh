#!/bin/sh
# Make kernel.wasm from kernel.c; only whoever changes the kernel needs this. On Debian: apt-get install clang-16 lld-16.
# One version of the compiler makes the same bytes each time, another makes others; tests/lab compares the numbers.
cd "$(dirname "$0")" || exit
clang-16 --target=wasm32 -O2 -msimd128 -ffreestanding -nostdlib -fvisibility=hidden -fuse-ld=/usr/bin/wasm-ld-16 \
  -Wl,--no-entry,--export-dynamic,--export=__heap_base,--initial-memory=134217728,--max-memory=268435456,-s \
  -o kernel.wasm kernel.c
