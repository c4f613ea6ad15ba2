# SPDX-License-Identifier: GPL-2.0-or-later
#
# Configurations and sessions of chance for run-generated.  A case is made from its part and its number alone, so a number
# names the same case for ever on one version of this file.  DIR stands for the scratch directory.
#   routers(rng), acls(rng), rewrites(rng) -> (configuration, [(arguments, what is read from stdin)])
import random

COMMON = """primary_hostname = mx.test.ex
qualify_domain = test.ex
keep_environment =
spool_directory = DIR/spool
log_file_path = DIR/spool/%slog
domainlist local_domains = test.ex : *.local.ex
domainlist data_domains = lsearch;DIR/domains
localpartlist people = alpha : beta : userx
hostlist known = 10.1.1.1 : 10.2.0.0/16 : *.peer.ex
addresslist senders_list = good@send.ex : *@list.ex
"""

LOCAL_PARTS = ["alpha", "beta", "userx", "one", "two", "Alpha", "own-alpha", "own-zz-alpha", "alpha-sfx", "alpha+tag", "own-alpha-sfx",
               "list", "inc", "fail", "defer", "black", "pipe", "file", "unk", "nosuch", "self", "loop", "src", "quo", "bad", "many", '"a b"',
               '"al\\pha"', "root", "entry", "x_y", "empty"]
DOMAINS = ["test.ex", "TEST.ex", "a.local.ex", "far.ex", "mx1.ex", "mx2.ex", "aonly.ex", "none.ex", "again.ex", "nullmx.ex", "self.ex", "d1.ex",
           "sub.d2.ex", "[192.0.2.7]", "[127.0.0.1]", "[IPv6:2001:db8::7]", "badmx.ex", "cname.ex", "x_y.ex"]
EXTRA_ADDRESSES = ["alpha", "@test.ex", "a@b@test.ex", "<alpha@test.ex>", "Some One <one@test.ex>", "@relay.ex:alpha@test.ex",
                   "<@relay.ex,@r2.ex:one@far.ex>", "alpha@", "alpha@.ex", "al pha@test.ex", "alpha@test..ex", '""@test.ex', "(c)beta@test.ex", "alpha%far.ex@test.ex"]
STRINGS = ["$local_part", "$domain", "$local_part@$domain", "$local_part_data", "$domain_data", "$1", "$address_data", "$local_part_prefix",
           "$local_part_suffix", "$local_part_prefix_v/$local_part_suffix_v", "$sender_address", "$sender_address_domain", "$r_one", "$home",
           "$parent_local_part", "$original_domain", "$self_hostname", "$router_name", "$host", "$host_address", "word", "", "$original_local_part<$parent_domain>",
           "${lookup{$local_part}lsearch{DIR/aliases}{$value}{none}}", "${lookup{$domain}partial-lsearch{DIR/domains}}", "${quote_local_part:$local_part}"]
BROKEN = ["${if eq{a}{b}{c}fail}", "${lookup{$local_part}lsearch{DIR/aliases}{$value}fail}", "${nosuch:a}", "$nosuch", "${if eq{a}{b}", "${lookup{a}lsearch{DIR/missing}}",
          "${lookup{a}lsearch{relative}}", "${extract{2}{:}{a}{$value}fail}"]
CONDITIONS = ["yes", "no", "true", "0", "1", "", "${if eq{$domain}{test.ex}}", "${if match{$local_part}{^(a.*)}{yes}{no}}", "$local_part", "maybe",
              "${if def:address_data}", "${lookup{$local_part}lsearch{DIR/aliases}{yes}{no}}", "-1", "${if eq{$local_part}{alpha}{yes}fail}"]
DATA = ["$local_part@far.ex", "one, two", "alpha", "${lookup{$local_part}lsearch{DIR/aliases}}", "${lookup{$local_part}lsearch*{DIR/aliases}}",
        ":fail: no such $local_part", ":fail:", ":defer: later", ":blackhole:", ":unknown: x", ":include:DIR/incl", ":include:DIR/missing", "|/bin/cat a b", "/tmp/box", "/tmp/dir/",
        "\"|/bin/cat x\"", "\\alpha", "\\$local_part", "\"a b\"@far.ex", "@relay.ex:one@far.ex", "<one@far.ex>", "Some <one@far.ex>", "one@far.ex (c)", "one@[192.0.2.7]",
        "", "one,,two", "@", "a@b@c", "one : two", "alpha@test.ex, beta@far.ex,\\n gamma@d1.ex", "$1@far.ex", "$local_part", "\\:fail: a", ":FAIL: x", ":fail:a,one", "one, :fail: late",
        "#comment", "one # c", "# Exim filter\\ndeliver one@far.ex", "# Exim filter\\nif $local_part is alpha then save /tmp/x endif", "# Exim filter\\nseen finish", "# Sieve filter\\nkeep;",
        "# Exim filter\\nfail text \"no way\"", "# Exim filter\\nfreeze", ":blackhole: x", "one, :blackhole:", "one; two", "list: one;", "\"one\" two@far.ex", "one@TEST.EX", "user@\\@x"]
