/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smtpload: SMTP load generator, one thread per connection, blocking calls.
 *
 * usage: smtpload [options] ADDRESS PORT
 *   -c N  connections at once (1)       -n N  messages in all (100)      -m N  messages per connection (1)
 *   -s N  body octets (2048)            -f A  sender                     -t A  recipient
 *   -P    pipelining: MAIL, RCPT, DATA in one write
 *   -E    early pipelining: EHLO and the first envelope before the greeting
 *   -S    STARTTLS and a second EHLO; the certificate is not looked at
 *   -I    each connection is held behind its EHLO until all of them are (a line "held N" says so) and standard input has ended
 *   -0    no messages: sessions are counted, which end behind the last EHLO
 *   -w N  each connection is followed by a pause of N milliseconds; a second line tells of the time from connect() to the greeting
 *   -d N  no new connections after N seconds; then fewer messages than -n are no failure
 * Prints one line: ok N bad N seconds S rate R p50_ms T p99_ms T load_cpu_s S error "text".  The time of a message runs from
 * MAIL to the final 250, for the first of a connection from connect().  Exit 0 only when all messages were taken. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_WAIT_SEC = 120, LINE_OCTETS = 78 };

static struct {
  int connections, per_connection;
  long total;
  int pause_ms, seconds;
  bool pipelining, early, starttls, sessions_only, idle;
  size_t body_bytes;
  const char *sender, *recipient;
  struct sockaddr_in peer;
  char *message, envelope[1024];
  size_t message_bytes;
} job = {.connections = 1, .per_connection = 1, .total = 100, .body_bytes = 2048, .sender = "sender@load.test",
         .recipient = "user@bench.test", .peer = {.sin_family = AF_INET}};

static gnutls_certificate_credentials_t credentials;
static atomic_long left, accepted, failed, held, greeted;
static double end_sec; /* 0: none */
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle_over = PTHREAD_COND_INITIALIZER;
static bool is_idle_over;
static atomic_flag error_taken = ATOMIC_FLAG_INIT;
static char first_error[200];
static float *latency_ms, *greeting_ms;

struct session {
  int fd;
  gnutls_session_t tls; /* NULL in clear */
  char in[8192], line[512];
  size_t pos, n;
};

