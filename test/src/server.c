/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * server.c - a scripted SMTP (or other) server for the test cases.
 *
 *   server [options] <port | /socket path> [connections]
 *
 * Reads its script from stdin up to "++++", listens on IPv6 and IPv4 or a Unix
 * socket, plays the script over one or more connections in turn, and shows on
 * stdout what came, to be compared to the byte. The script language stands in
 * test/README. Test tool, no floor; lines of the client are the hostile input
 * and are cut at a bounded buffer. Memory is left to the end of the process.
 */
#define _GNU_SOURCE
#include "peer_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_TIMEOUT = 99 };
enum { INPUT_SIZE = 10240, BACKLOG = 5, LINGER_MS = 500 };

/* One line of the script: as written (trailing blanks removed, escapes expanded). */
struct script_line {
  struct script_line *next;
  size_t len;
  char text[];
};

/* How playing a line ended. */
enum step { STEP_NEXT, STEP_NEXT_CONNECTION, STEP_STAY_AND_CLOSE };

struct server {
  int listen_fd[2];
  unsigned listen_count;
  int fd; /* the connection */
  int timeout_s;
  bool is_timeout_good;
  bool is_debug;
  bool no_ipv4, no_ipv6;
  bool want_fast_open;
  bool is_exact; /* a ">>" line exists: lines are read byte by byte */
  bool is_encrypted;
  int initial_pause_s;
  int connections;
  int port;
  const char *socket_path;
  const char *pid_file;
  struct peer_tls_options tls_opt;
  struct peer_tls *tls;
  struct script_line *at;
  long body_left; /* bytes of an announced body still to come, or -1 */
  size_t in_at, in_end;
  char in[INPUT_SIZE];
  size_t out_end;
  char out[INPUT_SIZE];
};

static void __attribute__((noreturn))
die(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  fflush(stdout);
  exit(EXIT_SYSTEM);
}

static void __attribute__((noreturn))
time_out(struct server *s) {
  printf("\nServer timed out\n");
  fflush(stdout);
  if (s->socket_path != NULL)
    unlink(s->socket_path);
  exit(s->is_timeout_good ? 0 : EXIT_TIMEOUT);
}

static void
pause_seconds(long n) {
  struct timespec t = { .tv_sec = n };
  while (nanosleep(&t, &t) < 0 && errno == EINTR)
    continue;
}

/* ---- the script ---- */

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

static size_t
unescape(const char *text, size_t len, char *out) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (text[i] != '\\' || i + 1 >= len) {
      out[n++] = text[i];
      continue;
    }
    i++;
    if (text[i] == 'x' && i + 2 < len && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out[n++] = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else
      out[n++] = text[i];
  }
  out[n] = '\0';
  return n;
}

static size_t
trim_length(const char *line, size_t n) {
  while (n > 0 && strchr(" \t\r\n\f\v", line[n - 1]) != NULL && line[n - 1] != '\0')
    n--;
  return n;
}

static void
read_script(struct server *s) {
  struct script_line **tail = &s->at;
  char *line = NULL;
  size_t size = 0;
  ssize_t n;
  while ((n = getline(&line, &size, stdin)) >= 0) {
    size_t len = trim_length(line, (size_t)n);
    if (len == 4 && memcmp(line, "++++", 4) == 0)
      break;
    struct script_line *l = malloc(sizeof *l + len + 1);
    if (l == NULL)
      die("malloc");
    l->next = NULL;
    l->len = unescape(line, len, l->text);
    if (strncmp(l->text, ">>", 2) == 0)
      s->is_exact = true;
    *tail = l;
    tail = &l->next;
  }
  free(line);
}

/* ---- showing ---- */

static void
show_printable(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    unsigned char ch = (unsigned char)p[i];
    if (ch == '\\')
      fputs("\\\\", stdout);
    else if (ch >= ' ' && ch <= '~')
      putchar(ch);
    else
      printf("\\x%02x", ch);
  }
  putchar('\n');
}

