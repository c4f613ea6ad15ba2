/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A scripted SMTP server in a thread, for tests of the client, and a delivery for it.  Each connection plays one script:
 *   ">text"  send the text (\n becomes CRLF)          "<word"  read a line, it must start with the word
 *   "early"  wait until input is there, before saying anything (fails after 2 s)     "quiet"  no input may be there
 *   "data"   read lines to the single dot             "bdat"   read as many bytes as the last BDAT line said
 *   "close"  close                                    "reset"  close with RST        "hang"  read on, answer nothing */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "transport.h"
#include "transports/drivers.h"
#include "unit.h"

enum { SERVER_MAX_CONNECTIONS = 6, SERVER_MAX_BYTES = 65536 };

struct server {
  const char *const *scripts[SERVER_MAX_CONNECTIONS]; /* NULL-terminated each */
  int listener, port, connections;
  enum net_tfo_mark tfo[SERVER_MAX_CONNECTIONS]; /* what the SYN of each brought */
  size_t split;                      /* send replies in pieces of that many bytes, 0 whole */
  char got[SERVER_MAX_CONNECTIONS][SERVER_MAX_BYTES]; /* everything read */
  size_t got_n[SERVER_MAX_CONNECTIONS];
  char error[256];
  pthread_t thread;
  int stop;
};

static struct server *server_now;

/* ---- a log ---- */

static char test_log_path[64];

static inline int test_log_start(void **state) {
  (void)state;
  snprintf(test_log_path, sizeof test_log_path, "/tmp/t_log_%d", getpid());
  log_init(&(struct log_settings){.file_path = test_log_path, .exim_uid = geteuid(), .exim_gid = getegid()});
  return 0;
}

static inline int test_log_end(void **state) {
  (void)state;
  log_close();
  unlink(test_log_path);
  return 0;
}

/* ---- the server ---- */

static inline bool server_readable(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) > 0;
}

static inline int server_getc(struct server *s, int fd, int c) {
  char ch;
  if (!server_readable(fd, 3000) || read(fd, &ch, 1) != 1) return -1;
  if (s->got_n[c] < SERVER_MAX_BYTES - 1) s->got[c][s->got_n[c]++] = ch;
  return (unsigned char)ch;
}

static inline bool server_line(struct server *s, int fd, int c, char *line, size_t size) {
  size_t n = 0;
  int ch;
  while ((ch = server_getc(s, fd, c)) >= 0 && ch != '\n')
    if (n < size - 1 && ch != '\r') line[n++] = (char)ch;
  line[n] = 0;
  return ch >= 0;
}

static inline void server_send(struct server *s, int fd, const char *text) {
  char out[8192];
  size_t n = 0;
  for (; *text && n < sizeof out - 2; text++) {
    if (*text == '\n') out[n++] = '\r';
    out[n++] = *text;
  }
  for (size_t at = 0; at < n;) {
    size_t part = s->split ? MIN(s->split, n - at) : n - at;
    if (send(fd, out + at, part, MSG_NOSIGNAL) < 0) return;
    at += part;
    if (s->split) usleep(300);
  }
}

static inline void server_play(struct server *s, int fd, int c) {
  char line[2048] = "";
  long chunk = 0;
  for (const char *const *step = s->scripts[c]; *step && !s->error[0]; step++) {
    if (**step == '>') {
      server_send(s, fd, *step + 1);
    } else if (**step == '<') {
      if (!server_line(s, fd, c, line, sizeof line)) {
        snprintf(s->error, sizeof s->error, "connection %d: end of input, wanted %.100s", c, *step);
      } else if (strncmp(line, *step + 1, strlen(*step + 1)) != 0) {
        snprintf(s->error, sizeof s->error, "connection %d: got \"%.100s\", wanted %.60s", c, line, *step);
      }
      if (strncmp(line, "BDAT ", 5) == 0) chunk = strtol(line + 5, NULL, 10);
    } else if (strcmp(*step, "early") == 0) {
      if (!server_readable(fd, 2000)) snprintf(s->error, sizeof s->error, "connection %d: nothing came early", c);
    } else if (strcmp(*step, "quiet") == 0) {
      if (server_readable(fd, 25)) snprintf(s->error, sizeof s->error, "connection %d: unexpected input", c);
    } else if (strcmp(*step, "data") == 0) {
      while (server_line(s, fd, c, line, sizeof line) && strcmp(line, ".") != 0) continue;
    } else if (strcmp(*step, "bdat") == 0) {
      while (chunk-- > 0 && server_getc(s, fd, c) >= 0) continue;
    } else if (strcmp(*step, "reset") == 0) {
      struct linger l = {1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
      break;
    } else if (strcmp(*step, "hang") == 0) {
      for (int i = 0; i < 40 && !server_readable(fd, 100); i++) continue;
      while (server_getc(s, fd, c) >= 0) continue;
    } else {
      break;
    }
  }
  close(fd);
}

static inline void *server_main(void *arg) {
  struct server *s = arg;
  while (s->connections < SERVER_MAX_CONNECTIONS && s->scripts[s->connections]) {
    if (!server_readable(s->listener, 5)) {
      if (__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) break;
      continue;
    }
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0) continue;
    int c = s->connections++;
    s->tfo[c] = net_tfo_mark(fd, false);
    server_play(s, fd, c);
  }
  close(s->listener);
  return NULL;
}

