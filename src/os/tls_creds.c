/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Certificates, keys, trust anchors, CRLs and OCSP answers: made once, kept, read again when their files change.  Floor: os.  Manual ch. 43.
 *
 * An entry of the cache is one set of parameters with what GnuTLS made of them and the identity its files had when they were read.  A
 * changed identity makes a new entry; when that fails the old one stays in use, the failure is told once, and the next try waits for the next
 * change (half of a certificate and key pair may have been replaced).  Entries belong to this file; a handshake holds a reference.  The files
 * are trusted (named by the configuration), their contents are checked by GnuTLS. */
#include "os/tls_priv.h"

#include <errno.h>
#include <gnutls/pkcs11.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { KEPT_MAX = 16, SELFSIGNED_USE_SEC = 1800, FILES_MAX = 64 };

struct tls_creds {
  struct arena *a;
  const char *key;
  struct tls_file_id files[FILES_MAX];
  size_t nfiles;
  gnutls_certificate_credentials_t cred;
  gnutls_priority_t priority;
  gnutls_dh_params_t dh;
  bool has_ocsp;
  bool trust_is_directory;
  time_t use_until;              /* self-signed; 0 for ever */
  unsigned refs, age;
  bool is_dropped;               /* out of the cache, freed with the last reference */
  struct tls_file_id failed[FILES_MAX]; /* what the files were when the last renewal failed */
  const char *warning;
  bool is_warned;
  unsigned signer_generation;    /* of the signer that had the self-signed key; 0 none */
  const char *signer_failure;    /* the signer did not do what was asked of it last */
};

static struct {
  struct tls_creds *kept[KEPT_MAX];
  unsigned age;
  gnutls_datum_t ticket_key;
  bool is_pkcs11_set;
} cache;

const char *tls_error_text(struct arena *a, const char *what, int code) {
  return arena_printf_t(a, UNTAINTED, "(%s): %s", what, gnutls_strerror(code));
}

const gnutls_datum_t *tls_ticket_key(void) {
  if (!cache.ticket_key.data) INVARIANT(gnutls_session_ticket_key_generate(&cache.ticket_key) == 0);
  return &cache.ticket_key;
}

void tls_prepare_tickets(void) { (void)tls_ticket_key(); }

bool tls_list_next(struct arena *a, const char **pos, int *sep, const char **ret_item) {
  const char *p = *pos;
  if (!p) return false;
  if (*sep == 0) {
    *sep = ':';
    while (ch_isspace(*p)) p++;
    if (*p == '<' && ch_ispunct(p[1])) {
      *sep = p[1];
      p += 2;
    }
  }
  while (ch_isspace(*p) && *p != *sep) p++;
  if (!*p) return false;
  struct strbuf b = strbuf_new(a);
  for (; *p; p++) {
    if (*p == *sep && *++p != *sep) break;
    strbuf_add(&b, p, 1);
  }
  while (b.n > 0 && ch_isspace(b.p[b.n - 1])) strbuf_truncate(&b, b.n - 1);
  *pos = p;
  *ret_item = b.p;
  return true;
}

/* ---- the files' identity ---------------------------------------------------------------------------------- */

struct tls_file_id tls_file_identity(const char *path) {
  struct stat st;
  struct tls_file_id id = {.path = path};
  if (stat(path, &st) == 0) {
    id.dev = st.st_dev;
    id.ino = st.st_ino;
    id.size = st.st_size;
    id.changed = st.st_ctim;
  }
  return id;
}

bool tls_is_same_file(const struct tls_file_id *a, const struct tls_file_id *b) {
  return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
         a->changed.tv_nsec == b->changed.tv_nsec;
}

/* Remember the file before it is read, so that a change while it is read shows the next time. */
static void watch(struct tls_creds *c, const char *path) {
  if (c->nfiles < FILES_MAX) c->files[c->nfiles++] = tls_file_identity(arena_strdup(c->a, path));
}

static bool is_current(const struct tls_creds *c, const struct tls_params *p, const struct tls_file_id *seen) {
  if (c->signer_generation && p->signer && c->signer_generation != p->signer->generation) return false;
  if (c->use_until && time_sec() >= c->use_until) return false;
  for (size_t i = 0; i < c->nfiles; i++) {
    struct tls_file_id now = tls_file_identity(c->files[i].path);
    if (!tls_is_same_file(&now, &seen[i])) return false;
  }
  return true;
}

/* ---- making an entry --------------------------------------------------------------------------------------- */

