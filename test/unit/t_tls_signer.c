/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that holds the private keys: messages that are none, and the process itself asked by hand, by a hostile peer too. */
#include "unit.h"

#include <gnutls/abstract.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/tls_priv.h"
#include "os/tls_signer_msg.h"

static struct signer_request good_request(void) {
  return (struct signer_request){.op = SIGNER_SIGN_DATA, .pair = 3, .algorithm = GNUTLS_SIGN_ECDSA_SHA256, .flags = 1 << 7, .id = {7, [31] = 9},
                                 .data = STR("to be signed")};
}

static void requests(void **state) {
  (void)state;
  char buf[SIGNER_REQUEST_MAX + 8];
  struct signer_request q = good_request(), got;
  size_t n = signer_request_put(&q, buf, sizeof buf);
  assert_int_equal(n, SIGNER_HEAD_SIZE + 12);
  assert_true(signer_request_parse(str_n(buf, n), &got));
  assert_int_equal(got.op, SIGNER_SIGN_DATA);
  assert_int_equal(got.pair, 3);
  assert_int_equal(got.algorithm, GNUTLS_SIGN_ECDSA_SHA256);
  assert_int_equal(got.flags, 1 << 7);
  assert_memory_equal(got.id, q.id, sizeof q.id);
  assert_true(str_eq_c(got.data, "to be signed"));
  for (size_t i = 0; i < n; i++) assert_false(signer_request_parse(str_n(buf, i), &got)); /* cut off anywhere */
  assert_false(signer_request_parse(str_n(buf, n + 1), &got));
  /* A byte changed: of the mark, the operation, the algorithm's high half, the flags, the length. */
  static const int fatal[] = {0, 3, 4, 7, 12, 13, 16, 19, 20, 23};
  for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
    char saved = buf[fatal[i]];
    buf[fatal[i]] = 0x7f;
    if (signer_request_parse(str_n(buf, n), &got)) fail_msg("byte %d may be anything", fatal[i]);
    buf[fatal[i]] = saved;
  }
}

static void sizes(void **state) {
  (void)state;
  static const struct { enum signer_op op; size_t n; bool want; } rows[] = {
    {SIGNER_PAIR, 0, true}, {SIGNER_PAIR, 1, false}, {SIGNER_SIGN_DATA, 0, false}, {SIGNER_SIGN_DATA, 8192, true},
    {SIGNER_SIGN_HASH, 0, false}, {SIGNER_SIGN_HASH, 64, true}, {SIGNER_SIGN_HASH, 65, false}, {SIGNER_DECRYPT, 0, false},
    {SIGNER_DECRYPT, 2048, true}, {SIGNER_DECRYPT, 2049, false}, {(enum signer_op)0, 0, false}, {(enum signer_op)5, 1, false}};
  char buf[SIGNER_REQUEST_MAX + 1], data[SIGNER_DATA_MAX] = {0};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct signer_request q = {.op = rows[i].op, .data = str_n(data, rows[i].n)}, got;
    size_t n = signer_request_put(&q, buf, sizeof buf);
    CHECK_INT("request", signer_request_parse(str_n(buf, n), &got), rows[i].want);
  }
}

static void replies(void **state) {
  (void)state;
  char buf[SIGNER_HEAD_SIZE + 64], chain[40];
  size_t at = signer_chain_add(chain, sizeof chain, 0, STR("first"));
  at = signer_chain_add(chain, sizeof chain, at, STR("second one"));
  assert_int_equal(signer_chain_add(chain, sizeof chain, at, STR("does not fit there")), 0);
  assert_int_equal(at, 4 + 5 + 4 + 10);
  struct signer_reply r = {.status = -50, .pk_algorithm = 1, .bits = 2048, .id = {1}, .data = str_n(chain, at)}, got;
  size_t n = signer_reply_put(&r, buf, sizeof buf);
  assert_true(signer_reply_parse(str_n(buf, n), &got));
  assert_int_equal(got.status, -50);
  assert_int_equal(got.bits, 2048);
  struct str rest = got.data, one;
  assert_true(signer_chain_next(&rest, &one) && str_eq_c(one, "first"));
  assert_true(signer_chain_next(&rest, &one) && str_eq_c(one, "second one"));
  assert_false(signer_chain_next(&rest, &one));
  rest = str_n(chain, at - 1); /* the last is cut off */
  assert_true(signer_chain_next(&rest, &one));
  assert_false(signer_chain_next(&rest, &one));
  assert_int_equal(rest.n, 4 + 9);
  for (size_t i = 0; i < n; i++) assert_false(signer_reply_parse(str_n(buf, i), &got));
  buf[4] = (char)0x80; /* a status that no int holds */
  assert_false(signer_reply_parse(str_n(buf, n), &got));
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

struct running {
  struct tls_signer asking;
  int far_end;
  pid_t pid;
};

static void start(struct running *r) {
  static const struct tls_signer_plan plan = {.own_name = "mx.test"};
  int fds[2];
  assert_int_equal(tls_signer_sockets(fds), 0);
  pid_t parent = getpid();
  *r = (struct running){.asking = {.fd = fds[0], .generation = 1}, .far_end = fds[1], .pid = fork()};
  if (r->pid == 0) tls_signer_run(&plan, fds[1], parent);
  assert_true(r->pid > 0);
}

static void stop(struct running *r) {
  int status;
  assert_int_equal(waitpid(r->pid, &status, WNOHANG), 0); /* it lives still */
  kill(r->pid, SIGKILL);
  waitpid(r->pid, &status, 0);
  close(r->asking.fd);
  close(r->far_end);
}

static int add_pair(struct running *r, unsigned at, struct arena *a, gnutls_certificate_credentials_t *ret, const char **failure) {
  assert_int_equal(gnutls_certificate_allocate_credentials(ret), 0);
  return tls_signer_add_pair(*ret, a, &r->asking, at, failure);
}

/* set_key makes a signature by way of the signer and verifies it. */
static void selfsigned(void **state) {
  (void)state;
  struct running r;
  gnutls_certificate_credentials_t cred;
  const char *failure = NULL;
  struct arena *a = arena_new("t");
  start(&r);
  CHECK_INT("pair", add_pair(&r, 0, a, &cred, &failure), 0);
  assert_null(failure);
  gnutls_certificate_free_credentials(cred);
  CHECK_INT("no such pair", add_pair(&r, 1, a, &cred, &failure), GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
  gnutls_certificate_free_credentials(cred);
  stop(&r);
  arena_free(a);
}

static void send_raw(int fd, const char *bytes, size_t n, const int *fds, int nfds) {
  union { struct cmsghdr head; char space[CMSG_SPACE(8 * sizeof(int))]; } control = {0};
  struct iovec part = {.iov_base = (char *)(uintptr_t)bytes, .iov_len = n};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
  if (nfds) {
    m.msg_control = control.space;
    m.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
    memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
  }
  assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), (ssize_t)n);
}

