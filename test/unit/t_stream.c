/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stream stack over memory and over sockets: line ends at every split, limits, sticky end, duplex flushing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/stream.h"

/* The same input cut in two at every position gives the same lines. */
static void lines_at_every_split(void **state) {
  (void)state;
  static const char input[] = "EHLO a\r\nMAIL\rx\r\n\r\nbare\nend\r\nrest";
  static const char *const strict[] = {"EHLO a", "MAIL\rx", "", "bare\nend"};
  static const char *const tolerant[] = {"EHLO a", "MAIL\rx", "", "bare", "end"};
  for (size_t split = 0; split <= sizeof input - 1; split++)
    for (int bare = 0; bare < 2; bare++) {
      struct arena *a = arena_new("test");
      size_t ends[2] = {split, sizeof input - 1};
      struct stream *s = stream_new_memory(a, STR(input), ends, 2);
      const char *const *want = bare ? tolerant : strict;
      size_t n = bare ? ARRAY_SIZE(tolerant) : ARRAY_SIZE(strict);
      for (size_t i = 0; i < n; i++) {
        struct str line;
        assert_int_equal(stream_read_line(s, 100, bare, DEADLINE_NEVER, &line, NULL), STREAM_OK);
        assert_true(str_eq_c(line, want[i]));
      }
      struct str line;
      for (int again = 0; again < 3; again++)
        assert_int_equal(stream_read_line(s, 100, bare, DEADLINE_NEVER, &line, NULL), STREAM_EOF);
      assert_true(str_eq_c(stream_buffered(s), "rest"));
      stream_close(s);
      arena_free(a);
    }
}

static void long_lines_are_consumed(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf in = strbuf_new(a);
  for (int i = 0; i < 100000; i++) strbuf_addc(&in, 'x');
  strbuf_adds(&in, "\r\nNOOP\r\n");
  size_t ends[3] = {5000, 70000, in.n};
  struct stream *s = stream_new_memory(a, strbuf_str(&in), ends, 3);
  struct str line;
  assert_int_equal(stream_read_line(s, 2048, false, DEADLINE_NEVER, &line, NULL), STREAM_TOOLONG);
  assert_int_equal(stream_read_line(s, 2048, false, DEADLINE_NEVER, &line, NULL), STREAM_OK);
  assert_true(str_eq_c(line, "NOOP"));
  stream_close(s);
  arena_free(a);
}

static void output_is_collected(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct stream *s = stream_new_memory(a, STR(""), NULL, 0);
  stream_puts(s, "250-a\r\n");
  stream_putf(s, "%d %s\r\n", 250, "b");
  assert_int_equal(stream_unsent(s), 14);
  assert_true(str_eq_c(stream_memory_output(s), "250-a\r\n250 b\r\n"));
  stream_close(s);
  arena_free(a);
}

static void timeout_and_eof_differ(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  int fd[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  struct stream *s = stream_new(a, fd[0], fd[0], true);
  assert_int_equal(stream_input_ready(s, 0), STREAM_NOTHING);
  assert_int_equal(write(fd[1], "x\r\n", 3), 3);
  assert_int_equal(stream_input_ready(s, 1000), STREAM_DATA);
  struct str line;
  assert_int_equal(stream_read_line(s, 10, false, deadline_in_ms(1000), &line, NULL), STREAM_OK);
  shutdown(fd[1], SHUT_WR);
  assert_int_equal(stream_input_ready(s, 1000), STREAM_AT_EOF);
  assert_false(stream_peer_gone(s)); /* half closed is not gone */
  assert_int_equal(stream_read_line(s, 10, false, DEADLINE_NEVER, &line, NULL), STREAM_EOF);
  close(fd[1]);
  stream_close(s);

  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  s = stream_new(a, fd[0], fd[0], true);
  assert_int_equal(stream_read_line(s, 10, false, deadline_in_ms(20), &line, NULL), STREAM_TIMEOUT);
  assert_int_equal(stream_read_line(s, 10, false, DEADLINE_NEVER, &line, NULL), STREAM_TIMEOUT); /* sticky */
  close(fd[1]);
  stream_close(s);
  arena_free(a);
}

enum { FLOOD = 4 * 1024 * 1024 };

/* A peer that writes FLOOD bytes before it reads any. */
static void *flooding_peer(void *arg) {
  int fd = *(int *)arg;
  char block[65536];
  memset(block, 'y', sizeof block);
  for (int sent = 0; sent < FLOOD / 8;) sent += (int)write(fd, block, sizeof block);
  for (ssize_t n, total = 0; total < FLOOD && (n = read(fd, block, sizeof block)) > 0;) total += n;
  return NULL;
}

static void flush_takes_input_meanwhile(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  int fd[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  pthread_t t;
  assert_int_equal(pthread_create(&t, NULL, flooding_peer, &fd[1]), 0);
  struct stream *s = stream_new(a, fd[0], fd[0], true);
  char *big = arena_alloc(a, FLOOD);
  memset(big, 'z', FLOOD);
  stream_put(s, big, FLOOD);
  assert_int_equal(stream_flush(s, deadline_in_sec(20)), STREAM_OK);
  pthread_join(t, NULL);
  assert_true(stream_buffered(s).n > 0);
  stream_close(s);
  close(fd[1]);
  arena_free(a);
}

/* A peer that ends its line while it is being written to, and says no more until it has its answer. */
struct patient_peer {
  int fd;
  size_t awaited;
};

static void *patient_peer(void *arg) {
  struct patient_peer *p = arg;
  char block[65536];
  size_t total = write(p->fd, "ne\r\n", 4) == 4 ? 0 : p->awaited;
  for (ssize_t n; total < p->awaited && (n = read(p->fd, block, sizeof block)) > 0;) total += (size_t)n;
  return NULL;
}

static void a_line_that_came_during_a_flush_is_enough(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  int fd[2];
  pthread_t t;
  struct str line;
  char block[32768] = {0};
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  struct patient_peer peer = {fd[1], sizeof block};
  for (ssize_t n; (n = send(fd[0], block, sizeof block, MSG_DONTWAIT)) > 0;) peer.awaited += (size_t)n; /* nothing fits any more */
  struct stream *s = stream_new(a, fd[0], fd[0], true);
  assert_int_equal(write(fd[1], "half a li", 9), 9);
  assert_int_equal(stream_fill(s, deadline_in_sec(20), &line), STREAM_OK);
  stream_put(s, block, sizeof block);
  assert_int_equal(pthread_create(&t, NULL, patient_peer, &peer), 0);
  assert_int_equal(stream_read_line(s, 512, false, deadline_in_sec(20), &line, NULL), STREAM_OK);
  assert_true(str_eq_c(line, "half a line"));
  pthread_join(t, NULL);
  stream_close(s);
  close(fd[1]);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(lines_at_every_split),   cmocka_unit_test(long_lines_are_consumed),
    cmocka_unit_test(output_is_collected),    cmocka_unit_test(timeout_and_eof_differ),
    cmocka_unit_test(flush_takes_input_meanwhile), cmocka_unit_test(a_line_that_came_during_a_flush_is_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