DOMAIN_LISTS = ["test.ex", "+local_domains", "! +local_domains", "+data_domains", "*.ex", "far.ex : d1.ex", "^(\\\\w+)\\\\.ex\\$", "lsearch;DIR/domains", "partial-lsearch;DIR/domains", "*", "@", "@[]",
                "! far.ex : *", "dsearch;DIR/doms", "${if eq{a}{b}{x}fail}", "+nosuch", "test.ex : ${nosuch}", "@mx_any", "@mx_primary", "*.local.ex", ""]
PART_LISTS = ["alpha", "+people", "! +people", "alpha : beta", "^a(.*)", "lsearch;DIR/aliases", "dsearch;DIR/parts", "*", "*a", "! one : ! two : *", "${local_part}", "${if eq{a}{b}{x}fail}",
              "alpha*", "lsearch*;DIR/aliases", "wildlsearch;DIR/wild", "${lookup{$domain}lsearch{DIR/domains}}", "+nosuch", "nwildlsearch;DIR/wild", ""]
SENDER_LISTS = ["good@send.ex", "*@send.ex", ":", "! :", "+senders_list", "send.ex", "^good", "lsearch;DIR/senders", "@@lsearch;DIR/atat", "*", "! *@list.ex : *", ""]
HOSTS = ["192.0.2.1", "h1.ex", "h1.ex : h2.ex", "<, h1.ex, 192.0.2.2", "192.0.2.1::2525", "h1.ex/MX", "mx1.ex/MX", "h1.ex : + : h2.ex", "nohost.ex", "again.ex", "127.0.0.1", "local.h.ex", "h1.ex : 192.0.2.1",
         "$1", "${lookup{$domain}partial-lsearch{DIR/hosts}}", "mx.test.ex", "", "192.0.2.999", "<+ 2001:db8::1 + h2.ex", "self.ex/mx", "h1.ex::99 : h2.ex/MX", "h6.ex", "two.ex"]
HOST_OPTIONS = ["", " byname", " bydns", " randomize", " no_randomize byname", " byname t2", " t3", " bydns ipv4_only", " byname ipv4_prefer", " nosuch", " byname bydns"]
HEADERS = ["X-A: $local_part", "X-B: a\\nX-C: b", "${if eq{a}{b}{c}fail}", "", "not a header"]
SELF = ["freeze", "defer", "send", "pass", "fail", "reroute: other.ex", "reroute: rewrite: other.ex", "reroute:other.ex"]
TRANSPORTS = ["t1", "t2", "t3", "${if eq{$local_part}{alpha}{t1}{t2}}", "$domain", "${if eq{a}{b}{c}fail}"]


def chance(rng, part):
  return rng.random() < part


def string(rng):
  return rng.choice(BROKEN) if chance(rng, 0.06) else rng.choice(STRINGS)


def generic(rng, name, later):
  """Generic router options: (text, does it need a transport)."""
  lines = []

  def add(likely, option, pool):
    if chance(rng, likely):
      lines.append(f"{option} = {rng.choice(pool)}" if pool else option)

  add(0.35, "domains", DOMAIN_LISTS)
  add(0.35, "local_parts", PART_LISTS)
  if chance(rng, 0.15):
    lines.append("local_part_prefix = " + rng.choice(["own-", "own-*-", "*-", "own- : x*", "*+", "$1"]))
    add(0.5, "local_part_prefix_optional", None)
  if chance(rng, 0.15):
    lines.append("local_part_suffix = " + rng.choice(["-sfx", "+*", "-*", "-sfx : +*", "*-a"]))
    add(0.5, "local_part_suffix_optional", None)
  add(0.12, "senders", SENDER_LISTS)
  for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
    lines.append("condition = " + (rng.choice(BROKEN) if chance(rng, 0.1) else rng.choice(CONDITIONS)))
  if chance(rng, 0.25):
    lines.append("address_data = " + string(rng))
  if chance(rng, 0.2):
    lines.append("set = r_one = " + rng.choice(STRINGS))
  add(0.12, "headers_add", HEADERS)
  add(0.08, "headers_remove", ["X-A", "X-A : X-B", "$local_part", "${if eq{a}{b}{c}fail}"])
  add(0.12, rng.choice(["unseen", "no_more", "no_unseen"]), None)
  add(0.08, "more", ["${if eq{$local_part}{alpha}{no}{yes}}", "false", "${nosuch}", "${if eq{$local_part}{one}{perhaps}{no}}", "${if eq{a}{b}{c}fail}"])
  add(0.06, "unseen", ["${if eq{$local_part}{alpha}}", "true", "${nosuch}"])
  if later:
    add(0.12, "pass_router", later)
    add(0.12, "redirect_router", later)
  for option in ["fail_verify", "fail_verify_sender", "fail_verify_recipient", "verify_only", "no_verify", "no_verify_sender", "no_verify_recipient", "no_expn",
                 "caseful_local_part", "no_address_test", "dsn_lasthop", "no_initgroups", "initgroups", "disable_logging", "log_as_local", "no_log_as_local",
                 "retry_use_local_part", "check_local_user"]:
    add(0.05, option, None)
  add(0.08, "self", SELF)
  add(0.06, "user", ["root", "userx", "1234", "$local_part", "${nosuch}"])
  add(0.05, "group", ["root", "1234", "$local_part"])
  add(0.08, "errors_to", ["admin@test.ex", "", "nosuch@@", "${if eq{a}{b}{c}fail}", "alpha@far.ex", "$local_part-err@$domain", "<>", "${nosuch}"])
  add(0.06, "ignore_target_hosts", ["192.0.2.0/24", "127.0.0.0/8 : 192.0.2.1", "*", "<; 0.0.0.0 ; ::1"])
  add(0.1, "cannot_route_message", ["no way to $local_part", "${nosuch}", "${if eq{a}{b}{c}fail}", "$address_data"])
  add(0.05, "debug_print", ["$local_part", "$domain"])
  add(0.05, "require_files", ["DIR/aliases", "!DIR/aliases", "DIR/missing", "relative", "userx:DIR/aliases", "DIR/aliases : !DIR/missing", "${nosuch}", "+DIR/missing"])
  add(0.05, "router_home_directory", ["DIR", "/nonexist", "relative", "${nosuch}"])
  add(0.05, "transport_home_directory", ["DIR", "$home/x"])
  add(0.04, "fallback_hosts", ["h1.ex", "192.0.2.3"])
  return lines


