/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fakens.c - answers DNS questions from zone files, for the test cases.
 *
 *   fakens <dir> <name> <TYPE>
 *
 * The program under test, in harness mode, runs this instead of asking a
 * resolver. The zones are <dir>/dnszones/db.*; the raw answer message goes to
 * stdout, also for "not found" and "no data" (it then carries the SOA). Exit:
 * 0 found, 1 host not found, 2 try again, 3 no recovery, 4 no data, 5 ask the
 * real resolver. The zone file format stands in test/README. Test tool, no
 * floor; zone files are trusted, the name is not and is bounded (RFC 1035).
 * Memory is left to the end of the process.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum result {
  FOUND = 0,
  HOST_NOT_FOUND = 1,
  TRY_AGAIN = 2,
  NO_RECOVERY = 3,
  NO_DATA = 4,
  PASS_ON = 5,
};

enum { NAME_MAX_LEN = 256, MESSAGE_MAX = 128 * 1024, HEADER_LEN = 12, DEFAULT_TTL_S = 3600 };
enum { MANY_FIRST_THIRD = 104, MANY_COUNT = 2048 };

struct rr_type {
  const char *name;
  uint16_t code;
};

static const struct rr_type rr_types[] = {
  { "A", 1 },    { "NS", 2 },   { "CNAME", 5 }, { "SOA", 6 },   { "PTR", 12 },
  { "MX", 15 },  { "TXT", 16 }, { "AAAA", 28 }, { "SRV", 33 },  { "TLSA", 52 },
};
enum { TYPE_NS = 2, TYPE_CNAME = 5, TYPE_SOA = 6 };

struct zone {
  char *domain;
  char *path;
};

struct message {
  size_t len;
  bool is_overfull;
  unsigned char bytes[MESSAGE_MAX];
};

/* What one pass over a zone file found. */
struct search {
  const char *domain; /* the question, lower case */
  const struct rr_type *type;
  const char *zone;
  unsigned count;
  bool is_name_seen;
  bool is_type_seen;
  bool all_secure;
  bool all_authoritative;
  bool want_pass_on;
};

/* One record of a zone file, still as text. */
struct record {
  char name[NAME_MAX_LEN]; /* absolute, without the last dot; "*rest" for a wildcard */
  const char *type_name;
  char *data;
  bool is_secure;
  bool is_authoritative;
  bool is_hidden; /* NXDOMAIN: the name exists, the record is not handed out */
  unsigned delay_ms;
  uint32_t ttl_s;
};

static struct message message;

static void __attribute__((noreturn))
leave(enum result r) {
  fflush(stdout);
  _exit(r);
}

static void
sleep_ms(unsigned ms) {
  struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L };
  while (nanosleep(&t, &t) < 0 && errno == EINTR)
    continue;
}

/* ---- building the message ---- */

static void
put_bytes(const void *p, size_t n) {
  if (n > MESSAGE_MAX - message.len) {
    message.is_overfull = true;
    return;
  }
  memcpy(message.bytes + message.len, p, n);
  message.len += n;
}

static void
put_u8(unsigned v) {
  unsigned char b = (unsigned char)v;
  put_bytes(&b, 1);
}

static void
put_u16(unsigned v) {
  put_u8(v >> 8);
  put_u8(v & 0xff);
}

static void
put_u32(uint32_t v) {
  put_u16(v >> 16);
  put_u16(v & 0xffff);
}

/* A domain name in wire form; a backslash takes the next character as it is. */
static void
put_name(const char *name) {
  while (*name != '\0') {
    char label[64];
    size_t n = 0;
    while (*name != '\0' && *name != '.') {
      if (*name == '\\' && name[1] != '\0')
        name++;
      if (n < sizeof label - 1)
        label[n++] = *name;
      name++;
    }
    if (n > 0) {
      put_u8((unsigned)n);
      put_bytes(label, n);
    }
    if (*name == '.')
      name++;
  }
  put_u8(0);
}

/* ---- record data ---- */

static char *
next_word(char **at) {
  char *p = *at;
  while (isspace((unsigned char)*p))
    p++;
  char *word = p;
  while (*p != '\0' && !isspace((unsigned char)*p))
    p++;
  if (*p != '\0')
    *p++ = '\0';
  *at = p;
  return word;
}

static unsigned long
next_number(char **at) {
  return strtoul(next_word(at), NULL, 10);
}

