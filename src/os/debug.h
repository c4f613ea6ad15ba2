/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Debug output (-d, -v).  Floor: os.  Debug text never changes behaviour; DEBUG is one test when off. */
#ifndef OS_DEBUG_H
#define OS_DEBUG_H

#include "base/macros.h"

enum {
  D_V = 1 << 0, /* -v: SMTP dialogue and delivery summary */
  D_ACL = 1 << 1, D_AUTH = 1 << 2, D_DELIVER = 1 << 3, D_DNS = 1 << 4, D_DNSBL = 1 << 5, D_EXEC = 1 << 6,
  D_EXPAND = 1 << 7, D_FILTER = 1 << 8, D_HINTS = 1 << 9, D_HOST_LOOKUP = 1 << 10, D_IDENT = 1 << 11,
  D_INTERFACE = 1 << 12, D_LISTS = 1 << 13, D_LOAD = 1 << 14, D_LOCAL_SCAN = 1 << 15, D_LOOKUP = 1 << 16,
  D_MEMORY = 1 << 17, D_PID = 1 << 18, D_PROCESS_INFO = 1 << 19, D_QUEUE_RUN = 1 << 20, D_RECEIVE = 1 << 21,
  D_RESOLVER = 1 << 22, D_RETRY = 1 << 23, D_REWRITE = 1 << 24, D_ROUTE = 1 << 25, D_TIMESTAMP = 1 << 26,
  D_TLS = 1 << 27, D_TRANSPORT = 1 << 28, D_UID = 1 << 29, D_VERIFY = 1 << 30
};

extern unsigned debug_selector; /* on the list of allowed globals */

#define DEBUG(bit) if (debug_selector & (unsigned)(bit))

/* Parse the text after -d ("+route-all...", ""); false when a word is unknown. */
bool debug_parse(const char *text, unsigned *ret);
/* To stderr; adds the pid when D_PID is on and several processes may write.  No newline is added. */
void debug_printf(const char *fmt, ...) PRINTF(1, 2);

/* --- a debug log for one process (control = debug) --- */

struct debug_log_opts {
  int fd;                  /* taken over */
  const char *path;
  unsigned bits;
  size_t pretrigger_bytes; /* 0: write at once; else keep the newest lines until debug_log_trigger() */
  bool on_panic;           /* a line for the panic log is a trigger */
};
/* From here on debug lines go to the file; when debugging was on before, to stderr as well.  A log that is open is closed first. */
void debug_log_start(const struct debug_log_opts *o);
bool debug_log_is_open(void);
/* Write what was kept, and from now on at once. */
void debug_log_trigger(void);
void debug_log_panic(void);
/* End it; and_remove: as if it had never been. */
void debug_log_stop(bool and_remove);

/* Change by how much lines are indented (a dialogue inside of an ACL); the level that is now in force. */
int debug_indent(int delta);
/* Put this constant text in front of each line. */
void debug_prefix(const char *text);

#endif
