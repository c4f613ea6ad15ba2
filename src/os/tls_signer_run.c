/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process that holds the private keys (tls_signer.h).  Floor: os.
 *
 * Hostile: every request, and the descriptor that comes with it, for a session may have been taken over.  Messages are parsed by
 * tls_signer_msg.c; the descriptor must be a local socket and is written to without waiting.  Nothing is logged here.
 * Threads share the keys under one lock: signing reads them, reading files writes.  Arenas are not for threads: what is needed is made before they start. */
#include "os/tls_signer.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/pkcs11.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/signals.h"
#include "os/tls_priv.h"
#include "os/tls_signer_msg.h"
#include "os/tls_signer_rsa.h"

enum { KEYS_KEPT = 4, THREADS_MAX = 4, SELFSIGNED_RENEW_SEC = 1800, FDS_PER_MESSAGE = 4 };

struct known_key {
  gnutls_privkey_t key;            /* NULL: none */
  struct signer_rsa rsa;           /* the same for another library, which signs faster */
  uint8_t id[SIGNER_ID_SIZE];
  gnutls_pk_algorithm_t pk;
  unsigned bits;
};

struct signer_pair {
  const char *certificate, *privatekey;
  struct tls_file_id key_file;     /* as it was when the first key was read */
  struct known_key keys[KEYS_KEPT]; /* the newest first */
};

struct signer {
  int fd;
  pthread_rwlock_t lock;
  const char *own_name;            /* of the self-signed pair, NULL: files */
  gnutls_certificate_credentials_t selfsigned;
  time_t selfsigned_made;
  struct signer_pair pairs[TLS_SIGNER_PAIRS_MAX];
  unsigned npairs;
};

/* ---- keys --------------------------------------------------------------------------------------------------- */

static int describe_key(gnutls_privkey_t key, struct known_key *ret) {
  gnutls_pubkey_t pub = NULL;
  size_t n = sizeof ret->id;
  int rc = gnutls_pubkey_init(&pub);
  if (rc == 0) rc = gnutls_pubkey_import_privkey(pub, key, 0, 0);
  if (rc == 0) rc = gnutls_pubkey_get_key_id(pub, GNUTLS_KEYID_USE_SHA256, ret->id, &n);
  if (rc == 0 && n != sizeof ret->id) rc = GNUTLS_E_INTERNAL_ERROR;
  if (rc == 0) rc = gnutls_privkey_get_pk_algorithm(key, &ret->bits);
  if (rc >= 0) ret->pk = (gnutls_pk_algorithm_t)rc;
  if (pub) gnutls_pubkey_deinit(pub);
  ret->key = key;
  return rc < 0 ? rc : 0;
}

static const struct known_key *find_in_pair(const struct signer_pair *p, const uint8_t *id) {
  for (int i = 0; i < KEYS_KEPT && p->keys[i].key; i++)
    if (memcmp(p->keys[i].id, id, SIGNER_ID_SIZE) == 0) return &p->keys[i];
  return NULL;
}

static const struct known_key *find_key(const struct signer *s, const uint8_t *id) {
  const struct known_key *k = NULL;
  for (unsigned i = 0; i < s->npairs && !k; i++) k = find_in_pair(&s->pairs[i], id);
  return k;
}

/* The key becomes the pair's newest, or is given back when it is known.  0 with the key's place, or a code of the library. */
static int keep_key(struct signer_pair *p, gnutls_privkey_t key, const struct known_key **ret) {
  struct known_key fresh;
  int rc = describe_key(key, &fresh);
  const struct known_key *old = rc == 0 ? find_in_pair(p, fresh.id) : NULL;
  if (rc < 0 || old) {
    gnutls_privkey_deinit(key);
    *ret = old;
    return rc;
  }
  fresh.rsa = signer_rsa_import(key);
  if (p->keys[KEYS_KEPT - 1].key) {
    gnutls_privkey_deinit(p->keys[KEYS_KEPT - 1].key);
    signer_rsa_clear(&p->keys[KEYS_KEPT - 1].rsa);
  }
  memmove(&p->keys[1], &p->keys[0], sizeof p->keys[0] * (KEYS_KEPT - 1));
  p->keys[0] = fresh;
  *ret = &p->keys[0];
  return 0;
}