static inline void server_start(struct server *s) {
  struct net_end end;
  struct ip ip;
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  s->listener = net_listen(&ip, 0, 5, true);
  assert_true(s->listener >= 0);
  assert_int_equal(net_local(s->listener, &end), 0);
  s->port = end.port;
  server_now = s;
  pthread_create(&s->thread, NULL, server_main, s);
}

static inline void server_finish(struct server *s) {
  __atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
  pthread_join(s->thread, NULL);
  assert_string_equal(s->error, "");
}

/* ---- a delivery ------------------------------------------------------------------------------------------- */

struct client {
  struct arena *a;
  struct config cfg;
  struct transport t;
  struct message *m;
  struct delivery d;
  struct expand_ctx x;
  char spool[64];
};

static inline void client_option(struct client *c, const char *name, const char *value) {
  const struct option *o = opt_find(smtp_transport.options, smtp_transport.option_count, str_c(name));
  assert_non_null(o);
  const char *error = opt_store(c->a, c->t.ob_block, o, str_c(value), false, false, true);
  if (error) fail_msg("%s: %s", name, error);
}

static inline void client_host(struct client *c, int port) {
  struct host *h = ARENA_NEW(c->a, struct host);
  h->name = "127.0.0.1";
  h->address = "127.0.0.1";
  h->port = port;
  h->mx = -1;
  struct host **tail = &c->d.addrs->host_list;
  while (*tail) tail = &(*tail)->next;
  *tail = h;
  for (struct address *a = c->d.addrs->next; a; a = a->next) a->host_list = c->d.addrs->host_list;
}

static inline void client_recipients(struct client *c, int n) {
  struct address **tail = &c->d.addrs;
  static const char *const names[] = {"a@x.test", "b@x.test", "c@x.test"};
  *tail = NULL;
  for (int i = 0; i < n; i++) {
    *tail = address_new(c->a, names[i]);
    tail = &(*tail)->next;
  }
  c->x.addr = c->d.addrs;
}

/* Messages that wait for the same host: after the client's own one the connection is offered them, one at a time, whether they fit or not is asked. */
enum { QUEUE_MAX = 6 };
struct client_queue {
  struct client *c;
  struct delivery waiting[QUEUE_MAX];
  int count, next, done;
  struct strbuf story; /* what was asked of the caller, in order: "find 2, go 1 2, done 2, back 3"; 0 is the client's own message */
  int refuse_go;       /* go_on to that message fails: the journal cannot be written */
};

static inline int queue_number(const struct delivery *d) {
  const struct client_queue *q = d->ctx;
  return d >= q->waiting && d < q->waiting + QUEUE_MAX ? (int)(d - q->waiting) + 1 : 0;
}

static inline void queue_note(struct client_queue *q, const char *what, const struct delivery *one, const struct delivery *two) {
  strbuf_addf(&q->story, "%s%s %d", q->story.n ? ", " : "", what, queue_number(one));
  if (two) strbuf_addf(&q->story, " %d", queue_number(two));
}

static inline struct delivery *client_next(struct delivery *d, const struct host *h, bool (*fits)(void *ctx, struct delivery *next), void *ctx) {
  struct client_queue *q = d->ctx;
  (void)h;
  while (q->next < q->count) {
    struct delivery *next = &q->waiting[q->next++];
    if (fits(ctx, next)) return next;
  }
  return NULL;
}

static inline struct delivery *client_find_next(struct delivery *d, const struct host *h, bool (*fits)(void *ctx, struct delivery *next), void *ctx) {
  struct delivery *next = client_next(d, h, fits, ctx);
  if (next) queue_note(d->ctx, "find", next, NULL);
  return next;
}

static inline bool client_go_on(struct delivery *d, struct delivery *next) {
  struct client_queue *q = d->ctx;
  queue_note(q, "go", d, next);
  return queue_number(next) != q->refuse_go;
}

static inline void client_give_back(struct delivery *next) { queue_note(next->ctx, "back", next, NULL); }