/* ---- the connection ---- */

static void
flush_output(struct server *s) {
  size_t done = 0;
  while (done < s->out_end) {
    ssize_t n = s->is_encrypted ? peer_tls_write(s->tls, s->out, s->out_end)
                                : write(s->fd, s->out + done, s->out_end - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    done += (size_t)n;
  }
  s->out_end = 0;
}

static void
put_bytes(struct server *s, const char *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (s->out_end == sizeof s->out)
      flush_output(s);
    s->out[s->out_end++] = p[i];
  }
}

static void
wait_input(struct server *s) {
  struct pollfd p = { .fd = s->fd, .events = POLLIN };
  int rc;
  do
    rc = poll(&p, 1, s->timeout_s * 1000);
  while (rc < 0 && errno == EINTR);
  if (rc == 0)
    time_out(s);
}

static bool
fill_input(struct server *s) {
  ssize_t n;
  if (s->in_at < s->in_end)
    return true;
  if (s->is_encrypted) {
    n = peer_tls_read(s->tls, s->in, sizeof s->in);
    if (n == -2)
      time_out(s);
  } else {
    wait_input(s);
    n = read(s->fd, s->in, s->is_exact ? 1 : sizeof s->in);
  }
  if (n <= 0)
    return false;
  s->in_at = 0;
  s->in_end = (size_t)n;
  if (s->body_left > 0) {
    s->body_left -= n;
    if (s->body_left <= 0)
      shutdown(s->fd, SHUT_RD);
  }
  return true;
}

static bool
get_byte(struct server *s, char *ret) {
  if (!fill_input(s))
    return false;
  *ret = s->in[s->in_at++];
  return true;
}

/* Reads up to and including the newline, or max bytes. Returns false when nothing came. */
static bool
get_line(struct server *s, char *buf, size_t max, size_t *ret_len) {
  size_t n = 0;
  while (n + 1 < max && get_byte(s, &buf[n]))
    if (buf[n++] == '\n')
      break;
  buf[n] = '\0';
  *ret_len = n;
  return n > 0;
}

/* ---- playing one line ---- */

static enum step
unexpected_eof(void) {
  printf("Unexpected EOF read from client\n");
  return STEP_NEXT_CONNECTION;
}

static enum step
play_send(struct server *s, const struct script_line *l) {
  const char *p = l->text;
  size_t n = l->len;
  const char *end = "\r\n";
  if (p[0] == '>') {
    show_printable(p, n);
    size_t skip = 1;
    if (strncmp(p, ">>", 2) == 0)
      skip = 2, end = "";
    else if (strncmp(p, ">CR>", 4) == 0)
      skip = 4, end = "\r";
    else if (strncmp(p, ">LF>", 4) == 0)
      skip = 4, end = "\n";
    p += skip;
    n -= skip;
  } else
    printf("%.*s\n", (int)n, p);
  put_bytes(s, p, n);
  put_bytes(s, end, strlen(end));
  return STEP_NEXT;
}

static enum step
play_discard(struct server *s, unsigned long count) {
  char ch;
  flush_output(s);
  for (; count > 0; count--)
    if (!get_byte(s, &ch))
      return unexpected_eof();
  return STEP_NEXT;
}

static enum step
play_starttls(struct server *s) {
  bool has_ocsp;
  flush_output(s);
  if (!peer_tls_is_available) {
    printf("*starttls: no TLS in this program\n");
    return STEP_NEXT_CONNECTION;
  }
  s->tls_opt.timeout_ms = s->timeout_s * 1000;
  s->tls = peer_tls_new(&s->tls_opt, true);
  if (peer_tls_start(s->tls, s->fd, true, &has_ocsp) != 0)
    return STEP_NEXT_CONNECTION;
  s->is_encrypted = true;
  s->in_at = s->in_end = 0;
  if (s->is_debug)
    printf("SSL connection using %s\n", peer_tls_suite(s->tls));
  return STEP_NEXT;
}