/* The key alone, where its file is another than the one read last: its certificate may be on its way. */
static void read_key_alone(struct signer_pair *p) {
  struct tls_file_id now = tls_file_identity(p->privatekey);
  gnutls_datum_t pem;
  gnutls_privkey_t key;
  const struct known_key *k;
  if (p->key_file.path && tls_is_same_file(&now, &p->key_file)) return;
  p->key_file = now;
  if (gnutls_load_file(p->privatekey, &pem) < 0) return;
  if (gnutls_privkey_init(&key) == 0) {
    if (gnutls_privkey_import_x509_raw(key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0) == 0) (void)keep_key(p, key, &k);
    else gnutls_privkey_deinit(key);
  }
  explicit_bzero(pem.data, pem.size);
  gnutls_free(pem.data);
}

/* ---- pairs ------------------------------------------------------------------------------------------------- */

/* Certificates of the only pair in cred, into buf; 0 when they do not fit. */
static size_t put_chain(gnutls_certificate_credentials_t cred, char *buf, size_t size) {
  gnutls_x509_crt_t *list;
  unsigned n;
  size_t at = 0;
  if (gnutls_certificate_get_x509_crt(cred, 0, &list, &n) < 0) return 0;
  bool fits = n > 0;
  for (unsigned i = 0; i < n; i++) {
    gnutls_datum_t der = {NULL, 0};
    size_t next = fits && gnutls_x509_crt_export2(list[i], GNUTLS_X509_FMT_DER, &der) == 0
                    ? signer_chain_add(buf, size, at, str_n((const char *)der.data, der.size)) : 0;
    fits = next > 0;
    at = next;
    gnutls_free(der.data);
    gnutls_x509_crt_deinit(list[i]);
  }
  gnutls_free(list);
  return fits ? at : 0;
}

static int keep_key_of(struct signer_pair *p, gnutls_certificate_credentials_t cred, const struct known_key **ret) {
  gnutls_x509_privkey_t x509;
  gnutls_privkey_t key;
  int rc = gnutls_certificate_get_x509_key(cred, 0, &x509);
  if (rc < 0) return rc;
  rc = gnutls_privkey_init(&key);
  if (rc == 0 && (rc = gnutls_privkey_import_x509(key, x509, GNUTLS_PRIVKEY_IMPORT_AUTO_RELEASE)) == 0) return keep_key(p, key, ret);
  gnutls_x509_privkey_deinit(x509);
  return rc;
}

/* The self-signed pair is made anew when it is of age. */
static int make_selfsigned(struct signer *s) {
  const char *what;
  gnutls_certificate_credentials_t cred;
  if (s->selfsigned && time_sec() - s->selfsigned_made < SELFSIGNED_RENEW_SEC) return 0;
  int rc = gnutls_certificate_allocate_credentials(&cred);
  if (rc < 0) return rc;
  if ((rc = tls_selfsigned(cred, s->own_name, &what)) < 0) {
    gnutls_certificate_free_credentials(cred);
    return rc;
  }
  if (s->selfsigned) gnutls_certificate_free_credentials(s->selfsigned);
  s->selfsigned = cred;
  s->selfsigned_made = time_sec();
  return 0;
}

static int answer_from(struct signer_pair *p, gnutls_certificate_credentials_t cred, struct signer_reply *r, char *buf, size_t size) {
  const struct known_key *k = NULL;
  int rc = keep_key_of(p, cred, &k);
  if (rc < 0) return rc;
  size_t n = put_chain(cred, buf, size);
  if (n == 0) return GNUTLS_E_SHORT_MEMORY_BUFFER;
  memcpy(r->id, k->id, sizeof r->id);
  r->pk_algorithm = k->pk;
  r->bits = k->bits;
  r->data = str_n(buf, n);
  return 0;
}

/* As the library reads them in a process without a signer, with its checks and its errors. */
static int answer_pair(struct signer *s, uint32_t at, struct signer_reply *r, char *buf, size_t size) {
  if (at >= s->npairs) return GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
  struct signer_pair *p = &s->pairs[at];
  if (s->own_name) {
    int made = make_selfsigned(s);
    return made < 0 ? made : answer_from(p, s->selfsigned, r, buf, size);
  }
  gnutls_certificate_credentials_t cred;
  int rc = gnutls_certificate_allocate_credentials(&cred);
  if (rc < 0) return rc;
  struct tls_file_id now = tls_file_identity(p->privatekey);
  rc = gnutls_certificate_set_x509_key_file2(cred, p->certificate, p->privatekey, GNUTLS_X509_FMT_PEM, NULL, 0);
  if (rc >= 0) rc = answer_from(p, cred, r, buf, size);
  if (rc >= 0) p->key_file = now;
  gnutls_certificate_free_credentials(cred);
  return rc < 0 ? rc : 0;
}

