# SPDX-License-Identifier: GPL-2.0-or-later
"""ACLs of chance, and the SMTP sessions that go through them: kind acl of generate.py."""
from generate import CONF, HEADERS as LINES, maybe

SMTP = ["connect", "helo", "mail", "rcpt", "predata", "data", "mime", "quit", "notquit", "vrfy", "expn", "etrn"]
SEEN = ["$smtp_command", "$smtp_command_argument", "$local_part@$domain", "$sender_address", "$acl_verify_message", "$sender_verify_failure", "$recipient_verify_failure", "$acl_arg1/$acl_arg2/$acl_narg",
        "$recipients_count $rcpt_count $rcpt_defer_count $rcpt_fail_count", "$sender_helo_name", "$sender_host_address", "$sender_fullhost", "$sender_rcvhost", "$acl_c_one $acl_m_one $acl_c0 $acl_m1", "$local_part_data $domain_data",
        "$address_data", "$sender_address_data", "$host_data", "$smtp_notquit_reason", "$smtp_command_history", "$h_subject:", "$message_size", "$message_body", "$recipients", "$sender_rate $sender_rate_limit $sender_rate_period",
        "$received_protocol", "$message_exim_id", "$sender_address_domain", "$interface_address", "$tls_in_cipher", "$authenticated_id", "$original_local_part $local_part_suffix", "$headers_added", "$dnslist_text",
        "$sender_host_name", "$host_lookup_failed $host_lookup_deferred", "$message_headers_raw", "$mime_content_type $mime_part_count", "$parent_domain", "$qualify_domain", "$received_count", "$body_linecount"]
STRINGS = ["no", "yes", "1", "0", "", "true", "false", "x", "${if eq{a}{b}}", "${if eq{$local_part}{t1}}", "${if match{$sender_address}{sender}}", "${if match{$smtp_command}{(?i)rcpt}}", "-1", "2K", "\"yes\"",
           "${if eq{a}{b}{c}fail}", "${bad", "${if def:h_subject:}", "${if def:acl_m_one}", "${if >{$rcpt_count}{1}}", "${acl{inner}{$local_part}{b}}", "${if acl{{inner}{x}}}", "${lookup{x}lsearch{/nonexistent}}", " no "]
DOMAINS = ["d.test", "*", "! d.test", "@ : q.test", "lsearch;@DIR@/doms", "+locals", "*.test", "^d", "@[] : d.test", "", "+none", "${if eq{a}{a}{d.test}}", "${bad", "nwildlsearch;@DIR@/doms", "! src.test : *", "${if eq{a}{b}{c}fail}"]
SENDERS = ["sender@src.test", "*@src.test", "", ":", "! :", "*@d.test : sender@*", "^sender", "lsearch;@DIR@/adds", "*", "@@lsearch;@DIR@/adds", "sender@+locals", "! sender@src.test", "src.test", "${bad", "*@*", "\\N^s.*@src\\N"]
HOSTS = ["*", ":", "1.2.3.4", "1.2.3.0/24", "! 1.2.3.4", "192.168.0.0/16 : 1.2.3.4", "@", "@[]", "+mine", "net-lsearch;@DIR@/nets", "net24-lsearch;@DIR@/nets", "iplsearch;@DIR@/nets", "", "127.0.0.1", "1.2.3.4 : nohost.test",
         "${bad", "! +mine : *", "nohost.test", "+ignore_unknown : nohost.test : *", "+include_unknown : nohost.test", "*.test", "+ignore_defer : *.test : 1.2.3.4"]