static void
put_zone_name(const char *name, const char *zone) {
  char full[2 * NAME_MAX_LEN];
  size_t n = strlen(name);
  if (n > 0 && name[n - 1] == '.')
    snprintf(full, sizeof full, "%.*s", (int)(n - 1), name);
  else
    snprintf(full, sizeof full, "%s.%s", name, zone);
  put_name(full);
}

static void
put_address(char **at, int family) {
  unsigned char a[16];
  const char *word = next_word(at);
  if (inet_pton(family, word, a) != 1) {
    fprintf(stderr, "fakens: bad address \"%s\"\n", word);
    leave(NO_RECOVERY);
  }
  put_bytes(a, family == AF_INET ? 4 : 16);
}

/* Without quotes: all that stands there, one character-string. */
static void
put_plain_text(const char *p) {
  while (isspace((unsigned char)*p))
    p++;
  size_t n = strlen(p);
  while (n > 0 && isspace((unsigned char)p[n - 1]))
    n--;
  if (n > 255)
    n = 255;
  put_u8((unsigned)n);
  put_bytes(p, n);
}

/* Quoted chunks, each a character-string. */
static void
put_text(char *p) {
  if (strchr(p, '"') == NULL)
    put_plain_text(p);
  while ((p = strchr(p, '"')) != NULL) {
    char chunk[256];
    size_t n = 0;
    for (p++; *p != '\0' && *p != '"'; p++) {
      if (*p == '\\' && (p[1] == '"' || p[1] == '\\')) /* any other backslash is text: zones of the suite count on it */
        p++;
      if (n < 255)
        chunk[n++] = *p;
    }
    put_u8((unsigned)n);
    put_bytes(chunk, n);
    if (*p == '"')
      p++;
  }
}

static void
put_hex(const char *p) {
  unsigned v;
  for (; sscanf(p, "%2x", &v) == 1 && p[1] != '\0'; p += 2)
    put_u8(v);
}

static void
put_data(uint16_t type, char *data, const char *zone) {
  switch (type) {
  case 1: put_address(&data, AF_INET); break;
  case 28: put_address(&data, AF_INET6); break;
  case 33:
    put_u16((unsigned)next_number(&data));
    put_u16((unsigned)next_number(&data));
    __attribute__((fallthrough));
  case 15:
    put_u16((unsigned)next_number(&data));
    __attribute__((fallthrough));
  case 2:
  case 5:
  case 12: put_zone_name(next_word(&data), zone); break;
  case 16: put_text(data); break;
  case 52:
    for (int i = 0; i < 3; i++)
      put_u8((unsigned)next_number(&data));
    put_hex(next_word(&data));
    break;
  case 6:
    put_zone_name(next_word(&data), zone);
    put_zone_name(next_word(&data), zone);
    for (int i = 0; i < 5; i++)
      put_u32((uint32_t)next_number(&data));
    break;
  default: break;
  }
}

static void
put_record(const char *owner, uint16_t type, uint32_t ttl_s, char *data, const char *zone) {
  put_name(owner);
  put_u16(type);
  put_u16(1);
  put_u32(ttl_s);
  size_t at = message.len;
  put_u16(0);
  put_data(type, data, zone);
  if (message.is_overfull)
    return;
  size_t n = message.len - at - 2;
  message.bytes[at] = (unsigned char)(n >> 8);
  message.bytes[at + 1] = (unsigned char)(n & 0xff);
}

/* ---- zone files ---- */

static const struct rr_type *
type_by_name(const char *name) {
  for (size_t i = 0; i < sizeof rr_types / sizeof rr_types[0]; i++)
    if (strcasecmp(rr_types[i].name, name) == 0)
      return &rr_types[i];
  return NULL;
}

/* Reads the words in front of the name. Returns where the name (or blank) starts. */
static char *
read_prefixes(char *p, struct record *r) {
  r->is_secure = r->is_authoritative = r->is_hidden = false;
  r->delay_ms = 0;
  r->ttl_s = DEFAULT_TTL_S;
  for (;;) {
    if (strncmp(p, "DNSSEC ", 7) == 0)
      r->is_secure = true, p += 7;
    else if (strncmp(p, "NXDOMAIN ", 9) == 0)
      r->is_hidden = true, p += 9;
    else if (strncmp(p, "AA ", 3) == 0)
      r->is_authoritative = true, p += 3;
    else if (strncmp(p, "DELAY=", 6) == 0)
      r->delay_ms = (unsigned)strtoul(p + 6, &p, 10), p += *p == ' ';
    else if (strncmp(p, "TTL=", 4) == 0)
      r->ttl_s = (uint32_t)strtoul(p + 4, &p, 10), p += *p == ' ';
    else
      return p;
  }
}

