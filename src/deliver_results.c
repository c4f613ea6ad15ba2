/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a delivery process tells its parent: results of a batch as bytes.  Floor: flows.
 *
 * The stream is a sequence of records: one tag byte, the length of the payload (4 bytes, little-endian), the payload.  'A' starts the
 * next address of the batch, 'E' ends the stream; what lies between belongs to the address.  Records with an unknown tag are
 * skipped.  The child may run as another user, so its bytes are hostile: every length is checked against what was read, texts are tainted,
 * and nothing is applied unless the whole stream is well formed and speaks of exactly the addresses of the batch. */
#include "deliver_priv.h"
#include "retry.h"

enum { RESULT_TEXT_MAX = 1 << 16 };

static void put(struct strbuf *b, char tag, const void *p, size_t n) {
  if (n > RESULT_TEXT_MAX) n = RESULT_TEXT_MAX;
  char head[5] = {tag, (char)(n & 255), (char)(n >> 8 & 255), (char)(n >> 16 & 255), (char)(n >> 24 & 255)};
  strbuf_add(b, head, sizeof(head));
  strbuf_add(b, p, n);
}

static void put_text(struct strbuf *b, char tag, const char *s) {
  if (s) put(b, tag, s, strlen(s));
}

static void put_num(struct strbuf *b, char tag, int64_t v) {
  char buf[8];
  for (int i = 0; i < 8; i++) buf[i] = (char)((uint64_t)v >> (8 * i) & 255);
  put(b, tag, buf, sizeof(buf));
}

/* Flags of an address, in the order of the bits. */
#define RESULT_FLAGS(X)                                                                                                    \
  X(dsn_aware) X(timedout) X(hosts_left) X(may_fall_back) X(continued_connection) X(pipelining_used) X(early_pipe_used) X(chunking_used) \
  X(prdr_used) X(new_transaction) X(tfo_used) X(tfo_data_used) X(tls_certificate_verified) X(tls_on) X(tls_dane) X(tls_resumed) X(log_failed_output) X(log_output)       \
  X(pass_message) X(is_misconfigured) X(quota_crossed)

static int64_t flags_pack(const struct address *addr) {
  int64_t v = 0;
  int bit = 0;
#define X(f) v |= (int64_t)addr->f << bit++;
  RESULT_FLAGS(X)
#undef X
  return v;
}

static void flags_unpack(struct address *addr, int64_t v) {
  int bit = 0;
#define X(f) addr->f = v >> bit++ & 1;
  RESULT_FLAGS(X)
#undef X
}

/* Plain texts: tag and field. */
static const struct {
  char tag;
  size_t offset;
} texts[] = {
    {'m', offsetof(struct address, message)},       {'u', offsetof(struct address, user_message)},
    {'g', offsetof(struct address, smtp_greeting)}, {'h', offsetof(struct address, helo_response)},
    {'c', offsetof(struct address, confirmation)},  {'a', offsetof(struct address, auth_name)},
    {'i', offsetof(struct address, auth_id)},       {'s', offsetof(struct address, auth_sndr)},
    {'x', offsetof(struct address, tls_cipher)},    {'d', offsetof(struct address, tls_peerdn)},
    {'v', offsetof(struct address, tls_ver)},       {'l', offsetof(struct address, local_interface)},
    {'w', offsetof(struct address, shadow_message)}, {'p', offsetof(struct address, return_path)},
    {'y', offsetof(struct address, proxy_used)},    {'q', offsetof(struct address, protocol_steps)},
    {'D', offsetof(struct address, dkim_used)},
    {'f', offsetof(struct address, file_used)},     {'Y', offsetof(struct address, sent_as)},
    {'Z', offsetof(struct address, sent_from)},       {'T', offsetof(struct address, other_transport)},
};

static void put_host(struct strbuf *b, const struct host *h) {
  if (!h) return;
  put_text(b, 'H', h->name);
  put_text(b, 'I', h->address);
  put_num(b, 'J', h->port);
  put_num(b, 'K', (h->dnssec ? 1 : 0) | (h->dnssec_used ? 2 : 0));
}

static void put_retries(struct strbuf *b, const struct retry_item *it) {
  for (; it; it = it->next) {
    put_text(b, 'R', it->key);
    put_text(b, 'S', it->message);
    put_num(b, 'F', it->flags);
    put_num(b, 'B', it->basic_errno);
    put_num(b, 'C', it->more_errno);
  }
}

void deliver_results_encode(struct strbuf *out, const struct address *addrs) {
  const char *output = NULL;
  for (const struct address *addr = addrs; addr; addr = addr->next) {
    put_num(out, 'A', addr->result);
    put_num(out, '1', addr->basic_errno);
    put_num(out, '2', addr->more_errno);
    put_num(out, '3', addr->special_action);
    put_num(out, '4', addr->delivery_usec);
    put_num(out, '5', addr->delivered_size);
    put_num(out, '6', addr->return_file_when);
    put_num(out, '7', flags_pack(addr));
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
      put_text(out, texts[i].tag, *(const char *const *)((const char *)addr + texts[i].offset));
    /* The output of a command, or a mark that it is the one of the address before. */
    if (addr->return_output && addr->return_output == output) put(out, '=', "", 0);
    else put_text(out, 'o', addr->return_output);
    output = addr->return_output;
    put_host(out, addr->host_used);
    put_retries(out, addr->retries);
  }
  put(out, 'E', "", 0);
}

enum { ANSWER_BYTES = 16 << 20, ANSWER_BYTES_EACH = 16 << 10 };

size_t deliver_answer_max(const struct address *addrs) {
  size_t max = ANSWER_BYTES;
  for (; addrs; addrs = addrs->next) max += ANSWER_BYTES_EACH;
  return max;
}