PARTS = ["t1", "t1 : t2", "! t1", "*", "^t\\\\d", "lsearch;@DIR@/parts", "T1", "+caseful : T1", "", "${bad", "\\N^t\\d$\\N", "*x"]
VERIFY = ["sender", "sender/defer_ok", "sender=other@d.test", "sender=bad@d.test/no_details", "recipient", "recipient", "recipient/defer_ok", "recipient/success_on_redirect", "helo", "header_syntax", "header_sender", "header_names_ascii",
          "not_blind", "not_blind/case_insensitive", "reverse_host_lookup", "reverse_host_lookup/defer_ok", "certificate", "sender/callout", "sender/bogus", "bogus", "sender/no_details", "recipient/callout=no_cache", "sender=", "header_sender/defer_ok",
          "recipient/callout=no_cache,defer_ok", "helo/x", "sender/callout=nonsense", "${if eq{a}{b}{x}{recipient}}", "header_syntax/x", "header_sender/callout=no_cache", "recipient/callout=2s,no_cache,random", "sender/callout=no_cache,postmaster"]
CONTROLS = ["allow_auth_unadvertised", "caseful_local_part", "caselower_local_part", "dkim_disable_verify", "enforce_sync", "fakedefer", "fakedefer/held for now", "fakereject", "fakereject/550-one\\n550 two", "freeze", "freeze/no_tell", "no_delay_flush",
            "no_callout_flush", "no_enforce_sync", "no_mbox_unspool", "no_multiline_responses", "no_pipelining", "queue", "queue_only", "queue/first_pass_route", "submission", "submission/sender_retain", "submission/domain=d.test", "submission/domain=",
            "submission/name=A B", "suppress_local_fixups", "bogus", "freeze/x", "submission/x", "queue/x", "${if eq{a}{b}{x}{queue}}", "dmarc_disable_verify", "no_pipelining/x", "utf8_downconvert", "utf8_downconvert/-1",
            "cutthrough_delivery", "debug/stop", "dscp/ef", "caseful_local_part/x"]
RATES = ["1 / 1h", "0 / 1h", "2 / 1h / strict", "1 / 1h / leaky", "1 / 1h / per_conn", "1 / 1h / per_mail", "2 / 1h / per_rcpt", "2 / 1h / per_cmd", "2 / 1h / per_byte / strict", "5 / 1h / key / k", "1 / 1h / per_cmd / ${if def:sender_address{$sender_address}{x}}",
         "1 / 1h / readonly / x", "1 / 1h / noupdate", "1/1h/count=2/x", "1 / 1h / per_addr / strict", "1 / 1h / unique=$local_part / x", "1 / 1h / per_rcpt / readonly", "x / 1h", "1 / x", "1", "1 / 1h / bogus", "-1 / 1h", "1.5 / 1h / strict / per_cmd",
         "${bad", "1K / 1h", "1 / 1h / strict / leaky", "1 / 1h / per_mail / per_conn", "1 / 1h / count=x", "2 / 2h / per_rcpt / count=3"]
TEXTS = ["text", "550 own code", "450 not now", "550-5.7.1 first\\n550 5.7.1 second", "5.7.1 enhanced", "550 5.7.1 both", "two\\nlines", "$acl_verify_message", "", "${bad", "250 wrong class", "$local_part@$domain is $acl_m_one", "\"quoted\"", "${if eq{a}{b}{c}fail}",
         "550 caf\u00e9", "x" * 90 + " " + "y" * 60, "\\n", "421 closing", "599 other", "550", "550own", "  blanks  ", "tab\\there", "554-one\\n550-two\\nthree", "451 4.7.1 later", "250 2.0.0 fine"]
HEADERS = ["X-A: 1", "X-A: ${lc:$sender_address}", "X-A: 1\\nX-B: 2", "X-A: 1\\n  folded", ":after_received:X-R: r", ":at_start:X-S: s", ":at_end:X-E: e", ":at_start_rfc:X-F: f", "no colon here", "X-A: 1\\n\\n", "", "${bad", "Subject: second", "X-Colon : x", ":bogus:X-Y: y",
           "X-L: a\\nb\\nX-M: c", "From: acl@src.test", "\\nX-N: n", "X-8: caf\u00e9", ":after_received:no colon\\nX-T: t"]
