/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion items that have to do with TLS: certextract, and ${readsocket with tls=yes.  Floor: policy.  Manual section 11.5.
 *
 * The certificate and the answers are hostile; what comes of them is data. */
#include "formats/certificate.h"
#include "os/stream.h"
#include "os/tls.h"
#include "policy/expand/expand_priv.h"

enum { GREETING_WAIT_MS = 50 };

/* ---- certextract ---- */

static bool is_utc(const struct expand_ctx *x) { return x->cfg->o.timezone && strcmpic(x->cfg->o.timezone, "utc") == 0; }

static bool extract(struct expand_ctx *x, const char *selector, const char *pem, const char **ret) {
  *ret = NULL;
  if (!*pem) return true;
  switch (certificate_field(x->a, pem, selector, is_utc(x), ret)) {
    case CERTIFICATE_FOUND:
    case CERTIFICATE_ABSENT: return true;
    case CERTIFICATE_BAD_SELECTOR: return exp_fail(x, "bad field selector \"%s\" for certextract", selector);
    case CERTIFICATE_UNREADABLE: break;
  }
  return exp_fail(x, "certificate for certextract cannot be read");
}

bool exp_item_certextract(struct parse *ps, struct strbuf *out) {
  struct expand_ctx *x = ps->x;
  const char *args[2], *found = NULL;
  for (int i = 0; i < 2; i++) {
    exp_skip_space(ps);
    if (*ps->s != '{') return exp_fail(x, "missing '{' for %s arg of certextract", i == 0 ? "field" : "cert variable");
    bool is_cert = i == 0 || strncmp(ps->s, "{$tls_", 6) == 0;
    if (!exp_brace(ps, &args[i])) return false;
    if (!ps->skip && !is_cert) return exp_fail(x, "second argument of \"certextract\" must be a certificate variable");
  }
  if (!ps->skip && !extract(x, args[0], args[1], &found)) return false;
  const char *saved = x->s.value;
  if (found) x->s.value = found;
  bool ok = exp_yes_no(ps, out, found != NULL, "certextract");
  x->s.value = saved;
  return ok;
}

/* ---- readsocket ---- */

static bool read_answer(struct expand_ctx *x, struct stream *io, deadline_ms deadline, size_t max_bytes, struct strbuf *answer) {
  struct str got;
  enum stream_status st;
  while ((st = stream_read_some(io, max_bytes, deadline, &got)) == STREAM_OK) {
    if (answer->n + got.n > max_bytes) return exp_fail(x, "read from socket failed: too much data");
    strbuf_add_t(answer, got.p, got.n, TAINTED);
  }
  if (st == STREAM_TIMEOUT) return exp_fail(x, "socket read timed out");
  return st == STREAM_EOF || exp_fail(x, "read from socket failed: %s", tls_error(io) ? tls_error(io) : "connection lost");
}

bool exp_socket_tls(struct expand_ctx *x, int fd, const char *request, const char *sni, deadline_ms deadline, size_t max_bytes,
                    struct strbuf *answer) {
  struct arena *a = arena_new("readsocket");
  struct stream *io = stream_new(a, fd, fd, true);
  struct tls_client_opts o = {.sni = sni && *sni ? sni : NULL};
  struct tls_result r;
  const char *error;
  bool ok = false;
  if (tls_start_client(io, a, &o, deadline, &r, &error) < 0) {
    (void)exp_fail(x, "failed to start TLS on the socket: %s", arena_strdup(x->a, error));
  } else {
    /* A server of SMTP, which speaks first, takes a command that comes before its greeting for an attack. */
    (void)stream_input_ready(io, GREETING_WAIT_MS);
    stream_puts(io, request);
    ok = read_answer(x, io, deadline, max_bytes, answer);
    tls_end(io, false, deadline);
  }
  stream_close(io);
  arena_free(a);
  return ok;
}
