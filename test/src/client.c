/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * client.c - a scripted SMTP client for the test cases.
 *
 *   client [options] <ip> <port> [<local ip>] [<cert file> [<key file>]]
 *
 * Reads a script from stdin, talks to the program under test, and writes the
 * whole conversation on stdout, where the harness compares it to the byte. The
 * script language stands in test/README. Linked twice: plain, and with TLS by
 * GnuTLS (client-gnutls). Test tool, no floor; the bytes of the server are the
 * hostile input and stay within one bounded buffer.
 */
#include "peer_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  EXIT_EOF_NOT_SEEN = 74,
  EXIT_WRITE_ERROR = 75,
  EXIT_UNCONSUMED = 78,
  EXIT_MISMATCH = 79,
  EXIT_EOF_SEEN = 80,
  EXIT_READ_ERROR = 81,
  EXIT_CONNECT = 85,
  EXIT_BIND = 87,
  EXIT_USAGE = 90,
  EXIT_ADDRESS = 91,
  EXIT_SCRIPT_FILE = 92,
  EXIT_TIMEOUT = 99,
};

enum { INPUT_SIZE = 65536, MAX_TIMEOUT_S = 10000 };

struct client {
  int fd;
  int timeout_ms;
  bool is_quiet;
  bool is_on_connect;
  bool is_starting; /* STARTTLS was sent; the next good answer starts the hand-shake */
  bool is_encrypted;
  struct peer_tls *tls;
  struct peer_tls_options tls_opt;
  const char *ip;
  const char *local_ip;
  int port;
  size_t in_at, in_end;
  char in[INPUT_SIZE + 1];
};

static void __attribute__((noreturn, format(printf, 2, 3)))
fail(int status, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  fflush(stdout);
  exit(status);
}

static void __attribute__((noreturn, format(printf, 2, 3)))
refuse(int status, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  exit(status);
}

static void
wait_ready(struct client *c, short events) {
  struct pollfd p = { .fd = c->fd, .events = events };
  int rc;
  do
    rc = poll(&p, 1, c->timeout_ms > 0 ? c->timeout_ms : -1);
  while (rc < 0 && errno == EINTR);
  if (rc == 0)
    fail(EXIT_TIMEOUT, "\nClient timed out\n");
}

/* ---- script escapes ---- */

static int
hex_digit(char ch) {
  if (ch >= '0' && ch <= '9')
    return ch - '0';
  if (ch >= 'a' && ch <= 'f')
    return ch - 'a' + 10;
  if (ch >= 'A' && ch <= 'F')
    return ch - 'A' + 10;
  return -1;
}

/* Expands \n \r \xHH \c from text into out, which is at least as long; returns the length. */
static size_t
unescape(const char *text, char *out) {
  size_t n = 0;
  for (const char *p = text; *p != '\0'; p++) {
    if (*p != '\\' || p[1] == '\0') {
      out[n++] = *p;
      continue;
    }
    p++;
    if (*p == 'n')
      out[n++] = '\n';
    else if (*p == 'r')
      out[n++] = '\r';
    else if (*p == 'x' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
      out[n++] = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
      p += 2;
    } else
      out[n++] = *p;
  }
  out[n] = '\0';
  return n;
}

/* ---- input from the server ---- */

/* Reads once more. Returns false at end of file. */
static bool
fill_input(struct client *c) {
  ssize_t n;
  if (c->in_at > 0) {
    memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
    c->in_end -= c->in_at;
    c->in_at = 0;
  }
  size_t room = INPUT_SIZE - c->in_end;
  if (room == 0)
    fail(EXIT_READ_ERROR, "Read error: line too long\n");
  if (c->is_encrypted) {
    n = peer_tls_read(c->tls, c->in + c->in_end, room);
    if (n == -2)
      fail(EXIT_TIMEOUT, "\nClient timed out\n");
    if (n < 0)
      c->is_encrypted = false;
  }
  if (!c->is_encrypted) {
    wait_ready(c, POLLIN);
    n = read(c->fd, c->in + c->in_end, room);
  }
  if (n < 0)
    fail(EXIT_READ_ERROR, "Read error: %s\n", strerror(errno));
  c->in_end += (size_t)n;
  return n > 0;
}

