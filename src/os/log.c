/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Main, reject and panic logs (log.h).  Floor: os.
 *
 * A log line is built in a fixed buffer and written with one write(2) to a descriptor opened O_APPEND, so that lines of many processes
 * never mix.  Descriptors stay open; a file that was renamed or removed (log rotation) is noticed by its inode at most once a second.
 * When the main log cannot be written the line goes to the panic log and to stderr, and when that cannot be written either, to syslog: nothing
 * is dropped silently. */
#include "os/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/base62.h"
#include "base/strbuf.h"
#include "base/timeutil.h"
#include "os/debug.h"
#include "os/priv.h"
#include "os/sys.h"

enum { LINE_MAX_BYTES = 8192, SYSLOG_MAX_BYTES = 870, KIND_MAIN = 0, KIND_REJECT, KIND_PANIC, KINDS, KIND_DEBUG = KINDS };

static const char *const kind_names[KINDS + 1] = {"main", "reject", "panic", "debug"};

struct log_file {
  int fd;
  time_t checked;       /* second of the last look at the name */
  char stamp[16];       /* value of %D/%M when it was opened */
  char path[512];
};

static struct {
  struct log_settings s;
  bool has_settings;
  uint64_t selector;
  char message_id[MSGID_SIZE];
  struct log_file file[KINDS];
  bool utf8;            /* UTF-8 in texts is meant as such */
} log_state = {.file = {{.fd = -1}, {.fd = -1}, {.fd = -1}}};

/* ---- selectors ----------------------------------------------------------------------------------------- */

static const char *const selector_names[LS_COUNT] = {
  "8bitmime", "acl_warn_skipped", "address_rewrite", "all_parents", "arguments", "connection_id",
  "connection_reject", "delay_delivery", "deliver_time", "delivery_size", "dkim", "dkim_verbose", "dmarc",
  "dmarc_verbose", "dnslist_defer", "dnssec", "etrn", "host_lookup_failed", "ident_timeout",
  "incoming_interface", "incoming_port", "lost_incoming_connection", "millisec", "msg_id", "msg_id_created",
  "outgoing_interface", "outgoing_port", "pid", "pipelining", "protocol_detail", "proxy", "queue_run",
  "queue_time", "queue_time_exclusive", "queue_time_overall", "receive_time", "received_recipients",
  "received_sender", "rejected_header", "retry_defer", "return_path_on_delivery", "sender_on_delivery",
  "sender_verify_fail", "size_reject", "skip_delivery", "smtp_confirmation", "smtp_connection",
  "smtp_incomplete_transaction", "smtp_mailauth", "smtp_no_mail", "smtp_protocol_error", "smtp_syntax_error",
  "spf", "spf_verbose", "subject", "tls_certificate_verified", "tls_cipher", "tls_on_connect", "tls_peerdn",
  "tls_resumption", "tls_sni", "unknown_in_list"};

static const enum log_sel default_selectors[] = {
  LS_ACL_WARN_SKIPPED, LS_CONNECTION_REJECT, LS_DELAY_DELIVERY, LS_DKIM, LS_DNSLIST_DEFER, LS_ETRN,
  LS_HOST_LOOKUP_FAILED, LS_LOST_INCOMING_CONNECTION, LS_MSG_ID, LS_OUTGOING_INTERFACE, LS_QUEUE_RUN,
  LS_QUEUE_TIME_EXCLUSIVE, LS_REJECTED_HEADER, LS_RETRY_DEFER, LS_SENDER_VERIFY_FAIL, LS_SIZE_REJECT,
  LS_SKIP_DELIVERY, LS_SMTP_CONFIRMATION, LS_TLS_CERTIFICATE_VERIFIED, LS_TLS_CIPHER};

const char *log_selector_name(int i) { return selector_names[i]; }

static uint64_t default_mask(void) {
  uint64_t m = 0;
  for (size_t i = 0; i < ARRAY_SIZE(default_selectors); i++) m |= UINT64_C(1) << default_selectors[i];
  return m;
}

static bool selector_bits(struct str name, uint64_t *ret) {
  if (str_eq_c(name, "all")) {
    *ret = (UINT64_C(1) << LS_COUNT) - 1;
    return true;
  }
  if (str_eq_c(name, "rejected_headers")) name = STR("rejected_header");
  for (int i = 0; i < LS_COUNT; i++)
    if (str_eq_c(name, selector_names[i])) {
      *ret = UINT64_C(1) << i;
      return true;
    }
  return false;
}

