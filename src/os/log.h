/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Main, reject and panic logs, and log_selector.  Floor: os.  Manual ch. 53 "Log files".
 *
 * One process-wide service (its state is on the list of allowed writable globals).  A line is written with one write(2) to a file opened
 * O_APPEND as the exim user with O_NOFOLLOW; %s in the path is main/reject/panic, %D (and %M) the date stamp; "syslog" may stand
 * in the list.  Lines are cut at 8 KiB minus room for the stamp.  Unprintable bytes but the tab are written as backslash escapes (\n, \ooo).
 * The stamp, [pid] and the current message id are put in front here; the builders of line types, on the floors above, give the rest. */
#ifndef OS_LOG_H
#define OS_LOG_H

#include <stdarg.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/str.h"

/* Destinations, or-ed. */
enum {
  LOG_MAIN = 1,
  LOG_REJECT = 2,
  LOG_PANIC = 4,
  LOG_DIE = 8,      /* with LOG_PANIC: exit(1) after writing */
  LOG_QUIET = 64,   /* with LOG_PANIC: no copy on stderr */
  LOG_MULTILINE = 128 /* newlines in the text stay: only for texts made here, such as configuration errors */
};

/* Bits of log_selector, in the order of log_selector_names(). */
enum log_sel {
  LS_8BITMIME, LS_ACL_WARN_SKIPPED, LS_ADDRESS_REWRITE, LS_ALL_PARENTS, LS_ARGUMENTS, LS_CONNECTION_ID,
  LS_CONNECTION_REJECT, LS_DELAY_DELIVERY, LS_DELIVER_TIME, LS_DELIVERY_SIZE, LS_DKIM, LS_DKIM_VERBOSE,
  LS_DMARC, LS_DMARC_VERBOSE, LS_DNSLIST_DEFER, LS_DNSSEC, LS_ETRN, LS_HOST_LOOKUP_FAILED, LS_IDENT_TIMEOUT,
  LS_INCOMING_INTERFACE, LS_INCOMING_PORT, LS_LOST_INCOMING_CONNECTION, LS_MILLISEC, LS_MSG_ID,
  LS_MSG_ID_CREATED, LS_OUTGOING_INTERFACE, LS_OUTGOING_PORT, LS_PID, LS_PIPELINING, LS_PROTOCOL_DETAIL,
  LS_PROXY, LS_QUEUE_RUN, LS_QUEUE_TIME, LS_QUEUE_TIME_EXCLUSIVE, LS_QUEUE_TIME_OVERALL, LS_RECEIVE_TIME,
  LS_RECEIVED_RECIPIENTS, LS_RECEIVED_SENDER, LS_REJECTED_HEADER, LS_RETRY_DEFER, LS_RETURN_PATH_ON_DELIVERY,
  LS_SENDER_ON_DELIVERY, LS_SENDER_VERIFY_FAIL, LS_SIZE_REJECT, LS_SKIP_DELIVERY, LS_SMTP_CONFIRMATION,
  LS_SMTP_CONNECTION, LS_SMTP_INCOMPLETE_TRANSACTION, LS_SMTP_MAILAUTH, LS_SMTP_NO_MAIL,
  LS_SMTP_PROTOCOL_ERROR, LS_SMTP_SYNTAX_ERROR, LS_SPF, LS_SPF_VERBOSE, LS_SUBJECT, LS_TLS_CERTIFICATE_VERIFIED,
  LS_TLS_CIPHER, LS_TLS_ON_CONNECT, LS_TLS_PEERDN, LS_TLS_RESUMPTION, LS_TLS_SNI, LS_UNKNOWN_IN_LIST,
  LS_COUNT,
  LS_ALWAYS = -1 /* not switchable */
};

/* The number of a syslog facility by its name ("mail", "local3").  False: there is none of that name. */
bool log_find_facility(const char *name, int *ret);

struct log_settings {
  const char *file_path;     /* log_file_path after expansion; NULL: not configured yet (stderr only) */
  uid_t exim_uid;
  gid_t exim_gid;
  bool want_zone;            /* log_timezone */
  bool utc;                  /* timezone = UTC */
  bool print_topbitchars;
  bool write_rejectlog;
  bool syslog_timestamp, syslog_pid, syslog_duplication, syslog_long_lines;
  const char *syslog_facility, *syslog_processname;
  bool to_stderr;            /* copy every line to stderr (-bh style callers, debug) with a "LOG: " prefix and dest name */
  bool stderr_only;          /* -bh: do not write files at all */
  bool testing;              /* -be, -bt, -bv, -brw ...: lines go to stderr as they would stand in the file, to no file */
  bool quiet_panic;          /* mua_wrapper: the panic log is not copied to stderr, which tells the outcome */
  bool panic_coredump;       /* LOG_DIE leaves a core file, where the system writes one */
  bool harness_mode;         /* syslog goes to stderr as SYSLOG: '...' */
};

/* Take settings (copied; strings must outlive).  May be called again. */
void log_init(const struct log_settings *s);
/* Message id put before each line from now on, NULL for none.  The text is copied. */
void log_set_message_id(const char *id);
const char *log_message_id(void);
/* The message at hand is an internationalised one: well-formed UTF-8 stands in lines as it is.  Returns what held before. */
bool log_set_utf8(bool on);
/* As the setting "testing", for a while.  Returns what held before. */
bool log_set_testing(bool on);
/* Close descriptors (after fork into long-living roles, before exec). */
void log_close(void);

/* Parse a log_selector value ("+a -b +all"), starting from Exim's default set.  On error false and *ret_error
 * (arena text) names the word. */
MUST_CHECK bool log_selector_parse(struct arena *a, const char *text, uint64_t *ret_mask, const char **ret_error);
void log_selector_set(uint64_t mask);
bool log_selects(enum log_sel sel);
/* Name of bit i, LS_COUNT of them in sorted order (all is extra). */
const char *log_selector_name(int i);

/* Open the debug log beside the others: named "debug" plus the tag (no slash, nothing unprintable).  The path in path; fd or -errno. */
int log_open_debug(const char *tag, char *path, size_t size);
/* Write one line when sel is LS_ALWAYS or selected.  LOG_PANIC|LOG_DIE does not return. */
void log_write(enum log_sel sel, unsigned dest, const char *fmt, ...) PRINTF(3, 4);
void log_vwrite(enum log_sel sel, unsigned dest, const char *fmt, va_list ap) PRINTF(3, 0);
/* A line with extra lines for the reject log (headers etc.), already formatted, each ending in \n. */
void log_write_reject(unsigned dest, const char *line, const char *extra);
/* For syslog, which takes lines only: an entry, and more lines of it, piece by piece, each of at most max bytes (0: any).  *ret_end says why the piece
 * ends: '\\' for a line end within the entry, '/' otherwise.  False: that was all.  Pure. */
struct log_pieces {
  struct str line, extra;
  size_t max;
};
bool log_next_piece(struct log_pieces *p, struct str *ret, char *ret_end);
/* Append a raw line to a message log file descriptor with the standard stamp. */
void log_msglog(int fd, const char *fmt, ...) PRINTF(2, 3);

/* Text with unprintables, tabs too, escaped as logs show foreign text inside a line (arena copy; taint kept). */
const char *log_escape(struct arena *a, struct str s);
/* The same with tabs left alone, as whole lines of the log are. */
const char *log_escape_line(struct arena *a, struct str s);

#endif
