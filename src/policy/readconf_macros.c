/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Macros: the predefined ones, -D, definitions in the file, replacement.  Floor: policy.  Manual ch. 6.4 - 6.9.
 *
 * Replacement is plain text, anywhere in a line, macro by macro in the order of definition; a replacement is scanned again only for macros
 * defined later.  The predefined macros (about a thousand, all starting "_X") come first; they are found by name, not one by one. */
#include "auth.h"
#include "base/buildinfo.h"
#include "buildconfig.h"
#include "os/log.h"
#include "formats/dkim.h"
#include "policy/acl.h"
#include "policy/readconf_priv.h"
#include "policy/scan.h"
#include "policy/search.h"
#include "router.h"
#include "transport.h"

struct builtin_list {
  struct arena *a;
  struct macro *first, **tail;
};

static void builtin_add(struct builtin_list *l, const char *prefix, const char *mid, const char *name, const char *value) {
  struct strbuf b = strbuf_new(l->a);
  strbuf_addl(&b, prefix, mid, *mid ? "_" : "", name, NULL);
  for (size_t i = 0; i < b.n; i++)
    b.p[i] = b.p[i] == '-' || b.p[i] == '/' ? '_' : (char)ch_upper(b.p[i]);
  struct macro *m = ARENA_NEW(l->a, struct macro);
  m->name = b.p;
  m->value = value;
  m->builtin = true;
  *l->tail = m;
  l->tail = &m->next;
}

/* Options this build does not obey are left out: a configuration that asks with .ifdef then avoids them. */
static void builtin_options(struct builtin_list *l, const char *prefix, const char *mid, const struct option *table, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!(table[i].flags & OPT_HIDDEN_FEATURE) && (table[i].flags & (OPT_BUILT | OPT_ALIAS)))
      builtin_add(l, prefix, mid, table[i].name, "y");
}

static void builtin_drivers(struct builtin_list *l) {
  for (size_t i = 0; router_drivers[i]; i++) {
    builtin_add(l, "_DRIVER_ROUTER_", "", router_drivers[i]->name, "y");
    builtin_options(l, "_OPT_ROUTER_", router_drivers[i]->name, router_drivers[i]->options, router_drivers[i]->option_count);
  }
  for (size_t i = 0; transport_drivers[i]; i++) {
    builtin_add(l, "_DRIVER_TRANSPORT_", "", transport_drivers[i]->name, "y");
    builtin_options(l, "_OPT_TRANSPORT_", transport_drivers[i]->name, transport_drivers[i]->options,
                    transport_drivers[i]->option_count);
  }
  for (size_t i = 0; auth_drivers[i]; i++) {
    builtin_add(l, "_DRIVER_AUTHENTICATOR_", "", auth_drivers[i]->name, "y");
    for (const char *const *f = auth_drivers[i]->features; f && *f; f++) builtin_add(l, "_HAVE_", "", *f, "y");
    builtin_options(l, "_OPT_AUTHENTICATOR_", auth_drivers[i]->name, auth_drivers[i]->options, auth_drivers[i]->option_count);
  }
}

static bool option_is_built(const char *name) {
  const struct option *o = opt_find(main_option_table, main_option_count, str_c(name));
  return o && (o->flags & OPT_BUILT);
}

