/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking a certificate apart (certificate.h).  Floor: formats, pure.  Hostile: the certificate. */
#include "formats/certificate.h"

#include <gnutls/x509.h>

#include "base/strbuf.h"
#include "base/timeutil.h"

enum { LIST_MAX = 256 };

struct request {
  struct arena *a;
  gnutls_x509_crt_t crt;
  struct str type;  /* the modifier that is no separator and not "int"; empty none */
  char sep;
  bool as_int, utc;
  enum taint taint;
};

typedef const char *field_fn(const struct request *q);

/* ---- lists ----------------------------------------------------------------------------------------------------- */

static void list_add(const struct request *q, struct strbuf *b, size_t *count, const char *tag, struct str item) {
  if ((*count)++ > 0) strbuf_addc(b, q->sep);
  if (tag) strbuf_addf(b, "%s=", tag);
  for (size_t i = 0; i < item.n; i++) {
    char c = item.p[i] ? item.p[i] : '?';
    strbuf_add_t(b, &c, 1, q->taint);
    if (c == q->sep) strbuf_addc(b, c);
  }
}

static const char *list_text(const struct strbuf *b, size_t count) { return count > 0 ? b->p : NULL; }

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* One "TYPE=value" of an RFC 4514 text, up to a comma that no backslash hides. */
static struct str next_rdn(struct str *rest) {
  size_t i = 0;
  while (i < rest->n && rest->p[i] != ',') i += rest->p[i] == '\\' && i + 1 < rest->n ? 2 : 1;
  struct str rdn = str_n(rest->p, i);
  *rest = i < rest->n ? str_n(rest->p + i + 1, rest->n - i - 1) : str_n(rest->p + i, 0);
  return rdn;
}

static const char *name_text(const struct request *q, int rc, gnutls_datum_t *dn) {
  if (rc < 0) return NULL;
  struct strbuf b = strbuf_new_t(q->a, q->taint, dn->size + 1);
  struct str rest = str_n((const char *)dn->data, dn->size);
  size_t count = 0;
  if (q->type.n == 0) strbuf_add_t(&b, rest.p, rest.n, q->taint);
  while (q->type.n > 0 && rest.n > 0) {
    struct str value = next_rdn(&rest), type = str_cut(&value, '=');
    if (str_eqic(str_trim(type), q->type)) list_add(q, &b, &count, NULL, value);
  }
  gnutls_free(dn->data);
  return q->type.n == 0 && b.n > 0 ? b.p : list_text(&b, count);
}

static const char *subject(const struct request *q) {
  gnutls_datum_t dn = {NULL, 0};
  int rc = gnutls_x509_crt_get_dn2(q->crt, &dn);
  return name_text(q, rc, &dn);
}

static const char *issuer(const struct request *q) {
  gnutls_datum_t dn = {NULL, 0};
  int rc = gnutls_x509_crt_get_issuer_dn2(q->crt, &dn);
  return name_text(q, rc, &dn);
}

static const char *alternative_names(const struct request *q) {
  static const struct {
    unsigned type;
    const char *tag, *modifier;
  } kinds[] = {{GNUTLS_SAN_DNSNAME, "DNS", "dns"}, {GNUTLS_SAN_URI, "URI", "uri"}, {GNUTLS_SAN_RFC822NAME, "MAIL", "mail"}};
  struct strbuf b = strbuf_new_t(q->a, q->taint, 64);
  size_t count = 0;
  for (unsigned i = 0; i < LIST_MAX; i++) {
    char name[1024];
    size_t n = sizeof name;
    unsigned critical;
    int type = gnutls_x509_crt_get_subject_alt_name(q->crt, i, name, &n, &critical);
    if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
    for (size_t k = 0; type >= 0 && k < ARRAY_SIZE(kinds); k++) {
      if ((unsigned)type != kinds[k].type || (q->type.n > 0 && !str_eqic_c(q->type, kinds[k].modifier))) continue;
      list_add(q, &b, &count, q->type.n > 0 ? NULL : kinds[k].tag, str_n(name, n));
    }
  }
  return list_text(&b, count);
}

/* ---- addresses of services -------------------------------------------------------------------------------------- */

static const char *ocsp_addresses(const struct request *q) {
  struct strbuf b = strbuf_new_t(q->a, q->taint, 64);
  size_t count = 0;
  gnutls_datum_t uri;
  for (unsigned i = 0; i < LIST_MAX; i++) {
    int rc = gnutls_x509_crt_get_authority_info_access(q->crt, i, GNUTLS_IA_OCSP_URI, &uri, NULL);
    if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
    if (rc < 0) continue;
    list_add(q, &b, &count, NULL, str_n((const char *)uri.data, uri.size));
    gnutls_free(uri.data);
  }
  return list_text(&b, count);
}