bool log_selector_parse(struct arena *a, const char *text, uint64_t *ret_mask, const char **ret_error) {
  uint64_t mask = default_mask();
  struct str rest = str_c(text ? text : "");
  for (struct str word = str_word(&rest); word.n; word = str_word(&rest)) {
    while (word.n) { /* "+a-b" may stand without blanks */
      char sign = word.p[0];
      if (sign != '+' && sign != '-') {
        *ret_error = arena_printf(a, "malformed log_selector setting: + or - expected but found \"%.*s\"", STR_FMT(word));
        return false;
      }
      size_t n = 1;
      while (n < word.n && word.p[n] != '+' && word.p[n] != '-') n++;
      uint64_t bits;
      if (!selector_bits(str_n(word.p + 1, n - 1), &bits)) {
        *ret_error = arena_printf(a, "unknown log_selector setting: %c%.*s", sign, (int)(n - 1), word.p + 1);
        return false;
      }
      mask = sign == '+' ? mask | bits : mask & ~bits;
      word = str_n(word.p + n, word.n - n);
    }
  }
  *ret_mask = mask;
  return true;
}

void log_selector_set(uint64_t mask) { log_state.selector = mask; }
bool log_selects(enum log_sel sel) { return sel == LS_ALWAYS || (log_state.selector >> sel & 1); }

/* ---- settings ------------------------------------------------------------------------------------------ */

void log_init(const struct log_settings *s) {
  if (!log_state.selector) log_state.selector = default_mask();
  log_close();
  log_state.s = *s;
  log_state.has_settings = true;
}

void log_set_message_id(const char *id) {
  snprintf(log_state.message_id, sizeof log_state.message_id, "%s", id ? id : "");
}
const char *log_message_id(void) { return log_state.message_id[0] ? log_state.message_id : NULL; }

bool log_set_utf8(bool on) {
  bool old = log_state.utf8;
  log_state.utf8 = on;
  return old;
}

bool log_set_testing(bool on) {
  bool was = log_state.s.testing;
  log_state.s.testing = on;
  return was;
}

void log_close(void) {
  for (int k = 0; k < KINDS; k++) {
    if (log_state.file[k].fd >= 0) close(log_state.file[k].fd);
    log_state.file[k].fd = -1;
  }
}

/* ---- building a line ------------------------------------------------------------------------------------ */

static size_t put_stamp(char *buf, size_t size, bool with_pid, bool with_id) {
  struct time_opts o = {log_selects(LS_MILLISEC), log_state.s.want_zone, log_state.s.utc};
  char stamp[64];
  time_format(time_now(), TIME_LOG, o, stamp, sizeof stamp);
  int n = snprintf(buf, size, "%s ", stamp);
  if (with_pid && log_selects(LS_PID)) n += snprintf(buf + n, size - (size_t)n, "[%d] ", (int)getpid());
  if (with_id && log_state.message_id[0]) n += snprintf(buf + n, size - (size_t)n, "%s ", log_state.message_id);
  return (size_t)n;
}

static bool is_plain(unsigned char c) {
  if (c >= 128) return log_state.s.print_topbitchars;
  return c >= 32 && c != 127;
}

/* Length of a well-formed UTF-8 character at s that changes nothing but itself: no C1 control, no line or direction mark.  0: none. */
static size_t shown_utf8(const char *s, size_t n) {
  uint32_t v;
  size_t len = utf8_next(str_n(s, n), &v);
  if (!len || v < 0xa0) return 0;
  bool is_mark = (v >= 0x200e && v <= 0x200f) || (v >= 0x2028 && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069);
  return is_mark ? 0 : len;
}

/* Escaped copy of text into buf; returns bytes put (never over size - 1). */
static size_t put_escaped(char *buf, size_t size, const char *text, size_t n, bool keep_tabs) {
  size_t o = 0;
  for (size_t i = 0; i < n && o + 5 < size; i++) {
    unsigned char c = (unsigned char)text[i];
    if (is_plain(c) || (c == '\t' && keep_tabs)) {
      buf[o++] = (char)c;
      continue;
    }
    size_t len = log_state.utf8 && c >= 128 ? shown_utf8(text + i, n - i) : 0;
    if (len > 0) {
      memcpy(buf + o, text + i, len);
      o += len;
      i += len - 1;
      continue;
    }
    buf[o++] = '\\';
    switch (c) {
      case '\n': buf[o++] = 'n'; break;
      case '\r': buf[o++] = 'r'; break;
      case '\t': buf[o++] = 't'; break;
      case '\b': buf[o++] = 'b'; break;
      case '\v': buf[o++] = 'v'; break;
      case '\f': buf[o++] = 'f'; break;
      default: o += (size_t)snprintf(buf + o, size - o, "%03o", c);
    }
  }
  buf[o] = '\0';
  return o;
}

