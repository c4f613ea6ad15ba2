/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The asking side of the signer: certificates from it, keys whose operations it does (tls_signer.h).  Floor: os.
 *
 * Runs in the acceptor and in sessions.  Every wait has an end: the socket's time limit for sending (the queue may be full), a deadline for the
 * answer.  When the signer dies over a request the other end of the answer closes at once, and the request is made once more; not by the acceptor,
 * who is the one to start the next: it waits a shorter time, looks whether its child still lives, and ends one that does not answer.
 * Keys live in the arena of their credentials. */
#include "os/tls_signer.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/fd_message.h"
#include "os/signals.h"
#include "os/tls_priv.h"
#include "os/tls_signer_msg.h"

enum { SEND_MAX_SEC = 5, SIGN_MAX_MS = 5000, PAIR_MAX_MS = 15000, PARENT_MAX_MS = 3000, CHAIN_LENGTH_MAX = 64, CHILD_LOOK_MS = 50 };

struct tls_remote_key {
  const struct tls_signer *signer;
  uint32_t pair;
  uint8_t id[SIGNER_ID_SIZE];
  int pk_algorithm, bits;
  const char **failure;
};

bool tls_signer_plan(struct arena *a, const struct tls_params *p, struct tls_signer_plan *ret) {
  const char *cert_pos = p->certificate, *key_pos = p->privatekey, *cert;
  int cert_sep = 0, key_sep = 0;
  struct tls_signer_plan plan = {.own_name = p->own_name ? p->own_name : "localhost"};
  while (tls_list_next(a, &cert_pos, &cert_sep, &cert)) {
    const char *key = cert;
    if (p->privatekey && *p->privatekey && !tls_list_next(a, &key_pos, &key_sep, &key)) return false;
    if (plan.npairs >= TLS_SIGNER_PAIRS_MAX || gnutls_url_is_supported(cert) || gnutls_url_is_supported(key)) return false;
    plan.pairs[plan.npairs].certificate = cert;
    plan.pairs[plan.npairs++].privatekey = key;
  }
  *ret = plan;
  return true;
}

int tls_signer_sockets(int ret[2]) {
  const struct timeval limit = {.tv_sec = SEND_MAX_SEC};
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) return -errno;
  if (setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0) {
    int error = -errno;
    close(fds[0]);
    close(fds[1]);
    return error;
  }
  ret[0] = fds[0];
  ret[1] = fds[1];
  return 0;
}

/* ---- asking -------------------------------------------------------------------------------------------------- */

static int send_request(int fd, const char *bytes, size_t n, int answer_fd) {
  int rc = fd_message_send(fd, bytes, n, answer_fd, 0);
  return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

static bool is_dead(pid_t child) {
  siginfo_t info = {0};
  return child > 0 && (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == child);
}

/* Bytes received, 0 when the other side is gone. */
static ssize_t receive(int fd, pid_t child, char *buf, size_t size, deadline_ms deadline) {
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int wait_ms = deadline_poll_ms(deadline), ready = poll(&p, 1, child > 0 ? MIN(wait_ms, (int)CHILD_LOOK_MS) : wait_ms);
    if (ready == 0 && is_dead(child)) return 0;
    if (ready < 0 && errno != EINTR) return -errno;
    if (ready > 0) {
      ssize_t n = recv(fd, buf, size, MSG_DONTWAIT | MSG_TRUNC);
      if (n >= 0) return (size_t)n > size ? -EMSGSIZE : n;
      if (errno == ECONNRESET) return 0;
      if (errno != EINTR && errno != EAGAIN) return -errno;
    }
    if (deadline_passed(deadline)) return -ETIMEDOUT;
  }
}

static ssize_t ask_once(const struct tls_signer *s, const char *bytes, size_t n, char *buf, size_t size, deadline_ms deadline) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -errno;
  ssize_t got = send_request(s->fd, bytes, n, ends[1]);
  close(ends[1]);
  if (got == 0) got = receive(ends[0], s->child, buf, size, deadline);
  close(ends[0]);
  return got;
}

/* 0 or -errno; the reply's data is in buf. */
static int ask(const struct tls_signer *s, const struct signer_request *q, char *buf, size_t size, struct signer_reply *ret) {
  char bytes[SIGNER_REQUEST_MAX];
  if (q->data.n > SIGNER_DATA_MAX) return -EMSGSIZE;
  size_t n = signer_request_put(q, bytes, sizeof bytes);
  deadline_ms deadline = deadline_in_ms(s->child ? PARENT_MAX_MS : q->op == SIGNER_PAIR ? PAIR_MAX_MS : SIGN_MAX_MS);
  ssize_t got = ask_once(s, bytes, n, buf, size, deadline);
  if (got == 0 && !s->child) got = ask_once(s, bytes, n, buf, size, deadline);
  if (got == -ETIMEDOUT && s->child) (void)signals_send(s->child, SIGKILL); /* it hangs: another will do better */
  if (got == 0) return -EPIPE;
  if (got < 0) return (int)got;
  return signer_reply_parse(str_n(buf, (size_t)got), ret) ? 0 : -EPROTO;
}

static const char *no_answer_text(int error) {
  switch (error) {
    case -ETIMEDOUT: return "(signer): the process that holds the private keys does not answer";
    case -EPIPE: case -ECONNRESET: case -ECONNREFUSED: return "(signer): the process that holds the private keys has ended";
    default: return "(signer): no good answer of the process that holds the private keys";
  }
}

