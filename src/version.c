/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -bV.  Floor: main.  Manual ch. 5.
 *
 * Drivers come from the driver tables; a feature word appears when the option that switches it is obeyed, so that no word promises what the build
 * does not do. */
#include "version.h"

#include <gnu/libc-version.h>
#include <gnutls/gnutls.h>
#include <pwd.h>
#include <stdio.h>

#include "auth.h"
#include "base/buildinfo.h"
#include "buildconfig.h"
#include "policy/options.h"
#include "policy/search.h"
#include "router.h"
#include "scan.h"
#include "transport.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static bool option_is_built(const char *name) {
  const struct option *o = opt_find(main_option_table, main_option_count, str_c(name));
  return o && (o->flags & OPT_BUILT);
}

/* In Exim's order.  option NULL: always there. */
static const struct {
  const char *word, *option;
  bool present;
} features[] = {
  {"Content_Scanning", "av_scanner", true},
  {"Exim_filter", NULL, CFG_SUPPORT_EXIM_FILTER},
  {"Sieve_filter", NULL, CFG_SUPPORT_SIEVE_FILTER},
  {"crypteq", NULL, CFG_SUPPORT_CRYPTEQ},
  {"iconv()", NULL, CFG_HAVE_ICONV},
  {"IPv6", NULL, CFG_HAVE_IPV6},
  {"PAM", NULL, CFG_SUPPORT_PAM},
  {"Perl", "perl_startup", true},
  {"Expand_dlfunc", NULL, CFG_EXPAND_DLFUNC},
  {"GnuTLS", "tls_certificate", CFG_USE_GNUTLS},
  {"translate_ip_address", NULL, true},
  {"move_frozen_messages", "move_frozen_messages", true},
  {"TLS_resume", "tls_resumption_hosts", true},
  {"DANE", NULL, true},
  {"DKIM", "acl_smtp_dkim", CFG_SUPPORT_DKIM},
  {"DMARC", "dmarc_tld_file", CFG_SUPPORT_DMARC},
  {"DNSSEC", "dns_dnssec_ok", true},
  {"ESMTP_Limits", "limits_advertise_hosts", true},
  {"ESMTP_Wellknown", "wellknown_advertise_hosts", true},
  {"Event", "event_action", true},
  {"I18N", "smtputf8_advertise_hosts", CFG_SUPPORT_I18N},
  {"OCSP", "tls_ocsp_file", true},
  {"PIPECONNECT", NULL, CFG_HAVE_PIPE_CONNECT},
  {"PRDR", "prdr_enable", true},
  {"PROXY", "hosts_proxy", true},
  {"Queue_Ramp", "queue_fast_ramp", true},
  {"SOCKS", NULL, true},
  {"SPF", "spf_guess", CFG_SUPPORT_SPF},
  {"SRS", NULL, CFG_SUPPORT_SRS},
  {"TCP_Fast_Open", NULL, true},
  {"Experimental_DSN_info", NULL, CFG_EXPERIMENTAL_DSN_INFO},
  {"Experimental_ARC", NULL, CFG_EXPERIMENTAL_ARC},
  {"Experimental_QUEUEFILE", NULL, CFG_EXPERIMENTAL_QUEUEFILE},
  {"Experimental_SRV_smtps", NULL, CFG_EXPERIMENTAL_SRV_SMTPS},
  {"Experimental_XCLIENT", "hosts_xclient", true},
};

static void print_features(FILE *f) {
  fprintf(f, "Support for:");
  for (size_t i = 0; i < ARRAY_SIZE(features); i++)
    if (features[i].present && (!features[i].option || option_is_built(features[i].option))) fprintf(f, " %s", features[i].word);
  putc('\n', f);
}