static void builtin_features(struct builtin_list *l) {
  /* A feature counts as present when the option that switches it is obeyed. */
  static const struct {
    const char *macro, *option;
  } by_option[] = {
      {"TLS", "tls_certificate"}, {"TLS_ALPN", "tls_alpn"}, {"GNUTLS", "tls_certificate"}, {"PRDR", "prdr_enable"}, {"PROXY", "hosts_proxy"},
      {"EVENT", "event_action"}, {"DKIM", "acl_smtp_dkim"}, {"CONTENT_SCANNING", "av_scanner"}, {"SPF", "spf_guess"},
      {"ESMTP_LIMITS", "limits_advertise_hosts"}, {"ESMTP_WELLKNOWN", "wellknown_advertise_hosts"},
      {"I18N", "smtputf8_advertise_hosts"}, {"OCSP", "tls_ocsp_file"}, {"TLS_RESUME", "tls_resumption_hosts"},
      {"TLS_OCSP", "tls_ocsp_file"}, {"TLS_OCSP_LIST", "tls_ocsp_file"}, {"TLS_ALPN", "tls_alpn"}, {"TLS_CA_CACHE", "tls_certificate"}, {"TLS1_3", "tls_certificate"},
      {"MOVE_FROZEN_MESSAGES", "move_frozen_messages"}, {"PERL", "perl_startup"}, {"DNSSEC", "dns_dnssec_ok"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(by_option); i++)
    if (option_is_built(by_option[i].option)) builtin_add(l, "_HAVE_", "", by_option[i].macro, "y");
  builtin_add(l, "_HAVE_", "", "CRYPTEQ", "y");
  if (CFG_HAVE_ICONV) builtin_add(l, "_HAVE_", "", "ICONV", "y");
  builtin_add(l, "_HAVE_", "", "DANE", "y");
  builtin_add(l, "_HAVE_", "", "IPV6", "y");
  builtin_add(l, "_HAVE_", "", "TCP_FASTOPEN", "y");
  builtin_add(l, "_HAVE_", "", "SOCKS", "y");
  builtin_add(l, "_HAVE_", "", "SRS", "y");
  builtin_add(l, "_HAVE_", "", "NATIVE_SRS", "y");
  if (CFG_EXPERIMENTAL_DSN_INFO) builtin_add(l, "_HAVE_", "", "DSN_INFO", "y");
  builtin_add(l, "_CRYPTO_HASH_", "", "SHA3", "y");
  if (build_info()->have_pipe_connect) {
    builtin_add(l, "_HAVE_", "", "PIPE_CONNECT", "y");
    builtin_add(l, "_EXP_", "", "PIPE_CONNECT", "y");
  }
}

/* _HAVE_MALWARE_FPROTD for "f-protd". */
static void builtin_scanners(struct builtin_list *l) {
  const char *name;
  for (size_t i = 0; CFG_WITH_CONTENT_SCAN && (name = scan_malware_type_name(i)); i++) {
    struct strbuf b = strbuf_new(l->a);
    for (; *name; name++)
      if (*name != '-') strbuf_addc(&b, *name);
    builtin_add(l, "_HAVE_MALWARE_", "", b.p, "y");
  }
}

/* The words of ACLs, the kinds of lookups, the formats of appendfile. */
static void builtin_words(struct builtin_list *l) {
  const char *name;
  bool is_modifier;
  for (size_t i = 0; (name = acl_word(i, &is_modifier)); i++) builtin_add(l, is_modifier ? "_ACL_MOD_" : "_ACL_COND_", "", name, "y");
  for (size_t i = 0; lookup_drivers[i]; i++)
    if (strncmp(lookup_drivers[i]->name, "testdb", 6) != 0) builtin_add(l, "_HAVE_LOOKUP_", "", lookup_drivers[i]->name, "y");
  static const char *const formats[] = {"maildir", "mailstore", "mbx"};
  for (size_t t = 0; transport_drivers[t]; t++)
    for (size_t i = 0; strcmp(transport_drivers[t]->name, "appendfile") == 0 && i < ARRAY_SIZE(formats); i++) {
      const struct option *o = opt_find(transport_drivers[t]->options, transport_drivers[t]->option_count,
                                        str_c(arena_printf(l->a, "%s_format", formats[i])));
      if (o && (o->flags & OPT_BUILT)) builtin_add(l, "_HAVE_TRANSPORT_APPEND_", "", formats[i], "y");
    }
}

/* Manual 43.17: a text for each value of $tls_*_resumption, for listextract. */
static const char resume_decode[] =
  "not requested or offered : 0x02 :client requested, no server ticket: 0x04 : 0x05 : 0x06 :client offered session, no server action"
  ": 0x08 :no client request: 0x0A :client requested new ticket, server provided: 0x0C :client offered session, not used"
  ": 0x0E :client offered session, server only provided new ticket: 0x10 :session resumed unasked: 0x12 :session resumed unasked"
  ": 0x14 : 0x15 : 0x16 :session resumed: 0x18 :session resumed unasked: 0x1A :session resumed unasked: 0x1C :session resumed"
  ": 0x1E :session resumed, also new ticket";

/* Predefined macros (_HAVE_, _DRIVER_, _OPT_, _LOG_, _EXP_ ...), linked list in the arena. */
static struct macro *readconf_builtin_macros(struct arena *a) {
  struct builtin_list l = {.a = a};
  l.tail = &l.first;
  for (int i = 0; i < LS_COUNT; i++) builtin_add(&l, "_LOG_", "", log_selector_name(i), "y");
  builtin_add(&l, "_LOG_", "", "ALL", "y");
  builtin_drivers(&l);
  builtin_options(&l, "_OPT_AUTHENTICATORS_", "", auth_option_table, auth_option_count);
  builtin_options(&l, "_OPT_TRANSPORTS_", "", transport_option_table, transport_option_count);
  builtin_options(&l, "_OPT_ROUTERS_", "", router_option_table, router_option_count);
  builtin_options(&l, "_OPT_MAIN_", "", main_option_table, main_option_count);
  builtin_features(&l);
  builtin_words(&l);
  builtin_scanners(&l);
  if (option_is_built("acl_smtp_dkim")) {
    builtin_add(&l, "", "", "_CRYPTO_SIGN_ED25519", "y");
    builtin_add(&l, "", "", "_DKIM_OVERSIGN_HEADERS", DKIM_OVERSIGN_HEADERS);
    builtin_add(&l, "", "", "_DKIM_SIGN_HEADERS", DKIM_SIGN_HEADERS);
  }
  if (option_is_built("tls_resumption_hosts")) builtin_add(&l, "", "", "_RESUME_DECODE", resume_decode);
  return l.first;
}

static void append(struct readconf *r, const struct macro *m, bool from_command_line) {
  struct macro *copy = ARENA_NEW(r->a, struct macro);
  *copy = *m;
  copy->next = NULL;
  copy->from_command_line = from_command_line;
  *r->macro_tail = copy;
  r->macro_tail = &copy->next;
}

/* The command line's list has the newest first; they apply in the order given. */
static void append_command_line(struct readconf *r, const struct macro *m) {
  if (!m) return;
  append_command_line(r, m->next);
  append(r, m, true);
}

void rc_macros_init(struct readconf *r) {
  r->cfg->macros = readconf_builtin_macros(r->a);
  r->macro_tail = &r->cfg->macros;
  for (struct macro *m = r->cfg->macros; m; m = m->next) {
    tree_insert(&r->builtins, r->a, m->name, NULL)->data = m;
    r->macro_tail = &m->next;
    r->cfg->last_builtin_macro = m;
  }
  append_command_line(r, r->opts->cmd_macros);
}

bool readconf_macro_is_whitelisted(const struct macro *m) {
  struct str rest = str_c(build_info()->whitelist_d_macros);
  bool listed = false;
  while (rest.n && !listed) listed = str_eq_c(str_trim(str_cut(&rest, ':')), m->name);
  for (const char *s = m->value; listed && *s; s++)
    if (!ch_isalnum(*s) && !strchr("_/.-", *s)) return false;
  return listed;
}

static bool is_name_char(char c) {
  return ch_isalnum(c) || c == '_';
}

size_t rc_macro_def_len(const char *line) {
  size_t n = 0, k;
  if (!ch_isupper(*line)) return 0;
  while (is_name_char(line[n])) n++;
  for (k = n; ch_isblank(line[k]); k++) {}
  return line[k] == '=' ? n : 0;
}

/* The longest predefined macro at the start of s, or NULL. */
static struct macro *builtin_at(struct readconf *r, const char *s) {
  char name[128];
  size_t n = 0;
  while (is_name_char(s[n]) && n < sizeof(name) - 1) n++;
  memcpy(name, s, n);
  for (; n > 2; n--) {
    name[n] = 0;
    struct tree_node *t = tree_find(&r->builtins, name);
    if (t) return t->data;
  }
  return NULL;
}

static const char *replace_builtins(struct readconf *r, const char *text, size_t from, bool *ret_any) {
  struct strbuf b = {0};
  const char *done = text;
  for (const char *s = text + from; (s = strchr(s, '_')) != NULL;) {
    struct macro *m = ch_isupper(s[1]) ? builtin_at(r, s) : NULL;
    if (!m) {
      s++;
      continue;
    }
    if (!b.a) b = strbuf_new(r->a);
    strbuf_add(&b, done, (size_t)(s - done));
    strbuf_adds(&b, m->value);
    m->used = true;
    *ret_any = true;
    done = s += strlen(m->name);
  }
  if (!b.a) return text;
  strbuf_adds(&b, done);
  return b.p;
}

static const char *replace_one(struct readconf *r, const char *text, size_t from, struct macro *m, bool *ret_any) {
  const char *s = strstr(text + from, m->name);
  if (!s) return text;
  struct strbuf b = strbuf_new(r->a);
  const char *done = text;
  for (; s; s = strstr(done, m->name)) {
    strbuf_add(&b, done, (size_t)(s - done));
    strbuf_adds(&b, m->value);
    done = s + strlen(m->name);
  }
  strbuf_adds(&b, done);
  m->used = true;
  *ret_any = true;
  return b.p;
}

const char *rc_macros_replace(struct readconf *r, const char *text, size_t from, bool *ret_any) {
  text = replace_builtins(r, text, from, ret_any);
  for (struct macro *m = r->cfg->last_builtin_macro->next; m; m = m->next)
    if ((text = replace_one(r, text, from, m, ret_any))[0] && strlen(text) > RC_MAX_LINE_BYTES) {
      rc_fail(r, "line too long after macro replacement");
      return "";
    }
  return text;
}

bool rc_macro_define(struct readconf *r, const char *line) {
  size_t n = rc_macro_def_len(line);
  if (!n) return rc_fail(r, "malformed macro definition");
  if (n > RC_MAX_MACRO_NAME) return rc_fail(r, "macro name too long (maximum is %d characters)", RC_MAX_MACRO_NAME);
  const char *name = str_dup(r->a, str_n(line, n));
  const char *p = strchr(line + n, '=') + 1;
  bool redefine = *p == '=';
  if (redefine) p++;
  const char *value = str_dup(r->a, str_trim(str_c(p)));
  for (struct macro *m = r->cfg->macros; m; m = m->next) {
    if (m->builtin) continue;
    if (strcmp(m->name, name) == 0) {
      if (m->from_command_line) return true;
      if (!redefine) return rc_fail_plain(r, "macro \"%s\" is already defined (use \"==\" if you want to redefine it)", name);
      m->value = value;
      return true;
    }
    if (strstr(name, m->name))
      return rc_fail_plain(r, "\"%s\" cannot be defined as a macro because previously defined macro \"%s\" is a substring",
                           name, m->name);
  }
  if (redefine) return rc_fail_plain(r, "can't redefine an undefined macro \"%s\"", name);
  append(r, &(struct macro){.name = name, .value = value}, false);
  return true;
}

/* ---- Outside a file (-be) ---- */

bool readconf_is_macro_definition(const char *line) {
  return rc_macro_def_len(line) > 0;
}

/* Predefined macros are all named _X... */
static bool may_name_builtin(const char *text) {
  for (; (text = strchr(text, '_')) != NULL; text++)
    if (ch_isupper(text[1])) return true;
  return false;
}

/* A reader with no file, on the macros of a finished configuration.  text: what will be looked at; the predefined macros are indexed only
 * when it could name one. */
static void reader_on(struct readconf *r, struct config *c, struct arena *a, const char *text) {
  bool want_builtins = may_name_builtin(text);
  *r = (struct readconf){.a = a, .cfg = c, .last_name = "command line"};
  r->macro_tail = &c->macros;
  for (struct macro *m = want_builtins ? c->macros : c->last_builtin_macro; m; m = m->next) {
    if (m->builtin && want_builtins) tree_insert(&r->builtins, a, m->name, NULL)->data = m;
    r->macro_tail = &m->next;
  }
}

const char *readconf_define_macro(struct config *c, const char *line, const char **ret_error) {
  struct readconf r;
  reader_on(&r, c, c->arena, line);
  if (!rc_macro_define(&r, line)) {
    *ret_error = r.error;
    return NULL;
  }
  return str_dup(c->arena, str_n(line, rc_macro_def_len(line)));
}

const char *readconf_replace_macros(struct config *c, struct arena *a, const char *text) {
  struct readconf r;
  bool any = false;
  if (!c->last_builtin_macro->next && !may_name_builtin(text)) return text;
  reader_on(&r, c, a, text);
  return rc_macros_replace(&r, text, 0, &any);
}
