/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole early delivery against hostile replies: the first flight is written as a record has it, then arbitrary bytes are what the server says to
 * greeting, EHLO, envelope and content.  First byte: what was remembered (2 bits: DATA, BDAT, the message in the flight, STARTTLS), how many recipients,
 * where the input is cut.
 * Checked, whatever comes: nobody is failed by a server that took its promise back (K5); what ends as inconclusive has failed nobody; the content goes out
 * at most once for each recipient, and never in clear to a server that would encrypt it now (F14). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "address.h"
#include "host.h"
#include "message.h"
#include "os/log.h"
#include "policy/readconf.h"
#include "transports/smtp_priv.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef EXPERIMENTAL_PIPE_CONNECT

enum mode { WITH_DATA, WITH_BDAT, WITH_BODY, WITH_STARTTLS };
enum { BASIC = EHLO_PIPELINING | EHLO_SIZE | EHLO_DSN | EHLO_PIPE_CONNECT };

static struct config *cfg;
static struct message *msg;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  static char dir[] = "/tmp/fuzz_early_client.XXXXXX";
  char path[96];
  if (!mkdtemp(dir)) abort();
  snprintf(path, sizeof path, "%s/conf", dir);
  FILE *f = fopen(path, "w");
  if (!f) abort();
  /* no spool directory: a run must not depend on what the one before has learnt */
  fprintf(f, "primary_hostname = me.test\nspool_directory = %s/none\nlog_file_path = /dev/null\nkeep_environment =\nbegin transports\nt:\n driver = smtp\n helo_data = me.test\n"
          " hosts_pipe_connect = *\n hosts_try_chunking = *\n hosts_pipe_connect_body = *\n hosts_avoid_tls = ${if eq{$host}{tls}{}{*}}\n", dir);
  fclose(f);
  const char *error = NULL;
  cfg = readconf_read(&(struct readconf_opts){.files = path}, &error);
  if (!cfg) abort();
  unlink(path);
  rmdir(dir);
  log_init(&(struct log_settings){.file_path = "/dev/null", .exim_uid = geteuid(), .exim_gid = getegid()});
  msg = message_new(cfg);
  msg->sender = "s@me.test";
  msg->data_fd = memfd_create("body", 0);
  msg->message_size = 16;
  message_add_header(msg, ' ', "Subject: t\n", 11);
  if (msg->data_fd < 0 || write(msg->data_fd, "ID-D\nx\n", 7) != 7) abort();
  return 0;
}

static struct pipe_plan plan_of(enum mode m) {
  struct ehlo_facts clear = {.features = BASIC};
  if (m == WITH_BDAT || m == WITH_BODY) clear.features |= EHLO_CHUNKING;
  if (m == WITH_STARTTLS) clear.features |= EHLO_TLS;
  struct pipe_plan p = {.learn = true, .use = true, .clear = clear, .crypted = {.features = BASIC}, .starttls = m == WITH_STARTTLS,
                        .key = "192.0.2.1:25.EHLO"};
  p.stored.clear_features = clear.features;
  if (m == WITH_BODY) p.stored.flags = HINTS_EHLO_CONFIRMED_CHUNKING;
  return p;
}

static struct smtp_attempt *attempt(struct arena *a, enum mode m, int recipients) {
  struct expand_ctx *x = ARENA_NEW(a, struct expand_ctx);
  struct host *h = ARENA_NEW(a, struct host);
  struct address *first = NULL, **tail = &first;
  const char *error = NULL;
  *x = expand_ctx_new(a, cfg);
  x->msg = msg;
  *h = (struct host){.name = m == WITH_STARTTLS || m == WITH_DATA ? "tls" : "mx", .address = "192.0.2.1", .mx = -1};
  for (int i = 0; i < recipients; i++) {
    *tail = address_new(a, i ? "b@x.test" : "a@x.test");
    tail = &(*tail)->next;
  }
  struct smtp_attempt *s = smtp_plan_attempt(x, cfg->transports, first, h, 25, &error);
  if (!s) abort();
  s->d->return_path = "s@me.test";
  s->plan = plan_of(m);
  return s;
}

static size_t occurrences(struct str hay, const char *needle) {
  size_t n = 0, len = strlen(needle);
  for (const char *p = hay.p, *end = hay.p + hay.n; (p = memmem(p, (size_t)(end - p), needle, len)); p += len) n++;
  return n;
}

static void check(struct smtp_attempt *s, struct str out, enum mode m) {
  const struct pipe_failure_rule *rule = pipe_connect_rule(smtp_early_event(s));
  INVARIANT(!rule->replain || !rule->believe);
  bool may_fail = rule->believe && (!s->early || s->promise_stands);
  for (size_t i = 0; i < s->job->rcpt_count; i++)
    if (s->early && !may_fail) INVARIANT(s->job->rcpts[i].addr->result != OUTCOME_FAIL);
  size_t contents = occurrences(out, "Subject: t\r\n");
  INVARIANT(contents <= s->job->rcpt_count); /* 452 to RCPT: once more, for the others */
  if (s->tls_was_added) INVARIANT(contents == 0 && !s->content_sent);
  if (!s->facts_are_real && m != WITH_BODY) INVARIANT(contents == 0);
  if (m == WITH_BODY && rule->replain) { /* K7: somebody said no before */
    INVARIANT(s->fail.trouble == TROUBLE_REPLY || s->inconclusive || !s->content_in_flight || !s->peer_took_bytes);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  struct arena *a = arena_new("fuzz");
  enum mode m = data[0] & 3;
  struct str in = str_n((const char *)data + 1, size - 1);
  size_t cut = in.n ? (data[0] >> 3) * 7u % (in.n + 1) : 0;
  struct smtp_attempt *s = attempt(a, m, data[0] & 4 ? 2 : 1);
  bool ok = smtp_put_first_flight(s);
  INVARIANT(ok);
  s->io = stream_new_memory(a, in, &cut, cut > 0 && cut < in.n ? 1 : 0);
  stream_put(s->io, s->flight.p, s->flight.n);
  s->reply_deadline = deadline_in_ms(50);
  if (smtp_greet(s)) (void)smtp_run_message(s, s->group_at, s->group_n, s->group_in_flight);
  check(s, stream_memory_output(s->io), m);
  stream_close(s->io);
  arena_free(a);
  return 0;
}
#else
int LLVMFuzzerInitialize(int *argc, char ***argv) { return (void)argc, (void)argv, 0; }
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return (void)data, (void)size, 0; }
#endif
