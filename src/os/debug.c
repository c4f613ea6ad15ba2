/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug output (debug.h).  Floor: os. */
#include "os/debug.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"

unsigned debug_selector;

static const struct {
  const char *name;
  unsigned bits;
} debug_names[] = {
  {"acl", D_ACL}, {"all", ~0u}, {"any", ~0u}, {"auth", D_AUTH}, {"deliver", D_DELIVER}, {"dns", D_DNS},
  {"dnsbl", D_DNSBL}, {"exec", D_EXEC}, {"expand", D_EXPAND}, {"filter", D_FILTER}, {"hints_lookup", D_HINTS},
  {"host_lookup", D_HOST_LOOKUP}, {"ident", D_IDENT}, {"interface", D_INTERFACE}, {"lists", D_LISTS},
  {"load", D_LOAD}, {"local_scan", D_LOCAL_SCAN}, {"lookup", D_LOOKUP}, {"memory", D_MEMORY}, {"noutf8", 0},
  {"pid", D_PID}, {"process_info", D_PROCESS_INFO}, {"queue_run", D_QUEUE_RUN}, {"receive", D_RECEIVE},
  {"resolver", D_RESOLVER}, {"retry", D_RETRY}, {"rewrite", D_REWRITE}, {"route", D_ROUTE},
  {"timestamp", D_TIMESTAMP}, {"tls", D_TLS}, {"transport", D_TRANSPORT}, {"uid", D_UID}, {"verify", D_VERIFY}};

static bool name_bits(struct str name, unsigned *ret) {
  for (size_t i = 0; i < ARRAY_SIZE(debug_names); i++)
    if (str_eq_c(name, debug_names[i].name)) {
      *ret = debug_names[i].bits;
      return true;
    }
  return false;
}

bool debug_parse(const char *text, unsigned *ret) {
  unsigned value = ~(unsigned)(D_EXPAND | D_INTERFACE | D_LISTS | D_LOAD | D_LOCAL_SCAN | D_MEMORY | D_PID |
                               D_RESOLVER | D_TIMESTAMP);
  const char *p = text;
  while (*p) {
    char sign = *p++;
    if (sign != '+' && sign != '-') return false;
    size_t n = strcspn(p, "+-");
    unsigned bits;
    if (!name_bits(str_n(p, n), &bits)) return false;
    value = sign == '+' ? value | bits : value & ~bits;
    p += n;
  }
  *ret = value;
  return true;
}

static struct {
  int level;
  const char *prefix;
} frame = {.prefix = ""};

int debug_indent(int delta) { return frame.level += delta; }

void debug_prefix(const char *text) { frame.prefix = text; }

void debug_printf(const char *fmt, ...) {
  /* Pid marks stand at line starts only; a line may be written in pieces. */
  static bool mid_line;
  char buf[4096];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  if (n < 0) return;
  if ((debug_selector & D_PID) && debug_selector != D_V && !mid_line) fprintf(stderr, "%5d ", (int)getpid());
  if (!mid_line) fprintf(stderr, "%s%*s", frame.prefix, frame.level, "");
  fputs(buf, stderr);
  size_t len = strlen(buf);
  mid_line = len > 0 && buf[len - 1] != '\n';
  fflush(stderr);
}