static bool
has_input(const struct client *c) {
  return c->in_at < c->in_end;
}

/* Makes one whole line available, if the server sends one. Returns false when there is nothing. */
static bool
want_line(struct client *c) {
  while (memchr(c->in + c->in_at, '\n', c->in_end - c->in_at) == NULL)
    if (!fill_input(c))
      break;
  return has_input(c);
}

/* The next line without its end, which is overwritten; *ret_next is where the line after it starts. */
static char *
peek_line(struct client *c, size_t *ret_next) {
  char *line = c->in + c->in_at;
  c->in[c->in_end] = '\0';
  size_t n = strcspn(line, "\r\n");
  size_t next = c->in_at + n;
  if (next < c->in_end && c->in[next] == '\r')
    next++;
  if (next < c->in_end && c->in[next] == '\n')
    next++;
  if (next == c->in_at + n && next < c->in_end)
    next++; /* a NUL: step over it */
  *ret_next = next;
  return line;
}

static bool
starts_with(const char *line, const char *prefix, size_t n) {
  return strncmp(line, prefix, n) == 0;
}

/* ---- TLS ---- */

static void
tls_begin(struct client *c, bool is_named) {
  bool has_ocsp = false;
  if (c->tls == NULL)
    c->tls = peer_tls_new(&c->tls_opt, false);
  printf("Attempting to start TLS\n");
  bool is_good = peer_tls_start(c->tls, c->fd, is_named, &has_ocsp) == 0;
  if (is_good && is_named) {
    ssize_t n = peer_tls_settle(c->tls, c->is_quiet, c->in + c->in_end, INPUT_SIZE - c->in_end);
    if (n < 0)
      is_good = false;
    else
      c->in_end += (size_t)n;
  }
  c->is_encrypted = is_good;
  if (c->is_quiet)
    return;
  if (!is_good)
    printf("Failed to start TLS\n");
  else
    printf("Succeeded in starting TLS%s\n", has_ocsp ? " (with OCSP)" : "");
}

/* ---- the script ---- */

static void
send_text(struct client *c, const char *shown, const char *text, bool want_crlf) {
  size_t max = strlen(text) + 3;
  char *out = malloc(max);
  if (out == NULL)
    abort();
  if (has_input(c)) {
    c->in[c->in_end] = '\0';
    fail(EXIT_UNCONSUMED, "Unconsumed input: %s   About to send: %s\n", c->in + c->in_at, shown);
  }
  printf(">>> %s\n", shown);
  size_t n = unescape(text, out);
  if (want_crlf) {
    out[n++] = '\r';
    out[n++] = '\n';
  }
  if (c->is_encrypted) {
    if (peer_tls_write(c->tls, out, n) < 0)
      fail(EXIT_WRITE_ERROR, "Write error: TLS\n");
  } else {
    for (size_t done = 0; done < n;) {
      wait_ready(c, POLLOUT);
      ssize_t rc = write(c->fd, out + done, n - done);
      if (rc < 0 && errno != EINTR)
        fail(EXIT_WRITE_ERROR, "Write error: %s\n", strerror(errno));
      if (rc > 0)
        done += (size_t)rc;
    }
  }
  free(out);
}

static void
expect_line(struct client *c, const char *text) {
  size_t next;
  char *want = malloc(strlen(text) + 1);
  if (want == NULL)
    abort();
  size_t want_len = unescape(text, want);
  if (!want_line(c))
    fail(EXIT_EOF_SEEN, "Unexpected EOF read\n");
  char *line = peek_line(c, &next);
  size_t line_len = strcspn(line, "\r\n");
  line[line_len] = '\0';
  c->in_at = next;
  printf("<<< %s\n", line);
  if (!starts_with(line, want, want_len))
    fail(EXIT_MISMATCH, "\n******** Input mismatch ********\n");
  bool is_positive = line[0] == '2';
  free(want);
  if (!c->is_starting)
    return;
  c->is_starting = false;
  if (is_positive)
    tls_begin(c, true);
  else
    printf("Abandoning TLS start attempt\n");
}

