/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dovecot authenticator: a Dovecot server judges.  Floor: drivers.  Manual ch. 37; Dovecot's description of its auth-client protocol.
 *
 * Each exchange has a connection of its own.  What the client sends is passed on only when it is base64, so that it cannot become a field or
 * a line of the protocol.  A socket that cannot be reached, a line that cannot be read, a mechanism Dovecot does not have: 435, with the
 * reason in the log.  Everything is bounded: lines, their number, and the time. */
#include "auth.h"
#include "auths/drivers.h"

#include <errno.h>
#include <unistd.h>

#include "conn.h"
#include "formats/dovecot_auth.h"
#include "os/debug.h"
#include "os/net.h"
#include "os/stream.h"

enum { LINE_MAX_BYTES = 8192, HANDSHAKE_LINES = 100, ROUNDS = 20, TIMEOUT_SEC = 60, REQUEST = 1 };

struct dovecot_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "auths/dovecot_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct dovecot_opts, n, t, d, f)
static const struct option dovecot_options[] = {
#include "auths/dovecot_options.def"
};
#undef OPT_ROW

static const char *dovecot_init(struct arena *a UNUSED, struct config *c UNUSED, struct auth_instance *i) {
  const struct dovecot_opts *ob = i->ob;
  i->is_server = ob->server_socket != NULL;
  return NULL;
}

/* One exchange. */
struct dialogue {
  struct auth_server *s;
  struct stream *io;
  deadline_ms deadline;
  bool has_mechanism;
};

static enum auth_status cannot(struct auth_server *s, const char *why) {
  s->log_text = arena_printf(s->x->a, "authentication socket: %s", why);
  return AUTH_DEFER;
}

/* "/path", or "host port", or "inet:host:port" with an IP address for the host. */
static int open_socket(struct auth_server *s, const char *where, deadline_ms deadline) {
  struct net_end to;
  if (*where == '/') return net_connect_unix(where, deadline);
  struct str rest = str_c(where);
  if (str_starts(rest, STR("inet:"))) rest = str_n(rest.p + 5, rest.n - 5);
  size_t cut = rest.n;
  while (cut > 0 && rest.p[cut - 1] != ' ' && rest.p[cut - 1] != ':') cut--;
  if (cut == 0 || !ip_parse(str_trim(str_n(rest.p, cut - 1)), &to.ip)) return -EINVAL;
  to.port = net_service_port(str_dup(s->x->a, str_n(rest.p + cut, rest.n - cut)));
  if (to.port < 0) return -EINVAL;
  struct net_connect_opts o = {0};
  return net_connect(&to, &o, deadline, NULL);
}

/* The next line that means something.  False: log_text is set. */
static bool next_line(struct dialogue *d, struct dovecot_line *ret) {
  struct str line;
  for (int n = 0; n < HANDSHAKE_LINES; n++) {
    enum stream_status st = stream_read_line(d->io, LINE_MAX_BYTES, true, d->deadline, &line, NULL);
    if (st != STREAM_OK || !dovecot_parse_line(line, ret)) {
      (void)cannot(d->s, st == STREAM_TIMEOUT ? "timeout" : st == STREAM_OK ? "malformed line" : "connection lost");
      return false;
    }
    DEBUG(D_AUTH) debug_printf("dovecot says kind %d\n", ret->kind);
    if (ret->kind != DOVECOT_OTHER) return true;
  }
  (void)cannot(d->s, "too many lines");
  return false;
}

static bool shake_hands(struct dialogue *d) {
  struct dovecot_line l;
  bool known_version = false;
  stream_putf(d->io, "VERSION\t1\t1\nCPID\t%d\n", (int)getpid());
  for (int n = 0; n < HANDSHAKE_LINES; n++) {
    if (!next_line(d, &l)) return false;
    if (l.kind == DOVECOT_DONE) {
      if (!known_version) (void)cannot(d->s, "unknown protocol version");
      return known_version;
    }
    if (l.kind == DOVECOT_VERSION) known_version = l.number == 1;
    if (l.kind == DOVECOT_MECH && str_eqic_c(l.text, d->s->i->o.public_name)) d->has_mechanism = true;
  }
  (void)cannot(d->s, "endless handshake");
  return false;
}

