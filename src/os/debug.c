/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug output (debug.h).  Floor: os. */
#include "os/debug.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"
#include "base/timeutil.h"
#include "os/process_use.h"
#include "os/sys.h"

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

/* ---- the debug log ---------------------------------------------------------------------------------------- */

enum { KEPT_MAX = 64 * 1024 };

static struct {
  int fd;                /* -1: none */
  unsigned selector_before;
  bool on_panic, is_keeping;
  size_t keep, head, used;
  char path[512], kept[KEPT_MAX];
} log_file = {.fd = -1};

bool debug_log_is_open(void) { return log_file.fd >= 0; }

static void keep_bytes(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    log_file.kept[(log_file.head + log_file.used) % log_file.keep] = p[i];
    if (log_file.used < log_file.keep) log_file.used++;
    else log_file.head = (log_file.head + 1) % log_file.keep;
  }
}

static void to_file(const char *p, size_t n) {
  if (log_file.is_keeping) keep_bytes(p, n);
  else IGNORE_RESULT(sys_write_all(log_file.fd, p, n)); /* debugging stops nothing */
}

static void line_to_file(const char *text, bool is_start) {
  char head[64];
  size_t n = 0;
  if (is_start && (debug_selector & D_TIMESTAMP)) {
    char stamp[64];
    time_format(time_now(), TIME_LOG_BARE, (struct time_opts){.utc = false}, stamp, sizeof stamp);
    n += (size_t)snprintf(head + n, sizeof head - n, "%.8s ", strlen(stamp) >= 19 ? stamp + 11 : stamp);
  }
  if (is_start && (debug_selector & D_PID)) n += (size_t)snprintf(head + n, sizeof head - n, "%5d ", (int)getpid());
  to_file(head, n);
  to_file(text, strlen(text));
}

void debug_log_start(const struct debug_log_opts *o) {
  process_use_up(); /* debugging goes on until the process ends */
  if (log_file.fd >= 0) debug_log_stop(false);
  log_file.fd = o->fd;
  snprintf(log_file.path, sizeof log_file.path, "%s", o->path);
  log_file.selector_before = debug_selector;
  log_file.on_panic = o->on_panic;
  log_file.keep = MIN(o->pretrigger_bytes, (size_t)KEPT_MAX);
  log_file.is_keeping = log_file.keep > 0;
  log_file.head = log_file.used = 0;
  debug_selector |= o->bits;
}

void debug_log_trigger(void) {
  if (log_file.fd < 0 || !log_file.is_keeping) return;
  log_file.is_keeping = false;
  size_t first = MIN(log_file.used, log_file.keep - log_file.head), start = 0;
  /* what was overwritten cut a line in two: begin with a whole one */
  bool is_full = log_file.used == log_file.keep;
  while (is_full && start < log_file.used && log_file.kept[(log_file.head + start++) % log_file.keep] != '\n') continue;
  if (start < first) to_file(log_file.kept + log_file.head + start, first - start);
  size_t skip = start > first ? start - first : 0;
  if (log_file.used > first + skip) to_file(log_file.kept + skip, log_file.used - first - skip);
  log_file.used = 0;
}

void debug_log_panic(void) {
  if (log_file.on_panic) debug_log_trigger();
}

void debug_log_stop(bool and_remove) {
  if (log_file.fd < 0) return;
  if (!and_remove && !log_file.is_keeping) line_to_file("debug terminated by stop\n", true);
  (void)close(log_file.fd);
  if (and_remove) IGNORE_RESULT(sys_unlink(log_file.path));
  log_file.fd = -1;
  debug_selector = log_file.selector_before;
}

/* ---- lines ------------------------------------------------------------------------------------------------ */

void debug_printf(const char *fmt, ...) {
  /* Pid marks stand at line starts only; a line may be written in pieces. */
  static bool mid_line;
  char buf[4096];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  if (n < 0) return;
  if (log_file.fd >= 0) line_to_file(buf, !mid_line);
  size_t len = strlen(buf);
  bool was_mid_line = mid_line;
  mid_line = len > 0 && buf[len - 1] != '\n';
  if (log_file.fd >= 0 && !log_file.selector_before) return;
  if ((debug_selector & D_PID) && debug_selector != D_V && !was_mid_line) fprintf(stderr, "%5d ", (int)getpid());
  if (!was_mid_line) fprintf(stderr, "%s%*s", frame.prefix, frame.level, "");
  fputs(buf, stderr);
  fflush(stderr);
}