REMOVED = ["subject", "X-A : subject", "x-one", "from", "X-* : y", "^(?i)x-", "received", "${bad", "", "subject:", "To : Cc : Bcc", "message-id : date"]
INNER = ["inner", "inner a", "inner $local_part b", "inner ${if eq{a}{b}{c}{d}} \"e f\"", "deeper x", "accept", "deny", "defer", "drop", "discard", "@DIR@/aclfile", "unknown", "/nonexistent/acl", "", "${bad", "${if eq{a}{b}{c}fail}", "warn", "deeper",
         "${lc:INNER} ${uc:x}", "inner \"a b\" c", "self 1", "nested drop", "nested discard", "nested defer", "nested deny"]


def fits(where, item):
    """Few items are asked for where they make no sense: their mistakes end a session at once."""
    if where in ("connect", "helo", "mail", "quit", "notquit", "vrfy", "expn", "etrn", "start"):
        if item.startswith(("domains", "local_parts", "recipients", "verify = recipient", "verify = header", "verify = not_blind")):
            return False
        if where != "mail" and item.startswith(("senders", "sender_domains", "verify = sender")):
            return False
    if where == "rcpt" and item.startswith(("verify = header", "verify = not_blind")):
        return False
    if where in ("data", "mime", "predata", "notsmtp") and item.startswith(("domains", "local_parts", "recipients", "verify = recipient")):
        return False
    if item.startswith(("regex", "mime_regex", "decode")) and where not in ("data", "mime"):
        return False
    return True


def condition(r, where):
    kind = r.random()
    for _ in range(20):
        item = r.choice([
            "condition = " + r.choice(STRINGS), "condition = " + r.choice(STRINGS), "condition = " + r.choice(STRINGS), "domains = " + r.choice(DOMAINS), "senders = " + r.choice(SENDERS), "sender_domains = " + r.choice(DOMAINS),
            "hosts = " + r.choice(HOSTS), "local_parts = " + r.choice(PARTS), "recipients = " + r.choice(SENDERS), "verify = " + r.choice(VERIFY), "verify = " + r.choice(VERIFY), "ratelimit = " + r.choice(RATES), "acl = " + r.choice(INNER),
            "acl = " + r.choice(INNER), "encrypted = " + r.choice(["*", "TLS*", ":", ""]), "authenticated = " + r.choice(["*", "plain", ":"]), "regex = " + r.choice(["plain", "^X-One", "one line : two", "[bad"]), "decode = default", "mime_regex = one",
            "seen = " + r.choice(["-5m", "5m", "-5m / key=x", "5m / readonly / key=y", "x", "-5m / bogus"])])
        if fits(where, item) or kind < .04:
            return ("!" if r.random() < .12 else "") + item
    return "condition = yes"


def modifier(r):
    k = r.random()
    if k < .2:
        return "message = " + r.choice(TEXTS)
    if k < .3:
        return "log_message = " + r.choice(["logged $local_part", "", "${bad", "two\\nlines", "a  b\\tc", "$acl_verify_message", "caf\u00e9", "${if eq{a}{b}{c}fail}"])
    if k < .45:
        return "logwrite = " + r.choice(["", "", "", ":main:", ":reject:", ":main,reject:", ":panic:", ":main,panic,reject:", ":bogus:", ": main :"]) + " " + " | ".join(r.sample(SEEN, r.randint(1, 3)))
    if k < .57:
        return "set " + r.choice(["acl_c_one", "acl_m_one", "acl_c0", "acl_m1"]) + " = " + r.choice(["abc", "$acl_c_one.", "$local_part", "", "${bad", "${eval:$acl_c0+1}", "$sender_address", "${if eq{a}{b}{c}fail}", "multi\\nline"])
    if k < .72:
        return "control = " + r.choice(CONTROLS)
    if k < .82:
        return "add_header = " + r.choice(HEADERS)
    if k < .87:
        return "remove_header = " + r.choice(REMOVED)
    return r.choice(["continue = yes", "continue = ${if eq{a}{b}{c}fail}", "continue = ${bad", "delay = 0s", "delay = x", "delay = ${bad", "endpass", "log_reject_target =", "log_reject_target = main", "log_reject_target = main : reject : panic", "log_reject_target = bogus",
                     "queue = other", "queue = ", "continue = ${acl{inner}{c}}", "delay = 0", "queue = ../x"])