static double now_sec(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool give_up(const char *where, const char *what) {
  if (!atomic_flag_test_and_set(&error_taken)) {
    snprintf(first_error, sizeof first_error, "%s: %s", where, what);
    for (char *p = first_error; *p; p++)
      if (*p == '"' || *p < 32) *p = ' ';
  }
  return false;
}

static bool send_all(struct session *s, const char *p, size_t n) {
  while (n > 0) {
    ssize_t k = s->tls ? gnutls_record_send(s->tls, p, n) : send(s->fd, p, n, MSG_NOSIGNAL);
    if (k <= 0) return give_up("send", s->tls ? gnutls_strerror((int)k) : strerror(errno));
    p += k;
    n -= (size_t)k;
  }
  return true;
}

static bool send_text(struct session *s, const char *text) { return send_all(s, text, strlen(text)); }

static bool read_line(struct session *s) {
  size_t o = 0;
  for (;;) {
    if (s->pos == s->n) {
      ssize_t k = s->tls ? gnutls_record_recv(s->tls, s->in, sizeof s->in) : recv(s->fd, s->in, sizeof s->in, 0);
      if (s->tls && k == GNUTLS_E_AGAIN) continue; /* a session ticket */
      if (k <= 0) return give_up("connection lost", k ? strerror(errno) : "end of file");
      s->pos = 0;
      s->n = (size_t)k;
    }
    char ch = s->in[s->pos++];
    if (ch == '\n') break;
    if (ch != '\r' && o + 1 < sizeof s->line) s->line[o++] = ch;
  }
  s->line[o] = '\0';
  return true;
}

/* A whole reply of the wanted class. */
static bool expect(struct session *s, char class, const char *where) {
  do
    if (!read_line(s)) return false;
  while (strlen(s->line) > 3 && s->line[3] == '-');
  return s->line[0] == class || give_up(where, s->line);
}

static bool open_session(struct session *s) {
  int one = 1;
  struct timeval wait = {.tv_sec = REPLY_WAIT_SEC};
  *s = (struct session){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (s->fd < 0) return give_up("socket", strerror(errno));
  setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (connect(s->fd, (const struct sockaddr *)&job.peer, sizeof job.peer) == 0) return true;
  return give_up("connect", strerror(errno));
}

static bool start_tls(struct session *s) {
  int rc;
  if (!send_text(s, "STARTTLS\r\n") || !expect(s, '2', "STARTTLS")) return false;
  if (gnutls_init(&s->tls, GNUTLS_CLIENT) < 0) return give_up("TLS", "no memory");
  gnutls_set_default_priority(s->tls);
  gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, credentials);
  gnutls_transport_set_int(s->tls, s->fd);
  while ((rc = gnutls_handshake(s->tls)) < 0)
    if (gnutls_error_is_fatal(rc)) return give_up("TLS", gnutls_strerror(rc));
  return send_text(s, "EHLO load.test\r\n") && expect(s, '2', "EHLO in TLS");
}

static bool read_greeting(struct session *s, double began) {
  if (!expect(s, '2', "greeting")) return false;
  long k = atomic_fetch_add(&greeted, 1);
  if (k < job.total) greeting_ms[k] = (float)((now_sec() - began) * 1e3);
  return true;
}

static bool greet(struct session *s, double began) {
  static const char ehlo[] = "EHLO load.test\r\n";
  if (job.early) return send_text(s, ehlo) && send_text(s, job.envelope) && read_greeting(s, began) && expect(s, '2', "EHLO");
  return read_greeting(s, began) && send_text(s, ehlo) && expect(s, '2', "EHLO") && (!job.starttls || start_tls(s));
}

static bool send_message(struct session *s, bool envelope_is_sent) {
  if (job.pipelining || envelope_is_sent) {
    if (!envelope_is_sent && !send_text(s, job.envelope)) return false;
    if (!expect(s, '2', "MAIL") || !expect(s, '2', "RCPT")) return false;
  } else {
    char line[512];
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", job.sender);
    if (!send_text(s, line) || !expect(s, '2', "MAIL")) return false;
    snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", job.recipient);
    if (!send_text(s, line) || !expect(s, '2', "RCPT") || !send_text(s, "DATA\r\n")) return false;
  }
  return expect(s, '3', "DATA") && send_all(s, job.message, job.message_bytes) && expect(s, '2', "end of data");
}

static void hold(void) {
  if (atomic_fetch_add(&held, 1) + 1 == job.connections) {
    printf("held %d\n", job.connections);
    fflush(stdout);
  }
  pthread_mutex_lock(&idle_lock);
  while (!is_idle_over) pthread_cond_wait(&idle_over, &idle_lock);
  pthread_mutex_unlock(&idle_lock);
}

static void wait_for_end_of_input(void) {
  char c;
  while (read(STDIN_FILENO, &c, 1) > 0) continue;
  pthread_mutex_lock(&idle_lock);
  is_idle_over = true;
  pthread_cond_broadcast(&idle_over);
  pthread_mutex_unlock(&idle_lock);
}

static bool run_session(struct session *s) {
  double began = now_sec();
  bool ok = open_session(s);
  bool holds_one = false;
  for (int i = 0; ok && i < job.per_connection; i++) {
    if (atomic_fetch_sub(&left, 1) <= 0) break;
    holds_one = true;
    if (i == 0)
      ok = greet(s, began);
    else
      began = now_sec();
    if (ok && i == 0 && job.idle) hold();
    if (ok && !job.sessions_only) ok = send_message(s, i == 0 && job.early);
    if (!ok) break;
    holds_one = false;
    long k = atomic_fetch_add(&accepted, 1);
    if (k < job.total) latency_ms[k] = (float)((now_sec() - began) * 1e3);
  }
  if (ok && send_text(s, "QUIT\r\n")) ok = read_line(s);
  if (s->tls) {
    if (ok) gnutls_bye(s->tls, GNUTLS_SHUT_WR);
    gnutls_deinit(s->tls);
  }
  if (s->fd >= 0) close(s->fd);
  if (holds_one) atomic_fetch_add(&left, 1);
  return ok;
}

static void *worker(void *unused) {
  (void)unused;
  struct session s;
  if (job.pause_ms) usleep((useconds_t)(random() % job.pause_ms) * 1000); /* not all at once */
  while (atomic_load(&left) > 0 && (end_sec == 0 || now_sec() < end_sec)) {
    if (run_session(&s)) {
      if (job.pause_ms) usleep((useconds_t)job.pause_ms * 1000);
      continue;
    }
    if (atomic_fetch_add(&failed, 1) > 20 + job.total / 4) break;
    usleep(20000);
  }
  return NULL;
}

static void make_message(void) {
  job.message = malloc(job.body_bytes + job.body_bytes / 16 + 1024);
  if (!job.message) abort();
  char *p = job.message;
  p += snprintf(p, 512, "From: <%s>\r\nTo: <%s>\r\nSubject: load\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n\r\n", job.sender, job.recipient);
  for (size_t done = 0; done < job.body_bytes; done += LINE_OCTETS + 2) {
    memset(p, 'x', LINE_OCTETS);
    memcpy(p + LINE_OCTETS, "\r\n", 2);
    p += LINE_OCTETS + 2;
  }
  memcpy(p, ".\r\n", 3);
  job.message_bytes = (size_t)(p + 3 - job.message);
  snprintf(job.envelope, sizeof job.envelope, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", job.sender, job.recipient);
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return x < y ? -1 : x > y;
}

static bool parse_options(int argc, char **argv) {
  int o;
  while ((o = getopt(argc, argv, "c:n:m:s:f:t:w:d:PES0I")) != -1) switch (o) {
      case 'c': job.connections = (int)strtol(optarg, NULL, 10); break;
      case 'n': job.total = strtol(optarg, NULL, 10); break;
      case 'm': job.per_connection = (int)strtol(optarg, NULL, 10); break;
      case 's': job.body_bytes = strtoul(optarg, NULL, 10); break;
      case 'f': job.sender = optarg; break;
      case 't': job.recipient = optarg; break;
      case 'w': job.pause_ms = (int)strtol(optarg, NULL, 10); break;
      case 'd': job.seconds = (int)strtol(optarg, NULL, 10); break;
      case 'E': job.early = true; break;
      case 'P': job.pipelining = true; break;
      case 'S': job.starttls = true; break;
      case '0': job.sessions_only = true; break;
      case 'I': job.idle = true; break;
      default: return false;
    }
  if (argc - optind != 2 || job.connections < 1 || job.total < 1) return false;
  job.peer.sin_port = htons((uint16_t)strtoul(argv[optind + 1], NULL, 10));
  return inet_pton(AF_INET, argv[optind], &job.peer.sin_addr) == 1;
}

static void report_greetings(void) {
  long n = atomic_load(&greeted);
  if (n > job.total) n = job.total;
  qsort(greeting_ms, (size_t)n, sizeof *greeting_ms, by_value);
  printf("greetings %ld p50_ms %.3f p99_ms %.3f max_ms %.3f\n", n, n ? (double)greeting_ms[n / 2] : 0, n ? (double)greeting_ms[n * 99 / 100] : 0,
         n ? (double)greeting_ms[n - 1] : 0);
}

static void report(double seconds) {
  long n = atomic_load(&accepted);
  if (n > job.total) n = job.total;
  qsort(latency_ms, (size_t)n, sizeof *latency_ms, by_value);
  struct rusage ru;
  getrusage(RUSAGE_SELF, &ru);
  double cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1e-6;
  printf("ok %ld bad %ld seconds %.4f rate %.2f p50_ms %.3f p99_ms %.3f load_cpu_s %.3f error \"%s\"\n", n, atomic_load(&failed), seconds,
         (double)n / seconds, n ? (double)latency_ms[n / 2] : 0, n ? (double)latency_ms[n * 99 / 100] : 0, cpu, first_error);
  if (job.pause_ms) report_greetings();
}

int main(int argc, char **argv) {
  if (!parse_options(argc, argv)) {
    fprintf(stderr, "usage: smtpload [-c N] [-n N] [-m N] [-s N] [-f A] [-t A] [-w N] [-d N] [-P] [-E] [-S] [-0] [-I] ADDRESS PORT\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  if (gnutls_certificate_allocate_credentials(&credentials) < 0) abort();
  make_message();
  latency_ms = calloc((size_t)job.total + 1, sizeof *latency_ms);
  greeting_ms = calloc((size_t)job.total + 1, sizeof *greeting_ms);
  pthread_t *threads = calloc((size_t)job.connections, sizeof *threads);
  if (!latency_ms || !greeting_ms || !threads) abort();
  atomic_store(&left, job.total);
  double began = now_sec();
  if (job.seconds) end_sec = began + job.seconds;
  int started = 0;
  while (started < job.connections && pthread_create(&threads[started], NULL, worker, NULL) == 0) started++;
  if (job.idle) wait_for_end_of_input();
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  report(now_sec() - began);
  return job.seconds ? atomic_load(&failed) > 0 : atomic_load(&accepted) < job.total;
}