def redirect(rng):
  lines = []
  if chance(rng, 0.12):
    lines.append("file = " + rng.choice(["DIR/forward-$local_part", "DIR/incl", "DIR/missing", "$home/.forward", "DIR/filter", "relative", "DIR/empty", "DIR/doms/x/y"]))
    if chance(rng, 0.3):
      lines.append("no_check_owner")
  else:
    data = rng.choice(BROKEN) if chance(rng, 0.06) else rng.choice(DATA)
    lines.append(f'data = "{data}"' if "\\" in data and '"' not in data else "data = " + data)
  for option in ["allow_fail", "allow_defer", "allow_filter"]:
    if chance(rng, 0.5 if option != "allow_filter" else 0.25):
      lines.append(option)
      if option == "allow_filter" and chance(rng, 0.95):
        lines.append("user = userx")
  for option in ["forbid_blackhole", "forbid_file", "forbid_pipe", "forbid_include", "forbid_exim_filter", "forbid_sieve_filter", "check_ancestor", "no_rewrite", "one_time",
                 "repeat_use", "no_repeat_use", "hide_child_in_errmsg", "ignore_eacces", "ignore_enotdir", "qualify_preserve_domain", "skip_syntax_errors", "forbid_smtp_code",
                 "forbid_filter_lookup", "forbid_filter_run", "forbid_filter_logwrite", "check_group", "forbid_filter_reply"]:
    if chance(rng, 0.07):
      lines.append(option)
  for option, pool, likely in [("file_transport", TRANSPORTS, 0.75), ("pipe_transport", TRANSPORTS, 0.75), ("directory_transport", TRANSPORTS, 0.5), ("reply_transport", ["t1"], 0.1),
                               ("qualify_domain", ["q.ex", "$domain", "${nosuch}"], 0.06), ("include_directory", ["DIR", "/nonexist"], 0.06), ("modemask", ["022", "077"], 0.05),
                               ("owners", ["root", "userx"], 0.03), ("syntax_errors_to", ["admin@test.ex"], 0.03), ("syntax_errors_text", ["text"], 0.02)]:
    if chance(rng, likely):
      lines.append(f"{option} = {rng.choice(pool)}")
  return lines


def manualroute(rng):
  lines = []
  if chance(rng, 0.3):
    lines.append("route_data = " + rng.choice(HOSTS + BROKEN[:4]) + rng.choice(HOST_OPTIONS))
  else:
    rules = []
    for _ in range(rng.randint(1, 3)):
      hosts = rng.choice(HOSTS)
      rules.append(rng.choice(["*", "far.ex", "*.ex", "d1.ex", "! test.ex", "lsearch;DIR/domains", "^(.*)\\.ex$", "$domain", "+local_domains"]) + f' "{hosts}"' + rng.choice(HOST_OPTIONS))
    lines.append("route_list = " + " ; ".join(rules))
  for option, pool, likely in [("host_find_failed", ["decline", "defer", "fail", "freeze", "pass", "ignore", "nosuch"], 0.3),
                               ("host_all_ignored", ["decline", "defer", "fail", "pass", "freeze"], 0.15)]:
    if chance(rng, likely):
      lines.append(f"{option} = {rng.choice(pool)}")
  if chance(rng, 0.08):
    lines.append("same_domain_copy_routing")
  return lines