/* One OCSP file for the certificate of index at; the list's items go with those of the certificates.  A format counts from there on. */
static int add_ocsp(struct tls_creds *c, const char *name, unsigned at, gnutls_x509_crt_fmt_t *format) {
  if (strncmpic(name, "PEM ", 4) == 0) *format = GNUTLS_X509_FMT_PEM;
  if (strncmpic(name, "DER ", 4) == 0) *format = GNUTLS_X509_FMT_DER;
  if (strncmpic(name, "PEM ", 4) == 0 || strncmpic(name, "DER ", 4) == 0) name += 4;
  while (ch_isspace(*name)) name++;
  if (!*name) return 0;
  watch(c, name);
  int rc = gnutls_certificate_set_ocsp_status_request_file2(c->cred, name, at, *format);
  if (rc >= 0) c->has_ocsp = true;
  return rc;
}

static int add_pair(struct tls_creds *c, const struct tls_params *p, unsigned at, const char *cert, const char *key) {
  if (p->signer) return tls_signer_add_pair(c->cred, c->a, p->signer, at, &c->signer_failure);
  return gnutls_certificate_set_x509_key_file2(c->cred, cert, key, GNUTLS_X509_FMT_PEM, NULL, 0);
}

static const char *pair_error(const struct tls_creds *c, int rc) { return c->signer_failure ? c->signer_failure : gnutls_strerror(rc); }

static const char *add_pairs(struct tls_creds *c, struct arena *a, const struct tls_params *p) {
  const char *cert_pos = p->certificate, *key_pos = p->privatekey, *ocsp_pos = p->ocsp_file, *cert;
  int cert_sep = 0, key_sep = 0, ocsp_sep = 0;
  gnutls_x509_crt_fmt_t format = GNUTLS_X509_FMT_DER;
  unsigned at = 0;
  while (tls_list_next(c->a, &cert_pos, &cert_sep, &cert)) {
    const char *key = cert, *ocsp;
    if (p->privatekey && *p->privatekey && !tls_list_next(c->a, &key_pos, &key_sep, &key))
      return "(cert/key setup: out of keys)";
    watch(c, cert);
    if (key != cert) watch(c, key);
    int rc = add_pair(c, p, at++, cert, key);
    if (rc < 0) return arena_printf_t(a, UNTAINTED, "(cert/key setup: cert=%s key=%s): %s", cert, key, pair_error(c, rc));
    if (p->is_server && tls_list_next(c->a, &ocsp_pos, &ocsp_sep, &ocsp) && (rc = add_ocsp(c, ocsp, (unsigned)rc, &format)) < 0)
      return tls_error_text(a, "gnutls_certificate_set_ocsp_status_request_file2", rc);
  }
  return NULL;
}

static const char *add_trust(struct tls_creds *c, struct arena *a, const struct tls_params *p) {
  const char *from = p->verify_certificates, *what = "gnutls_certificate_set_x509_trust_file";
  if (p->verify == TLS_VERIFY_NONE || !from || !*from) return NULL;
  struct stat st;
  int rc;
  if (strcmp(from, "system") == 0 || strcmp(from, "system,cache") == 0) {
    what = "gnutls_certificate_set_x509_system_trust";
    /* the library does not say where it looks; these are its places on the usual systems */
    static const char *const bundles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
    for (size_t i = 0; strcmp(from, "system") == 0 && i < sizeof bundles / sizeof bundles[0]; i++) watch(c, bundles[i]);
    rc = gnutls_certificate_set_x509_system_trust(c->cred);
    if (rc == GNUTLS_E_UNIMPLEMENTED_FEATURE) rc = 0;
  } else {
    if (stat(from, &st) < 0)
      return arena_printf_t(a, UNTAINTED, "could not stat '%s' (tls_verify_certificates): %s", from, strerror(errno));
    watch(c, from);
    c->trust_is_directory = S_ISDIR(st.st_mode);
    rc = c->trust_is_directory ? gnutls_certificate_set_x509_trust_dir(c->cred, from, GNUTLS_X509_FMT_PEM)
                             : gnutls_certificate_set_x509_trust_file(c->cred, from, GNUTLS_X509_FMT_PEM);
  }
  if (rc < 0) return tls_error_text(a, what, rc);
  if (!p->crl || !*p->crl) return NULL;
  watch(c, p->crl);
  rc = gnutls_certificate_set_x509_crl_file(c->cred, p->crl, GNUTLS_X509_FMT_PEM);
  return rc < 0 ? tls_error_text(a, "gnutls_certificate_set_x509_crl_file", rc) : NULL;
}

static bool is_dh_too_big(gnutls_dh_params_t dh, int max_bits) {
  gnutls_datum_t prime = {NULL, 0}, generator = {NULL, 0};
  unsigned bits = 0;
  if (gnutls_dh_params_export_raw(dh, &prime, &generator, &bits) < 0) return true;
  bool too_big = max_bits > 0 && 8 * prime.size > (unsigned)max_bits + 8;
  gnutls_free(prime.data);
  gnutls_free(generator.data);
  return too_big;
}