static void put_text(char *buf, size_t size, const char *text, size_t n, bool keep_newlines) {
  for (size_t i = 0, o = 0; i < n; i++) {
    const char *nl = keep_newlines ? memchr(text + i, '\n', n - i) : NULL;
    size_t len = nl ? (size_t)(nl - text) - i : n - i;
    o += put_escaped(buf + o, size - o, text + i, len, true);
    i += len;
    if (!nl || o + 8 >= size) break;
    buf[o++] = '\n';
    buf[o] = '\0';
  }
}

static const char *escaped_copy(struct arena *a, struct str s, bool keep_tabs) {
  size_t plain = 0;
  while (plain < s.n && is_plain((unsigned char)s.p[plain])) plain++;
  if (plain == s.n) return str_dup(a, s);
  char *buf = arena_alloc_t(a, size_add(size_mul(s.n, 4), 8), is_tainted(s.p) ? TAINTED : UNTAINTED);
  put_escaped(buf, s.n * 4 + 8, s.p, s.n, keep_tabs);
  return buf;
}

const char *log_escape(struct arena *a, struct str s) { return escaped_copy(a, s, false); }

const char *log_escape_line(struct arena *a, struct str s) { return escaped_copy(a, s, true); }

/* ---- files --------------------------------------------------------------------------------------------- */

/* One item of the log_file_path list that is not "syslog"; "" when there is none. */
static struct str path_item(void) {
  struct str list = str_c(log_state.s.file_path), found = STR_NULL;
  while (list.n) {
    struct str item = str_trim(str_cut(&list, ':'));
    if (item.n && !str_eq_c(item, "syslog")) found = item;
  }
  return found;
}

static bool wants_syslog(void) {
  struct str list = str_c(log_state.s.file_path);
  while (list.n)
    if (str_eq_c(str_trim(str_cut(&list, ':')), "syslog")) return true;
  return false;
}

/* Fill in %s, %D, %M; *ret_stamp gets the date used ("" when none). */
static void make_path(int kind, char *path, size_t size, char stamp[16]) {
  struct str pattern = path_item();
  struct {
    char *p;
    size_t n, cap;
  } out = {path, 0, size};
  stamp[0] = '\0';
  for (size_t i = 0; i < pattern.n && out.n + 32 < out.cap; i++) {
    char c = pattern.p[i];
    if (c != '%' || i + 1 >= pattern.n) {
      out.p[out.n++] = c;
      continue;
    }
    c = pattern.p[++i];
    if (c == 's') {
      out.n += (size_t)snprintf(out.p + out.n, out.cap - out.n, "%s", kind_names[kind]);
    } else if (c == 'D' || c == 'M') {
      char date[64];
      time_format(time_now(), TIME_LOGFILE, (struct time_opts){.utc = log_state.s.utc}, date, sizeof date);
      if (c == 'M') date[6] = '\0';
      snprintf(stamp, 16, "%.15s", date);
      /* The panic log has no date stamp: one place to look. */
      if (kind != KIND_PANIC)
        out.n += (size_t)snprintf(out.p + out.n, out.cap - out.n, "%s", date);
      else if (out.n && !ch_isalnum(out.p[out.n - 1]) && out.p[out.n - 1] != '/')
        out.n--;
    } else {
      out.p[out.n++] = '%';
      out.p[out.n++] = c;
    }
  }
  out.p[out.n] = '\0';
}

static bool file_is_current(struct log_file *f) {
  time_t now = time_sec();
  if (f->checked == now && !f->stamp[0]) return true;
  f->checked = now;
  if (f->stamp[0]) {
    char path[512], stamp[16];
    make_path(KIND_MAIN, path, sizeof path, stamp);
    if (strcmp(stamp, f->stamp) != 0) return false;
  }
  struct stat by_name, by_fd;
  return stat(f->path, &by_name) == 0 && fstat(f->fd, &by_fd) == 0 && by_name.st_ino == by_fd.st_ino &&
         by_name.st_dev == by_fd.st_dev;
}

