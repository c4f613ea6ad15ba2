/* SPDX-License-Identifier: GPL-2.0-or-later */
/* delaylink: a wire with a delay between two network namespaces, for round-trip tests and the demonstration.
 *
 *   delaylink [-d one_way_ms] [-l loss_percent] [-t seconds] [-T trace_file] NSA IFA NSB IFB
 *
 * NSA and NSB are names below /run/netns; a TUN interface IFA (IFB) is made in each, "ready" is printed, and IP packets are forwarded until
 * the program is killed or the seconds are over.  Because whole packets are delayed, TCP handshakes and Fast Open see the real round trip.
 * With -T each TCP segment that carries data or SYN is written when it is sent:
 *   milliseconds A>B|B>A source-port destination-port S|- length first-bytes(escaped)
 * The interfaces get their addresses from the caller. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { MTU_MAX = 65600, RING = 4096 /* power of two */, TRACE_BYTES = 400 };

struct packet {
  int64_t due_ns;
  size_t n;
  unsigned char *data;
};

struct direction {
  const char *label;
  int in, out;
  struct packet ring[RING];
  uint32_t head, tail;
};

struct options {
  int64_t delay_ns, run_ns;
  double loss;
  FILE *trace;
  const char *ns[2], *interface[2];
};

static volatile sig_atomic_t stop_wanted;
static void on_signal(int sig) {
  (void)sig;
  stop_wanted = 1;
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "delaylink: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int tun_in_namespace(const char *ns, const char *interface) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", ns);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) die(path);
  close(fd);
  fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
  if (ioctl(fd, TUNSETIFF, &request) < 0) die("TUNSETIFF");
  return fd;
}

/* xorshift, 0..1: losses are the same in every run */
static double random_unit(void) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (double)(state >> 11) / 9007199254740992.0;
}

static void put_escaped(FILE *f, const unsigned char *p, size_t n) {
  for (size_t i = 0; i < n && i < TRACE_BYTES; i++) {
    if (p[i] == '\r') fputs("\\r", f);
    else if (p[i] == '\n') fputs("\\n", f);
    else if (p[i] < 32 || p[i] > 126 || p[i] == '\\') fprintf(f, "\\x%02x", p[i]);
    else fputc(p[i], f);
  }
}

static void trace_packet(FILE *f, const char *label, const unsigned char *p, size_t n, int64_t t_ns) {
  size_t ip_bytes = n > 0 && p[0] >> 4 == 4 ? (size_t)(p[0] & 15) * 4 : 40;
  int protocol = n < 20 ? 0 : p[0] >> 4 == 4 ? p[9] : p[6];
  if (protocol != 6 || n < ip_bytes + 20) return;
  const unsigned char *tcp = p + ip_bytes;
  size_t header = ip_bytes + (size_t)(tcp[12] >> 4) * 4;
  int syn = tcp[13] & 2;
  if (header > n || (header == n && !syn)) return;
  fprintf(f, "%.3f %s %d %d %c %zu ", (double)t_ns / 1e6, label, tcp[0] << 8 | tcp[1], tcp[2] << 8 | tcp[3],
          syn ? 'S' : '-', n - header);
  put_escaped(f, p + header, n - header);
  fputc('\n', f);
  fflush(f);
}

/* Write out what is due; the time of the next packet or 0. */
static int64_t release_due(struct direction *d, int64_t now) {
  while (d->head != d->tail) {
    struct packet *p = &d->ring[d->head % RING];
    if (p->due_ns > now) return p->due_ns;
    /* an interface that is down eats the packet, as a real one would */
    if (write(d->out, p->data, p->n) < 0 && errno != EIO && errno != EINVAL) perror("delaylink: write");
    free(p->data);
    d->head++;
  }
  return 0;
}

static void take_packets(struct direction *d, const struct options *o, int64_t start) {
  static unsigned char buf[MTU_MAX];
  ssize_t n;
  while ((n = read(d->in, buf, sizeof buf)) > 0) {
    int64_t now = now_ns();
    if (o->trace) trace_packet(o->trace, d->label, buf, (size_t)n, now - start);
    if ((o->loss > 0 && random_unit() < o->loss) || d->tail - d->head >= RING) continue;
    struct packet *p = &d->ring[d->tail++ % RING];
    p->data = malloc((size_t)n);
    if (!p->data) die("malloc");
    memcpy(p->data, buf, (size_t)n);
    p->n = (size_t)n;
    p->due_ns = now + o->delay_ns;
  }
}

static void forward(struct direction d[2], const struct options *o) {
  int64_t start = now_ns(), end = o->run_ns ? start + o->run_ns : 0;
  while (!stop_wanted) {
    int64_t now = now_ns(), next = end;
    if (end && now >= end) return;
    for (int i = 0; i < 2; i++) {
      int64_t due = release_due(&d[i], now);
      if (due && (!next || due < next)) next = due;
    }
    struct pollfd pf[2] = {{d[0].in, POLLIN, 0}, {d[1].in, POLLIN, 0}};
    int64_t wait = next ? next - now_ns() : 0;
    if (wait < 0) wait = 0;
    struct timespec ts = {wait / 1000000000, wait % 1000000000};
    if (ppoll(pf, 2, next ? &ts : NULL, NULL) < 0 && errno != EINTR) die("ppoll");
    for (int i = 0; i < 2; i++)
      if (pf[i].revents & POLLIN) take_packets(&d[i], o, start);
  }
}

static struct options parse(int argc, char **argv) {
  struct options o = {.delay_ns = 50 * 1000000};
  int c;
  while ((c = getopt(argc, argv, "d:l:t:T:")) != -1) {
    char *end = NULL;
    double v = c == 'T' ? 0 : strtod(optarg ? optarg : "", &end);
    if (c == 'd') o.delay_ns = (int64_t)(v * 1e6);
    else if (c == 'l') o.loss = v / 100;
    else if (c == 't') o.run_ns = (int64_t)(v * 1e9);
    else if (c == 'T' && !(o.trace = fopen(optarg, "we"))) die(optarg);
    else if (c == '?') exit(2);
  }
  if (argc - optind != 4) {
    fprintf(stderr, "usage: delaylink [-d ms] [-l percent] [-t seconds] [-T file] NSA IFA NSB IFB\n");
    exit(2);
  }
  for (int i = 0; i < 2; i++) {
    o.ns[i] = argv[optind + 2 * i];
    o.interface[i] = argv[optind + 2 * i + 1];
  }
  return o;
}

int main(int argc, char **argv) {
  static struct direction d[2] = {{.label = "A>B"}, {.label = "B>A"}};
  struct options o = parse(argc, argv);
  d[0].in = d[1].out = tun_in_namespace(o.ns[0], o.interface[0]);
  d[0].out = d[1].in = tun_in_namespace(o.ns[1], o.interface[1]);
  prctl(PR_SET_TIMERSLACK, 1000);
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  puts("ready");
  fflush(stdout);
  forward(d, &o);
  return 0;
}