def dnslookup(rng):
  lines = []
  for option in ["same_domain_copy_routing", "mx_domains = *", "mx_domains = far.ex", "check_secondary_mx", "qualify_single", "no_qualify_single", "search_parents", "no_rewrite_headers",
                 "srv_fail_domains = *", "mx_fail_domains = *", "fail_defer_domains = *", "fail_defer_domains = again.ex", "check_srv = smtp", "ipv4_only", "ipv4_prefer = true",
                 "widen_domains = test.ex", "dnssec_request_domains = *", "dnssec_require_domains = far.ex", "mx_domains = +data_domains"]:
    if chance(rng, 0.08):
      lines.append(option)
  return lines


def queryprogram(rng):
  answer = rng.choice(["accept", "decline", "fail no\\ way", "defer later", "pass", "freeze", "error x", "redirect one@far.ex", "redirect beta", "accept transport=t2", "accept hosts=h1.ex lookup=byname transport=t3",
                       "accept host=h1.ex transport=t3", "accept data=DATA transport=t1", "garbage", "", "accept hosts=192.0.2.1 transport=t3", "FAIL upper", "redirect", "fail", "accept lookup=nosuch hosts=h1.ex transport=t3"])
  lines = [f'command = /bin/echo {answer}', "command_user = " + rng.choice(["userx", "userx", "userx", "nosuchuser", "$local_part"])]
  if chance(rng, 0.1):
    lines[0] = rng.choice(["command = /nonexist", "command = relative", "command = /bin/false", "command = /bin/sh -c 'echo accept; exit 3'", "command = ${nosuch}", "command = /bin/sleep 20"])
    if "sleep" in lines[0]:
      lines.append("timeout = 1s")
  if chance(rng, 0.1):
    lines.append("command_group = nogroup")
  if chance(rng, 0.1):
    lines.append("current_directory = " + rng.choice(["/", "DIR", "/nonexist"]))
  return lines


def router(rng, name, later):
  driver = rng.choices(["accept", "redirect", "manualroute", "dnslookup", "ipliteral", "queryprogram"], [3, 6, 4, 2, 1, 1.3])[0]
  lines = generic(rng, name, later)
  own = {"redirect": redirect, "manualroute": manualroute, "dnslookup": dnslookup, "queryprogram": queryprogram}.get(driver)
  if own:
    lines += own(rng)
  if driver != "redirect" and not any(line == "verify_only" for line in lines) or (driver == "redirect" and chance(rng, 0.02)):
    if chance(rng, 0.96):
      lines.append("transport = " + (rng.choice(TRANSPORTS) if chance(rng, 0.3) else rng.choice(["t1", "t2"]) if driver in ("accept",) else "t3"))
  rng.shuffle(lines)
  seen, kept = set(), []
  for line in lines:  # an option that is set twice is an error of its own
    key = line.split(" ")[0].removeprefix("no_")
    if key in ("condition", "set", "headers_add", "headers_remove") or key not in seen:
      kept.append(line)
    seen.add(key)
  return f"{name}:\n  driver = {driver}\n" + "".join(f"  {line}\n" for line in kept)


TRANSPORT_TEXT = """
begin transports
t1:
  driver = appendfile
  file = /tmp/box
  user = userx
t2:
  driver = pipe
  command = /bin/cat
  user = userx
t3:
  driver = smtp
begin retry
* * F,1h,10m
"""


def address(rng):
  if chance(rng, 0.12):
    return rng.choice(EXTRA_ADDRESSES)
  return rng.choice(LOCAL_PARTS) + "@" + (rng.choice(DOMAINS) if chance(rng, 0.6) else rng.choice(["test.ex", "far.ex"]))


def smtp_path(rng):
  return "<" + address(rng).strip("<>") + ">"


def routers(rng):
  names = [f"r{i}" for i in range(1, rng.randint(2, 6) + 1)]
  main = ["acl_smtp_rcpt = rcpt", "acl_smtp_vrfy = accept", "acl_smtp_expn = accept", "acl_smtp_connect = accept"]
  for option, likely in [("allow_domain_literals", 0.6), ("allow_utf8_domains", 0.05), ("caseful_dummy", 0), ("percent_hack_domains = test.ex", 0.1), ("local_interfaces = 127.0.0.1", 0.05),
                         ("dns_again_means_nonexist = *", 0.06), ("local_from_check = false", 0.05), ("strip_excess_angle_brackets", 0.1), ("strip_trailing_dot", 0.1),
                         ("unknown_login = userx", 0.05), ("gecos_pattern = ", 0.02), ("hosts_treat_as_local = far.ex", 0.06), ("log_selector = +all", 0.0),
                         ("uucp_from_sender = x", 0), ("never_users = root", 0.05), ("untrusted_set_sender = *", 0.05), ("dns_check_names_pattern =", 0.06), ("dns_ipv4_lookup = *", 0.06)]:
    if chance(rng, likely):
      main.append(option)
  text = COMMON + "\n".join(main) + "\nbegin acl\nrcpt:\n" + rng.choice(["  require verify = recipient\n", "  deny !verify = recipient\n  warn add_header = X: $address_data\n",
                                                                       "  require verify = sender\n  require verify = recipient\n", "  require verify = recipient\n  defer message = $local_part_data/$domain_data/$address_data\n",
                                                                       "  require verify = sender=good@send.ex\n          verify = recipient\n  deny message = <$sender_address_data>\n"]) + "  accept\nbegin routers\n"
  for i, name in enumerate(names):
    text += router(rng, name, names[i + 1:] or None if chance(rng, 0.9) else names)
  text += TRANSPORT_TEXT
  pool = [address(rng) for _ in range(10)]
  sender = rng.choice(["good@send.ex", "x@list.ex", "<>", "alpha@test.ex"])
  session = f"EHLO c.ex\nMAIL FROM:<{sender.strip('<>')}>\n" + "".join(f"RCPT TO:{smtp_path(rng)}\n" for _ in range(5)) + \
      "".join(f"{rng.choice(['VRFY', 'EXPN'])} {address(rng)}\n" for _ in range(4)) + "QUIT\n"
  runs = [(["-bt", *pool], ""), (["-f", sender, "-bt", *pool[:4]], ""), (["-bv", *pool], ""), (["-bvs", *pool[:6]], ""), (["-bh", "10.1.1.1"], session), (["-bP", "routers"], "")]
  return text, runs