static enum step
play_star(struct server *s, const struct script_line *l) {
  if (strncmp(l->text, "*sleep ", 7) == 0) {
    printf("%s\n", l->text);
    fflush(stdout);
    flush_output(s);
    pause_seconds(strtol(l->text + 7, NULL, 10));
    return STEP_NEXT;
  }
  if (strncmp(l->text, "*data ", 6) == 0)
    return play_discard(s, strtoul(l->text + 6, NULL, 10));
  if (strcmp(l->text, "*starttls") == 0)
    return play_starttls(s);
  flush_output(s);
  char line[INPUT_SIZE];
  size_t n;
  if (!get_line(s, line, sizeof line, &n)) {
    printf("Expected EOF read from client\n");
    return STEP_NEXT_CONNECTION;
  }
  printf("%.*s\n", (int)trim_length(line, n), line);
  printf("Comparison failed - bailing out\nExpected: %s\n", l->text);
  return STEP_STAY_AND_CLOSE;
}

/* A body: lines are shown up to the lone dot; in an exact run only the first byte is. */
static enum step
play_body(struct server *s) {
  char line[INPUT_SIZE];
  size_t n;
  bool is_first = true;
  flush_output(s);
  do {
    if (!get_line(s, line, sizeof line, &n))
      return unexpected_eof();
    n = trim_length(line, n);
    if (!s->is_exact)
      printf("%.*s\n", (int)n, line);
    else if (is_first)
      printf("%.*s\n", (int)(n > 0), line);
    is_first = false;
  } while (n != 1 || line[0] != '.');
  return STEP_NEXT;
}

static enum step
compare_failed(const struct script_line *l) {
  printf("Comparison failed - bailing out\nExpected: ");
  show_printable(l->text, l->len);
  return STEP_STAY_AND_CLOSE;
}

/* "<<text": exactly these bytes. */
static enum step
play_expect_bytes(struct server *s, const struct script_line *l) {
  char got[INPUT_SIZE] = "";
  size_t want = l->len - 2, n = 0;
  while (n < want && n < sizeof got && get_byte(s, &got[n]))
    n++;
  if (n == 0 && want > 0)
    return unexpected_eof();
  printf("<<");
  show_printable(got, n);
  if (n == want && memcmp(got, l->text + 2, n) == 0)
    return STEP_NEXT;
  return compare_failed(l);
}

static void
note_body_length(struct server *s, const char *line) {
  static const char name[] = "Content-length: ";
  if (strncmp(line, name, sizeof name - 1) != 0)
    return;
  s->body_left = strtol(line + sizeof name - 1, NULL, 10) - (long)(s->in_end - s->in_at);
  if (s->body_left <= 0)
    shutdown(s->fd, SHUT_RD);
}

static enum step
play_expect(struct server *s, const struct script_line *l) {
  char line[INPUT_SIZE];
  size_t n;
  bool is_shown_marked = l->text[0] == '<';
  const char *want = l->text + is_shown_marked;
  size_t want_len = l->len - is_shown_marked;
  flush_output(s);
  if (is_shown_marked && l->text[1] == '<')
    return play_expect_bytes(s, l);
  if (!get_line(s, line, sizeof line, &n))
    return unexpected_eof();
  if (s->is_exact && n > want_len)
    n = want_len;
  n = trim_length(line, n);
  line[n] = '\0';
  printf("%s%s\n", is_shown_marked ? "<" : "", line);
  if (n < want_len || memcmp(line, want, want_len) != 0)
    return compare_failed(l);
  if (is_shown_marked)
    note_body_length(s, line);
  return STEP_NEXT;
}

