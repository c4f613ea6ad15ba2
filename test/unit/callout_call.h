/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One callout for a recipient a@x.test, as an ACL would ask for it, with a hints directory of its own. */
#ifndef CALLOUT_CALL_H
#define CALLOUT_CALL_H

#include "smtp_server.h"

#include "hints/callout_cache.h"
#include "policy/acl/acl_priv.h"
#include "verify_callout.h"

struct call {
  struct client c;
  struct verify_opts o;
  struct verify_report r;
};

/* The client is there already. */
static inline void call_prepare(struct call *k, const char *options) {
  k->c.cfg.qualify_domain = "me.test";
  k->c.cfg.o.callout_random_local_part = "nobody-testing";
  k->c.cfg.o.callout_domain_positive_expire = k->c.cfg.o.callout_positive_expire = 1000;
  k->c.cfg.o.callout_domain_negative_expire = k->c.cfg.o.callout_negative_expire = 1000;
  k->c.m->message_size = -1;
  k->o = (struct verify_opts){.what = VERIFY_OF_RECIPIENT};
  assert_null(acl_parse_verify_opts(k->c.a, "", str_c(options), &k->o));
  k->c.d.addrs->transport = &k->c.t;
}

static inline void call_new(struct call *k, const char *options) {
  client_new(&k->c, "", 1);
  call_prepare(k, options);
}

static inline void call_free(struct call *k) {
  static const char *const files[] = {"callout", "callout.lockfile"};
  char name[128];
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    snprintf(name, sizeof name, "%s/db/%s", k->c.spool, files[i]);
    unlink(name);
  }
  client_free(&k->c);
}

static inline enum outcome call(struct call *k) {
  k->r = (struct verify_report){.user = NULL};
  return callout_verify(NULL, &k->c.x, k->c.d.addrs, &k->o, &k->r);
}

#endif