/* ---- the key that asks ---------------------------------------------------------------------------------------- */

static int operate(struct tls_remote_key *k, enum signer_op op, unsigned algorithm, unsigned flags, const gnutls_datum_t *in,
                   gnutls_datum_t *ret) {
  char buf[SIGNER_HEAD_SIZE + SIGNER_SIGNATURE_MAX];
  struct signer_reply reply;
  struct signer_request q = {.op = op, .pair = k->pair, .algorithm = algorithm, .flags = flags,
                             .data = str_n((const char *)in->data, in->size)};
  memcpy(q.id, k->id, sizeof q.id);
  int rc = ask(k->signer, &q, buf, sizeof buf, &reply);
  if (rc < 0 || reply.status == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
    *k->failure = rc < 0 ? no_answer_text(rc) : "(signer): the private key of this certificate is not there any more";
    return GNUTLS_E_PK_SIGN_FAILED;
  }
  if (reply.status < 0) return reply.status;
  ret->data = gnutls_malloc(reply.data.n ? reply.data.n : 1);
  if (!ret->data) return GNUTLS_E_MEMORY_ERROR;
  memcpy(ret->data, reply.data.p, reply.data.n);
  ret->size = (unsigned)reply.data.n;
  return 0;
}

static int sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *ctx, unsigned flags, const gnutls_datum_t *data,
                     gnutls_datum_t *ret) {
  (void)key;
  return operate(ctx, SIGNER_SIGN_DATA, algorithm, flags, data, ret);
}

static int sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *ctx, unsigned flags, const gnutls_datum_t *hash,
                     gnutls_datum_t *ret) {
  (void)key;
  return operate(ctx, SIGNER_SIGN_HASH, algorithm, flags, hash, ret);
}

static int decrypt(gnutls_privkey_t key, void *ctx, const gnutls_datum_t *in, gnutls_datum_t *ret) {
  (void)key;
  return operate(ctx, SIGNER_DECRYPT, 0, 0, in, ret);
}

static int tell(gnutls_privkey_t key, unsigned flags, void *ctx) {
  const struct tls_remote_key *k = ctx;
  (void)key;
  if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO) return k->pk_algorithm;
  if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS) return k->bits;
  if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO) {
    gnutls_sign_algorithm_t sign = (gnutls_sign_algorithm_t)GNUTLS_FLAGS_TO_SIGN_ALGO(flags);
    return sign == GNUTLS_SIGN_RSA_RAW || gnutls_sign_supports_pk_algorithm(sign, (gnutls_pk_algorithm_t)k->pk_algorithm);
  }
  return -1;
}

/* ---- credentials ---------------------------------------------------------------------------------------------- */

static int import_chain(struct str rest, gnutls_pcert_st *ret, int *ret_n) {
  struct str der;
  int n = 0, rc = 0;
  while (rc == 0 && n < CHAIN_LENGTH_MAX && signer_chain_next(&rest, &der)) {
    gnutls_datum_t d = {(unsigned char *)(uintptr_t)der.p, (unsigned)der.n};
    rc = gnutls_pcert_import_x509_raw(&ret[n], &d, GNUTLS_X509_FMT_DER, 0);
    if (rc == 0) n++;
  }
  *ret_n = n;
  return rc < 0 ? rc : n == 0 || rest.n > 0 ? GNUTLS_E_PARSING_ERROR : 0;
}

/* What is handed to cred is its own from then on; when it is not taken (the check of key and certificate may fail late) a little is lost. */
static int set_pair(gnutls_certificate_credentials_t cred, struct tls_remote_key *k, struct str chain) {
  gnutls_pcert_st certs[CHAIN_LENGTH_MAX];
  gnutls_privkey_t key = NULL;
  int n, rc = import_chain(chain, certs, &n);
  if (rc == 0) rc = gnutls_privkey_init(&key);
  if (rc == 0) rc = gnutls_privkey_import_ext4(key, k, sign_data, sign_hash, decrypt, NULL, tell, 0);
  if (rc == 0) return gnutls_certificate_set_key(cred, NULL, 0, certs, n, key);
  for (int i = 0; i < n; i++) gnutls_pcert_deinit(&certs[i]);
  if (key) gnutls_privkey_deinit(key);
  return rc;
}

int tls_signer_add_pair(gnutls_certificate_credentials_t cred, struct arena *a, const struct tls_signer *s, unsigned pair, const char **failure) {
  struct arena *tmp = arena_new("signer");
  char *buf = arena_alloc(tmp, SIGNER_REPLY_MAX);
  struct signer_reply reply;
  struct signer_request q = {.op = SIGNER_PAIR, .pair = pair};
  int rc = ask(s, &q, buf, SIGNER_REPLY_MAX, &reply);
  if (rc < 0) {
    *failure = no_answer_text(rc);
    rc = GNUTLS_E_PK_SIGN_FAILED;
  } else if (reply.status < 0) {
    rc = reply.status;
  } else {
    struct tls_remote_key *k = ARENA_NEW(a, struct tls_remote_key);
    *k = (struct tls_remote_key){.signer = s, .pair = pair, .pk_algorithm = (int)reply.pk_algorithm, .bits = (int)reply.bits, .failure = failure};
    memcpy(k->id, reply.id, sizeof k->id);
    rc = set_pair(cred, k, reply.data);
  }
  arena_free(tmp);
  return rc;
}