def statement(r, where):
    verb = r.choice(["accept", "accept", "defer", "deny", "deny", "discard", "drop", "require", "require", "warn", "warn", "warn"])
    lines = []
    for _ in range(r.choice([0, 1, 1, 2, 2, 3, 4])):
        lines.append(condition(r, where) if r.random() < .55 else modifier(r))
    lines = [x for x in lines if x != "endpass"]
    if verb in ("accept", "discard") and lines and r.random() < .15:
        lines.insert(r.randint(0, len(lines)), "endpass")
    if verb == "discard" and "endpass" not in lines and where not in ("mail", "rcpt", "predata", "data", "mime", "notsmtp") and r.random() < .9:
        verb = "deny"
    if verb in ("deny", "drop", "defer", "discard") and where in ("connect", "helo", "mail") and not any("=" in x for x in lines):
        lines.append("condition = ${if eq{$sender_helo_name}{deny.test}}")
    return "  " + verb + ("\n" if r.random() < .2 and lines else " ") + "\n    ".join(lines) + "\n"


def acl(r, where):
    text = "".join(statement(r, where) for _ in range(r.randint(1, 4)))
    if where in ("quit", "notquit") or r.random() < .85:
        text += r.choice(["  accept\n", "  accept\n", "  accept logwrite = %s: %s\n" % (where, r.choice(SEEN))])
    return text


def acl_options(r):
    o = []
    maybe(r, o, .3, "log_selector = +all -pid -millisec -delivery_size -smtp_mailauth -deliver_time -queue_time -queue_time_overall -receive_time -queue_time_exclusive", "log_selector = +acl_warn_skipped +smtp_syntax_error +smtp_protocol_error", "log_selector = -acl_warn_skipped",
          "log_selector = +smtp_no_mail +smtp_connection +smtp_incomplete_transaction", "log_selector = +incoming_port +incoming_interface +received_recipients +received_sender +subject", "log_selector = -rejected_header -sender_verify_fail -etrn -lost_incoming_connection +8bitmime",
          "log_selector = +unknown_in_list +host_lookup_failed -smtp_confirmation")
    maybe(r, o, .15, "smtp_return_error_details")
    maybe(r, o, .1, "recipients_max = 2", "recipients_max = 2\nrecipients_max_reject")
    maybe(r, o, .1, "sender_unqualified_hosts = *\nrecipient_unqualified_hosts = *", "helo_accept_junk_hosts = *", "helo_allow_chars = _", "helo_verify_hosts = *", "helo_try_verify_hosts = *")
    maybe(r, o, .1, "smtp_accept_max_nonmail = 1", "smtp_accept_max_per_connection = 1", "smtp_etrn_command = /bin/echo $smtp_command_argument", "smtp_etrn_command = @DIR@/say 0")
    maybe(r, o, .08, "smtp_banner = own\\nbanner $primary_hostname", "smtp_active_hostname = active.test", "message_size_limit = 300", "host_reject_connection = 1.2.3.4", "host_lookup = *", "rfc1413_hosts = :", "local_from_check = false", "smtp_check_spool_space = false")
    maybe(r, o, .06, "verify_sender_something = x", "rejected_x") if r.random() < .02 else None
    maybe(r, o, .08, "acl_smtp_mailauth = accept", "untrusted_set_sender = *", "allow_utf8_domains", "headers_charset = UTF-8", "write_rejectlog = false", "log_write_rejectlog", "header_maxsize = 400", "received_headers_max = 1", "prdr_enable") if r.random() < .8 else None
    return [x for x in o if x != "log_write_rejectlog"]


def who(r, to=False):
    if r.random() < .2:
        return r.choice(["", "unq", "x@[1.2.3.4]", "\"q q\"@d.test", "x@d.test.", "@a.test:t1@d.test", "postmaster", "a@b@c", "a..b@d.test", "X@D.Test", "x@-d.test", "T1@D.TEST", "x@d_d.test", "|x@d.test", "caf\u00e9@d.test"])
    return r.choice(["t1", "t2", "bad", "later", "red", "sender", "reds", "T1", "t1-sfx"] if to else ["sender", "sender", "t1", "bad", "later", "other"]) + "@" + r.choice(["d.test", "d.test", "src.test", "none.test"])