# ---- ACLs

ACL_POINTS = ["connect", "helo", "mail", "rcpt", "predata", "data", "mime", "vrfy", "expn", "etrn", "quit", "notquit", "starttls", "mailauth"]
ACL_CONDITIONS = [
    "hosts = 10.1.1.1", "hosts = +known", "hosts = ! +known", "hosts = *.peer.ex", "hosts = :", "hosts = <; 10.0.0.0/8", "domains = +local_domains", "domains = test.ex : far.ex", "domains = !test.ex",
    "domains = partial-lsearch;DIR/domains", "local_parts = +people", "local_parts = ^a(.*)", "recipients = alpha@test.ex", "recipients = *@far.ex", "senders = +senders_list", "senders = :", "senders = *@send.ex",
    "sender_domains = send.ex", "sender_domains = +local_domains", "condition = yes", "condition = no", "condition = ${if eq{$sender_helo_name}{c.ex}}", "condition = $acl_c_a", "condition = maybe", "condition = ${nosuch}",
    "condition = ${if eq{a}{b}{c}fail}", "condition = ${if >{$rcpt_count}{1}}", "encrypted = *", "!encrypted = *", "authenticated = *", "!authenticated = *", "acl = nested", "acl = nested one two", "acl = nosuch",
    "acl = accept", "acl = deny message = inline", "!acl = nested", "acl = ${if eq{$domain}{test.ex}{nested}{second}}", "acl = DIR/aclfile", "dnslists = bl.ex", "dnslists = bl.ex=127.0.0.2", "dnslists = bl.ex!=127.0.0.2", "dnslists = bl.ex : bl2.ex",
    "dnslists = bl.ex/$sender_address_domain", "dnslists = bl.ex&3", "dnslists = bl.ex,bltxt.ex=127.0.0.2", "dnslists = +include_unknown : again.ex", "dnslists = again.ex", "dnslists = +defer_unknown : again.ex", "dnslists = bl.ex==127.0.0.2",
    "verify = recipient", "verify = sender", "!verify = recipient", "!verify = sender", "verify = helo", "verify = reverse_host_lookup", "verify = header_syntax", "verify = header_sender", "verify = not_blind", "verify = header_names_ascii",
    "verify = certificate", "verify = csa", "verify = nosuch", "verify = recipient/defer_ok", "verify = sender=alpha@test.ex", "verify = sender/no_details",
    "ratelimit = 1 / 1h / strict / $sender_address", "ratelimit = 100 / 1h", "ratelimit = 2 / 1h / per_rcpt / leaky / k", "ratelimit = 1 / 1h / per_cmd / key$local_part", "ratelimit = 0 / 1h / readonly", "ratelimit = x / 1h", "ratelimit = 1/1h/noupdate/$acl_c_a",
    "ratelimit = 3 / 1h / per_conn / strict", "ratelimit = 1 / 1x", "seen = 1h", "seen = -5m / key=$local_part", "seen = 0s / readonly", "seen = 5m / refresh=1m", "regex = ^Subject", "malware = *", "spam = nobody", "decode = default", "queue = q2",
    "!condition = no", "! hosts = 10.1.1.1", "local_parts = ! alpha", "hosts = ${nosuch}", "hosts = h1.ex", "hosts = nohost.ex", "hosts = +include_unknown : nohost.ex", "hosts = +ignore_unknown : nohost.ex : *", "hosts = lsearch;DIR/hostlist", "hosts = net24-lsearch;DIR/hostlist",
]
ACL_MODIFIERS = [
    "message = m $local_part", "message = 550 5.7.1 coded", "message = 451 4.7.1 coded soft", "message = 250 ok then", "message = 421 away", "message = a\\nb", "message = ${nosuch}", "message = ${if eq{a}{b}{c}fail}", "message = <$acl_verify_message>",
    "message = $dnslist_domain $dnslist_value $dnslist_text $dnslist_matched", "message = $sender_rate/$sender_rate_limit", "message = $local_part_data/$domain_data/$host_data/$sender_data", "message =", "log_message = lm $domain", "log_message = ${nosuch}", "log_message =",
    "log_message = $acl_m_one $acl_c_a", "set acl_c_a = yes", "set acl_c_a = $local_part", "set acl_m_one = ${eval:$acl_m_one+1}", "set acl_m0 = x", "set acl_c1 = ${nosuch}", "set acl_c_a = ${if eq{a}{b}{c}fail}", "set foo = x", "set acl_m_two = $acl_arg1/$acl_narg", "endpass", "endpass",
    "logwrite = lw $local_part", "logwrite = :main,reject: both", "logwrite = :panic: x", "logwrite = :reject: r", "logwrite = ${nosuch}", "logwrite = :nosuch: y", "add_header = X-A: $local_part", "add_header = :at_start:X-B: b", "add_header = text alone", "add_header = ${nosuch}",
    "remove_header = X-A", "remove_header = X-A : X-B", "delay = 0s", "delay = 0", "delay = ${nosuch}", "delay = x", "continue = ${lookup{a}lsearch{DIR/aliases}}", "continue = ${nosuch}", "continue =", "log_reject_target = main", "log_reject_target =", "log_reject_target = reject",
    "log_reject_target = nosuch", "udpsend = x", "control = freeze", "control = freeze/no_tell", "control = queue_only", "control = queue", "control = queue/only", "control = queue/first_pass_route", "control = submission", "control = submission/sender_retain", "control = submission/domain=d.ex", "control = caseful_local_part",
    "control = caselower_local_part", "control = enforce_sync", "control = no_enforce_sync", "control = no_multiline_responses", "control = no_pipelining", "control = suppress_local_fixups", "control = fakereject/no thanks", "control = fakedefer", "control = fakereject", "control = dscp/EF", "control = debug/kill",
    "control = allow_auth_unadvertised", "control = error", "control = no_mbox_unspool", "control = no_callout_flush", "control = no_delay_flush", "control = no_rcpt_callout", "control = nosuch", "control = utf8_downconvert", "control = cutthrough_delivery", "control = dkim_disable_verify",
    "control = fakereject/451 x", "control = ${nosuch}", "control = caseful_local_part/x", "control = submission/name=A B",
]
VERBS = ["accept", "deny", "defer", "drop", "discard", "require", "warn"]


