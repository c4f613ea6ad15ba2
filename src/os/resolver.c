/* SPDX-License-Identifier: GPL-2.0-or-later */
/* DNS transport: one query out, the raw bytes of the answer back.  Floor: os.
 *
 * Backends: the C library's stub resolver (res_nsend: it checks id and question, retries, goes to TCP for truncated answers), the
 * harness's fakens program, and one name server given by a test.  Nothing here looks behind the header of an answer.
 * Answers are copied into the caller's arena, tainted.  The backend chosen is on the list of allowed writable globals. */

#include "os/resolver.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "os/child.h"
#include "os/sys.h"

enum { QUERY_MAX = 600, EDNS_SIZE = 4096, FAKE_WAIT_SEC = 120 };

static struct {
  const char *fake_dir;
  bool have_server;
  struct sockaddr_in server;
} backend;

void resolver_set_fake(const char *conf_dir) { backend.fake_dir = conf_dir; }

void resolver_set_server(const char *addr_port) {
  backend.have_server = false;
  const char *colon = addr_port ? strrchr(addr_port, ':') : NULL;
  char ip[INET_ADDRSTRLEN];
  int port = 53;
  size_t n = addr_port ? (colon ? (size_t)(colon - addr_port) : strlen(addr_port)) : 0;
  if (n == 0 || n >= sizeof ip || (colon && !str_parse_int(str_c(colon + 1), &port))) return;
  memcpy(ip, addr_port, n);
  ip[n] = '\0';
  backend.server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  backend.have_server = inet_pton(AF_INET, ip, &backend.server.sin_addr) == 1;
}

/* ---- fakens ---- */

static const char *type_text(int type, char *buf, size_t size) {
  static const struct {
    int type;
    const char *name;
  } names[] = {{1, "A"}, {2, "NS"}, {5, "CNAME"}, {6, "SOA"}, {12, "PTR"}, {15, "MX"}, {16, "TXT"}, {28, "AAAA"}, {33, "SRV"}, {52, "TLSA"}, {99, "SPF"}};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (names[i].type == type) return names[i].name;
  (void)snprintf(buf, size, "TYPE%d", type);
  return buf;
}

/* Read up to DNS_ANSWER_MAX bytes until the end of the pipe; what is beyond is read and dropped. */
static size_t drain(int fd, uint8_t *buf) {
  size_t n = 0;
  uint8_t spill[1024];
  for (;;) {
    bool full = n == DNS_ANSWER_MAX;
    ssize_t got = sys_read(fd, full ? spill : buf + n, full ? sizeof spill : DNS_ANSWER_MAX - n);
    if (got <= 0) return n;
    if (!full) n += (size_t)got;
  }
}

static enum resolver_status fake_status(int wait_status) {
  if (!WIFEXITED(wait_status)) return RESOLVER_FAIL;
  switch (WEXITSTATUS(wait_status)) {
  case 0: return RESOLVER_ANSWER;
  case 1: return RESOLVER_NXDOMAIN;
  case 2: return RESOLVER_TRYAGAIN;
  case 4: return RESOLVER_NODATA;
  case 5: return RESOLVER_PASS;
  default: return RESOLVER_FAIL;
  }
}

static enum resolver_status fake_query(struct arena *a, const char *name, int type, const uint8_t **ret_answer, size_t *ret_n) {
  char type_buf[16];
  size_t len = strlen(name);
  const char *program = arena_printf(a, "%s/bin/fakens", backend.fake_dir);
  if (access(program, X_OK) != 0) return RESOLVER_PASS;
  if (len > 1 && name[len - 1] == '.') len--;
  const char *const argv[] = {program, backend.fake_dir, arena_strndup(a, name, len), type_text(type, type_buf, sizeof type_buf), NULL};
  int fds[2], status = 0;
  if (sys_pipe(fds) < 0) return RESOLVER_TRYAGAIN;
  struct child_spec spec = {.argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .stdin_fd = -2, .stdout_fd = fds[1]};
  struct child child;
  int rc = child_run(&spec, &child);
  if (sys_close(fds[1]) < 0 || rc < 0) {
    rc = sys_close(fds[0]);
    return rc < 0 ? RESOLVER_FAIL : RESOLVER_TRYAGAIN;
  }
  uint8_t *buf = arena_alloc_t(a, DNS_ANSWER_MAX, TAINTED);
  *ret_n = drain(fds[0], buf);
  *ret_answer = buf;
  if (sys_close(fds[0]) < 0) return RESOLVER_FAIL;
  if (child_wait(&child, deadline_in_sec(FAKE_WAIT_SEC), &status) < 0) return RESOLVER_TRYAGAIN;
  return fake_status(status);
}