/* ---- operations -------------------------------------------------------------------------------------------- */

/* A block that is no good yields random bytes, and nothing tells them from good ones: neither status, nor length (RFC 5246 7.4.7.1). */
static int answer_decrypt(const struct known_key *k, const gnutls_datum_t *in, struct signer_reply *r, char *buf) {
  if (k->pk != GNUTLS_PK_RSA) return GNUTLS_E_INVALID_REQUEST;
  int rc = gnutls_rnd(GNUTLS_RND_KEY, buf, SIGNER_PREMASTER_SIZE);
  if (rc < 0) return rc;
  (void)gnutls_privkey_decrypt_data2(k->key, 0, in, (unsigned char *)buf, SIGNER_PREMASTER_SIZE);
  r->data = str_n(buf, SIGNER_PREMASTER_SIZE);
  return 0;
}

/* The length of the signature in buf, or a code of the library. */
static int sign_by_gnutls(const struct known_key *k, const struct signer_request *q, const gnutls_datum_t *in, char *buf, size_t size) {
  gnutls_sign_algorithm_t algorithm = (gnutls_sign_algorithm_t)q->algorithm;
  gnutls_datum_t signature = {NULL, 0};
  int rc = q->op == SIGNER_SIGN_DATA ? gnutls_privkey_sign_data2(k->key, algorithm, q->flags, in, &signature)
                                     : gnutls_privkey_sign_hash2(k->key, algorithm, q->flags, in, &signature);
  if (rc < 0) return rc;
  if (signature.size > size) rc = GNUTLS_E_SHORT_MEMORY_BUFFER;
  else memcpy(buf, signature.data, signature.size), rc = (int)signature.size;
  gnutls_free(signature.data);
  return rc;
}

static int answer_operation(const struct known_key *k, const struct signer_request *q, struct signer_reply *r, char *buf, size_t size) {
  const gnutls_datum_t in = {(unsigned char *)(uintptr_t)q->data.p, (unsigned)q->data.n};
  if (!k) return GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
  if (q->op == SIGNER_DECRYPT) return answer_decrypt(k, &in, r, buf);
  size = MIN(size, (size_t)SIGNER_SIGNATURE_MAX);
  int n = signer_rsa_sign(&k->rsa, (gnutls_sign_algorithm_t)q->algorithm, q->flags, q->op == SIGNER_SIGN_HASH, q->data, buf, size);
  if (n == GNUTLS_E_UNIMPLEMENTED_FEATURE) n = sign_by_gnutls(k, q, &in, buf, size);
  if (n < 0) return n;
  r->data = str_n(buf, (size_t)n);
  return 0;
}

static int answer(struct signer *s, const struct signer_request *q, struct signer_reply *r, char *buf, size_t size) {
  int rc;
  if (q->op != SIGNER_PAIR) {
    pthread_rwlock_rdlock(&s->lock);
    const struct known_key *k = find_key(s, q->id);
    if (k) rc = answer_operation(k, q, r, buf, size);
    pthread_rwlock_unlock(&s->lock);
    if (k) return rc;
  }
  pthread_rwlock_wrlock(&s->lock);
  if (q->op == SIGNER_PAIR) {
    rc = answer_pair(s, q->pair, r, buf, size);
  } else {
    for (unsigned i = 0; i < s->npairs && !s->own_name; i++) read_key_alone(&s->pairs[i]);
    rc = answer_operation(find_key(s, q->id), q, r, buf, size);
  }
  pthread_rwlock_unlock(&s->lock);
  return rc;
}

/* ---- the socket --------------------------------------------------------------------------------------------- */

struct worker_buffers {
  char request[SIGNER_REQUEST_MAX], data[SIGNER_CHAIN_MAX], reply[SIGNER_REPLY_MAX];
};

/* Closing must not wait for what a foreign socket has still to send. */
static void drop_fd(int fd) {
  const struct linger none = {0};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close(fd);
}

static bool is_local_socket(int fd) {
  int domain;
  socklen_t n = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX;
}