def statement(rng, point):
  verb = rng.choices(VERBS, [4, 5, 2, 1, 1.5, 4, 6])[0]
  lines, soft = [], 0.85  # conditions and modifiers that this point may not have are errors of the configuration: few of them
  for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4])):
    lines.append(rng.choice(ACL_CONDITIONS) if chance(rng, 0.5) else rng.choice(ACL_MODIFIERS))
  lines = [x for x in lines if "endpass" != x or verb in ("accept", "discard")]
  early = point in ("connect", "helo", "quit", "notquit", "etrn", "vrfy", "expn", "starttls")
  only_late = ("verify = header", "verify = not_blind", "regex", "malware", "spam", "decode")
  lines = [x for x in lines if chance(rng, 0.03) or not (
      (x.lstrip("!").startswith(only_late) or x.startswith(("malware", "spam", "decode", "regex")))
      or (early and x.lstrip("! ").startswith(("domains", "local_parts", "recipients", "senders", "sender_domains", "verify = recipient", "verify = sender", "add_header", "remove_header", "control =")))
      or (point != "rcpt" and x.lstrip("! ").startswith(("domains", "local_parts", "recipients", "verify = recipient")))
      or (point in ("data", "predata", "not_smtp", "mime") and "caseful" in x)
      or x in ("udpsend = x", "control = nosuch", "control = error", "set foo = x", "verify = nosuch", "queue = q2", "delay = x", "log_reject_target = nosuch")
      or (point == "not_smtp" and (x.lstrip("! ").startswith(("hosts", "dnslists", "encrypted", "authenticated", "verify = helo", "verify = reverse", "ratelimit", "senders", "sender_domains", "control ="))))
      or (verb == "discard" and False))]
  return "  " + verb + "".join(("\t" if i == 0 else "\t\t") + line + "\n" for i, line in enumerate(lines)) + ("" if lines else "\n")


