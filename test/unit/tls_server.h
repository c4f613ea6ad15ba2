/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A scripted SMTP server with TLS in a process of its own, for tests of the client: the steps of smtp_server.h, and
 *   "tls"        handshake, it must succeed       "tls-fails"  handshake, however it ends     "eof"  the client must end the connection */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#include "smtp_server.h"

#include <sys/wait.h>

#include "os/stream.h"
#include "os/tls.h"

enum { TLS_MAX_CONNECTIONS = 4 };

struct tls_server {
  const char *const *scripts[TLS_MAX_CONNECTIONS];
  struct tls_params params;
  int port;
  pid_t pid;
  int report; /* from here the first complaint comes, empty when all went well */
};

static inline void complain(int fd, int connection, const char *step, const char *got) {
  dprintf(fd, "connection %d: wanted %.80s, got %.200s\n", connection, step, got);
  _exit(1);
}

static inline bool play_step(struct stream *io, struct arena *a, const struct tls_server *s, const char *step, int fd, int connection) {
  static char line[4096];
  struct str got = STR_NULL;
  deadline_ms soon = deadline_in_ms(4000);
  if (*step == '>') {
    for (const char *p = step + 1; *p; p++) stream_put(io, *p == '\n' ? "\r\n" : p, *p == '\n' ? 2 : 1);
    return stream_flush(io, soon) == STREAM_OK;
  }
  if (*step == '<') {
    enum stream_status st = stream_read_line(io, 2000, true, soon, &got, NULL);
    snprintf(line, sizeof line, "%.*s", STR_FMT(got));
    if (st != STREAM_OK || strncmp(line, step + 1, strlen(step + 1)) != 0) complain(fd, connection, step, st == STREAM_OK ? line : "the end");
    return true;
  }
  if (strcmp(step, "data") == 0) {
    while (stream_read_line(io, 2000, true, soon, &got, NULL) == STREAM_OK && !str_eq(got, STR("."))) continue;
    return true;
  }
  if (strcmp(step, "early") == 0 || strcmp(step, "quiet") == 0) {
    bool want = *step == 'e';
    if ((stream_input_ready(io, want ? 2000 : 25) == STREAM_DATA) != want) complain(fd, connection, step, want ? "nothing" : "input");
    return true;
  }
  if (strcmp(step, "bdat") == 0) { /* as many bytes as the BDAT line before said */
    for (size_t left = (size_t)strtoul(line + 5, NULL, 10); left > 0; left -= got.n)
      if (stream_read_some(io, left, soon, &got) != STREAM_OK) complain(fd, connection, step, "the end");
    return true;
  }
  if (strcmp(step, "hang") == 0) {
    while (stream_read_line(io, 2000, true, soon, &got, NULL) == STREAM_OK) continue;
    return false;
  }
  if (strcmp(step, "tls") == 0 || strcmp(step, "tls-fails") == 0) {
    struct str behind = stream_buffered(io); /* a ClientHello behind STARTTLS */
    struct tls_server_opts o = {.params = s->params, .early = str_n(arena_strndup(a, behind.p, behind.n), behind.n)};
    (void)stream_discard_buffered(io);
    struct tls_result r;
    const char *error = NULL;
    bool done = tls_start_server(io, a, &o, soon, &r, &error) == 0;
    if (!done && strcmp(step, "tls") == 0) complain(fd, connection, step, error ? error : "failure");
    return done;
  }
  if (strcmp(step, "eof") == 0 && stream_read_line(io, 2000, true, soon, &got, NULL) == STREAM_OK) complain(fd, connection, step, "a line");
  return false; /* "close", "eof" */
}

static inline void play(int listener, struct tls_server *s, int report) {
  for (int c = 0; c < TLS_MAX_CONNECTIONS && s->scripts[c]; c++) {
    if (!server_readable(listener, 10000)) _exit(0); /* the test has ended without us */
    struct arena *a = arena_new("server");
    int fd = accept(listener, NULL, NULL);
    struct stream *io = stream_new(a, fd, fd, true);
    const char *const *step = s->scripts[c];
    while (*step && play_step(io, a, s, *step, report, c)) step++;
    tls_end(io, false, deadline_in_ms(100));
    stream_close(io);
    arena_free(a);
  }
  _exit(0);
}

static inline void tls_server_start(struct tls_server *s) {
  struct net_end end;
  struct ip ip;
  int fds[2];
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  int listener = net_listen(&ip, 0, 5, true);
  assert_true(listener >= 0);
  assert_int_equal(net_local(listener, &end), 0);
  s->port = end.port;
  assert_int_equal(pipe(fds), 0);
  fflush(NULL);
  s->pid = fork();
  if (s->pid == 0) play(listener, s, fds[1]);
  close(listener);
  close(fds[1]);
  s->report = fds[0];
}

static inline void tls_server_finish(struct tls_server *s) {
  char text[400] = "";
  ssize_t n = 0;
  struct pollfd p = {.fd = s->report, .events = POLLIN};
  if (poll(&p, 1, 6000) > 0) n = read(s->report, text, sizeof text - 1);
  else kill(s->pid, SIGKILL);
  int status = 0;
  waitpid(s->pid, &status, 0);
  close(s->report);
  if (n > 0) fail_msg("server: %s", text);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif
