/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exim -bt --plan: what a delivery to each host would say first, and how many round trips it would take.  Floor: drivers.
 *
 * Nothing is sent; names are looked up and options expanded as for a delivery.  Round trips are counted from the SYN to the reply to the end of
 * the message, with one group of recipients.  doc/experimental-spec.txt. */
#include "transports/smtp_plan.h"

#include "base/timeutil.h"
#include "os/tls.h"
#include "transports/smtp_priv.h"
#include "transports/smtp_probe.h"

static const struct {
  uint16_t bit;
  const char *name;
} names[] = {
  {EHLO_TLS, "STARTTLS"}, {EHLO_PIPELINING, "PIPELINING"}, {EHLO_PIPE_CONNECT, "PIPECONNECT"}, {EHLO_CHUNKING, "CHUNKING"}, {EHLO_SIZE, "SIZE"},
  {EHLO_DSN, "DSN"},      {EHLO_SMTPUTF8, "SMTPUTF8"},     {EHLO_PRDR, "PRDR"},               {EHLO_IGNOREQUOTA, "IGNOREQUOTA"}, {EHLO_TLSFLIGHT, "XTLSFLIGHT"},
};

static void add_features(struct strbuf *b, const char *layer, uint16_t features) {
  if (!features) return;
  strbuf_addf(b, "\n      %s:", layer);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (features & names[i].bit) strbuf_addf(b, " %s", names[i].name);
}

static void add_record(struct strbuf *b, const struct pipe_plan *p) {
  char age[64];
  const struct hints_ehlo *r = &p->stored;
  int64_t now = time_sec();
  if (!p->record.n) {
    strbuf_adds(b, "    remembered: nothing\n");
    return;
  }
  strbuf_addf(b, "    remembered, %s ago:", time_format_interval(now - r->stamp, age, sizeof age));
  add_features(b, "in clear", r->clear_features);
  add_features(b, "in TLS", r->crypted_features);
  if (r->fail_count) strbuf_addf(b, "\n      failed early attempts: %u", r->fail_count);
  if (r->suspend_until > now) strbuf_addf(b, "\n      suspended for %s", time_format_interval(r->suspend_until - now, age, sizeof age));
  if (p->is_on_probation && r->suspend_until <= now) strbuf_adds(b, "\n      on probation: it has cost a connection not long ago");
  if (r->rtt_us) strbuf_addf(b, "\n      round trip: %u.%u ms", r->rtt_us / 1000, r->rtt_us % 1000 / 100);
  strbuf_adds(b, "\n");
}

/* What is known or hoped of the layer on which the message goes. */
static struct ehlo_facts facts_of_mail(const struct smtp_attempt *s) {
  const struct hints_ehlo *r = &s->plan.stored;
  bool crypted = s->is_smtps || (!s->avoid_tls && (r->clear_features & EHLO_TLS));
  uint16_t features = crypted ? r->crypted_features : r->clear_features;
  return (struct ehlo_facts){.features = features ? features : EHLO_PIPELINING};
}

/* Authentication on one layer: what the record says may be offered there, or anything when there is no record of it. */
struct auth_plan {
  bool is_used;
  bool is_foretold; /* its first line is known before the EHLO reply and may leave with EHLO */
  bool is_single;   /* it takes one step */
  bool is_open;     /* MAIL may stand behind it */
};

static struct auth_plan plan_auth(struct smtp_attempt *s, bool in_tls) {
  const struct hints_ehlo *r = &s->plan.stored;
  struct auth_plan p = {0};
  const char *line;
  bool single;
  bool is_known = in_tls ? r->crypted_features != 0 : r->clear_features != 0;
  uint16_t offered = !is_known ? UINT16_MAX : in_tls ? r->crypted_auths : r->clear_auths;
  if (!smtp_auth_is_wanted(s) || !smtp_auth_first(s, offered, &line, &single)) return p;
  return (struct auth_plan){.is_used = true, .is_foretold = line && (in_tls || s->avoid_tls), .is_single = single,
                            .is_open = single && smtp_may_pipe_auth(s, in_tls)};
}

/* The group as it would be written; *ret_body: the message is in it. */
static const char *group(struct smtp_attempt *s, bool in_tls, bool *ret_body) {
  bool wanted = smtp_auth_is_wanted(s);
  struct auth_plan auth = plan_auth(s, in_tls);
  *ret_body = false;
  if (wanted && !auth.is_foretold) return "EHLO";
  if (wanted && !auth.is_open) return "EHLO AUTH";
  s->facts = facts_of_mail(s);
  *ret_body = !wanted && smtp_use_chunking(s) && smtp_host_listed(s, "hosts_pipe_connect_body", s->ob->hosts_pipe_connect_body) &&
              (s->plan.stored.flags & HINTS_EHLO_CONFIRMED_CHUNKING) && (in_tls || s->avoid_tls);
  const char *end = *ret_body ? " BDAT (when small and harmless)" : smtp_use_chunking(s) ? "" : " DATA";
  return arena_printf_t(s->a, UNTAINTED, "EHLO%s MAIL RCPT%s", wanted ? " AUTH" : "", end);
}

/* A ClientHello behind an early STARTTLS. */
static bool hello_flies(struct smtp_attempt *s) {
  return s->plan.use && s->plan.starttls && (s->plan.clear.features & EHLO_TLSFLIGHT) &&
         smtp_host_listed(s, "starttls_pipeline_hosts", s->ob->starttls_pipeline_hosts);
}

/* Round trips: of the row that fits in doc/experimental-spec.txt section 10. */
static int round_trips(struct smtp_attempt *s, bool starttls, bool body) {
  bool use = s->plan.use, wanted = smtp_auth_is_wanted(s), in_tls = starttls || s->is_smtps;
  bool inside = use && (s->is_smtps || !starttls || s->plan.use_crypted);
  struct auth_plan auth = plan_auth(s, in_tls);
  bool alone = inside && wanted && !auth.is_foretold; /* EHLO: what is wanted of the server is not known, or not to be said in clear */
  s->facts = facts_of_mail(s);
  int n = 3; /* SYN, commands, message */
  if (in_tls) n += 1;                     /* handshake, TLS 1.3 */
  if (starttls) n += use ? 1 : 3;         /* greeting, EHLO, STARTTLS */
  if (!inside) n += starttls ? 1 : 2;     /* greeting, EHLO */
  if (hello_flies(s)) n--;
  if (alone) n++;
  if (auth.is_used && !auth.is_open) n++;
  bool in_flight = auth.is_used ? auth.is_open : inside && !alone;
  if (!in_flight && smtp_use_chunking(s)) n--; /* the chunk goes with the envelope: no 354 to wait for */
  if (body) n--;
  return n;
}

static void add_host(struct strbuf *b, struct smtp_attempt *s) {
  bool body = false;
  bool starttls = !s->is_smtps && !s->avoid_tls && (s->plan.stored.clear_features & EHLO_TLS);
  strbuf_addf(b, "  plan for %s [%s]:%d\n", s->host->name, s->host->address, s->port);
  add_record(b, &s->plan);
  if (!s->plan.use) {
    strbuf_addf(b, "    first flight: none, %s\n", pipe_refusal_text(s->plan.why_not));
  } else if (s->is_smtps) {
    strbuf_addf(b, "    first flight: behind the handshake: %s\n", group(s, true, &body));
  } else if (s->plan.starttls) {
    strbuf_addf(b, "    first flight: EHLO STARTTLS%s\n", hello_flies(s) ? " ClientHello" : "");
    if (s->plan.use_crypted) strbuf_addf(b, "    second flight: behind the handshake: %s\n", group(s, true, &body));
  } else {
    strbuf_addf(b, "    first flight: %s\n", group(s, false, &body));
  }
  int n = round_trips(s, starttls, body);
  bool fast = smtp_fastopen_mode(s) != NET_TFO_OFF;
  bool syn_body = !body || s->is_smtps || starttls || smtp_host_listed(s, "hosts_try_fastopen_body", s->ob->hosts_try_fastopen_body);
  strbuf_addf(b, "    round trips expected: %d%s", n, s->plan.record.n || s->plan.use ? "" : " (with PIPELINING and no TLS)");
  if (fast && syn_body) strbuf_addf(b, ", %d with Fast Open", n - 1);
  struct auth_plan auth = plan_auth(s, starttls || s->is_smtps);
  if (auth.is_used && !auth.is_single) strbuf_adds(b, " and more when AUTH takes more than one step");
  strbuf_adds(b, "\n");
}

const char *smtp_plan_text(struct expand_ctx *ctx, struct transport *t, struct address *addr) {
  struct expand_ctx own = *ctx, *x = &own;
  struct strbuf b = strbuf_new(x->a);
  const char *error = NULL;
  int port = 0;
  if (!smtp_probe_possible(t)) return "";
  struct host *list = smtp_probe_host_list(x, t, addr, &port, &error);
  for (struct host *h = list; h; h = h->next) {
    if (!h->address && !smtp_probe_find(x, t, addr, h, &error)) {
      strbuf_addf(&b, "  plan for %s: %s\n", h->name, error ? error : "no address");
      continue;
    }
    struct smtp_attempt *s = smtp_plan_attempt(x, t, addr, h, h->port ? h->port : port, &error);
    if (s) add_host(&b, s);
    else strbuf_addf(&b, "  plan for %s [%s]: %s\n", h->name, h->address, error ? error : "it would not be connected to");
  }
  if (!list) strbuf_addf(&b, "  no plan: %s\n", error ? error : "no hosts");
  return b.p;
}