static void print_drivers(FILE *f) {
  fprintf(f, "Lookups (built-in):");
  for (size_t i = 0; lookup_drivers[i]; i++) fprintf(f, " %s", lookup_drivers[i]->name);
  fprintf(f, "\nAuthenticators (built-in):");
  for (size_t i = 0; auth_drivers[i]; i++) fprintf(f, " %s", auth_drivers[i]->name);
  fprintf(f, "\nRouters (built-in):");
  for (size_t i = 0; router_drivers[i]; i++) fprintf(f, " %s", router_drivers[i]->name);
  fprintf(f, "\nTransports (built-in):");
  for (size_t i = 0; transport_drivers[i]; i++) {
    fprintf(f, " %s", transport_drivers[i]->name);
    if (transport_drivers[i]->info && *transport_drivers[i]->info) fprintf(f, "/%s", transport_drivers[i]->info);
  }
  putc('\n', f);
}

static void print_fixed_users(FILE *f) {
  const char *sep = "";
  struct str rest = str_c(build_info()->fixed_never_users);
  fprintf(f, "Fixed never_users: ");
  while (rest.n) {
    struct str item = str_trim(str_cut(&rest, ':'));
    char name[128];
    uid_t uid;
    if (!item.n || item.n >= sizeof(name)) continue;
    memcpy(name, item.p, item.n);
    name[item.n] = 0;
    if (opt_find_user(name, &uid, NULL)) {
      fprintf(f, "%s%u", sep, uid);
      sep = ":";
    }
  }
  uid_t owner = 0;
  gid_t group = 0;
  if (!opt_find_user(build_info()->configure_owner, &owner, NULL)) owner = 0;
  if (!opt_find_group(build_info()->configure_group, &group)) group = 0;
  fprintf(f, "\nConfigure owner: %u:%u\n", owner, group);
}

static void print_libraries(FILE *f) {
  char pcre[64] = "";
  if (pcre2_config(PCRE2_CONFIG_VERSION, pcre) < 0) pcre[0] = 0;
  fprintf(f, "Compiler: %s\n", build_info()->cc);
  fprintf(f, "Library version: Glibc: Compile: %d.%d\n                        Runtime: %s\n", __GLIBC__, __GLIBC_MINOR__,
         gnu_get_libc_version());
  fprintf(f, "Library version: GnuTLS: Compile: %s\n                         Runtime: %s\n", GNUTLS_VERSION, gnutls_check_version(NULL));
  fprintf(f, "Library version: PCRE2: Compile: %d.%d\n                        Runtime: %s\n", PCRE2_MAJOR, PCRE2_MINOR, pcre);
  if (*build_info()->whitelist_d_macros) fprintf(f, "WHITELIST_D_MACROS: \"%s\"\n", build_info()->whitelist_d_macros);
  else fprintf(f, "WHITELIST_D_MACROS unset\n");
  if (*build_info()->trusted_config_list) fprintf(f, "TRUSTED_CONFIG_LIST: \"%s\"\n", build_info()->trusted_config_list);
  else fprintf(f, "TRUSTED_CONFIG_LIST unset\n");
}

void version_print(FILE *f, bool with_libraries) {
  fprintf(f, "Exim version %s #%s built %s\n", build_version(), build_number(), build_date());
  fprintf(f, "Copyright (c) the authors of this program; see the file NOTICE\n");
  fprintf(f, "Hints DB:\n GDBM (GNU dbm)\n");
  print_features(f);
  print_drivers(f);
  fprintf(f, "Malware:");
  for (size_t i = 0; CFG_WITH_CONTENT_SCAN && scan_malware_type_name(i); i++) fprintf(f, " %s", scan_malware_type_name(i));
  fputc('\n', f);
  print_fixed_users(f);
  fprintf(f, "Size of off_t: %zu\n", sizeof(off_t));
  if (with_libraries) print_libraries(f);
}

void version_print_config(const struct config *cfg) {
  printf("Configuration file search path is %s\n", build_info()->configure_file);
  printf("Configuration file is %s\n", cfg->file);
}