/* A session that was taken over: whatever it sends, the signer answers the others, and keeps no descriptor. */
static void hostile(void **state) {
  (void)state;
  struct running r;
  start(&r);
  char buf[SIGNER_REQUEST_MAX], path[64];
  struct signer_request q = {.op = SIGNER_PAIR};
  size_t n = signer_request_put(&q, buf, sizeof buf);
  int ends[2], pipes[2], many[8];
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  assert_int_equal(pipe(pipes), 0);
  const struct timeval limit = {.tv_sec = 10};
  assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  for (int i = 0; i < 8; i++) many[i] = ends[1];
  for (int round = 0; round < 20; round++) {
    send_raw(r.asking.fd, buf, n, NULL, 0);          /* nowhere to answer */
    send_raw(r.asking.fd, "", 0, NULL, 0);           /* nothing at all */
    send_raw(r.asking.fd, buf, n, many, 2);
    send_raw(r.asking.fd, buf, n, many, 8);          /* more than it takes */
    send_raw(r.asking.fd, buf, n, &pipes[1], 1);     /* no socket */
    send_raw(r.asking.fd, buf, n - 1, &ends[1], 1);  /* no request */
    send_raw(r.asking.fd, "XSQ1", 4, &ends[1], 1);
  }
  struct signer_request block = {.op = SIGNER_DECRYPT, .data = STR("x")}; /* an unknown key */
  n = signer_request_put(&block, buf, sizeof buf);
  send_raw(r.asking.fd, buf, n, &ends[1], 1);
  struct signer_reply reply;
  char answer[SIGNER_HEAD_SIZE + 64];
  ssize_t got = recv(ends[0], answer, sizeof answer, 0);
  assert_true(got > 0 && signer_reply_parse(str_n(answer, (size_t)got), &reply));
  CHECK_INT("an unknown key", reply.status, GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
  struct arena *a = arena_new("t");
  gnutls_certificate_credentials_t cred;
  const char *failure = NULL;
  CHECK_INT("others are served", add_pair(&r, 0, a, &cred, &failure), 0);
  gnutls_certificate_free_credentials(cred);
  snprintf(path, sizeof path, "/proc/%d/fd/4", (int)r.pid);
  for (int i = 0; i < 1500 && access(path, F_OK) == 0; i++) poll(NULL, 0, 20); /* half a minute: the process may not have had its turn */
  assert_int_equal(access(path, F_OK), -1); /* only 0 to 3 are open */
  arena_free(a);
  stop(&r);
  for (int i = 0; i < 2; i++) {
    close(ends[i]);
    close(pipes[i]);
  }
}

/* No far end at all: an error at once. */
static void gone(void **state) {
  (void)state;
  int fds[2];
  assert_int_equal(tls_signer_sockets(fds), 0);
  close(fds[1]);
  struct running r = {.asking = {.fd = fds[0], .generation = 1}};
  struct arena *a = arena_new("t");
  gnutls_certificate_credentials_t cred;
  const char *failure = NULL;
  CHECK_INT("nobody", add_pair(&r, 0, a, &cred, &failure), GNUTLS_E_PK_SIGN_FAILED);
  CHECK_STR("text", failure ? failure : "(none)", "(signer): the process that holds the private keys has ended");
  gnutls_certificate_free_credentials(cred);
  arena_free(a);
  close(fds[0]);
}

static void plans(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct tls_signer_plan plan;
  struct tls_params p = {.is_server = true, .certificate = "/a : /b", .privatekey = "/c : /d"};
  assert_true(tls_signer_plan(a, &p, &plan));
  assert_int_equal(plan.npairs, 2);
  CHECK_STR("certificate", plan.pairs[1].certificate, "/b");
  CHECK_STR("key", plan.pairs[1].privatekey, "/d");
  p.privatekey = NULL;
  assert_true(tls_signer_plan(a, &p, &plan));
  CHECK_STR("in the same file", plan.pairs[0].privatekey, "/a");
  p.privatekey = "/c"; /* out of keys: whoever reads them says so */
  assert_false(tls_signer_plan(a, &p, &plan));
  p.certificate = "<, pkcs11:object=x";
  assert_false(tls_signer_plan(a, &p, &plan));
  p.certificate = NULL;
  assert_true(tls_signer_plan(a, &p, &plan));
  assert_int_equal(plan.npairs, 0);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(requests), cmocka_unit_test(sizes), cmocka_unit_test(replies), cmocka_unit_test(plans),
                                     cmocka_unit_test(selfsigned), cmocka_unit_test(hostile), cmocka_unit_test(gone)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