static enum step
play_line(struct server *s, const struct script_line *l) {
  char ch = l->text[0];
  if (strcmp(l->text, ">*eof") == 0) {
    show_printable(l->text, l->len);
    return STEP_NEXT_CONNECTION;
  }
  if ((ch >= '0' && ch <= '9') || ch == '>')
    return play_send(s, l);
  if (ch == '*' && (strncmp(l->text, "*sleep ", 7) == 0 || strncmp(l->text, "*data ", 6) == 0 ||
                    strcmp(l->text, "*starttls") == 0 || strcmp(l->text, "*eof") == 0))
    return play_star(s, l);
  if (strcmp(l->text, ".") == 0)
    return play_body(s);
  return play_expect(s, l);
}

/* Lets the other side see the end of TLS before the connection goes: no reset overtakes it. */
static void
end_encryption(struct server *s) {
  char rest[256];
  struct pollfd p = { .fd = s->fd, .events = POLLIN };
  peer_tls_stop(s->tls);
  shutdown(s->fd, SHUT_WR);
  while (poll(&p, 1, LINGER_MS) > 0 && read(s->fd, rest, sizeof rest) > 0)
    continue;
}

static void
play_connection(struct server *s) {
  s->in_at = s->in_end = s->out_end = 0;
  s->body_left = -1;
  s->is_encrypted = false;
  while (s->at != NULL) {
    enum step step = play_line(s, s->at);
    if (step != STEP_STAY_AND_CLOSE)
      s->at = s->at->next;
    if (step != STEP_NEXT)
      break;
  }
  flush_output(s);
  if (s->is_encrypted)
    end_encryption(s);
  close(s->fd);
}

/* ---- listening ---- */

static void
add_listener(struct server *s, int family, const void *address, socklen_t len) {
  int on = 1;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    if (family == AF_INET6 && errno == EAFNOSUPPORT)
      return;
    die("socket");
  }
  if (family != AF_UNIX)
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (bind(fd, address, len) < 0)
    die("bind");
  if (s->want_fast_open) {
    int queue = BACKLOG;
    setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue);
  }
  if (listen(fd, BACKLOG) < 0)
    die("listen");
  s->listen_fd[s->listen_count++] = fd;
}

static void
open_listeners(struct server *s) {
  if (s->socket_path != NULL) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    size_t n = strlen(s->socket_path);
    if (n >= sizeof a.sun_path) {
      errno = ENAMETOOLONG;
      die(s->socket_path);
    }
    memcpy(a.sun_path, s->socket_path, n + 1);
    unlink(s->socket_path);
    add_listener(s, AF_UNIX, &a, sizeof a);
    if (chmod(s->socket_path, 0777) < 0)
      die("chmod");
    return;
  }
  if (!s->no_ipv6) {
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)s->port) };
    if (s->is_debug)
      printf("Creating IPv6 socket\n");
    add_listener(s, AF_INET6, &a, sizeof a);
  }
  if (!s->no_ipv4) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)s->port) };
    if (s->is_debug)
      printf("Creating IPv4 socket\n");
    add_listener(s, AF_INET, &a, sizeof a);
  }
}

static void
show_peer(const struct sockaddr_storage *a) {
  char text[INET6_ADDRSTRLEN] = "";
  const char *shown = text;
  if (a->ss_family == AF_INET)
    inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, sizeof text);
  else if (a->ss_family == AF_INET6)
    inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text, sizeof text);
  if (strncmp(text, "::ffff:", 7) == 0 && strchr(text, '.') != NULL)
    shown += 7;
  if (a->ss_family == AF_INET || a->ss_family == AF_INET6)
    printf("\nConnection request from [%s]\n", shown);
  else
    printf("\nConnection request\n");
}

