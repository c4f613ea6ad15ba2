/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Line ends of any bytes.  What is called clean is; what is turned into LF form is the same however it is cut, and turning it back gives a clean body
 * when it was one. */
#include "base/strbuf.h"
#include "formats/wire_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct strbuf to_lf(struct arena *a, struct str in, size_t piece) {
  struct strbuf out = strbuf_new(a);
  bool held = false;
  char *buf = arena_alloc(a, piece + 1);
  for (size_t at = 0; at < in.n;) {
    size_t n = MIN(piece, in.n - at), front = held;
    if (held) buf[0] = '\r';
    memcpy(buf + front, in.p + at, n);
    strbuf_add(&out, buf, wire_to_lf(buf, n + front, &held));
    at += n;
  }
  if (held) strbuf_addc(&out, '\r');
  return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data, size);
  size_t clean = wire_clean_prefix(in);
  INVARIANT(clean <= size);
  for (size_t i = 0; i < clean; i++) {
    if (data[i] == '\r') INVARIANT(i + 1 < clean && data[i + 1] == '\n');
    if (data[i] == '\n') INVARIANT(i > 0 && data[i - 1] == '\r');
  }
  if (clean < size) INVARIANT(data[clean] == '\r' || data[clean] == '\n');
  struct strbuf whole = to_lf(a, in, size + 1);
  for (size_t piece = 1; piece < 8; piece++) {
    struct strbuf cut = to_lf(a, in, piece);
    INVARIANT(str_eq(strbuf_str(&whole), strbuf_str(&cut)));
  }
  if (clean == size) {
    struct strbuf back = strbuf_new(a);
    for (size_t i = 0; i < whole.n; i++)
      if (whole.p[i] == '\n') strbuf_adds(&back, "\r\n");
      else strbuf_add(&back, whole.p + i, 1);
    INVARIANT(str_eq(strbuf_str(&back), in));
  }
  arena_free(a);
  return 0;
}
