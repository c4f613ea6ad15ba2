/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary bytes as a -H file: what is accepted must come back the same after writing and reading again. */
#include "formats/spool_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *ctx, const char *address) {
  (void)ctx;
  INVARIANT(!strchr(address, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct arena *a = arena_new("fuzz");
  struct spool_header_file h, again;
  struct str in = str_n((const char *)data, size);
  if (!spool_read_header_file(a, in, false, &h)) {
    bool clean = true; /* a carriage return inside a field is the writer's INVARIANT; reception refuses it */
    for (size_t i = 0; i < size; i++) clean = clean && data[i] != '\r';
    struct strbuf out = strbuf_new(a);
    if (clean) {
      spool_write_header_file(&out, &h);
      INVARIANT(!spool_read_header_file(a, strbuf_str(&out), false, &again));
      INVARIANT(again.rcpt_count == h.rcpt_count && again.received_sec == h.received_sec);
      /* the tree may be balanced in another way; its members are the same */
      INVARIANT(again.nonrecipients.count == h.nonrecipients.count);
    }
  }
  (void)!spool_read_header_file(a, in, true, &h);
  spool_read_journal(a, in, ignore, NULL);
  arena_free(a);
  return 0;
}