def acls(rng):
  points = [p for p in ACL_POINTS if p not in ("mime", "starttls", "mailauth")]
  main = ["smtp_max_synprot_errors = 50", "recipient_unqualified_hosts = *", "smtp_etrn_command = /bin/true"]
  body = ""
  for point in points:
    if point in ("rcpt",) or chance(rng, 0.4 if point not in ("mail", "data") else 0.6):
      main.append(f"acl_smtp_{point} = " + (f"a_{point}" if chance(rng, 0.97) else rng.choice(["nosuch", "${if eq{a}{b}{c}fail}", "${nosuch}", "deny", "accept", "DIR/aclfile"])))
      n = rng.choice([1, 1, 2, 3, 4]) if point in ("rcpt", "mail", "data") else rng.choice([1, 1, 2])
      body += f"a_{point}:\n" + "".join(statement(rng, point) for _ in range(n))
      if chance(rng, 0.75 if point in ("rcpt", "mail", "data") else 0.9):
        body += "  accept\n"
  if chance(rng, 0.4):
    main.append("acl_not_smtp = a_not")
    body += "a_not:\n" + statement(rng, "not_smtp") + statement(rng, "not_smtp") + "  accept\n"
  for option, likely in [("host_lookup = *", 0.3), ("smtp_return_error_details", 0.2), ("log_selector = +smtp_confirmation +all_parents", 0.1), ("sender_unqualified_hosts = *", 0.3), ("helo_allow_chars = _", 0.1),
                         ("helo_verify_hosts = 10.1.1.1", 0.05), ("helo_try_verify_hosts = *", 0.1), ("host_reject_connection = 10.3.3.3", 0.1), ("smtp_banner = $smtp_active_hostname hi", 0.1), ("smtp_accept_max_nonmail = 5", 0.05),
                         ("smtp_max_unknown_commands = 0", 0.05), ("recipients_max = 2", 0.1), ("recipients_max = 2\nrecipients_max_reject", 0.1), ("message_size_limit = 1K", 0.05), ("acl_var_dummy", 0),
                         ("strict_acl_vars", 0.15), ("ignore_dummy", 0), ("percent_hack_domains = test.ex", 0.05), ("smtp_enforce_sync = false", 0.2), ("dns_again_means_nonexist = *", 0.05), ("rfc1413_hosts =", 0.05),
                         ("message_body_visible = 10", 0.05), ("log_reject_target_dummy", 0), ("header_maxsize = 200", 0.03), ("received_headers_max = 1", 0.03), ("smtp_accept_max_per_connection = 1", 0.05), ("sender_reject_dummy", 0)]:
    if chance(rng, likely):
      main.append(option)
  nested = "nested:\n" + statement(rng, "rcpt") + statement(rng, "helo") + ("  accept\n" if chance(rng, 0.6) else "") + "second:\n" + statement(rng, "helo") + ("  deny\n" if chance(rng, 0.5) else "  accept\n")
  text = COMMON + "\n".join(main) + "\nbegin acl\n" + body + nested + """begin routers
al:
  driver = redirect
  domains = +local_domains
  data = ${lookup{$local_part}lsearch{DIR/aliases}}
  allow_fail
  allow_defer
  address_data = ad-$local_part
  file_transport = t1
  pipe_transport = t1
  senders = ! bad@send.ex
loc:
  driver = accept
  domains = +local_domains : send.ex
  local_parts = alpha : beta : userx : good : one : two
  transport = t1
far:
  driver = manualroute
  route_list = far.ex 192.0.2.1
  transport = t3
""" + TRANSPORT_TEXT

  def session():
    lines = []
    if chance(rng, 0.3):
      lines.append(rng.choice(["EHLO bad_name", "HELO", "NOOP", "EHLO h1.ex", "MAIL FROM:<>"]))
    lines.append(rng.choice(["EHLO c.ex", "HELO c.ex", "EHLO [10.1.1.1]", "EHLO h1.ex"]))
    for _ in range(rng.randint(1, 3)):
      if chance(rng, 0.2):
        lines.append(rng.choice(["VRFY alpha@test.ex", "EXPN list@test.ex", "ETRN #x", "VRFY nosuch", "NOOP", "RSET", "EXPN alpha", "HELP", "JUNK", "AUTH PLAIN x", "STARTTLS"]))
      lines.append("MAIL FROM:" + rng.choice(["<good@send.ex>", "<>", "<x@list.ex>", "<bad@send.ex>", "<nosuch@test.ex>", "<good@send.ex> SIZE=100", "<unq>", "<alpha@again.ex>"]))
      for _ in range(rng.randint(1, 4)):
        lines.append("RCPT TO:" + (f"<{rng.choice(['alpha', 'beta', 'nosuch', 'fail', 'defer', 'one', 'list', 'Alpha'])}@{rng.choice(['test.ex', 'far.ex', 'a.local.ex'])}>" if chance(rng, 0.9) else rng.choice(["<alpha>", "<a@b@c>", "alpha@test.ex", "<>"])))
      if chance(rng, 0.7):
        lines.append("DATA")
        lines += ["Subject: s", "From: " + rng.choice(["good@send.ex", "a@@b", "nosuch@test.ex"]), "X-A: a", "", rng.choice(["body", "..dot"]), "."]
      elif chance(rng, 0.3):
        lines.append("RSET")
    if chance(rng, 0.8):
      lines.append("QUIT")
    return "".join(line + "\n" for line in lines)
  runs = [(["-bh", rng.choice(["10.1.1.1", "10.2.3.4", "10.3.3.3", "192.0.2.50"])], session()) for _ in range(2)]
  runs += [(["-odq", "-bs", "-oMa", rng.choice(["10.1.1.1", "10.2.3.4"])], session()), (["-odq", "-bs"], session()), (["-odq", "-oep", "-f", "good@send.ex", "alpha@test.ex"], "Subject: x\n\nbody\n"),
           (["-odq", "-bS"], f"MAIL FROM:<good@send.ex>\nRCPT TO:<{rng.choice(['alpha', 'nosuch'])}@test.ex>\nDATA\nSubject: b\n\nb\n.\nQUIT\n")]
  return text, runs