/* The only descriptor of the message, -1 when there is none or more than one; those are closed. */
static int take_fd(struct msghdr *m) {
  int fd = -1, count = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
      int one;
      memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof one);
      if (count++ > 0) drop_fd(one);
      else fd = one;
    }
  }
  if (fd >= 0 && (count > 1 || (m->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || !is_local_socket(fd))) {
    drop_fd(fd);
    fd = -1;
  }
  return fd;
}

/* An empty message looks like the end, and any session may send one. */
static bool is_at_end(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

/* False: nobody can ask any more. */
static bool serve_one(struct signer *s, struct worker_buffers *b) {
  union {
    struct cmsghdr head;
    char space[CMSG_SPACE(FDS_PER_MESSAGE * sizeof(int))];
  } control;
  struct iovec part = {.iov_base = b->request, .iov_len = sizeof b->request};
  struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  ssize_t n = recvmsg(s->fd, &m, MSG_CMSG_CLOEXEC);
  if (n < 0) return errno == EINTR || errno == ENOMEM || errno == ENOBUFS || errno == EMFILE || errno == ENFILE;
  int fd = take_fd(&m);
  if (fd < 0) return n > 0 || !is_at_end(s->fd);
  struct signer_request q;
  struct signer_reply r = {0};
  if (signer_request_parse(str_n(b->request, (size_t)n), &q)) {
    r.status = answer(s, &q, &r, b->data, sizeof b->data);
    if (r.status < 0) r.data = STR_NULL;
    size_t length = signer_reply_put(&r, b->reply, sizeof b->reply);
    (void)!send(fd, b->reply, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  drop_fd(fd);
  return true;
}

struct worker {
  struct signer *s;
  struct worker_buffers buffers;
};

static void *serve(void *ctx) {
  struct worker *w = ctx;
  while (serve_one(w->s, &w->buffers)) continue;
  _exit(EXIT_FAILURE);
}

/* ---- start --------------------------------------------------------------------------------------------------- */

/* Nothing is left open but the socket, which becomes 3; standard files lead nowhere. */
static int close_all_but(int fd) {
  int null = open("/dev/null", O_RDWR);
  if (null < 0) _exit(EXIT_FAILURE);
  if (fd < 3 || null < 3) fd = fcntl(fd, F_DUPFD, 4);
  for (int i = 0; i < 3; i++)
    if (dup2(null, i) < 0) _exit(EXIT_FAILURE);
  if (fd != 3 && dup2(fd, 3) < 0) _exit(EXIT_FAILURE);
  if (close_range(4, ~0u, 0) < 0) _exit(EXIT_FAILURE);
  fcntl(3, F_SETFD, FD_CLOEXEC);
  return 3;
}

static void lock_down(pid_t parent) {
  const struct rlimit none = {0, 0};
  signals_handle(SIGTERM, SIG_IGN);
  signals_handle(SIGINT, SIG_IGN);
  signals_handle(SIGHUP, SIG_IGN);
  signals_handle(SIGCHLD, SIG_DFL);
  signals_unblock_all();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(EXIT_SUCCESS);
  if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) _exit(EXIT_FAILURE);
  setrlimit(RLIMIT_CORE, &none);
}

void tls_signer_run(const struct tls_signer_plan *plan, int fd, pid_t parent) {
  lock_down(parent);
  struct arena *a = arena_new("signer");
  struct signer *s = ARENA_NEW(a, struct signer);
  if (pthread_rwlock_init(&s->lock, NULL) != 0) _exit(EXIT_FAILURE);
  s->fd = close_all_but(fd);
  s->npairs = plan->npairs ? plan->npairs : 1;
  if (plan->npairs == 0) s->own_name = plan->own_name;
  for (unsigned i = 0; i < plan->npairs; i++) {
    s->pairs[i].certificate = plan->pairs[i].certificate;
    s->pairs[i].privatekey = plan->pairs[i].privatekey;
  }
  (void)gnutls_pkcs11_init(GNUTLS_PKCS11_FLAG_MANUAL, NULL);
  long threads = MAX(1L, MIN(sysconf(_SC_NPROCESSORS_ONLN), (long)THREADS_MAX));
  struct worker *workers = ARENA_NEW_N(a, struct worker, (size_t)threads);
  for (long i = 0; i < threads; i++) workers[i].s = s;
  for (long i = 1; i < threads; i++) {
    pthread_t t;
    if (pthread_create(&t, NULL, serve, &workers[i]) != 0) break; /* fewer will do */
  }
  serve(&workers[0]);
  _exit(EXIT_FAILURE);
}