static int make_log_dir(const char *path) {
  char dir[512];
  snprintf(dir, sizeof dir, "%s", path);
  char *slash = strrchr(dir, '/');
  if (!slash || slash == dir) return -ENOENT;
  *slash = '\0';
  return sys_mkdir_path("/", dir + 1, 0750, log_state.s.exim_uid, log_state.s.exim_gid);
}

/* Open for appending as the exim user, never following a link in the last component. */
static int open_log(const char *path) {
  const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
  for (int attempt = 0;; attempt++) {
    int fd = geteuid() == 0 && !priv_can_raise() && log_state.s.exim_uid != 0
               ? -EPERM /* a root process that was never set up does not write below a user's directory */
               : sys_open(path, flags, 0640);
    if (fd == -EPERM || (fd == -EACCES && priv_can_raise()))
      fd = priv_open_as(log_state.s.exim_uid, log_state.s.exim_gid, path, flags, 0640);
    if (fd != -ENOENT || attempt > 0) return fd;
    if (make_log_dir(path) < 0) return -ENOENT;
  }
}

int log_open_debug(const char *tag, char *path, size_t size) {
  char stamp[16], base[512];
  if (strlen(tag) > 64) return -ENAMETOOLONG;
  for (const char *p = tag; *p; p++)
    if (*p == '/' || !is_plain((unsigned char)*p)) return -EINVAL;
  if (path_item().n == 0) return -ENOENT;
  make_path(KIND_DEBUG, base, sizeof base, stamp);
  if ((size_t)snprintf(path, size, "%s%s", base, tag) >= size) return -ENAMETOOLONG;
  return open_log(path);
}

static int log_fd(int kind) {
  struct log_file *f = &log_state.file[kind];
  if (f->fd >= 0) {
    if (file_is_current(f)) return f->fd;
    close(f->fd);
    f->fd = -1;
  }
  make_path(kind, f->path, sizeof f->path, f->stamp);
  if (!f->path[0]) return -ENOENT;
  f->fd = open_log(f->path);
  f->checked = time_sec();
  if (f->fd >= 0) {
    struct stat st;
    if (geteuid() == 0 && fstat(f->fd, &st) == 0 && st.st_uid == 0 && st.st_nlink == 1 && log_state.s.exim_uid)
      IGNORE_RESULT(sys_fchown(f->fd, log_state.s.exim_uid, log_state.s.exim_gid)); /* ours either way */
  }
  return f->fd;
}

/* ---- syslog -------------------------------------------------------------------------------------------- */