/* Groups of RFC 7919 are negotiated by the library itself; only a file of one's own needs loading, and when it is not there or too big the
 * library's groups do.  Clients that negotiate no group get the one of 2048 bits. */
static const char *add_dh(struct tls_creds *c, struct arena *a, const struct tls_params *p) {
  if (!p->is_server) return NULL;
  (void)gnutls_certificate_set_known_dh_params(c->cred, GNUTLS_SEC_PARAM_MEDIUM);
  if (!p->dhparam || *p->dhparam != '/') return NULL;
  watch(c, p->dhparam);
  gnutls_datum_t pem;
  int rc = gnutls_load_file(p->dhparam, &pem);
  if (rc < 0) return NULL;
  rc = gnutls_dh_params_init(&c->dh);
  if (rc == 0) rc = gnutls_dh_params_import_pkcs3(c->dh, &pem, GNUTLS_X509_FMT_PEM);
  gnutls_free(pem.data);
  if (rc < 0) return tls_error_text(a, "gnutls_dh_params_import_pkcs3", rc);
  if (!is_dh_too_big(c->dh, p->dh_max_bits)) gnutls_certificate_set_dh_params(c->cred, c->dh);
  return NULL;
}

/* shown: how much of the text at fault *ret_where quotes. */
static const char *add_priority(gnutls_priority_t *ret, struct arena *a, const char *ciphers, int shown, const char **ret_where) {
  const char *at = NULL, *text = ciphers && *ciphers ? ciphers : "NORMAL";
  int rc = gnutls_priority_init(ret, text, &at);
  if (rc == 0) return NULL;
  *ret = NULL;
  *ret_where = arena_printf_t(a, UNTAINTED, "gnutls_priority_init(%s) failed at offset %td, \"%.*s..\"", text, at ? at - text : 0,
                              shown, at ? at : text);
  return gnutls_strerror(rc);
}

static const char *add_selfsigned(struct tls_creds *c, struct arena *a, const struct tls_params *p) {
  const char *what = "cert/key setup";
  int rc = p->signer ? tls_signer_add_pair(c->cred, c->a, p->signer, 0, &c->signer_failure)
                     : tls_selfsigned(c->cred, p->own_name ? p->own_name : "localhost", &what);
  c->use_until = time_sec() + SELFSIGNED_USE_SEC;
  c->signer_generation = p->signer ? p->signer->generation : 0;
  return rc < 0 ? arena_printf_t(a, UNTAINTED, "(%s): %s", what, pair_error(c, rc)) : NULL;
}

static const char *make_parts(struct tls_creds *c, struct arena *a, const struct tls_params *p) {
  int rc = gnutls_certificate_allocate_credentials(&c->cred);
  if (rc < 0) return tls_error_text(a, "gnutls_certificate_allocate_credentials", rc);
  gnutls_certificate_set_flags(c->cred, GNUTLS_CERTIFICATE_API_V2 | (p->skip_ocsp_check ? (unsigned)GNUTLS_CERTIFICATE_SKIP_OCSP_RESPONSE_CHECK : 0u));
  const char *error = NULL, *what;
  if (p->certificate && *p->certificate) {
    error = add_pairs(c, a, p);
  } else if (p->is_server) {
    error = add_selfsigned(c, a, p);
  }
  if (!error) error = add_trust(c, a, p);
  if (!error) error = add_dh(c, a, p);
  if (error) return error;
  error = add_priority(&c->priority, a, p->ciphers, 6, &what);
  return error ? arena_printf_t(a, UNTAINTED, "(%s): %s", what, error) : NULL;
}

static void creds_free(struct tls_creds *c) {
  if (c->cred) gnutls_certificate_free_credentials(c->cred);
  if (c->priority) gnutls_priority_deinit(c->priority);
  if (c->dh) gnutls_dh_params_deinit(c->dh);
  arena_free(c->a);
}

static const char *cache_key(struct arena *a, const struct tls_params *p) {
  const char *const texts[] = {p->certificate, p->privatekey, p->ocsp_file, p->crl, p->verify_certificates, p->dhparam, p->ciphers};
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "%d\n%d\n", p->is_server, p->verify == TLS_VERIFY_NONE);
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) strbuf_addf(&b, "%s\n", texts[i] ? texts[i] : "");
  if (p->is_server && !(p->certificate && *p->certificate)) strbuf_adds(&b, p->own_name ? p->own_name : "");
  return b.p;
}