/* ---- the C library ---- */

static bool begin_state(struct __res_state *rs, const struct resolver_opts *o) {
  memset(rs, 0, sizeof *rs);
  if (res_ninit(rs) != 0) return false;
  if (o->retrans_sec > 0) rs->retrans = o->retrans_sec;
  if (o->retry > 0) rs->retry = o->retry;
  if (o->want_dnssec) rs->options |= RES_TRUSTAD;
  if (backend.have_server) {
    rs->nscount = 1;
    rs->nsaddr_list[0] = backend.server;
  }
  return true;
}

/* Append an OPT record (RFC 6891); DO is set when signatures are wanted. */
static int add_edns(uint8_t *q, int n, bool want_dnssec) {
  static const uint8_t opt[11] = {0, 0, 41, EDNS_SIZE >> 8, EDNS_SIZE & 0xff, 0, 0, 0, 0, 0, 0};
  if (n < 12 || n + (int)sizeof opt > QUERY_MAX) return n;
  memcpy(q + n, opt, sizeof opt);
  if (want_dnssec) q[n + 7] = 0x80;
  q[11] = 1;
  return n + (int)sizeof opt;
}

static enum resolver_status ask_once(struct __res_state *rs, const char *name, int type, const struct resolver_opts *o, uint8_t *buf, size_t *ret_n) {
  uint8_t q[QUERY_MAX];
  int n = res_nmkquery(rs, ns_o_query, name, ns_c_in, type, NULL, 0, NULL, q, sizeof q);
  if (n < 0) return RESOLVER_NXDOMAIN; /* no name of the DNS: too long, empty labels */
  if (o->want_dnssec) q[3] |= 0x20;    /* AD: we understand the bit */
  if (o->use_edns0 > 0 || o->want_dnssec) n = add_edns(q, n, o->want_dnssec);
  *ret_n = 0;
  int got = res_nsend(rs, q, n, buf, DNS_ANSWER_MAX);
  if (got < 0) return RESOLVER_TRYAGAIN;
  if (got > DNS_ANSWER_MAX || got < 12) return RESOLVER_FAIL;
  *ret_n = (size_t)got;
  return RESOLVER_ANSWER;
}

/* Worth looking at the next name of the search list? */
static bool is_negative(enum resolver_status st, const uint8_t *buf) {
  if (st == RESOLVER_NXDOMAIN) return true;
  unsigned rcode = buf[3] & 15u, ancount = (unsigned)buf[6] << 8 | buf[7];
  return st == RESOLVER_ANSWER && (rcode == 3 || (rcode == 0 && ancount == 0));
}

static enum resolver_status ask_search(struct arena *a, struct __res_state *rs, const char *name, int type, const struct resolver_opts *o,
                                       uint8_t *buf, size_t *ret_n) {
  size_t len = strlen(name);
  bool has_dot = strchr(name, '.') != NULL, rooted = len > 0 && name[len - 1] == '.';
  bool search = !rooted && (has_dot ? o->search_parents : o->qualify_single);
  enum resolver_status st = RESOLVER_NXDOMAIN;
  if (!search || has_dot) {
    st = ask_once(rs, name, type, o, buf, ret_n);
    if (!search || !is_negative(st, buf)) return st;
  }
  for (int i = 0; i < MAXDNSRCH && rs->dnsrch[i]; i++) {
    st = ask_once(rs, arena_printf(a, "%s.%s", name, rs->dnsrch[i]), type, o, buf, ret_n);
    if (!is_negative(st, buf) || !o->search_parents) break;
  }
  return is_negative(st, buf) && !has_dot ? ask_once(rs, name, type, o, buf, ret_n) : st;
}

enum resolver_status resolver_query(struct arena *a, const char *name, int type, const struct resolver_opts *o,
                                    const uint8_t **ret_answer, size_t *ret_n) {
  struct __res_state rs;
  *ret_answer = NULL;
  *ret_n = 0;
  if (backend.fake_dir) {
    enum resolver_status st = fake_query(a, name, type, ret_answer, ret_n);
    if (st != RESOLVER_PASS) return st;
  }
  if (!begin_state(&rs, o)) return RESOLVER_TRYAGAIN;
  struct arena *own = arena_new("dns answer");
  uint8_t *buf = arena_alloc_t(own, DNS_ANSWER_MAX, TAINTED);
  size_t n = 0;
  enum resolver_status st = ask_search(a, &rs, name, type, o, buf, &n);
  if (n > 0) {
    uint8_t *copy = arena_alloc_t(a, n, TAINTED);
    memcpy(copy, buf, n);
    *ret_answer = copy;
    *ret_n = n;
  }
  arena_free(own);
  res_nclose(&rs);
  return st;
}