static const char *crl_addresses(const struct request *q) {
  struct strbuf b = strbuf_new_t(q->a, q->taint, 64);
  size_t count = 0;
  for (unsigned i = 0; i < LIST_MAX; i++) {
    char uri[2048];
    size_t n = sizeof uri;
    int type = gnutls_x509_crt_get_crl_dist_points(q->crt, i, uri, &n, NULL, NULL);
    if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
    if (type == GNUTLS_SAN_URI) list_add(q, &b, &count, NULL, str_n(uri, n));
  }
  return list_text(&b, count);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------ */

static const char *hex_text(const struct request *q, const unsigned char *p, size_t n, const char *between) {
  struct strbuf b = strbuf_new_t(q->a, q->taint, 3 * n + 1);
  for (size_t i = 0; i < n; i++) strbuf_addf(&b, "%s%02x", i > 0 ? between : "", p[i]);
  return b.n > 0 ? b.p : NULL;
}

static const char *version(const struct request *q) {
  return arena_printf_t(q->a, q->taint, "%d", gnutls_x509_crt_get_version(q->crt));
}

static const char *serial(const struct request *q) {
  unsigned char bytes[64];
  size_t n = sizeof bytes;
  if (gnutls_x509_crt_get_serial(q->crt, bytes, &n) < 0) return NULL;
  size_t sign = n > 1 && bytes[0] == 0; /* of the number's encoding, no part of it */
  return hex_text(q, bytes + sign, n - sign, "");
}

static const char *signature(const struct request *q) {
  char bytes[4096];
  size_t n = sizeof bytes;
  return gnutls_x509_crt_get_signature(q->crt, bytes, &n) < 0 ? NULL : hex_text(q, (const unsigned char *)bytes, n, " ");
}

static const char *signature_algorithm(const struct request *q) {
  const char *name = gnutls_sign_get_name((gnutls_sign_algorithm_t)gnutls_x509_crt_get_signature_algorithm(q->crt));
  return name ? arena_strdup_t(q->a, name, q->taint) : NULL;
}

static const char *time_text(const struct request *q, time_t t) {
  char text[64];
  if (t == (time_t)-1) return NULL;
  if (q->as_int) return arena_printf_t(q->a, q->taint, "%lld", (long long)t);
  struct timeval tv = {.tv_sec = t};
  return arena_strdup_t(q->a, time_format(tv, TIME_NAMED_ZONE, (struct time_opts){.utc = q->utc}, text, sizeof text), q->taint);
}

static const char *not_before(const struct request *q) { return time_text(q, gnutls_x509_crt_get_activation_time(q->crt)); }
static const char *not_after(const struct request *q) { return time_text(q, gnutls_x509_crt_get_expiration_time(q->crt)); }

static const struct {
  const char *name;
  field_fn *get;
} fields[] = {
  {"crl_uri", crl_addresses}, {"issuer", issuer},       {"notafter", not_after},
  {"notbefore", not_before},  {"ocsp_uri", ocsp_addresses}, {"serial_number", serial},
  {"sig_algorithm", signature_algorithm}, {"signature", signature}, {"subj_altname", alternative_names},
  {"subject", subject},       {"version", version},
};

static void read_modifiers(struct request *q, struct str rest) {
  while (rest.n > 0) {
    struct str m = str_cut(&rest, ',');
    if (m.n == 0 && rest.n == 0) break;
    if (m.n > 0 && m.p[0] == '>') {
      if (m.n > 1) q->sep = m.p[1];
      else if (rest.n > 0) q->sep = ',', (void)str_cut(&rest, ','); /* ">," */
    } else if (str_eqic_c(m, "int")) {
      q->as_int = true;
    } else {
      q->type = m;
    }
  }
}

enum certificate_result certificate_field(struct arena *a, const char *pem, const char *selector, bool utc, const char **ret) {
  struct request q = {.a = a, .sep = '\n', .utc = utc, .taint = is_tainted(pem) ? TAINTED : UNTAINTED};
  struct str rest = str_c(selector), name = str_cut(&rest, ',');
  field_fn *get = NULL;
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
    if (str_eq_c(name, fields[i].name)) get = fields[i].get;
  if (!get) return CERTIFICATE_BAD_SELECTOR;
  read_modifiers(&q, rest);
  gnutls_datum_t text = {(unsigned char *)(uintptr_t)pem, (unsigned)strlen(pem)};
  if (gnutls_x509_crt_init(&q.crt) < 0) return CERTIFICATE_UNREADABLE;
  bool ok = gnutls_x509_crt_import(q.crt, &text, GNUTLS_X509_FMT_PEM) == 0;
  const char *value = ok ? get(&q) : NULL;
  gnutls_x509_crt_deinit(q.crt);
  if (!ok) return CERTIFICATE_UNREADABLE;
  if (!value || !*value) return CERTIFICATE_ABSENT;
  *ret = value;
  return CERTIFICATE_FOUND;
}