/* Drops the lines that begin with text; nothing fails here. */
static void
skip_lines(struct client *c, const char *text) {
  char *want = malloc(strlen(text) + 1);
  if (want == NULL)
    abort();
  size_t want_len = unescape(text, want);
  size_t next;
  if (!has_input(c) && !want_line(c)) {
    free(want);
    return;
  }
  while (has_input(c) && want_line(c)) {
    if (!starts_with(peek_line(c, &next), want, want_len))
      break;
    c->in_at = next;
  }
  free(want);
}

static void
expect_eof(struct client *c) {
  if (fill_input(c))
    fail(EXIT_EOF_NOT_SEEN, "Expected EOF not read\n");
  printf("Expected EOF read\n");
}

static void run_script(struct client *c, FILE *f);

static void
run_file(struct client *c, const char *name) {
  FILE *f = fopen(name, "r");
  if (f == NULL)
    refuse(EXIT_SCRIPT_FILE, "client: %s: %s\n", name, strerror(errno));
  run_script(c, f);
  fclose(f);
}

static void
run_sending_line(struct client *c, char *line) {
  if (!peer_tls_is_available) {
    send_text(c, line, line, true);
    return;
  }
  if (strcmp(line, "stoptls") == 0 || strcmp(line, "STOPTLS") == 0) {
    printf("Shutting down TLS encryption\n");
    if (c->is_encrypted)
      peer_tls_stop(c->tls);
    c->is_encrypted = false;
    return;
  }
  if (strcmp(line, "starttls") == 0 || strcmp(line, "STARTTLS") == 0)
    c->is_starting = true;
  else if (strcmp(line, "starttls_wait") == 0)
    line[strlen("starttls")] = '\0';
  send_text(c, line, line, true);
}

static void
run_line(struct client *c, char *line) {
  if (strncmp(line, "???", 3) == 0) {
    printf("%s\n", line);
    if (line[3] == '?')
      skip_lines(c, line + 4);
    else if (line[3] == '*' && !has_input(c))
      expect_eof(c);
    else
      expect_line(c, line[3] == '\0' ? line + 3 : line + 4);
  } else if (strncmp(line, "+++ ", 4) == 0) {
    printf("%s\n", line);
    fflush(stdout);
    sleep((unsigned)strtoul(line + 4, NULL, 10));
  } else if (strncmp(line, "<<< ", 4) == 0)
    run_file(c, line + 4);
  else if (strncmp(line, ">>> ", 4) == 0)
    send_text(c, line + 4, line + 4, false);
  else
    run_sending_line(c, line);
}

static void
run_script(struct client *c, FILE *f) {
  char *line = NULL;
  size_t size = 0;
  ssize_t n;
  while ((n = getline(&line, &size, f)) >= 0) {
    if (n > 0 && line[n - 1] == '\n')
      line[n - 1] = '\0';
    run_line(c, line);
  }
  free(line);
}

/* ---- the connection ---- */

static socklen_t
make_address(const char *ip, int port, struct sockaddr_storage *ret) {
  memset(ret, 0, sizeof *ret);
  if (strchr(ip, ':') != NULL) {
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)ret;
    a->sin6_family = AF_INET6;
    a->sin6_port = htons((uint16_t)port);
    if (inet_pton(AF_INET6, ip, &a->sin6_addr) == 1)
      return sizeof *a;
  } else {
    struct sockaddr_in *a = (struct sockaddr_in *)ret;
    a->sin_family = AF_INET;
    a->sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, ip, &a->sin_addr) == 1)
      return sizeof *a;
  }
  refuse(EXIT_ADDRESS, "client: unable to read address \"%s\"\n", ip);
}

static int
connect_in_time(struct client *c, const struct sockaddr *a, socklen_t len) {
  int err = 0;
  socklen_t err_len = sizeof err;
  int flags = fcntl(c->fd, F_GETFL);
  fcntl(c->fd, F_SETFL, flags | O_NONBLOCK);
  if (connect(c->fd, a, len) < 0) {
    if (errno != EINPROGRESS)
      return errno;
    wait_ready(c, POLLOUT);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &err_len);
  }
  fcntl(c->fd, F_SETFL, flags);
  return err;
}