/* Takes one line apart; the name of the record before is kept when the line has none. */
static bool
read_record(char *line, const char *zone, struct record *r) {
  char *p = read_prefixes(line, r);
  if (!isspace((unsigned char)*p)) {
    const char *name = next_word(&p);
    size_t n = strlen(name);
    if (n > 0 && name[n - 1] == '.')
      snprintf(r->name, sizeof r->name, "%.*s", (int)(n - 1), name);
    else if ((size_t)snprintf(r->name, sizeof r->name, "%s.%s", name, zone) >= sizeof r->name)
      return false;
  }
  r->type_name = next_word(&p);
  while (isspace((unsigned char)*p))
    p++;
  r->data = p;
  return r->name[0] != '\0' && r->type_name[0] != '\0';
}

static bool
is_name_match(const char *pattern, const char *domain) {
  if (pattern[0] != '*')
    return strcasecmp(pattern, domain) == 0;
  size_t n = strlen(++pattern), m = strlen(domain);
  return m <= n || strcasecmp(domain + m - n, pattern) == 0;
}

static void
take_record(struct search *q, struct record *r) {
  if (!is_name_match(r->name, q->domain))
    return;
  q->is_name_seen = true;
  const struct rr_type *type = type_by_name(r->type_name);
  if (type == NULL || (type != q->type && type->code != TYPE_CNAME))
    return;
  q->all_secure = q->all_secure && r->is_secure;
  q->all_authoritative = q->all_authoritative && r->is_authoritative;
  q->is_type_seen = true;
  if (r->delay_ms > 0)
    sleep_ms(r->delay_ms);
  if (r->is_hidden)
    return;
  put_record(r->name[0] == '*' ? q->domain : r->name, type->code, r->ttl_s, r->data, q->zone);
  q->count++;
}

static enum result
search_zone(struct search *q, const struct zone *z) {
  FILE *f = fopen(z->path, "r");
  char *line = NULL;
  size_t size = 0;
  static struct record r;
  if (f == NULL) {
    fprintf(stderr, "fakens: %s: %s\n", z->path, strerror(errno));
    return NO_RECOVERY;
  }
  memset(&r, 0, sizeof r);
  q->zone = z->domain;
  q->all_secure = q->all_authoritative = true;
  while (getline(&line, &size, f) >= 0) {
    char *p = line + strspn(line, " \t\r\n");
    if (*p == '\0' || *p == ';')
      continue;
    if (strncmp(p, "PASS ON NOT FOUND", 17) == 0)
      q->want_pass_on = true;
    else if (read_record(line, z->domain, &r))
      take_record(q, &r);
  }
  fclose(f);
  free(line);
  if (!q->is_type_seen)
    q->all_secure = q->all_authoritative = false;
  if (q->count > 0)
    return FOUND;
  if (q->is_name_seen)
    return NO_DATA;
  return q->want_pass_on ? PASS_ON : HOST_NOT_FOUND;
}

static char *
zone_domain(const char *suffix) {
  char *d;
  int rc;
  if (strncmp(suffix, "ip4.", 4) == 0)
    rc = asprintf(&d, "%s.in-addr.arpa", suffix + 4);
  else if (strncmp(suffix, "ip6.", 4) == 0)
    rc = asprintf(&d, "%s.ip6.arpa", suffix + 4);
  else
    rc = asprintf(&d, "%s", suffix);
  if (rc < 0)
    abort();
  return d;
}

static bool
is_in_zone(const char *domain, const char *zone) {
  size_t n = strlen(domain), m = strlen(zone);
  if (m > n || strcasecmp(domain + n - m, zone) != 0)
    return false;
  return m == n || domain[n - m - 1] == '.';
}

