/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clocks and Exim's time notations.  Floor: base.
 *
 * The only state is the offset that tests add to the wall clock.  Names of days and months are ours, not the
 * locale's.  Manual: ch. 6 "Time intervals", ch. 11 $tod_...; RFC 5322 3.3 for dates. */
#include "base/timeutil.h"

#include <limits.h>
#include <stdio.h>

static struct { int64_t offset_sec; } test_clock;

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Largest first: the order in which intervals are printed. */
static const struct {
  char letter;
  int64_t sec;
} units[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

void time_set_offset_sec(int64_t offset_sec) {
  test_clock.offset_sec = offset_sec;
}

struct timeval time_now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return (struct timeval){.tv_sec = ts.tv_sec + test_clock.offset_sec, .tv_usec = ts.tv_nsec / 1000};
}

time_t time_sec(void) {
  return time_now().tv_sec;
}

int64_t time_mono_ms(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

deadline_ms deadline_in_sec(int64_t timeout_sec) {
  if (timeout_sec > INT64_MAX / 1000) {
    return DEADLINE_NEVER;
  }
  return deadline_in_ms(timeout_sec * 1000);
}

deadline_ms deadline_in_ms(int64_t timeout_ms) {
  deadline_ms d;
  if (timeout_ms <= 0 || __builtin_add_overflow(time_mono_ms(), timeout_ms, &d)) {
    return DEADLINE_NEVER;
  }
  return d;
}

int deadline_poll_ms(deadline_ms d) {
  if (d == DEADLINE_NEVER) {
    return -1;
  }
  int64_t now = time_mono_ms();
  return d <= now ? 0 : (int)MIN(d - now, (int64_t)INT_MAX);
}

bool deadline_passed(deadline_ms d) {
  return d != DEADLINE_NEVER && time_mono_ms() >= d;
}

/* ----------------------------------------------------------------------------------------------------
 * Intervals */

static size_t count_digits(struct str s) {
  size_t n = 0;
  while (n < s.n && ch_isdigit(s.p[n])) {
    n++;
  }
  return n;
}

/* The fraction behind the dot, in milliseconds; digits beyond the third are dropped. */
static int64_t fraction_ms(struct str s) {
  int64_t ms = 0;
  for (size_t i = 0; i < 3; i++) {
    ms = ms * 10 + (i < s.n ? s.p[i] - '0' : 0);
  }
  return ms;
}

/* Take number, optional fraction and unit from *s and add them to *total_ms. */
static bool take_part(struct str *s, bool want_ms, int64_t *total_ms) {
  size_t n = count_digits(*s);
  int64_t value, ms = 0;
  if (n == 0 || !str_parse_i64(str_n(s->p, n), &value)) {
    return false;
  }
  struct str rest = str_n(s->p + n, s->n - n);
  bool has_fraction = want_ms && rest.n > 0 && rest.p[0] == '.';
  if (has_fraction) {
    rest = str_n(rest.p + 1, rest.n - 1);
    size_t digits = count_digits(rest);
    if (digits == 0) {
      return false;
    }
    ms = fraction_ms(str_n(rest.p, digits));
    rest = str_n(rest.p + digits, rest.n - digits);
  }
  for (size_t i = 0; rest.n > 0 && i < ARRAY_SIZE(units); i++) {
    if (units[i].letter != rest.p[0] || (has_fraction && units[i].letter != 's')) {
      continue;
    }
    *s = str_n(rest.p + 1, rest.n - 1);
    return !__builtin_mul_overflow(value, units[i].sec * 1000, &value) &&
           !__builtin_add_overflow(*total_ms, value, total_ms) &&
           !__builtin_add_overflow(*total_ms, ms, total_ms);
  }
  return false;
}

bool time_parse_interval(struct str s, bool want_ms, int64_t *ret) {
  int64_t total_ms = 0;
  if (s.n == 0) {
    return false;
  }
  while (s.n > 0) {
    if (!take_part(&s, want_ms, &total_ms)) {
      return false;
    }
  }
  *ret = want_ms ? total_ms : total_ms / 1000;
  return true;
}

char *time_format_interval(int64_t sec, char *buf, size_t size) {
  INVARIANT(size >= 48);
  char *p = buf;
  *p = 0;
  if (sec < 0) {
    *p++ = '-';
    sec = sec == INT64_MIN ? INT64_MAX : -sec;
  }
  if (sec == 0) {
    snprintf(p, size, "0s");
    return buf;
  }
  for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
    int64_t count = sec / units[i].sec;
    sec %= units[i].sec;
    if (count > 0) {
      p += snprintf(p, size - (size_t)(p - buf), "%lld%c", (long long)count, units[i].letter);
    }
  }
  return buf;
}