bool log_find_facility(const char *name, int *ret) {
  static const struct {
    const char *name;
    int value;
  } table[] = {{"mail", LOG_MAIL}, {"user", LOG_USER}, {"news", LOG_NEWS}, {"uucp", LOG_UUCP}, {"daemon", LOG_DAEMON},
               {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1}, {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},
               {"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7}};
  for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
    if (strcmpic(name, table[i].name) != 0) continue;
    *ret = table[i].value;
    return true;
  }
  return false;
}

static int syslog_facility_number(void) {
  int facility;
  return log_state.s.syslog_facility && log_find_facility(log_state.s.syslog_facility, &facility) ? facility : LOG_MAIL;
}

bool log_next_piece(struct log_pieces *p, struct str *ret, char *ret_end) {
  struct str *from = p->line.n ? &p->line : &p->extra;
  if (from->n == 0) return false;
  size_t end = str_index(*from, '\n'), n = p->max ? MIN(end, p->max) : end;
  bool at_line_end = n == end;
  *ret = str_n(from->p, n);
  size_t taken = n + (at_line_end && n < from->n);
  *from = str_n(from->p + taken, from->n - taken);
  *ret_end = at_line_end && (p->line.n || p->extra.n) ? '\\' : '/';
  return true;
}

static void syslog_piece(int priority, const char *mark, struct str text) {
  if (log_state.s.harness_mode)
    fprintf(stderr, "SYSLOG: '%s%.*s'\n", mark, STR_FMT(text));
  else
    syslog(priority, "%s%.*s", mark, STR_FMT(text));
}

static void open_syslog(int options, int facility) {
  if (!log_state.s.harness_mode) openlog(log_state.s.syslog_processname ? log_state.s.syslog_processname : "exim", options, facility);
}

/* An entry is cut at its line ends and where lines are too long for what reads them: "[n\m] " and "[n/m] " say which of how many. */
static void put_syslog(int priority, const char *text, const char *extra) {
  struct log_pieces all = {.line = str_c(text), .extra = str_c(extra ? extra : ""), .max = log_state.s.syslog_long_lines ? 0 : SYSLOG_MAX_BYTES};
  struct log_pieces count = all;
  struct str piece;
  char end;
  int total = 0;
  while (log_next_piece(&count, &piece, &end)) total++;
  for (int i = 1; log_next_piece(&all, &piece, &end); i++) {
    char mark[32] = "";
    if (total > 1) snprintf(mark, sizeof mark, "[%d%c%d] ", i, i < total ? end : '/', total);
    syslog_piece(priority, mark, piece);
  }
}

/* Without "date time[ zone] " when syslog_timestamp says so. */
static const char *syslog_text(const char *line) {
  if (log_state.s.syslog_timestamp) return line;
  const char *text = line;
  for (int words = log_state.s.want_zone ? 3 : 2; words > 0 && (text = strchr(text, ' ')); words--) text++;
  return text ? text : line;
}

static void to_syslog(int kind, const char *line, const char *extra) {
  static const int priorities[KINDS] = {LOG_INFO, LOG_NOTICE, LOG_ALERT};
  open_syslog(log_state.s.syslog_pid ? LOG_PID | LOG_CONS : LOG_CONS, syslog_facility_number());
  put_syslog(priorities[kind], syslog_text(line), extra);
}

/* No file takes the line.  Facility and priority are those of the manual, ch. 53, whatever is set for lines that are meant for syslog. */
static void last_resort(const char *why, const char *line) {
  open_syslog(LOG_PID | LOG_CONS, LOG_MAIL);
  put_syslog(LOG_CRIT, why, NULL);
  put_syslog(LOG_CRIT, syslog_text(line), NULL);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Without syslog_duplication a line goes there once, for the log that has most to say. */
static bool is_for_syslog(int kind, unsigned dest) {
  if (!wants_syslog() || log_state.s.syslog_duplication) return wants_syslog();
  bool is_rejection = dest & LOG_REJECT && log_state.s.write_rejectlog;
  return kind == (dest & LOG_PANIC ? KIND_PANIC : is_rejection ? KIND_REJECT : KIND_MAIN);
}

/* False, and why in words: the line is not in the file. */
static bool write_file(int kind, const char *line, const char *extra, char *why, size_t size) {
  int fd = log_fd(kind);
  if (fd < 0) {
    snprintf(why, size, "could not open %s log %s: %s", kind_names[kind], log_state.file[kind].path, strerror(-fd));
    return false;
  }
  struct iovec iov[3] = {{(void *)(uintptr_t)line, strlen(line)}, {(void *)(uintptr_t) "\n", 1},
                         {(void *)(uintptr_t)extra, extra ? strlen(extra) : 0}};
  int r = sys_writev_all(fd, iov, extra ? 3 : 2);
  if (r < 0) snprintf(why, size, "could not write to %s log %s: %s", kind_names[kind], log_state.file[kind].path, strerror(-r));
  return r >= 0;
}

static void write_kind(int kind, unsigned dest, const char *line, const char *extra) {
  char why[700];
  if (is_for_syslog(kind, dest)) to_syslog(kind, line, extra);
  if (path_item().n == 0 || write_file(kind, line, extra, why, sizeof why)) return;
  fprintf(stderr, "exim: %s\n%s\n", why, line);
  if (kind != KIND_PANIC) write_kind(KIND_PANIC, LOG_PANIC, line, NULL);
  else last_resort(why, line);
}

/* As Exim shows lines to -v and -d users: "LOG: MAIN REJECT", with the selector if any, and the text below. */
static void tell_user(enum log_sel sel, unsigned dest, const char *text) {
  if (!log_state.s.to_stderr && !debug_selector) return;
  if (log_state.s.stderr_only && !(debug_selector & ~(unsigned)D_V)) return; /* -bh shows lines in its own way */
  bool named = sel >= 0 && sel < LS_COUNT;
  if (debug_log_is_open()) {
    debug_printf("LOG:%s%s%s%s%s\n", named ? " " : "", named ? selector_names[sel] : "", dest & LOG_MAIN ? " MAIN" : "",
                 dest & LOG_PANIC ? " PANIC" : "", dest & LOG_REJECT ? " REJECT" : "");
    debug_printf("  %s\n", text);
    return;
  }
  fprintf(stderr, "LOG:%s%s%s%s%s\n  %s\n", named ? " " : "", named ? selector_names[sel] : "", dest & LOG_MAIN ? " MAIN" : "",
          dest & LOG_PANIC ? " PANIC" : "", dest & LOG_REJECT ? " REJECT" : "", text);
  fflush(stderr);
}

static void write_all(unsigned dest, const char *line, size_t text_at, const char *extra) {
  if (log_state.s.testing) {
    if (!debug_selector) fprintf(stderr, "%s\n", line); /* else tell_user() did */
    return;
  }
  if (log_state.s.stderr_only && !(debug_selector & ~(unsigned)D_V)) { /* -bh: one line, without date and time */
    const char *id = log_message_id();
    fprintf(stderr, "LOG: %s%s%s\n", id ? id : "", id ? " " : "", line + text_at);
    fflush(stderr);
    return;
  }
  if (log_state.s.stderr_only) return;
  if (!log_state.has_settings || !log_state.s.file_path) {
    fprintf(stderr, "%s\n", line);
    return;
  }
  if (dest & LOG_MAIN) write_kind(KIND_MAIN, dest, line, NULL);
  if (dest & LOG_REJECT && log_state.s.write_rejectlog) write_kind(KIND_REJECT, dest, line, extra);
  if (dest & LOG_PANIC) {
    debug_log_panic();
    if (!log_state.s.to_stderr && !debug_selector && !(dest & LOG_QUIET) && !log_state.s.quiet_panic) fprintf(stderr, "%s\n", line);
    write_kind(KIND_PANIC, dest, line, NULL);
  }
}

/* A line that would not end is cut where that of a deployed system is, and says so.  Bytes of line: LINE_MAX_BYTES or more. */
static void mark_cut(char *line, bool is_cut) {
  static const char mark[] = "<trunc>";
  const size_t max = LINE_MAX_BYTES - 4; /* with the line end, and room for two more */
  size_t n = strlen(line);
  if (is_cut || n > max) memcpy(line + MIN(n, max - strlen(mark)), mark, sizeof mark);
}

/* Apart from its caller, because the room on the stack costs page faults. */
__attribute__((noinline, format(printf, 4, 0))) static void write_line(enum log_sel sel, unsigned dest, bool selected, const char *fmt, va_list ap) {
  char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 256];
  int n = vsnprintf(text, sizeof text, fmt, ap);
  if (n < 0) n = 0;
  size_t len = MIN((size_t)n, sizeof text - 1);
  while (len > 0 && text[len - 1] == '\n') {
    len--;
    if (dest & LOG_MULTILINE) break; /* an empty line at the end is meant */
  }
  size_t at = put_stamp(line, sizeof line, true, true);
  put_text(line + at, sizeof line - at, text, len, dest & LOG_MULTILINE);
  mark_cut(line, (size_t)n >= sizeof text);
  if (selected || debug_selector) tell_user(sel, dest, line + at);
  if (!selected) dest &= log_state.s.testing || log_state.s.stderr_only ? 0 : LOG_REJECT;
  if (!dest) return;
  write_all(dest, line, at, NULL);
  if (dest & LOG_DIE && log_state.s.panic_coredump) abort();
  if (dest & LOG_DIE) exit(EXIT_FAILURE);
}

void log_vwrite(enum log_sel sel, unsigned dest, const char *fmt, va_list ap) {
  bool selected = log_selects(sel); /* that is about the main log, not about the one of rejections (manual ch. 53) */
  if (selected || debug_selector || dest & LOG_REJECT) write_line(sel, dest, selected, fmt, ap); /* who listens with -v hears all */
}

void log_write(enum log_sel sel, unsigned dest, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  log_vwrite(sel, dest, fmt, ap);
  va_end(ap);
}

void log_write_reject(unsigned dest, const char *line_text, const char *extra) {
  char line[LINE_MAX_BYTES + 256];
  size_t at = put_stamp(line, sizeof line, true, true);
  put_escaped(line + at, sizeof line - at, line_text, strlen(line_text), true);
  mark_cut(line, strlen(line_text) >= LINE_MAX_BYTES);
  tell_user(LS_ALWAYS, dest, line + at);
  write_all(dest, line, at, extra);
}

void log_msglog(int fd, const char *fmt, ...) {
  if (fd < 0) return;
  char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 256];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (n < 0) return;
  size_t at = put_stamp(line, sizeof line, false, false), len = MIN((size_t)n, sizeof text - 1);
  while (len > 0 && text[len - 1] == '\n') len--;
  at += put_escaped(line + at, sizeof line - at - 1, text, len, true);
  line[at++] = '\n';
  IGNORE_RESULT(sys_write_all(fd, line, at)); /* a convenience: its loss stops nothing */
}