struct record {
  char tag;
  struct str data;
};

static bool next_record(struct str *in, struct record *ret) {
  if (in->n < 5) return false;
  const unsigned char *p = (const unsigned char *)in->p;
  size_t n = (size_t)p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24;
  if (n > RESULT_TEXT_MAX || n > in->n - 5) return false;
  *ret = (struct record){in->p[0], str_n(in->p + 5, n)};
  in->p += 5 + n;
  in->n -= 5 + n;
  return true;
}

static int64_t number_of(struct str s) {
  uint64_t v = 0;
  for (size_t i = 0; i < s.n && i < 8; i++) v |= (uint64_t)(unsigned char)s.p[i] << (8 * i);
  return (int64_t)v;
}

/* First pass: whole, well formed, and as many addresses as asked for? */
static bool stream_is_good(struct str in, size_t count) {
  size_t seen = 0;
  struct record r;
  while (next_record(&in, &r)) {
    if (r.tag == 'E') return in.n == 0 && seen == count;
    bool is_number = ch_isdigit(r.tag) || strchr("AJKFBC", r.tag);
    if (is_number && r.data.n != 8) return false;
    if (memchr(r.data.p, '\0', r.data.n) && !is_number) return false;
    if (r.tag == 'A') {
      int64_t v = number_of(r.data);
      if (v < OUTCOME_OK || v > OUTCOME_DISCARD) return false;
      seen++;
    } else if (seen == 0) {
      return false;
    }
  }
  return false;
}

static void apply_number(struct address *addr, char tag, int64_t v) {
  switch (tag) {
    case '1': addr->basic_errno = (int)v; break;
    case '2': addr->more_errno = (int)v; break;
    case '3': addr->special_action = v == SPECIAL_FREEZE ? SPECIAL_FREEZE : v == SPECIAL_FAIL ? SPECIAL_FAIL
                                     : v == SPECIAL_WARN ? SPECIAL_WARN : SPECIAL_NONE; break;
    case '4': addr->delivery_usec = (int)v; break;
    case '5': addr->delivered_size = v; break;
    case '6': addr->return_file_when = v == ADDR_RETURN_ALWAYS    ? ADDR_RETURN_ALWAYS
                                       : v == ADDR_RETURN_ON_FAIL ? ADDR_RETURN_ON_FAIL : ADDR_RETURN_NONE; break;
    case '7': flags_unpack(addr, v); break;
    default: break;
  }
}

static void apply_host(struct arena *a, struct address *addr, const struct record *r) {
  if (r->tag == 'H') {
    addr->host_used = ARENA_NEW(a, struct host);
    addr->host_used->name = arena_strndup_t(a, r->data.p, r->data.n, TAINTED);
    addr->host_used->mx = -1;
    return;
  }
  struct host *h = addr->host_used;
  if (!h) return;
  if (r->tag == 'I') h->address = arena_strndup_t(a, r->data.p, r->data.n, TAINTED);
  if (r->tag == 'J') h->port = (int)number_of(r->data);
  if (r->tag == 'K') {
    h->dnssec = number_of(r->data) & 1;
    h->dnssec_used = number_of(r->data) >> 1 & 1;
  }
}

/* last: the item made last for this address, or NULL; the new last one is returned. */
static struct retry_item *apply_retry(struct arena *a, struct address *addr, struct retry_item *last, const struct record *r) {
  struct retry_item *it = last;
  if (r->tag == 'R') {
    it = ARENA_NEW(a, struct retry_item);
    it->key = arena_strndup_t(a, r->data.p, r->data.n, TAINTED);
    if (last) last->next = it;
    else addr->retries = it;
    return it;
  }
  if (!it) return NULL;
  if (r->tag == 'S') it->message = arena_strndup_t(a, r->data.p, r->data.n, TAINTED);
  if (r->tag == 'F') it->flags = (unsigned)number_of(r->data);
  if (r->tag == 'B') it->basic_errno = (int)number_of(r->data);
  if (r->tag == 'C') it->more_errno = (int)number_of(r->data);
  return it;
}

bool deliver_results_decode(struct arena *a, struct str in, struct address *addrs) {
  size_t count = 0;
  for (const struct address *p = addrs; p; p = p->next) count++;
  if (!stream_is_good(in, count)) return false;
  struct address *addr = NULL, *next = addrs;
  char *output = NULL;
  struct retry_item *last = NULL;
  struct record r;
  while (next_record(&in, &r) && r.tag != 'E') {
    if (r.tag == 'A') {
      addr = next;
      next = addr->next;
      addr->result = (enum outcome)number_of(r.data);
      addr->retries = last = NULL;
      addr->host_used = NULL;
      addr->return_output = NULL;
      for (size_t i = 0; i < ARRAY_SIZE(texts); i++) *(const char **)((char *)addr + texts[i].offset) = NULL;
    } else if (ch_isdigit(r.tag)) {
      apply_number(addr, r.tag, number_of(r.data));
    } else if (strchr("HIJK", r.tag)) {
      apply_host(a, addr, &r);
    } else if (strchr("RSFBC", r.tag)) {
      last = apply_retry(a, addr, last, &r);
    } else if (r.tag == 'o') {
      addr->return_output = output = arena_strndup_t(a, r.data.p, r.data.n, TAINTED);
    } else if (r.tag == '=') {
      addr->return_output = output;
    } else {
      for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (texts[i].tag == r.tag)
          *(const char **)((char *)addr + texts[i].offset) = arena_strndup_t(a, r.data.p, r.data.n, TAINTED);
    }
  }
  return true;
}
