"""Kernels for a processor that is not here, run by an emulator within limen's own calls."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from limen.kernels.c import shipped
from limen.kernels.call import Prepared

DRIVER = r"""
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* LIBRARY FUNCTION FILE: what the file holds, as Emulator.call writes it, is called with and written back. */
typedef int any_function(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                         uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
static int64_t number(FILE *file) {
  int64_t found;
  if (fread(&found, 8, 1, file) != 1) exit(3);
  return found;
}
static void *block(FILE *file, int64_t size) {
  void *found = aligned_alloc(64, (size + 64) / 64 * 64);
  if (fread(found, 1, size, file) != (size_t)size) exit(4);
  return found;
}
int main(int count, char **words) {
  void *library = dlopen(words[1], RTLD_NOW);
  if (!library) { fprintf(stderr, "%s\n", dlerror()); return 5; }
  any_function *function = (any_function *)dlsym(library, words[2]);
  FILE *file = fopen(words[3], "r+b");
  if (!function || !file) return 6;
  uint64_t given[18] = {0}, values[32] = {0};
  void *blocks[8];
  int64_t sizes[8], places[8], tensors = number(file);
  for (int64_t i = 0; i < tensors; i++) {
    sizes[i] = number(file);
    places[i] = ftell(file);
    blocks[i] = sizes[i] < 0 ? 0 : block(file, sizes[i]);
    given[i] = (uint64_t)blocks[i];
  }
  int64_t numbers = number(file), next = tensors;
  for (int64_t i = 0; i < numbers; i++) given[next++] = number(file);
  int64_t seed = number(file);
  given[next++] = seed < 0 ? 0 : (uint64_t)block(file, seed);
  given[next++] = 1; /* thread */
  int64_t parameters = number(file);
  for (int64_t i = 0; i < parameters; i++) values[i] = (uint64_t)block(file, number(file));
  given[next++] = (uint64_t)values;
  const uint64_t *a = given, *b = given + 9;
  int failed = function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8],
                        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8]);
  for (int64_t i = 0; i < tensors; i++) {
    if (sizes[i] <= 0) continue;
    if (fseek(file, places[i], SEEK_SET) || fwrite(blocks[i], 1, sizes[i], file) != (size_t)sizes[i]) return 7;
  }
  return fclose(file) ? 8 : failed;
}
"""


class Emulator:
    """Stands in the place of `calls._loaded` and `calls._call`, and notes which functions were called."""

    def __init__(self, library: Path, compiler: str, command: Sequence[str], folder: Path) -> None:
        self.library, self.command, self.file = library, command, folder / "call"
        self.called: set[str] = set()
        (folder / "driver.c").write_text(DRIVER)
        self.driver = str(folder / "driver")
        subprocess.run([compiler, "-O1", str(folder / "driver.c"), "-o", self.driver, "-ldl"], check=True)

    def loaded(self, source: str, _name: str, part: str, *_: Any) -> str:
        """The name of a kernel's function in the library."""
        return f"{shipped.prefix_of(source)}_{part}"

    def call(
        self,
        function: str,
        tensors: Sequence[Tensor],
        statistics: Tensor | None,
        given: Prepared,
        pitches: tuple[int, ...] = (),
    ) -> None:
        """As `calls._call`, in the emulator: it gets copies of the memory, and what it wrote is copied back."""
        all_tensors = [*tensors, statistics]
        blocks = [None if one is None else (_address(one), _size(one)) for one in all_tensors]
        numbers = [*given.plan.sizes, *pitches]
        written = struct.pack("<q", len(blocks))
        places = []
        for block in blocks:
            written += struct.pack("<q", -1 if block is None else block[1])
            places.append(len(written))
            written += b"" if block is None else _bytes(*block)
        written += struct.pack(f"<{1 + len(numbers)}q", len(numbers), *numbers)
        written += struct.pack("<q", -1) if given.seed is None else _block(given.seed)
        written += struct.pack("<q", len(given.values)) + b"".join(map(_block, given.values))
        self.file.write_bytes(written)
        subprocess.run([*self.command, self.driver, str(self.library), function, str(self.file)], check=True)
        found = self.file.read_bytes()
        for block, place in zip(blocks, places, strict=True):
            if block is not None:
                ctypes.memmove(block[0], found[place : place + block[1]], block[1])
        self.called.add(function)


def _address(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _size(tensor: Tensor) -> int:
    """Bytes from the first element of a tensor to the end of its memory."""
    storage = tensor.untyped_storage()
    return storage.nbytes() - (tensor.data_ptr() - storage.data_ptr())


def _bytes(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def _block(tensor: Tensor) -> bytes:
    size = _size(tensor)
    return struct.pack("<q", size) + _bytes(_address(tensor), size)