# ---- rewriting

PATTERNS = ["*@test.ex", "*@far.ex", "alpha@test.ex", "*@*.local.ex", "*", "^(.*)@far\\.ex$", "\\N^a(.*)@(.*)$\\N", "lsearch;DIR/rewrites", "*@lsearch;DIR/domains", "*@partial-lsearch;DIR/domains", "far.ex", "@", "*ha@*.ex", "alpha@", "@@lsearch;DIR/atat",
            "! alpha@test.ex", "*@+local_domains", "+senders_list", "*@+local_domains : x@y", "\"alpha@test.ex\"", "*.ex", "alpha", "^", "*@", "*@^(f.*)\\.ex", "*@dsearch;DIR/doms", "nosuch;x", "*+*@test.ex", "${lookup{a}lsearch{DIR/aliases}}", "partial-lsearch*@;DIR/rewrites",
            "*@@", "*@[192.0.2.7]", "\"a b@test.ex\"", "MAIL", "^MAIL", "^(?i)(RCPT TO:.*)x$"]
REPLACEMENTS = ["$1@new.ex", "$0", "$local_part@$domain", "new@new.ex", "*", "\"$1@q.ex\"", "\"Some One <$1@new.ex>\"", "$1-$2@new.ex", "${if eq{a}{b}{c}fail}", "${nosuch}", "\"\"", "<>", "unq", "$sender_address", "\"a, b@c.ex\"", "bad@@x", "${lookup{$local_part}lsearch{DIR/aliases}{$value@l.ex}fail}",
                "\"x $1@x.ex\"", "$2@$1.ex", "${lc:$1}@low.ex", "\"<$1@br.ex>\"", "\"$1@y.ex (note)\"", "${quote_local_part:$1 x}@new.ex", "$1@test.ex", "$1@far.ex", "$3", "\"\\\"a b\\\"@q.ex\"", "", "${if match_address{$0}{*@test.ex}{y@y.ex}fail}", "$domain", "${bless:$sender_address}@x.ex"]
FLAGS = ["", "", "", "R", "q", "Q", "w", "h", "s", "f", "t", "c", "b", "r", "E", "F", "T", "S", "hw", "Fs", "sw", "Rq", "EFq", "qw", "bcfrst", "X", "EFTbcfrst", "hR", "Tq", "SR", "Sq", "fF", "Ts"]


def rewrites(rng):
  main = []
  for option, likely in [("log_selector = +address_rewrite", 0.5), ("allow_domain_literals", 0.4), ("qualify_recipient = qr.ex", 0.2), ("strip_excess_angle_brackets", 0.1), ("bounce_dummy", 0), ("untrusted_set_sender = *", 0.1), ("sender_unqualified_hosts = *", 0.4),
                         ("recipient_unqualified_hosts = *", 0.4), ("percent_hack_domains = test.ex", 0.1), ("allow_utf8_domains", 0.05)]:
    if chance(rng, likely):
      main.append(option)
  rules = "".join(f"{rng.choice(PATTERNS)}  {rng.choice(REPLACEMENTS)}{' ' if chance(rng, 0.97) else ''} {rng.choice(FLAGS)}".rstrip() + "\n" for _ in range(rng.randint(1, 5)))
  text = COMMON + "\n".join(main) + "\nacl_smtp_rcpt = accept message = <$sender_address> <$local_part@$domain>\n" + "begin rewrite\n" + rules + "begin routers\nall:\n  driver = accept\n  transport = t1\n" + TRANSPORT_TEXT
  pool = [address(rng) for _ in range(8)] + ["x@far.ex", "alpha+t@test.ex", ""]
  runs = [(["-brw", one], "") for one in rng.sample(pool, 5)]
  session = "EHLO c.ex\n" + f"MAIL FROM:<{address(rng).strip('<>')}>\n" + "".join(f"RCPT TO:{smtp_path(rng)}\n" for _ in range(3)) + \
      f"DATA\nFrom: Some <{address(rng)}>\nTo: {address(rng)}, {address(rng)}\nCc: x@far.ex (c), \"q\" <alpha@test.ex>\nReply-To: {address(rng)}\nSender: beta@far.ex\nBcc: alpha\nSubject: x\n\nb\n.\nVRFY alpha@far.ex\nQUIT\n"
  runs += [(["-odq", "-bs"], session), (["-bh", "10.1.1.1"], session), (["-odq", "-oep", "-f", rng.choice(["s@far.ex", "alpha"]), "-t"], f"To: {address(rng)}\nFrom: a@far.ex\nSubject: t\n\nb\n"), (["-bt", *pool[:3]], "")]
  return text, runs


PARTS = {"routers": routers, "acls": acls, "rewrites": rewrites}


def make(part, number):
  return PARTS[part](random.Random(f"{part} {number}"))
