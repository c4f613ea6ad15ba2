/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions of the SMTP server over memory streams, and configurations in the scratch directory to run them with.  Floor: tests. */
#ifndef TEST_SMTP_SESSION_H
#define TEST_SMTP_SESSION_H

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "os/log.h"
#include "os/stream.h"
#include "policy/readconf.h"
#include "scratch.h"
#include "smtp_in.h"

/* The configuration that the text makes, in a file of that name; NULL, with the reason on stderr, when it is none.  It lives as long as the
 * process. */
PRINTF(2, 3) static inline struct config *session_config(const char *name, const char *fmt, ...) {
  static const struct config *kept[4096];
  static size_t count;
  FILE *f = fopen(scratch_path(name), "we");
  if (!f || count == ARRAY_SIZE(kept)) return NULL;
  va_list args;
  va_start(args, fmt);
  vfprintf(f, fmt, args);
  va_end(args);
  if (fclose(f) != 0) return NULL;
  struct readconf_opts o = {.files = scratch_path(name)};
  const char *error = NULL;
  struct config *cfg = readconf_read(&o, &error);
  if (!cfg) fprintf(stderr, "%s\n", error);
  else kept[count++] = cfg;
  return cfg;
}

/* The log files of a configuration, as this process. */
static inline void session_log(const struct config *cfg) {
  log_init(&(struct log_settings){.file_path = cfg->log_file_path, .exim_uid = geteuid(), .exim_gid = getegid()});
}

/* All that the server says in a session with a client whose input comes cut at these places. */
UNUSED static const char *session_run(struct arena *a, const struct config *cfg, struct str input, const size_t *cuts, size_t ncuts) {
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->io = stream_new_memory(a, input, cuts, ncuts);
  c->from.host_address = "192.0.2.1";
  c->from.host_port = 4321;
  c->login = "mail";
  (void)smtp_session_run(c, &(struct smtp_opts){.mode = SMTP_MODE_SESSION, .queue_only = true});
  const char *text = str_dup(a, stream_memory_output(c->io));
  stream_close(c->io);
  return text;
}

/* The codes of the final lines of replies: "220 250 ...". */
UNUSED static const char *session_codes(struct arena *a, const char *out) {
  struct strbuf b = strbuf_new(a);
  struct str rest = str_c(out);
  while (rest.n > 0) {
    struct str line = str_cut(&rest, '\n');
    if (line.n >= 4 && line.p[3] == ' ') strbuf_addf(&b, "%s%.3s", b.n ? " " : "", line.p);
  }
  return b.p;
}

#endif