def mail(r):
    return r.choice(["MAIL FROM:<%s>", "MAIL FROM:<%s>", "mail from: <%s>", "MAIL FROM:%s", "MAIL FROM:<%s> SIZE=100", "MAIL FROM:<%s> SIZE=100000000", "MAIL FROM:<%s> BODY=8BITMIME", "MAIL FROM:<%s> RET=HDRS", "MAIL FROM:<%s> AUTH=<>", "MAIL FROM:<%s> BOGUS=1"][:r.choice([2, 2, 10])]) % who(r)


def rcpt(r):
    return r.choice(["RCPT TO:<%s>", "RCPT TO:<%s>", "rcpt to: <%s>", "RCPT TO:%s", "RCPT TO:<%s> NOTIFY=NEVER"][:r.choice([2, 2, 6])]) % who(r, True)


def oddity(r):
    return r.choice(["NOOP", "RSET", "HELP", "VRFY t1@d.test", "VRFY bad@d.test", "VRFY", "VRFY later@d.test", "EXPN t1@d.test", "EXPN red@d.test", "EXPN", "ETRN d.test", "ETRN #x", "ETRN @x", "ETRN", "BOGUS", "", "AUTH PLAIN", "STARTTLS", "DATA", "EHLO again.test", "HELO deny.test",
                     "EHLO", "HELO bad_name", "EHLO [1.2.3.4]", "TURN", "MAIL", "RCPT", "MAIL FROM", "QUIT now", "HELO 1.2.3.4", "vrfy <t1@d.test>", "DATA x", "RSET x", "EHLO d.test", "NOOP x y"])


def message(r, to=None):
    text = "".join(x + "\n" for x in (["To: " + to] if to else []) + r.sample(LINES, r.randint(0, 4)))
    return text + "\n" + r.choice(["one line\nanother\n", "x\n", "", ".\n..x\n", "caf\u00e9\n"])


def session(r):
    lines = [r.choice(["EHLO client.test", "EHLO client.test", "HELO client.test", "HELO diff.test", "EHLO [1.2.3.4]", "EHLO nohost.test"])] if r.random() < .95 else []
    for _ in range(r.randint(1, 3)):
        for step in (mail, rcpt, rcpt)[:r.choice([1, 2, 2, 3, 3])]:
            lines.append(step(r))
            maybe(r, lines, .12, oddity(r))
        if r.random() < .8:
            lines.append("DATA")
            text = message(r, "t1@d.test" if r.random() < .6 else None)
            if r.random() < .25:
                text = ("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nSubject: parts\n\nbefore\n--b\nContent-Type: text/plain; charset=us-ascii\n\none line\n--b\n"
                        "Content-Type: application/octet-stream; name=\"x.bin\"\nContent-Transfer-Encoding: base64\n\nb25lIGxpbmU=\n--b--\n")
            if r.random() < .1:
                text = r.choice(["From: bad address here\n\nx\n", "To: a@b, (\n\nx\n", "From: <>\n\nx\n", "Caf\u00e9: x\n\nx\n", "Subject: x\nFrom: A <bad@d.test>\nReply-To: later@d.test\n\nx\n"])
            lines += ["." + x if x.startswith(".") else x for x in text.rstrip("\n").split("\n")] + ["."]
        maybe(r, lines, .15, oddity(r))
    maybe(r, lines, .8, "QUIT")
    return "".join(x + "\r\n" for x in lines)