static void put_request(struct dialogue *d) {
  const struct conn *c = d->s->x->conn;
  const struct origin *o = c ? &c->from : NULL;
  bool is_local = o && (!o->host_address || (o->interface_address && strcmp(o->host_address, o->interface_address) == 0));
  stream_putf(d->io, "AUTH\t%d\t%s\tservice=smtp", REQUEST, d->s->i->o.public_name);
  if (o && (o->tls.active || is_local)) stream_puts(d->io, "\tsecured");
  if (o && o->tls.active && o->tls.certificate_verified) stream_puts(d->io, "\tvalid-client-cert");
  if (o && o->host_address) stream_putf(d->io, "\trip=%s", o->host_address);
  if (o && o->interface_address) stream_putf(d->io, "\tlip=%s", o->interface_address);
  stream_puts(d->io, "\tnologin");
  if (d->s->initial) stream_putf(d->io, "\tresp=%s", strcmp(d->s->initial, "=") == 0 ? "" : d->s->initial);
  stream_puts(d->io, "\n");
}

static enum auth_status answer(struct dialogue *d, struct str challenge64) {
  const char *text;
  enum auth_status st = d->s->ask(d->s, str_dup(d->s->x->a, challenge64), &text);
  if (st != AUTH_OK) return st;
  if (!dovecot_is_base64(str_c(text))) return AUTH_BAD64;
  d->deadline = deadline_in_sec(TIMEOUT_SEC);
  stream_putf(d->io, "CONT\t%d\t%s\n", REQUEST, text);
  return AUTH_OK;
}

static enum auth_status talk(struct dialogue *d) {
  struct dovecot_line l;
  if (!shake_hands(d)) return AUTH_DEFER;
  if (!d->has_mechanism) return cannot(d->s, arena_printf(d->s->x->a, "mechanism %s is not there", d->s->i->o.public_name));
  put_request(d);
  for (int round = 0; round < ROUNDS; round++) {
    if (!next_line(d, &l)) return AUTH_DEFER;
    bool is_ours = (l.kind == DOVECOT_CONT || l.kind == DOVECOT_OK || l.kind == DOVECOT_FAIL) && l.number == REQUEST;
    if (!is_ours) return cannot(d->s, "unexpected line");
    if (l.kind == DOVECOT_CONT) {
      enum auth_status st = answer(d, l.text);
      if (st != AUTH_OK) return st;
      continue;
    }
    if (l.user.n) auth_set_var(d->s->x, 1, arena_strndup_t(d->s->x->a, l.user.p, l.user.n, TAINTED));
    if (l.kind == DOVECOT_FAIL) return l.is_temporary ? cannot(d->s, "temporary internal failure") : AUTH_FAIL;
    if (!l.user.n) return cannot(d->s, "success without a user");
    return auth_condition(d->s);
  }
  return cannot(d->s, "too many challenges");
}

static enum auth_status dovecot_server(struct auth_server *s) {
  const struct dovecot_opts *ob = s->i->ob;
  struct dialogue d = {.s = s, .deadline = deadline_in_sec(TIMEOUT_SEC)};
  const char *where;
  if (s->initial && strcmp(s->initial, "=") != 0 && !dovecot_is_base64(str_c(s->initial))) return AUTH_BAD64;
  if (auth_expand(s, ob->server_socket, &where) != AUTH_OK) return AUTH_DEFER;
  if (expand_taint_refused(s->x, where, "authentication socket")) return cannot(s, s->x->error);
  int fd = open_socket(s, where, d.deadline);
  if (fd < 0 && *where == '/') {
    s->log_text = arena_printf(s->x->a, "unable to connect to UNIX socket (%s): %s", where, strerror(-fd));
    return AUTH_DEFER;
  }
  if (fd < 0) return cannot(s, arena_printf(s->x->a, "%s: %s", where, strerror(-fd)));
  d.io = stream_new(s->x->a, fd, fd, true);
  enum auth_status st = talk(&d);
  stream_close(d.io);
  return st;
}

const struct auth_driver dovecot_auth = {
  .name = "dovecot",
  .options = dovecot_options,
  .option_count = ARRAY_SIZE(dovecot_options),
  .ob_size = sizeof(struct dovecot_opts),
  .init = dovecot_init,
  .server = dovecot_server,
};