/* A new entry, or NULL and the error. */
static struct tls_creds *make(struct arena *a, const struct tls_params *p, const char *key, const char **ret_error, bool *ret_no_answer) {
  if (!cache.is_pkcs11_set && !p->allow_pkcs11) (void)gnutls_pkcs11_init(GNUTLS_PKCS11_FLAG_MANUAL, NULL);
  cache.is_pkcs11_set = true;
  struct arena *own = arena_new("tls");
  struct tls_creds *c = ARENA_NEW(own, struct tls_creds);
  c->a = own;
  c->key = arena_strdup(own, key);
  const char *error = make_parts(c, a, p);
  if (!error) return c;
  *ret_error = error;
  *ret_no_answer = c->signer_failure;
  creds_free(c);
  return NULL;
}

/* ---- the cache ----------------------------------------------------------------------------------------------- */

static void drop(struct tls_creds **slot) {
  struct tls_creds *c = *slot;
  *slot = NULL;
  if (!c) return;
  c->is_dropped = true;
  if (c->refs == 0) creds_free(c);
}

static struct tls_creds **find_slot(const char *key) {
  struct tls_creds **oldest = &cache.kept[0];
  for (size_t i = 0; i < KEPT_MAX; i++) {
    struct tls_creds **slot = &cache.kept[i];
    if (!*slot) oldest = *oldest ? slot : oldest;
    else if (strcmp((*slot)->key, key) == 0) return slot;
    else if (*oldest && (*slot)->age < (*oldest)->age) oldest = slot;
  }
  drop(oldest);
  return oldest;
}

/* The files of an entry are others than those it was made of: try the new ones, keep the old entry when they are no good. */
static void renew(struct arena *a, const struct tls_params *p, struct tls_creds **slot) {
  struct tls_creds *old = *slot;
  if (old->warning && is_current(old, p, old->failed)) return;
  const char *error = NULL;
  bool no_answer = false;
  for (size_t i = 0; i < old->nfiles; i++) old->failed[i] = tls_file_identity(old->files[i].path);
  struct tls_creds *fresh = make(a, p, old->key, &error, &no_answer);
  if (fresh) {
    drop(slot);
    *slot = fresh;
    return;
  }
  if (no_answer) return; /* says nothing of the files */
  old->warning = arena_strdup(old->a, error);
  old->is_warned = false;
}

static struct tls_creds *lookup(struct arena *a, const struct tls_params *p, const char **ret_error) {
  const char *key = cache_key(a, p);
  struct tls_creds **slot = find_slot(key);
  bool no_answer;
  if (!*slot)
    *slot = make(a, p, key, ret_error, &no_answer);
  else if (!p->is_preloaded && !is_current(*slot, p, (*slot)->files))
    renew(a, p, slot);
  if (*slot) (*slot)->age = ++cache.age;
  return *slot;
}

static const char *take_warning(struct arena *a, struct tls_creds *c) {
  if (!c || !c->warning || c->is_warned) return NULL;
  c->is_warned = true;
  return arena_strdup(a, c->warning);
}

struct tls_creds *tls_creds_get(struct arena *a, const struct tls_params *p, const char **ret_error, const char **ret_warning) {
  struct tls_creds *c = lookup(a, p, ret_error);
  if (!c) return NULL;
  *ret_warning = take_warning(a, c);
  c->refs++;
  return c;
}

void tls_creds_release(struct tls_creds *c) {
  if (!c) return;
  INVARIANT(c->refs > 0);
  if (--c->refs == 0 && c->is_dropped) creds_free(c);
}

const char *tls_preload(struct arena *a, const struct tls_params *p) {
  const char *error = NULL;
  return lookup(a, p, &error) ? NULL : error;
}

const char *tls_preload_warning(struct arena *a, const struct tls_params *p) {
  const char *error;
  return take_warning(a, lookup(a, p, &error));
}

gnutls_certificate_credentials_t tls_creds_handle(const struct tls_creds *c) { return c->cred; }
gnutls_priority_t tls_creds_priority(const struct tls_creds *c) { return c->priority; }
bool tls_creds_has_ocsp(const struct tls_creds *c) { return c->has_ocsp; }
bool tls_creds_trust_is_directory(const struct tls_creds *c) { return c->trust_is_directory; }
const char *tls_creds_signer_failure(const struct tls_creds *c) { return c ? c->signer_failure : NULL; }

const char *tls_check_ciphers(struct arena *a, const char *ciphers) {
  gnutls_priority_t priority;
  const char *where, *error = add_priority(&priority, a, ciphers, 8, &where);
  if (error) return arena_printf_t(a, UNTAINTED, "%s failed: %s", where, error);
  gnutls_priority_deinit(priority);
  return NULL;
}