static inline void client_one_done(struct delivery *d) {
  ((struct client_queue *)d->ctx)->done++;
  queue_note(d->ctx, "done", d, NULL);
}

/* Another message for the same host; it differs from the first one in its id and its recipients "q1-a@x.test", "q1-b@x.test", ... only. */
static inline struct delivery *client_enqueue(struct client_queue *q, struct client *c, int recipients) {
  struct delivery *d = &q->waiting[q->count++];
  struct expand_ctx *x = ARENA_NEW(c->a, struct expand_ctx);
  struct message *m = ARENA_NEW(c->a, struct message);
  if (!q->c) q->story = strbuf_new(c->a);
  q->c = c;
  *m = *c->m;
  snprintf(m->id, sizeof m->id, "10HmaY-00000000%dvi-0000", q->count);
  *x = c->x;
  *d = c->d;
  x->msg = d->msg = m;
  d->x = x;
  struct address **tail = &d->addrs;
  *tail = NULL;
  for (int i = 0; i < recipients; i++) {
    *tail = address_new(c->a, arena_printf(c->a, "q%d-%c@x.test", q->count, 'a' + i));
    (*tail)->host_list = c->d.addrs->host_list;
    tail = &(*tail)->next;
  }
  x->addr = d->addrs;
  d->ctx = c->d.ctx = q;
  d->next_for_host = c->d.next_for_host = client_next;
  d->one_done = client_one_done;
  d->find_next = c->d.find_next = client_find_next;
  d->go_on = c->d.go_on = client_go_on;
  d->give_back = c->d.give_back = client_give_back;
  return d;
}

static inline void client_new(struct client *c, const char *body, int recipients) {
  memset(c, 0, sizeof *c);
  if (getenv("TEST_DEBUG")) (void)debug_parse(getenv("TEST_DEBUG"), &debug_selector);
  c->a = arena_new("client");
  snprintf(c->spool, sizeof c->spool, "/tmp/t_smtp_XXXXXX");
  assert_non_null(mkdtemp(c->spool));
  c->cfg.arena = c->a;
  c->cfg.spool_directory = c->spool;
  c->cfg.primary_hostname = "me.test";
  c->cfg.o.retry_data_expire = 7 * 86400;
#ifdef EXPERIMENTAL_PIPE_CONNECT
  c->cfg.o.pipe_connect_suspend = 3600;
#endif
  c->t.name = "t1";
  c->t.driver = &smtp_transport;
  c->t.ob = arena_alloc(c->a, smtp_transport.ob_size);
  c->t.ob_block = opt_block_new(c->a, smtp_transport.options, smtp_transport.option_count, c->t.ob);
  client_option(c, "helo_data", "me.test");
  client_option(c, "command_timeout", "2s");
  client_option(c, "connect_timeout", "2s");
  client_option(c, "data_timeout", "2s");
  client_option(c, "final_timeout", "2s");
  client_option(c, "hosts_try_fastopen", "");
  client_option(c, "hosts_try_chunking", "");
  c->m = message_new(&c->cfg);
  snprintf(c->m->id, sizeof c->m->id, "10HmaX-000000005vi-0000");
  c->m->sender = "s@me.test";
  message_add_header(c->m, ' ', "Subject: t\n", 11);
  char name[80];
  snprintf(name, sizeof name, "%s/D", c->spool);
  FILE *f = fopen(name, "w+");
  assert_non_null(f);
  fputs(body, f);
  fflush(f);
  c->m->data_fd = dup(fileno(f));
  fclose(f);
  c->m->message_size = 11 + 1 + (int64_t)strlen(body);
  c->x = expand_ctx_new(c->a, &c->cfg);
  c->x.msg = c->m;
  c->x.transport = &c->t;
  c->d = (struct delivery){.cfg = &c->cfg, .arena = c->a, .msg = c->m, .transport = &c->t, .x = &c->x, .return_path = "s@me.test", .sequence = 1};
  client_recipients(c, recipients);
}

static inline void client_free(struct client *c) {
  char cmd[128];
  static const char *const files[] = {"D", "db/misc", "db/misc.lockfile", "db/retry", "db/retry.lockfile", "db/wait-t1", "db/wait-t1.lockfile", "db/misc.corrupt", "db/tls", "db/tls.lockfile"};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    snprintf(cmd, sizeof cmd, "%s/%s", c->spool, files[i]);
    unlink(cmd);
  }
  snprintf(cmd, sizeof cmd, "%s/db", c->spool);
  rmdir(cmd);
  rmdir(c->spool);
  message_free(c->m);
  arena_free(c->a);
}

#endif