/* Looks through the directory: the longest zone for the name, and the qualifying domain. */
static void
scan_zones(const char *dir, char *domain, size_t domain_size, struct zone *ret) {
  char path[4096];
  char qualify[NAME_MAX_LEN] = "";
  struct dirent *e;
  snprintf(path, sizeof path, "%s/dnszones", dir);
  DIR *d = opendir(path);
  if (d == NULL) {
    fprintf(stderr, "fakens: %s: %s\n", path, strerror(errno));
    leave(NO_RECOVERY);
  }
  while ((e = readdir(d)) != NULL)
    if (strncmp(e->d_name, "qualify.", 8) == 0)
      snprintf(qualify, sizeof qualify, "%s", e->d_name + 8);
  if (qualify[0] != '\0' && strchr(domain, '.') == NULL && strcmp(domain, "dontqualify") != 0) {
    size_t n = strlen(domain);
    snprintf(domain + n, domain_size - n, ".%s", qualify);
  }
  rewinddir(d);
  while ((e = readdir(d)) != NULL) {
    if (strncmp(e->d_name, "db.", 3) != 0)
      continue;
    char *zone = zone_domain(e->d_name + 3);
    bool is_better = is_in_zone(domain, zone) && (ret->domain == NULL || strlen(zone) > strlen(ret->domain));
    if (!is_better) {
      free(zone);
      continue;
    }
    ret->domain = zone;
    if (asprintf(&ret->path, "%s/%s", path, e->d_name) < 0)
      abort();
  }
  closedir(d);
}

/* ---- special names ---- */

static bool
ends_with(const char *s, const char *tail) {
  size_t n = strlen(s), m = strlen(tail);
  return n >= m && strcmp(s + n - m, tail) == 0;
}

static void
finish_header(unsigned answers, unsigned authorities, bool is_secure, bool is_authoritative) {
  unsigned flags = 0x8000u | (is_authoritative ? 0x0400u : 0) | (is_secure ? 0x0020u : 0);
  unsigned char *h = message.bytes;
  memset(h, 0, HEADER_LEN);
  h[2] = (unsigned char)(flags >> 8);
  h[3] = (unsigned char)(flags & 0xff);
  h[6] = (unsigned char)(answers >> 8);
  h[7] = (unsigned char)(answers & 0xff);
  h[9] = (unsigned char)authorities;
}

static void __attribute__((noreturn))
send_message(enum result r) {
  if (message.is_overfull)
    leave(NO_RECOVERY);
  fwrite(message.bytes, 1, message.len, stdout);
  leave(r);
}

static void
answer_special_names(const char *domain, const struct rr_type *type) {
  if (strcmp(domain, "manyhome.test.ex") == 0 && type->code == 1) {
    for (unsigned i = 0; i < MANY_COUNT; i++) {
      char data[32];
      snprintf(data, sizeof data, "10.250.%u.%u", MANY_FIRST_THIRD + i / 256, i % 256);
      put_record(domain, 1, DEFAULT_TTL_S, data, "");
    }
    finish_header(MANY_COUNT, 0, false, false);
    send_message(FOUND);
  }
  if (ends_with(domain, "test.again.dns")) {
    sleep_ms(1000 * (unsigned)strtoul(domain, NULL, 10));
    leave(TRY_AGAIN);
  }
  if (ends_with(domain, "test.fail.dns"))
    leave(NO_RECOVERY);
}

static void
lower_copy(char *out, size_t size, const char *in) {
  size_t n = 0;
  for (; *in != '\0' && n + 1 < size; in++)
    out[n++] = (char)tolower((unsigned char)*in);
  if (n > 0 && out[n - 1] == '.')
    n--;
  out[n] = '\0';
}

int
main(int argc, char **argv) {
  char domain[2 * NAME_MAX_LEN];
  struct zone zone = { NULL, NULL };
  if (argc != 4) {
    fprintf(stderr, "usage: fakens <dir> <name> <TYPE>\n");
    leave(NO_RECOVERY);
  }
  const struct rr_type *type = type_by_name(argv[3]);
  if (type == NULL) {
    fprintf(stderr, "fakens: unknown record type %s\n", argv[3]);
    leave(NO_RECOVERY);
  }
  if (strlen(argv[2]) >= NAME_MAX_LEN)
    leave(NO_RECOVERY);
  lower_copy(domain, sizeof domain, argv[2]);
  message.len = HEADER_LEN;
  answer_special_names(domain, type);
  scan_zones(argv[1], domain, sizeof domain, &zone);
  if (zone.domain == NULL) {
    fprintf(stderr, "fakens: no zone for %s\n", domain);
    leave(PASS_ON);
  }
  struct search answer = { .domain = domain, .type = type };
  enum result r = search_zone(&answer, &zone);
  if (r == NO_RECOVERY || r == PASS_ON)
    leave(r);
  struct search authority = { .domain = zone.domain, .type = type_by_name(answer.count > 0 ? "NS" : "SOA") };
  if (type->code != TYPE_SOA && type->code != TYPE_NS)
    search_zone(&authority, &zone);
  finish_header(answer.count, authority.count, answer.all_secure, answer.all_authoritative);
  send_message(r);
}