/* ----------------------------------------------------------------------------------------------------
 * Dates */

/* Broken-down time whose fields may be printed with fixed widths whatever the clock says. */
static struct tm break_down(time_t t, bool utc) {
  struct tm tm = {.tm_mday = 1, .tm_year = 70};
  struct tm *done = utc ? gmtime_r(&t, &tm) : localtime_r(&t, &tm);
  if (!done || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
    tm = (struct tm){.tm_mday = 1, .tm_year = 70};
  }
  return tm;
}

static void format_zone(const struct tm *tm, char *buf, size_t size) {
  long minutes = tm->tm_gmtoff / 60;
  char sign = minutes < 0 ? '-' : '+';
  if (minutes < 0) {
    minutes = -minutes;
  }
  snprintf(buf, size, "%c%02ld%02ld", sign, minutes / 60 % 100, minutes % 60);
}

/* "2025-03-04 10:11:12[.mmm][ zone]" */
static void format_log(const struct tm *tm, const char *zone, long usec, struct time_opts o, char *buf,
                       size_t size) {
  char msec[8] = "";
  if (o.want_msec) {
    snprintf(msec, sizeof msec, ".%03u", (unsigned)(usec / 1000) % 1000u);
  }
  snprintf(buf, size, "%04d-%02d-%02d %02d:%02d:%02d%s%s%s", tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday,
           tm->tm_hour, tm->tm_min, tm->tm_sec, msec, o.want_zone ? " " : "", o.want_zone ? zone : "");
}

char *time_format(struct timeval tv, enum time_style style, struct time_opts o, char *buf, size_t size) {
  INVARIANT(size >= 48);
  struct tm tm = break_down(tv.tv_sec, o.utc || style == TIME_ZULU);
  char zone[24];
  format_zone(&tm, zone, sizeof zone);
  const char *day = day_names[tm.tm_wday % 7], *month = month_names[tm.tm_mon % 12];
  int year = tm.tm_year + 1900;
  switch (style) {
  case TIME_LOG_BARE:
    o.want_zone = false;
    format_log(&tm, zone, tv.tv_usec, o, buf, size);
    break;
  case TIME_LOG:
    format_log(&tm, zone, tv.tv_usec, o, buf, size);
    break;
  case TIME_FULL:
    snprintf(buf, size, "%s, %02d %s %04d %02d:%02d:%02d %s", day, tm.tm_mday, month, year, tm.tm_hour,
             tm.tm_min, tm.tm_sec, zone);
    break;
  case TIME_BSD_INBOX:
    snprintf(buf, size, "%s %s %2d %02d:%02d:%02d %04d", day, month, tm.tm_mday, tm.tm_hour, tm.tm_min,
             tm.tm_sec, year);
    break;
  case TIME_ZULU:
    snprintf(buf, size, "%04d%02d%02d%02d%02d%02dZ", year, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
    break;
  case TIME_ZONE:
    snprintf(buf, size, "%s", zone);
    break;
  case TIME_NAMED_ZONE:
    snprintf(buf, size, "%s %2d %02d:%02d:%02d %04d %.16s", month, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, year,
             o.utc || !tm.tm_zone ? "GMT" : tm.tm_zone);
    break;
  case TIME_LOGFILE:
    snprintf(buf, size, "%04d%02d%02d", year, tm.tm_mon + 1, tm.tm_mday);
    break;
  }
  return buf;
}
