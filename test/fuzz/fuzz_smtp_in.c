/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole SMTP session over arbitrary input.  The first byte chooses the mode and where the input is cut.
 * Checked: it ends, every reply line is well formed, and one message at most is accepted per CR LF . CR LF or BDAT ... LAST.  The first CR LF may be
 * the end of the DATA command's line, which may be a bare LF like the end of any command. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/log.h"
#include "os/stream.h"
#include "policy/readconf.h"
#include "smtp_in.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config *cfg[2];

static struct config *make_config(const char *dir, const char *name, const char *extra) {
  char path[96];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  if (!f) abort();
  fprintf(f, "primary_hostname = mx.test.ex\nspool_directory = %s\nlog_file_path = %s/%%slog\nkeep_environment =\n"
          "acl_smtp_rcpt = accept local_parts = a\nacl_smtp_vrfy = deny\ntls_advertise_hosts =\nqueue_only\n"
          "check_spool_space = 0\ncheck_spool_inodes = 0\nmessage_size_limit = 20K\nheader_maxsize = 2000\n"
          "smtp_max_synprot_errors = 50\nsmtp_max_unknown_commands = 50\nsmtp_accept_max_nonmail = 50\n%s", dir, dir, extra);
  fclose(f);
  struct readconf_opts o = {.files = path};
  const char *error = NULL;
  struct config *c = readconf_read(&o, &error);
  if (!c) abort();
  return c;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  static char dir[] = "/tmp/fuzz_smtp_in.XXXXXX";
  if (!mkdtemp(dir)) abort();
  cfg[0] = make_config(dir, "conf", "");
  cfg[1] = make_config(dir, "slow", "smtp_enforce_sync = false\n");
  log_init(&(struct log_settings){.file_path = cfg[0]->log_file_path, .exim_uid = geteuid(), .exim_gid = getegid()});
  return 0;
}

static unsigned count(struct str hay, const char *needle) {
  unsigned n = 0;
  size_t len = strlen(needle);
  for (const char *p = hay.p, *end = hay.p + hay.n; (p = memmem(p, (size_t)(end - p), needle, len)); p += len) n++;
  return n;
}

static bool is_behind_data_command(struct str before) {
  size_t at = before.n - 1; /* its last byte is the LF */
  while (at > 0 && before.p[at - 1] != '\n') at--;
  return before.n - at >= 4 && strncmpic(before.p + at, "data", 4) == 0;
}

static unsigned count_ends(struct str in) {
  unsigned n = 0;
  for (const char *p = in.p, *end = in.p + in.n; (p = memmem(p, (size_t)(end - p), "\n.\r\n", 4)); p++)
    n += (p > in.p && p[-1] == '\r') || is_behind_data_command(str_n(in.p, (size_t)(p + 1 - in.p)));
  return n;
}

static void check_replies(struct str out) {
  while (out.n > 0) {
    struct str line = str_cut(&out, '\n');
    INVARIANT(line.n >= 5 && ch_isdigit(line.p[0]) && ch_isdigit(line.p[1]) && ch_isdigit(line.p[2]));
    INVARIANT((line.p[3] == ' ' || line.p[3] == '-') && line.p[line.n - 1] == '\r');
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  struct arena *a = arena_new("fuzz");
  struct str in = str_n((const char *)data + 1, size - 1);
  size_t cut = in.n ? data[0] % (in.n + 1) : 0;
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg[data[0] & 1];
  c->io = stream_new_memory(a, in, &cut, cut > 0 && cut < in.n ? 1 : 0);
  c->from.host_address = "192.0.2.1";
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .queue_only = true};
  (void)smtp_session_run(c, &o);
  struct str out = stream_memory_output(c->io);
  check_replies(out);
  unsigned ends = count_ends(in), chunks = 0;
  for (size_t i = 0; i + 4 <= in.n; i++) chunks += strncmpic(in.p + i, "bdat", 4) == 0;
  INVARIANT(count(out, "\n250 OK id=") <= ends + chunks);
  stream_close(c->io);
  arena_free(a);
  return 0;
}