static void
accept_connection(struct server *s) {
  struct pollfd p[2];
  struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
  socklen_t len = sizeof a;
  if (s->socket_path != NULL)
    printf("Listening on %s ... ", s->socket_path);
  else
    printf("Listening on port %d ... ", s->port);
  fflush(stdout);
  for (unsigned i = 0; i < s->listen_count; i++)
    p[i] = (struct pollfd){ .fd = s->listen_fd[i], .events = POLLIN };
  int rc;
  do
    rc = poll(p, s->listen_count, s->timeout_s * 1000);
  while (rc < 0 && errno == EINTR);
  if (rc == 0)
    time_out(s);
  for (unsigned i = 0; i < s->listen_count; i++)
    if ((p[i].revents & POLLIN) != 0) {
      s->fd = accept4(p[i].fd, (struct sockaddr *)&a, &len, SOCK_CLOEXEC);
      break;
    }
  if (s->fd < 0)
    die("accept");
  show_peer(&a);
}

static void
write_pid_file(const struct server *s) {
  if (s->pid_file == NULL)
    return;
  FILE *f = fopen(s->pid_file, "w");
  if (f == NULL)
    die(s->pid_file);
  fprintf(f, "%ld\n", (long)getpid());
  fclose(f);
}

/* ---- arguments ---- */

static void __attribute__((noreturn))
usage(void) {
  fprintf(stderr, "usage: server [-d] [-t n] [-i n] [-noipv4] [-noipv6] [-oP file] [-tls cert key] [-tfo] "
                  "<port | /socket> [connections]\n");
  exit(EXIT_USAGE);
}

static long
number_of(const char *arg) {
  char *end;
  if (arg == NULL)
    usage();
  long n = strtol(arg, &end, 10);
  if (end == arg || *end != '\0')
    usage();
  return n;
}

/* Reads the option at argv[i]; returns the index of its last word. argv ends with NULL. */
static int
read_option(struct server *s, char **argv, int i) {
  const char *o = argv[i];
  if (strcmp(o, "-d") == 0)
    s->is_debug = true;
  else if (strcmp(o, "-noipv4") == 0)
    s->no_ipv4 = true;
  else if (strcmp(o, "-noipv6") == 0)
    s->no_ipv6 = true;
  else if (strcmp(o, "-tfo") == 0)
    s->want_fast_open = true;
  else if (strcmp(o, "-i") == 0)
    s->initial_pause_s = (int)number_of(argv[++i]);
  else if (strcmp(o, "-t") == 0) {
    long n = number_of(argv[++i]);
    s->is_timeout_good = n < 0;
    s->timeout_s = (int)(n < 0 ? -n : n);
  } else if (strcmp(o, "-oP") == 0 && argv[i + 1] != NULL)
    s->pid_file = argv[++i];
  else if (strcmp(o, "-tls") == 0 && argv[i + 1] != NULL && argv[i + 2] != NULL) {
    s->tls_opt.cert_file = argv[++i];
    s->tls_opt.key_file = argv[++i];
  } else
    usage();
  return i;
}

static void
read_arguments(struct server *s, int argc, char **argv) {
  int i = 1;
  for (; i < argc && argv[i][0] == '-'; i++)
    i = read_option(s, argv, i);
  if (i >= argc)
    usage();
  if (argv[i][0] == '/')
    s->socket_path = argv[i];
  else
    s->port = (int)number_of(argv[i]);
  if (i + 1 < argc)
    s->connections = (int)number_of(argv[i + 1]);
}

int
main(int argc, char **argv) {
  static struct server s;
  s.timeout_s = 5;
  s.connections = 1;
  read_arguments(&s, argc, argv);
  signal(SIGPIPE, SIG_IGN);
  if (s.is_debug)
    setvbuf(stdout, NULL, _IONBF, 0);
  if (s.initial_pause_s > 0) {
    printf("Inital pause of %d seconds\n", s.initial_pause_s);
    fflush(stdout);
    pause_seconds(s.initial_pause_s);
  }
  open_listeners(&s);
  write_pid_file(&s);
  read_script(&s);
  for (int n = 0; n < s.connections; n++) {
    accept_connection(&s);
    play_connection(&s);
  }
  if (s.at == NULL)
    printf("End of script\n");
  if (s.socket_path != NULL)
    unlink(s.socket_path);
  return 0;
}