ROUTERS = """bad:
  driver = redirect
  domains = d.test
  local_parts = bad
  data = :fail: no such person
  allow_fail
later:
  driver = redirect
  domains = d.test
  local_parts = later
  data = :defer: not now
  allow_defer
red:
  driver = redirect
  domains = d.test
  local_parts = red : reds
  data = ${if eq{$local_part}{red}{t1@d.test}{t1@d.test, t2@d.test}}
parts:
  driver = accept
  domains = d.test
  local_parts = t1 : t2 : other : sender
  local_part_suffix = -*
  local_part_suffix_optional
  address_data = data of $local_part
  transport = catchall
"""


def acls(r):
    names = [x for x in SMTP if r.random() < (.6 if x == "rcpt" else .18)]
    main, blocks = acl_options(r), []
    for x in names:
        main.append("acl_smtp_%s = %s" % (x, r.choice(["a_" + x] * 8 + ["${if eq{a}{a}{a_%s}}" % x, "@DIR@/aclfile", "accept"])))
        blocks.append("a_%s:\n%s" % (x, acl(r, x)))
    if "rcpt" not in names:
        main.append("acl_smtp_rcpt = accept")
    if "a_" not in "".join(main):
        main.append("# nothing")
    for x in ("vrfy", "expn", "etrn"):
        if x not in names and r.random() < .5:
            main.append("acl_smtp_%s = accept" % x)
    if r.random() < .3:
        main.append("acl_not_smtp = a_notsmtp")
        blocks.append("a_notsmtp:\n  accept senders = :\n" + acl(r, "notsmtp"))
        if r.random() < .4:
            main.append("acl_not_smtp_start = a_start")
            blocks.append("a_start:\n" + acl(r, "start"))
    blocks.append("inner:\n" + statement(r, "rcpt") + "  accept logwrite = inner $acl_narg $acl_arg1 $acl_arg2\n    message = from inner $acl_arg1\n")
    blocks.append("deeper:\n  warn acl = inner ${acl_arg1}x y\n    logwrite = deeper $acl_arg1\n" + statement(r, "rcpt"))
    blocks.append("self:\n  accept acl = self $acl_arg1\nnested:\n  drop condition = ${if eq{$acl_arg1}{drop}}\n    message = nested drop\n  discard condition = ${if eq{$acl_arg1}{discard}}\n  defer condition = ${if eq{$acl_arg1}{defer}}\n    log_message = nested defer\n  deny message = nested deny\n")
    main.append("domainlist locals = d.test : src.test\nhostlist mine = 1.2.3.4 : 127.0.0.1")
    if r.random() < .7:
        main.append("domainlist none = none.test")
    conf = CONF.replace("acl_smtp_rcpt = accept\nacl_not_smtp = accept\n", "dns_retry = 0\ndns_retrans = 1s\nsmtp_max_synprot_errors = 100\nsmtp_max_unknown_commands = 100\n").replace("begin acl\n", "begin acl\n" + "".join(blocks).replace("%", "%%")) % ("\n".join(main), ROUTERS, "", "* * F,1h,1m")
    files = {"doms": "d.test: in d\n*.test: wild\n", "adds": "sender@src.test: yes\nsrc.test: sender : t1\n*: x\n", "nets": "1.2.3.4: one\n1.2.3.0/24: net\n\"3ffe::1\": six\n", "parts": "t1: one\nt2: two\n",
             "aclfile": "# in a file\n" + statement(r, "rcpt") + "accept logwrite = from a file\n"}
    steps = []
    for _ in range(r.choice([1, 1, 2])):
        k = r.random()
        if k < .5:
            steps.append((["-bh", r.choice(["1.2.3.4", "1.2.3.4", "3ffe::1", "192.168.1.1", "1.2.3.4.1025"])], session(r)))
        elif k < .9:
            steps.append(((["-oMa", r.choice(["1.2.3.4", "1.2.3.4", "127.0.0.1.99"])] if r.random() < .75 else []) + (["-oMs", "host.test"] if r.random() < .15 else []) + ["-bs"], session(r)))
        else:
            steps.append((["-odq", "-f", "sender@src.test", "t1@d.test"], message(r)))
    if any("-bh" not in x[0] for x in steps):
        steps += [(["-bp"], ""), (["-qff"], ""), (["-bp"], "")]
    return conf, files, steps