static void
open_connection(struct client *c) {
  struct sockaddr_storage a;
  socklen_t len = make_address(c->ip, c->port, &a);
  printf("Connecting to %s port %d ... ", c->ip, c->port);
  c->fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0)
    fail(EXIT_CONNECT, "connect failed: %s\n", strerror(errno));
  if (c->local_ip != NULL) {
    struct sockaddr_storage local;
    socklen_t local_len = make_address(c->local_ip, 0, &local);
    if (bind(c->fd, (struct sockaddr *)&local, local_len) < 0)
      fail(EXIT_BIND, "Unable to bind outgoing SMTP call to %s: %s\n", c->local_ip, strerror(errno));
  }
  int err = connect_in_time(c, (struct sockaddr *)&a, len);
  if (err != 0)
    fail(EXIT_CONNECT, "connect failed: %s\n", strerror(err));
  printf("connected\n");
  if (c->tls_opt.cert_file != NULL)
    printf("Certificate file = %s\n", c->tls_opt.cert_file);
  if (c->tls_opt.key_file != NULL)
    printf("Key file = %s\n", c->tls_opt.key_file);
}

static void
close_connection(struct client *c) {
  char rest[4096];
  shutdown(c->fd, SHUT_WR);
  fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
  while (read(c->fd, rest, sizeof rest) > 0)
    continue;
  close(c->fd);
}

/* ---- arguments ---- */

static long
read_number(const char *s, long max) {
  char *end;
  errno = 0;
  long n = strtol(s, &end, 10);
  if (errno != 0 || end == s || *end != '\0' || n < 0 || n > max)
    refuse(EXIT_USAGE, "client: bad number \"%s\"\n", s);
  return n;
}

/* Reads the option at argv[i]; returns the index of its last word. */
static int
read_option(struct client *c, int argc, char **argv, int i) {
  const char *o = argv[i];
  bool has_value = i + 1 < argc;
  if (strncmp(o, "-t", 2) == 0 && strncmp(o, "-tls", 4) != 0)
    c->timeout_ms = (int)read_number(o + 2, MAX_TIMEOUT_S) * 1000;
  else if (peer_tls_is_available && strcmp(o, "-tls-on-connect") == 0)
    c->is_on_connect = true;
  else if (peer_tls_is_available && strcmp(o, "-tls-quiet") == 0)
    c->is_quiet = true;
  else if (peer_tls_is_available && strcmp(o, "-ocsp") == 0 && has_value)
    c->tls_opt.ocsp_ca_file = argv[++i];
  else if (peer_tls_is_available && strcmp(o, "-p") == 0 && has_value)
    c->tls_opt.priority = argv[++i];
  else
    refuse(EXIT_USAGE, "client: unknown or incomplete option \"%s\"\n", o);
  return i;
}

static void
read_arguments(struct client *c, int argc, char **argv) {
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; i++)
    i = read_option(c, argc, argv, i);
  if (argc - i < 2)
    refuse(EXIT_USAGE, "usage: client [options] <ip> <port> [<local ip>] [<cert> [<key>]]\n");
  c->ip = argv[i++];
  c->port = (int)read_number(argv[i++], 65535);
  if (i < argc && ((argv[i][0] >= '0' && argv[i][0] <= '9') || argv[i][0] == ':'))
    c->local_ip = argv[i++];
  if (i < argc)
    c->tls_opt.cert_file = argv[i++];
  if (i < argc)
    c->tls_opt.key_file = argv[i++];
}

int
main(int argc, char **argv) {
  static struct client c;
  c.timeout_ms = 5000;
  read_arguments(&c, argc, argv);
  c.tls_opt.timeout_ms = c.timeout_ms;
  signal(SIGPIPE, SIG_IGN);
  open_connection(&c);
  if (c.is_on_connect)
    tls_begin(&c, false);
  run_script(&c, stdin);
  printf("End of script\n");
  close_connection(&c);
  return 0;
}
