# SPDX-License-Identifier: GPL-2.0-or-later
"""What a case of chance consists of: a configuration, files, messages and commands.

generate(kind, seed) is deterministic.  @DIR@ in texts stands for the directory of the case.  Every value is one that
does not hang on a byte more or less, as message ids are of different length in the two programs.
"""
import random

FROM = ["sender@src.test", "", "other@d.test"]

BODIES = {
    "plain": "one line\nanother\n",
    "from": "From here on\n>From there\nfrom\nFrom\n From blank\n\nFrom again\n",
    "dots": ".\n..\n.x\n...y\nend\n",
    "long": "x" * 1200 + "\n" + "word " * 400 + "\n",
    "nonl": "the last line has no end",
    "8bit": "caf\u00e9 \u20ac\n\u00ff\n",
    "cr": "a\rb\r\nc\r\rd\n\r\n",
    "empty": "",
    "newlines": "\n\n\n",
    "tabs": "\t\x01\x1f\x7f\n \n\t\n",
    "big": "0123456789abcdef0123456789abcdef0123456789abcdef\n" * 400,
}
HEADERS = [
    "Subject: plain", "Subject:", "Subject: =?iso-8859-1?Q?caf=E9?= and =?utf-8?B?4oKs?=", "Subject: folded\n and\n\tagain",
    "X-One: 1", "X-One: 2", "X-Long: " + "y" * 900, "Keywords: a, b", "Bcc: t1@d.test", "Bcc:", "Cc: Some One <cc@src.test>",
    "Reply-To: reply@src.test", "From: Other <from@src.test>", "From: from@src.test (comment)", "Sender: s@src.test",
    "Resent-To: rto@src.test", "Resent-From: rfrom@src.test", "Resent-Bcc: rb@src.test", "Message-Id: <own@src.test>",
    "Date: Mon, 01 Jan 2024 10:00:00 +0000", "Return-Path: <old@src.test>", "Delivery-date: never", "Envelope-to: x@y.test",
    "Received: from a by b; Mon, 01 Jan 2024 10:00:00 +0000", "Precedence: bulk", "Auto-Submitted: auto-replied", "X-Odd : blank before colon",
    "List-Id: <l.src.test>", "X-8: \u00e9", "Return-receipt-to: x@src.test", "Status: RO", "Lines: 4",
]


def message(r, to=None):
    lines = []
    if to:
        lines.append("To: " + r.choice([to, "Somebody <%s>" % to, "%s, %s" % (to, "x@src.test")][:2]))
    if r.random() < .9:
        lines += r.sample(HEADERS, r.randint(0, 6))
    body = BODIES[r.choice(sorted(BODIES))]
    if r.random() < .07 and not to and "\r" not in body:
        return body
    return "".join(x + "\n" for x in lines) + "\n" + body


def maybe(r, out, p, *choices):
    if r.random() < p:
        out.append(r.choice(choices))


def generic(r, o):
    maybe(r, o, .25, "headers_add = X-Added: $local_part\\nX-Second: two", "headers_add = X-A: ${lc:$sender_address}", "headers_add = X-B: 1 : X-C: 2\n  headers_add = X-D: 3",
          "headers_add =")
    maybe(r, o, .2, "headers_remove = subject", "headers_remove = x-one : received", "headers_remove = X-* : subject", "headers_remove = From:Date")
    maybe(r, o, .1, "headers_rewrite = *@src.test $1@new.test fh", "headers_rewrite = *@d.test \"Q <$1@new.test>\" w", "headers_rewrite = * x@y.test tq")
    maybe(r, o, .08, "headers_only", "body_only")
    maybe(r, o, .3, "return_path_add", "return_path_add = false")
    maybe(r, o, .3, "delivery_date_add")
    maybe(r, o, .3, "envelope_to_add")
    maybe(r, o, .12, "return_path = rp@src.test", "return_path = ${if eq{$local_part}{t1}{rp@x.test}{}}", "return_path = <>", "return_path = \"\"")
    maybe(r, o, .08, "message_size_limit = 2K", "message_size_limit = ${if eq{1}{1}{10K}}", "message_size_limit = 0", "message_size_limit = x")
    maybe(r, o, .12, "transport_filter = /bin/cat", "transport_filter = /bin/sed s/one/ONE/", "transport_filter = /bin/false", "transport_filter = /nonexistent/x",
          "transport_filter = /usr/bin/env", "transport_filter = /usr/bin/head -c 100", "transport_filter = /bin/echo \"$local_part\" $pipe_addresses")
    maybe(r, o, .15, "rcpt_include_affixes")
    maybe(r, o, .1, "disable_logging")
    maybe(r, o, .05, "debug_print = hello")
    maybe(r, o, .06, "current_directory = /", "current_directory = /nonexistent", "home_directory = /tmp")
    maybe(r, o, .05, "event_action = ${if eq{msg:delivery}{$event_name}{${acl{logev}{$event_data}}}}")
    maybe(r, o, .1, "shadow_transport = shadow", "shadow_transport = shadow\n  shadow_condition = ${if match{$local_part}{1}}", "shadow_transport = shadowfail")
    maybe(r, o, .03, "retry_use_local_part = false")


def batch(r, o):
    if r.random() < .25:
        o.append("batch_max = %d" % r.choice([2, 5, 100]))
        maybe(r, o, .3, "batch_id = $domain", "batch_id = $local_part")


def strings(r, o):
    if r.random() < .2:
        o.append(r.choice(['check_string = "From "', "check_string = .", "check_string =", "check_string = word", 'check_string = "\\n"']))
        o.append(r.choice(['escape_string = ">From "', "escape_string = ..", "escape_string =", "escape_string = X"]))
    maybe(r, o, .2, "use_crlf")
    maybe(r, o, .15, "message_prefix =", 'message_prefix = "From ${if def:return_path{$return_path}{MAILER}}\\n"', 'message_prefix = "P $local_part@$domain\\n"', "message_prefix = abc",
          "message_prefix = ${bad")
    maybe(r, o, .15, "message_suffix =", 'message_suffix = "--end--\\n"', 'message_suffix = "no newline"', "message_suffix = ${if eq{a}{b}{c}fail}")
    maybe(r, o, .1, "use_bsmtp")


def appendfile(r, n):
    o = ["driver = appendfile"]
    kind = r.choice(["file", "file", "file", "dir", "maildir", "mailstore", "mbx", "mbx"])
    if kind in ("file", "mbx"):
        o.append("file = @DIR@/mail/" + r.choice(["t%d.box" % n, "new/t%d" % n, "../mail/t%dx" % n, "exist"]))
        if kind == "mbx":
            o.append("mbx_format")
        maybe(r, o, .1, "file_format = \"From : t%d : X : t%d\"" % (n, n), "file_format = \"From : other\"")
        maybe(r, o, .1, "create_file = anywhere", "create_file = belowhome", "create_file = inhome", "create_file = @DIR@/mail")
        maybe(r, o, .1, "mode = 0640", "mode = 0600", "mode = 644", "mode_fail_narrower = false\n  mode = 0666")
        maybe(r, o, .08, "use_lockfile = false", "use_fcntl_lock = false", "use_flock_lock", "lockfile_mode = 0644", "lock_retries = 1\n  lock_interval = 1s")
        maybe(r, o, .1, "quota = 1K", "quota = 500K", "quota = 1M\n  quota_warn_threshold = 1K", "quota = 20K\n  quota_warn_threshold = 5%")
        maybe(r, o, .07, "check_owner = false", "check_group", "allow_symlink", "allow_fifo", "file_must_exist")
    else:
        o.append("directory = @DIR@/mail/" + r.choice(["md%d" % n, "deep/er/t%d" % n]))
        if kind == "maildir":
            o.append("maildir_format")
            maybe(r, o, .2, "maildir_tag = ,S=fix", "maildir_tag = :2,S", "maildir_tag = ${if eq{1}{1}{/x}}")
            maybe(r, o, .15, "maildir_use_size_file")
            maybe(r, o, .1, "create_directory = false", "maildirfolder_create_regex = deep")
            maybe(r, o, .05, "maildir_retries = 2", "maildir_quota_directory_regex = ^(?:cur|new|\\\\..*)$")
        if kind == "mailstore":
            o.append("mailstore_format")
            maybe(r, o, .3, "mailstore_prefix = pre $local_part", "mailstore_prefix = ${bad")
            maybe(r, o, .3, "mailstore_suffix = suf")
        if kind == "dir":
            maybe(r, o, .3, "directory_file = f-$local_part", "directory_file = a/b", "directory_file = ${bad")
        maybe(r, o, .15, "quota = 1K", "quota = 500K", "quota = 20K\n  quota_warn_threshold = 1K", "quota_filecount = 1\n  quota = 1M", "quota = 10K\n  quota_is_inclusive = false")
        maybe(r, o, .05, "quota_directory = @DIR@/mail\n  quota = 1M", "quota_size_regex = S=(\\\\d+)")
        maybe(r, o, .06, "directory_mode = 0750")
    maybe(r, o, .05, "quota = ${bad", "quota = abc", "quota = 1K\n  quota_no_check")
    maybe(r, o, .05, "quota_warn_message = \"To: warn@src.test\\nSubject: own\\n\\nown text\\n\"")
    maybe(r, o, .1, "notify_comsat = false")
    return o


def pipe(r, n):
    o = ["driver = pipe"]
    o.append("command = " + r.choice([
        "@DIR@/catch $local_part_data", "@DIR@/catch $local_part_data", "@DIR@/catch \"$local_part_data a\" '$domain'", "@DIR@/catch $pipe_addresses", "@DIR@/say 0 hello", "@DIR@/say 1 failed",
        "@DIR@/say 75 later", "@DIR@/say 69", "@DIR@/say 127 none", "/nonexistent/cmd", "/bin/true", "/bin/false", "say 0 rel", "@DIR@/say ${if eq{a}{a}{3}} \"x y\"",
        "@DIR@/slow", "@DIR@/killed", "${bad", "@DIR@/catch ${lc:$sender_address} x\"y z\"", "@DIR@/say 0 a\\\\b \"c\\\\d\"", ":x"]))
    if r.random() < .15:
        o.append("use_shell")
    maybe(r, o, .25, "log_output", "log_fail_output", "log_defer_output")
    maybe(r, o, .3, "return_output", "return_fail_output")
    maybe(r, o, .15, "temp_errors = 1 : 3", "temp_errors = *", "temp_errors =", "temp_errors = 69")
    maybe(r, o, .12, "ignore_status")
    maybe(r, o, .08, "max_output = 10", "max_output = 20K")
    o.append("timeout = " + r.choice(["1s", "2s"]))
    maybe(r, o, .2, "timeout_defer")
    maybe(r, o, .2, "environment = A=1 : B=$local_part", "environment = PATH=/x:LOCAL_PART=z", "environment = bad", "environment = ${bad")
    maybe(r, o, .2, "path = @DIR@:/bin", "path = /bin")
    maybe(r, o, .15, "umask = 077", "umask = 0")
    maybe(r, o, .1, "freeze_exec_fail")
    maybe(r, o, .1, "freeze_signal")
    maybe(r, o, .08, "allow_commands = @DIR@/say", "allow_commands = /bin/false", "restrict_to_path", "permit_coredump", "force_command")
    strings(r, o)
    batch(r, o)
    return o


def autoreply(r, n):
    o = ["driver = autoreply"]
    o.append("to = " + r.choice(["$sender_address", "reply@src.test", "$reply_address", "a@src.test, b@src.test", "not an address", "", "${bad"]))
    maybe(r, o, .7, "text = hello $local_part\\nline", "text = ${if def:h_subject:{$h_subject:}}", "text = \"From x\\n.\\n\"", "text = ${bad")
    maybe(r, o, .3, "file = @DIR@/note", "file = /nonexistent\n  file_optional", "file = /nonexistent", "file = @DIR@/note\n  file_expand")
    maybe(r, o, .7, "subject = Re: $h_subject:", "subject = caf\u00e9", "subject = a\\nb", "subject =")
    maybe(r, o, .3, "from = me@d.test", "from = \"A B <$local_part@$domain>\"", "from = bad bad")
    maybe(r, o, .2, "cc = cc@src.test")
    maybe(r, o, .2, "bcc = bcc@src.test")
    maybe(r, o, .2, "reply_to = rt@src.test")
    maybe(r, o, .2, "headers = X-Auto: 1", "headers = \"X-Auto: 1\\nX-Auto: 2\\n\"", "headers = X: 1\\n\\nbroken")
    maybe(r, o, .3, "once = @DIR@/mail/once", "once = @DIR@/mail/once\n  once_repeat = 1d", "once = @DIR@/mail/once\n  once_file_size = 1K", "once = /nonexistent/x/y")
    maybe(r, o, .2, "never_mail = reply@src.test", "never_mail = *@src.test", "never_mail = ! *")
    maybe(r, o, .3, "log = @DIR@/mail/reply.log", "log = /nonexistent/log")
    maybe(r, o, .3, "return_message")
    maybe(r, o, .05, "mode = 0644")
    return o


def main_options(r):
    o = []
    maybe(r, o, .15, "bounce_return_body = false", "bounce_return_message = false", "bounce_return_linesize_limit = 200", "bounce_return_size_limit = 1K", "bounce_return_size_limit = 0")
    maybe(r, o, .12, "bounce_message_file = @DIR@/bmf", "bounce_message_file = /nonexistent", "bounce_message_text = some text\\nmore")
    maybe(r, o, .1, "warn_message_file = @DIR@/wmf", "warn_message_file = /nonexistent")
    maybe(r, o, .1, "bounce_sender_authentication = a@b.test")
    maybe(r, o, .25, "delay_warning = 0s", "delay_warning =", "delay_warning = 1h:2h")
    maybe(r, o, .1, "delay_warning_condition = yes", "delay_warning_condition = ${if eq{$h_precedence:}{bulk}{no}{yes}}", "delay_warning_condition = ${bad")
    maybe(r, o, .1, "errors_copy = *@* copy@src.test", "errors_copy = *@src.test x@src.test,y@src.test : * z@src.test")
    maybe(r, o, .1, "errors_reply_to = er@src.test")
    maybe(r, o, .1, "dsn_from = Own <own@$qualify_domain>", "dsn_from = ${bad")
    maybe(r, o, .15, "ignore_bounce_errors_after = 0s", "ignore_bounce_errors_after = 1d")
    maybe(r, o, .1, "auto_thaw = 1d", "auto_thaw = 0s")
    maybe(r, o, .1, "freeze_tell = ft@src.test", "freeze_tell = a@src.test,b@src.test")
    maybe(r, o, .1, "timeout_frozen_after = 0s", "timeout_frozen_after = 1d")
    maybe(r, o, .15, "log_selector = +all -pid -millisec -delivery_size -smtp_mailauth -deliver_time -queue_time -queue_time_overall -receive_time -queue_time_exclusive",
          "log_selector = +received_recipients +return_path_on_delivery +sender_on_delivery +subject", "log_selector = +address_rewrite +all_parents +arguments",
          "log_selector = -delivery_size -queue_run")
    maybe(r, o, .06, "print_topbitchars", "return_path_remove = false", "delivery_date_remove = false", "envelope_to_remove = false", "drop_cr", "allow_mx_to_ip", "split_spool_directory",
          "extract_addresses_remove_arguments = false", "spool_wireformat", "message_logs = false", "preserve_message_logs", "deliver_drop_privilege = false")
    maybe(r, o, .08, "received_header_text = Received: own", "received_header_text =", "message_id_header_text = text", "message_body_newlines", "header_maxsize = 500", "header_line_maxsize = 300")
    maybe(r, o, .06, "retry_data_expire = 1d", "untrusted_set_sender = *", "local_from_check = false", "local_sender_retain\nlocal_from_check = false", "message_size_limit = 5K")
    return o


def deliveries(r):
    n = r.randint(1, 3)
    main, routers, trans = main_options(r), [], []
    files = {}
    for i in range(1, n + 1):
        extra = []
        maybe(r, extra, .1, "headers_add = X-Router: r%d" % i)
        maybe(r, extra, .1, "errors_to = err@src.test", "errors_to =")
        maybe(r, extra, .3, "local_part_suffix = -*\n  local_part_suffix_optional")
        maybe(r, extra, .05, "unseen")
        maybe(r, extra, .05, "initgroups", "transport_home_directory = @DIR@/mail", "dsn_lasthop", "retry_use_local_part = false")
        routers.append("r%d:\n  driver = accept\n  domains = d.test\n  local_parts = t%d : t%da : T%d\n  transport = t%d\n" % (i, i, i, i, i) + "".join("  %s\n" % x for x in extra))
        maker = r.choice([appendfile, appendfile, pipe, pipe, autoreply])
        o = maker(r, i)
        generic(r, o)
        if maker is appendfile:
            strings(r, o)
            batch(r, o)
        seen, out = set(), []
        for x in "\n".join(o).split("\n"):
            key = x.strip().split(" =")[0]
            if key in seen and key != "headers_add":
                continue
            seen.add(key)
            out.append("  " + x.strip())
        trans.append("t%d:\n  user = Debian-exim\n" % i + "\n".join(out) + "\n")
    retry = r.choice(["* * F,1h,1m", "", "* * F,2d,3h", "*@d.test quota F,1h,1m\n* * F,1h,1h", "d.test * F,2h,1m; G,1d,1h,2"])
    conf = CONF % ("\n".join(main), "".join(routers), "".join(trans), retry)
    files["bmf"] = r.choice(["Subject: own bounce\n\n****\nfirst $h_subject:\n****\nsecond\n****\nthird\n****\nfourth\n****\n", "\n", "Subject: x\n****\ntext\n",
                             "Subject: ${bad\n****\nto: $bounce_recipient\n****\n"])
    files["wmf"] = r.choice(["Subject: own warning\n\n****\nfirst $warn_message_delay $warn_message_recipients\n****\nlast\n****\n", "\n"])
    files["note"] = "a note for $local_part\nFrom me\n.\n"
    steps = []
    for _ in range(r.randint(1, 3)):
        rcpts = ["t%d%s@d.test" % (r.randint(1, n), r.choice(["", "", "a", "-sfx"])) for _ in range(r.randint(1, 3))]
        sender = r.choice(FROM)
        mode = r.choice(["args", "args", "args", "t", "bs", "bS", "odi"])
        if mode in ("args", "odi"):
            steps.append((["-f", sender or "<>"] + (["-oi"] if r.random() < .7 else []) + (["-odi"] if mode == "odi" else []) + rcpts, message(r)))
        elif mode == "t":
            steps.append((["-t", "-oi"] + (["-f", sender] if sender else []) + (rcpts[1:2] if r.random() < .2 else []), message(r, ", ".join(rcpts))))
        else:
            body = message(r).replace("\r", "")
            body = "\n".join("." + x if x.startswith(".") else x for x in body.split("\n"))
            ret, ntf = "", [""] * len(rcpts)
            if r.random() < .5:
                ret = r.choice(["", " RET=HDRS", " RET=FULL", " ENVID=abc+2Bdef", " BODY=8BITMIME", " SIZE=100"])
                # without FAILURE only where there is no RET=: 4.96 reports failures all the same when it is there (RFC 3461 section 4.1: only FAILURE asks for that)
                silent = [] if "RET=" in ret else [" NOTIFY=NEVER", " NOTIFY=SUCCESS"]
                ntf = [r.choice(silent + ["", " NOTIFY=FAILURE,DELAY", " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@src.test"]) for _ in rcpts]
            nl = "\r\n" if mode == "bs" else "\n"
            txt = ["EHLO client.test" if mode == "bs" else "HELO client.test", "MAIL FROM:<%s>%s" % (sender, ret)]
            txt += ["RCPT TO:<%s>%s" % x for x in zip(rcpts, ntf)] + ["DATA"] + body.rstrip("\n").split("\n") + [".", "QUIT", ""]
            steps.append((["-" + mode], nl.join(txt)))
    after = [["-qf"]]
    if r.random() < .5:
        after += [["-qf"], ["-qff"] if r.random() < .3 else ["-q"]]
    else:
        after += [["-q"]]
    return conf, files, steps + [(a, "") for a in after] + [(["-bp"], "")]


CONF = """primary_hostname = diff.test
qualify_domain = q.test
spool_directory = @DIR@/spool
log_file_path = @DIR@/log/%%slog
exim_path = @EXIM@
exim_user = Debian-exim
exim_group = Debian-exim
keep_environment =
timezone = UTC
queue_only
queue_run_in_order
never_users =
tls_advertise_hosts =
chunking_advertise_hosts =
dsn_advertise_hosts = *
pipelining_connect_advertise_hosts = :
acl_smtp_rcpt = accept
acl_not_smtp = accept
%s
begin acl
logev:
  accept logwrite = event $event_name $acl_arg1
begin routers
%ssrc:
  driver = accept
  domains = src.test : q.test : diff.test
  transport = catchall
begin transports
%scatchall:
  driver = appendfile
  file = @DIR@/mail/ALL
  user = Debian-exim
  return_path_add
  envelope_to_add
shadow:
  driver = appendfile
  file = @DIR@/mail/SHADOW
  user = Debian-exim
shadowfail:
  driver = pipe
  command = /bin/false
  user = Debian-exim
begin retry
%s
"""

STRINGS = ["$sender_address", "abc", "$h_subject:", "$local_part", "\"quoted string\"", "${lc:ABC}", "$message_body", "$h_to:", "$return_path", "1", "10K", "\"\"", "$thisaddress", "$n1", "$sn2",
           "$message_size", "$reply_address", "sender@src.test", "plain"]


def word(r):
    return r.choice(STRINGS)


def condition(r, depth=0):
    if depth < 2 and r.random() < .3:
        return r.choice(["(%s and %s)", "(%s or %s)", "%s and %s", "%s or %s"]) % (condition(r, depth + 1), condition(r, depth + 1))
    if r.random() < .15:
        return "not " + ("(%s)" % condition(r, depth + 1) if r.random() < .5 else simple(r))
    return simple(r)


def simple(r):
    return r.choice(["personal", "delivered", "error_message", "first_delivery", "manually_thawed", "personal alias sender@src.test",
                     "%s %s %s" % (word(r), r.choice(["is", "contains", "begins", "ends", "is not", "does not contain", "does not begin", "matches", "does not match", "IS", "CONTAINS", "MATCHES"]), word(r)),
                     "%s is %s" % (r.choice(["$message_size", "$n1", "5", "abc"]), r.choice(["above 3", "below 10", "not above 1", "not below 7"])),
                     "foranyaddress $h_to:,$h_cc: ($thisaddress %s %s)" % (r.choice(["contains", "is", "matches"]), word(r))])


def command(r, depth, system):
    if depth < 3 and r.random() < .35:
        s = "if %s then\n" % condition(r)
        s += "".join(command(r, depth + 1, system) for _ in range(r.randint(0, 2)))
        if r.random() < .3:
            s += "elif %s then\n" % condition(r) + command(r, depth + 1, system)
        if r.random() < .4:
            s += "else\n" + command(r, depth + 1, system)
        return s + "endif\n"
    c = r.choice(["deliver %s", "deliver x@src.test errors_to e@src.test", "deliver %s headers_add \"X-F: 1\" headers_remove subject", "save /tmp/no/%s", "save box 0640", "save $home/x", "save %s",
                  "pipe \"/bin/cat -n\"", "pipe %s", "pipe $sender_address", "mail to a@src.test subject %s text %s", "mail", "mail to %s cc c@src.test bcc d@src.test from e@src.test reply_to f@src.test",
                  "mail extra_headers \"X: 1\" text t expand file /tmp/x return message", "vacation", "vacation to %s file v once o once_repeat 2d log l", "mail log l once o never_mail *@src.test",
                  "logwrite %s", "logfile /tmp/l 0644\nlogwrite %s", "headers add \"X-New: %s\"", "headers remove subject", "headers charset UTF-8", "headers remove %s", "fail text %s", "fail", "fail %s",
                  "freeze", "freeze text %s", "finish", "testprint %s", "add %s to n1", "add 2 to n2", "add 3 to sn1", "add 3 to n11", "add -4 to n3", "seen finish", "unseen deliver x@y.test", "seen save b",
                  "unseen save c\nfinish", "noerror deliver x@src.test", "deliver", "bogus %s", "deliver a b", "testprint \"a\\tb\\nc\\\\d\\x\"", "testprint \"$0 $1 $2\"", "unseen pipe x", "noerror mail to x@y.test",
                  "unseen finish", "seen logwrite x", "if personal then", "endif", "unseen fail x", "save /tmp/a 9", "add a to n1", "# comment", "save /tmp/a #x", "mail to a once_repeat 3x", "deliver \"x"])
    while "%s" in c:
        c = c.replace("%s", word(r), 1)
    return c + "\n"


def filters(r):
    system = r.random() < .35
    text = ("# Exim filter\n" if not system or r.random() < .8 else "") + "".join(command(r, 0, system) for _ in range(r.randint(1, 5)))
    args = ["-bF" if system else "-bf", "@DIR@/filter"]
    maybe(r, args, .3, "-f")
    if args[-1] == "-f":
        args.append(r.choice(FROM) or "<>")
    for flag, value in (("-bfd", "dom.test"), ("-bfl", "sender"), ("-bfp", "pre-"), ("-bfs", "-suf")):
        if not system and r.random() < .2:
            args += [flag, value]
    return CONF % ("", "", "", ""), {"filter": text}, [(args, message(r, "t1@d.test" if r.random() < .7 else None))]


SIEVE_TESTS = ["true", "false", 'header :is "subject" "plain"', 'header :contains ["subject","x-one"] ["a","1"]', 'header :matches "subject" "p*n"', 'header :matches "Subject" "?lain"',
               'address :domain "from" "src.test"', 'address :localpart :contains ["from","to"] "t"', 'address :all :is "to" "t1@d.test"', 'envelope "from" "sender@src.test"',
               'envelope :domain "to" "q.test"', 'exists "x-one"', 'exists ["subject","from"]', "size :over 1K", "size :under 1M", 'header :comparator "i;octet" :is "subject" "Plain"',
               'header :comparator "i;ascii-numeric" :value "ge" "x-one" "1"', 'header :count "gt" :comparator "i;ascii-numeric" "x-one" "1"', 'envelope :user "from" "sender"', "header", 'size 1K',
               'header :is "sub ject" "x"', 'address :detail "to" "x"', 'header :is :contains "a" "b"', 'exists []', 'valid_notify_method "mailto:a@b.test"', 'string "a" "b"']
SIEVE_COMMANDS = ["keep;", "discard;", "stop;", 'redirect "r@src.test";', 'redirect "bad address";', 'fileinto "box";', 'fileinto "inbox.sub";', 'fileinto :copy "c";', 'redirect :copy "q@src.test";',
                  'vacation "gone";', 'vacation :days 3 :subject "away" :addresses ["me@d.test"] "gone\nfar";', 'vacation :mime "Content-Type: text/plain\n\nx";', 'vacation :from "me@d.test" :handle "h" text:\na\n..b\n.\n;',
                  'notify "mailto:n@src.test";', 'notify :message "hi" :importance "1" "mailto:n@src.test?subject=x";', "reject;", "keep", 'fileinto "";', 'fileinto "../x";', "bogus;", 'redirect "a@b.test", "c@d.test";',
                  "/* comment */ keep;", "# line\nkeep;", 'fileinto "a\\"b\\\\c";', 'fileinto "${hex:41}";', 'keep :flags "x";', 'vacation :days 0 "x";', 'vacation :days 400 "x";', ";"]
REQUIRES = ["envelope", "fileinto", "vacation", "copy", "subaddress", "relational", "comparator-i;ascii-numeric", "enotify", "encoded-character", "reject", "comparator-i;octet", "bogus"]


def sieve_test(r, depth=0):
    if depth < 2 and r.random() < .3:
        return "%s (%s)" % (r.choice(["anyof", "allof"]), ", ".join(sieve_test(r, depth + 1) for _ in range(r.randint(1, 3))))
    if r.random() < .15:
        return "not " + sieve_test(r, depth + 1)
    return r.choice(SIEVE_TESTS)


def sieve_command(r, depth=0):
    if depth < 2 and r.random() < .4:
        s = "if %s {\n%s}\n" % (sieve_test(r), "".join(sieve_command(r, depth + 1) for _ in range(r.randint(0, 2))))
        if r.random() < .3:
            s += "elsif %s { %s}\n" % (sieve_test(r), sieve_command(r, depth + 1))
        return s + ("else { %s}\n" % sieve_command(r, depth + 1) if r.random() < .3 else "")
    return r.choice(SIEVE_COMMANDS) + "\n"


def sieve(r):
    known = r.sample(REQUIRES[:-1], r.randint(5, 11)) if r.random() < .85 else r.sample(REQUIRES, 3)
    text = "# Sieve filter\n" + "require [%s];\n" % ", ".join('"%s"' % x for x in known) + "".join(sieve_command(r) for _ in range(r.randint(1, 4)))
    args = ["-bf", "@DIR@/filter", "-bfd", "d.test", "-bfl", "me"]
    if r.random() < .7:
        args += ["-f", r.choice(FROM) or "<>"]
    return CONF % ("", "", "", ""), {"filter": text}, [(args, message(r, "t1@d.test" if r.random() < .7 else None))]


# ---- routing and delivery together: lists of addresses, affixes, filters, hosts that take or refuse, LMTP, retry

LOCAL = ["ok1", "ok2", "ok3", "perm1", "temp1", "data1", "drop1"]  # by what the server of run says to them
LISTS = ["ok1@far.test, ok2@far.test", "ok1@far.test", "perm1@far.test, ok2@far.test", "temp1@far.test", "ok1, ok3", "box1", "|@DIR@/catch $local_part_data", "|@DIR@/say 1 no", "@DIR@/mail/pf", "@DIR@/mail/pd/", ":blackhole:",
         ":fail: nobody here", ":defer: not now", "box1, box2, box1", "r1-x", "\\box1", "src1@src.test, box1", "$local_part@far.test", "$local_part@one.far.test, $local_part@two.far.test", "ok1@far.test, |@DIR@/say 75 later",
         ":include:@DIR@/incl", "box1,,box2", "bad@@addr, box1", "postmaster@src.test", "@DIR@/mail/pf, @DIR@/mail/pg, |/bin/true", "BOX1@D.TEST, box1@d.test", "ok2@far.test, \"a b\"@far.test", "box1@d.test, ok1@far.test, box2@d.test"]
FILTERS = ["deliver ok1@far.test", "unseen deliver ok1@far.test", "save @DIR@/mail/ff", "unseen save @DIR@/mail/fd/", "pipe \\\"@DIR@/catch x $local_part_data\\\"", "deliver box1 errors_to fe@src.test", "if $h_subject: contains plain then save @DIR@/mail/sub endif",
           "vacation to src1@src.test text gone", "mail to src1@src.test subject \\\"fil $local_part\\\" text \\\"a b\\\"", "seen finish", "headers add \\\"X-Filter: yes\\\"", "fail text \\\"filter says no\\\"", "freeze text held", "logfile @DIR@/mail/flog\\nlogwrite \\\"by filter\\\"",
           "if error_message then save @DIR@/mail/err endif", "noerror deliver perm1@far.test", "unseen pipe /bin/false", "deliver temp1@far.test", "if first_delivery then deliver ok2@far.test endif", "deliver box1 headers_add \\\"X-D: 1\\\" headers_remove subject"]


def redirect_options(r, o):
    o.append("data = " + (r.choice(LISTS) if r.random() < .7 else '"#Exim filter\\n%s"' % "\\n".join(r.choice(FILTERS) for _ in range(r.randint(1, 3)))))
    if "Exim filter" in o[-1]:
        o.append("allow_filter\n  user = Debian-exim")
    else:
        maybe(r, o, .5, "user = Debian-exim")
    o += ["file_transport = afile", "pipe_transport = apipe", "directory_transport = adir", "reply_transport = areply", "allow_fail", "allow_defer"]
    if r.random() < .2:
        o.append("one_time")
    else:
        maybe(r, o, .12, "unseen")
    maybe(r, o, .12, "check_ancestor", "repeat_use = false", "check_ancestor = false")
    maybe(r, o, .1, "skip_syntax_errors", "skip_syntax_errors\n  syntax_errors_to = src9@src.test", "skip_syntax_errors\n  syntax_errors_to = src9@src.test\n  syntax_errors_text = list is bad")
    maybe(r, o, .08, "forbid_file", "forbid_pipe", "forbid_blackhole", "forbid_include", "hide_child_in_errmsg", "qualify_preserve_domain", "forbid_filter_reply")
    maybe(r, o, .05, "rewrite = false", "qualify_domain = far.test")


def router_options(r, o):
    maybe(r, o, .25, "local_part_prefix = pre-\n  local_part_prefix_optional", "local_part_prefix = *-", "local_part_prefix = own- : pre-*-\n  local_part_prefix_optional")
    maybe(r, o, .25, "local_part_suffix = -suf\n  local_part_suffix_optional", "local_part_suffix = +*\n  local_part_suffix_optional", "local_part_suffix = -*")
    maybe(r, o, .2, "headers_add = X-Router: $local_part", "headers_add = X-R: 1\\nX-S: 2", "headers_add = ${if eq{$domain}{d.test}{X-T: d}}", "headers_add = X-R: a\n  headers_add = X-Q: $sender_address")
    maybe(r, o, .15, "headers_remove = subject", "headers_remove = x-one : date", "headers_remove = ${if eq{$local_part}{box1}{subject}}")
    maybe(r, o, .2, "errors_to = err@src.test", "errors_to =", "errors_to = ${if eq{$local_part}{box1}{e1@src.test}fail}", "errors_to = ok1@far.test", "errors_to = $local_part-owner@src.test", "errors_to = ${bad", "errors_to = nobody@none.test")
    maybe(r, o, .06, "disable_logging", "caseful_local_part", "retry_use_local_part", "log_as_local", "dsn_lasthop", "address_data = $local_part", "transport_home_directory = @DIR@/mail", "router_home_directory = @DIR@/mail/home", "cannot_route_message = no route for $local_part",
          "redirect_router = far", "redirect_router = box", "more = false", "self = send")


def remote(r, o):
    o.append("hosts_override\n  port = 2525\n  allow_localhost\n  hosts_try_fastopen =\n  dnssec_request_domains =\n  hosts = " + r.choice(["127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.2 : 127.0.0.1", "127.0.0.3 : 127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.5 : 127.0.0.1", "127.0.0.6",
                                                                                      "127.0.0.2", "127.0.0.4 : 127.0.0.6"]))
    maybe(r, o, .15, "protocol = lmtp")
    maybe(r, o, .25, "return_path = rp@src.test", "return_path = ${if eq{$local_part}{ok1}{x@src.test}{y@src.test}}", "return_path = ${local_part}-bounce@src.test", "return_path = ${if eq{a}{b}{c}fail}", "return_path = <>", "return_path = \"\"")
    maybe(r, o, .3, "rcpt_include_affixes")
    maybe(r, o, .15, "max_rcpt = 1", "max_rcpt = 2")
    maybe(r, o, .1, "multi_domain = false", "connection_max_messages = 1", "retry_include_ip_address = false", "delay_after_cutoff = false", "hosts_avoid_pipelining = *")
    maybe(r, o, .1, "fallback_hosts = 127.0.0.1", "fallback_hosts = 127.0.0.6")
    if o[-1].startswith("fallback"):
        o[1] = o[1].replace("hosts_override\n  ", "")
    maybe(r, o, .1, "headers_add = X-To: $local_part", "headers_add = X-Env: $return_path", "headers_remove = subject : x-one", "headers_rewrite = *@src.test $1@new.test f")
    maybe(r, o, .12, "transport_filter = /bin/sed s/one/ONE/", "transport_filter = /bin/false", "transport_filter = /nonexist", "transport_filter = /bin/cat", "return_path_add\n  envelope_to_add\n  delivery_date_add")
    maybe(r, o, .06, "shadow_transport = shadow", "dsn_dummy", "authenticated_sender = auth@src.test", "helo_data = own.test", "hosts_nopass_tls =", "size_addition = -1", "command_timeout = 5s", "message_size_limit = 1K")
    if "dsn_dummy" in o:
        o.remove("dsn_dummy")


def local_lmtp(r, o):
    o[0] = "driver = lmtp"
    o.append("socket = @BASE@/lmtp" if r.random() < .8 else "command = @DIR@/say 0 220 hi")
    o.append("timeout = 3s")
    maybe(r, o, .5, "batch_max = 10", "batch_max = 2", "batch_max = 10\n  batch_id = $domain")
    maybe(r, o, .2, "ignore_quota")
    generic(r, o)


def local_box(r, o):
    r.choice([lambda: o.append("driver = appendfile\n  file = @DIR@/mail/box-$local_part_data"), lambda: o.append("driver = appendfile\n  file = @DIR@/mail/boxes"),
              lambda: o.append("driver = pipe\n  command = @DIR@/catch $pipe_addresses"), lambda: o.append("driver = pipe\n  command = @DIR@/catch $local_part_prefix $local_part_suffix")])()
    batch(r, o)
    maybe(r, o, .2, "use_bsmtp")
    generic(r, o)
    maybe(r, o, .2, "batch_max = 10")


def block(name, lines):
    """A driver's block; an option that comes twice stays as it came first."""
    seen, out = set(), []
    for x in "\n".join(lines).split("\n"):
        key = x.strip().split(" =")[0].split(" ")[0]
        if x.strip() and (key not in seen or key in ("headers_add", "headers_remove")):
            out.append("  " + x.strip() + "\n")
        seen.add(key)
    return name + ":\n" + "".join(out)


def routing(r):
    main, routers, trans = main_options(r), [], []
    main += ["remote_max_parallel = 1", "smtp_connect_backlog = 5"]
    maybe(r, main, .15, "system_filter = @DIR@/sysfilter\nsystem_filter_user = Debian-exim\nsystem_filter_file_transport = afile\nsystem_filter_pipe_transport = apipe\nsystem_filter_reply_transport = areply\nsystem_filter_directory_transport = adir")
    maybe(r, main, .15, "hold_domains = far.test", "queue_domains = far.test", "queue_smtp_domains = *.far.test", "retry_interval_max = 1h", "local_part_dummy")
    main = [x for x in main if "dummy" not in x]
    names = ["al%d" % i for i in range(1, r.randint(1, 3) + 1)]
    for n in names:
        o = ["driver = redirect", "domains = d.test", "local_parts = %s" % r.choice(["r1", "r2", "^r", "r1 : r2 : r1x", "r1 : box1"])]
        redirect_options(r, o)
        router_options(r, o)
        if "one_time" in o:  # manual 22.10: neither headers_add nor headers_remove nor unseen with it; 4.96 takes the first two
            o = [x for x in o if not x.startswith("headers_")]
        routers.append(block(n, o))
    box, far = ["driver = accept", "domains = d.test", "local_parts = box1 : box2"], ["driver = accept", "domains = *.test : ! d.test : ! src.test : ! none.test"]
    far[1] = "domains = ! d.test : ! src.test : ! none.test : ! q.test : ! diff.test : *"
    for o, t in ((box, "tbox"), (far, "tfar")):
        router_options(r, o)
        maybe(r, o, .06, "unseen")
        o.append("transport = " + t)
    routers += [block("box", box), block("far", far)]
    o = []
    if r.random() < .2:
        o.append("driver = lmtp")
        local_lmtp(r, o)
    else:
        local_box(r, o)
    trans.append(block("tbox", ["user = Debian-exim"] + o))
    o = ["driver = smtp"]
    remote(r, o)
    trans.append(block("tfar", o))
    for name, o in (("afile", ["driver = appendfile"]), ("adir", ["driver = appendfile", r.choice(["maildir_format", "", "mailstore_format"])]), ("apipe", ["driver = pipe", "timeout = 2s"]), ("areply", ["driver = autoreply"])):
        if name == "apipe":
            maybe(r, o, .3, "return_output", "ignore_status", "log_output", "return_fail_output", "temp_errors = 1")
        if name == "afile":
            batch(r, o)
        if r.random() < .3:
            generic(r, o)
        trans.append(block(name, ["user = Debian-exim"] + o))
    retry = r.choice(["* * F,1h,1m", "* * F,1h,1m", "", "* * F,2d,3h", "far.test rcpt_4xx F,1h,1m\n* * F,1h,1h", "ok1@far.test * F,2h,1m\nfar.test * G,1d,1h,2", "127.0.0.3 refused F,1m,1m\n* * F,1h,1m", "^temp * F,1h,1h\n* * F,1m,1h",
                      "* data_4xx F,1m,1m\n* * F,1d,2h", "*.far.test * F,1d,1m\n* * F,1h,1m"])
    conf = CONF % ("\n".join(main), "".join(routers), "".join(trans), retry)
    pre = ["", "", "", "pre-", "own-", "pre-x-", "z-"]
    suf = ["", "", "", "-suf", "+tag", "-q"]
    files = {"incl": "box2\nok3@far.test\n", "bmf": "Subject: own\n\n****\nf\n", "wmf": "\n", "note": "note\n",
             "sysfilter": "# Exim filter\n" + "".join(r.choice(FILTERS).replace('\\"', '"').replace("\\n", "\n") + "\n" for _ in range(r.randint(1, 2)))}
    steps = []
    for _ in range(r.randint(1, 3)):
        rcpts = []
        for _ in range(r.randint(1, 4)):
            k = r.random()
            rcpts.append(r.choice(pre) + r.choice(["r1", "r2", "box1", "box2", "r1x"]) + r.choice(suf) + "@d.test" if k < .65 else r.choice(LOCAL) + "@" + r.choice(["far.test", "far.test", "one.far.test", "two.far.test"]) if k < .95 else "none@none.test")
        args = ["-f", r.choice(FROM) or "<>"] + r.choice([[], ["-odi"], ["-odb"]][:2]) + rcpts
        steps.append((args, message(r)))
    after = [["-qf"]] + r.choice([[["-q"]], [["-qf"]], [["-qff"]], [["-q"], ["-qff"]], [["-R", "far.test"]], [["-qfl"], ["-qf"]]])
    if "hosts = 127.0.0.4" in conf:  # manual 49.2: a permanent error on connection fails the addresses; 4.96 makes retry data all the same
        steps = steps[:1]
    return conf, files, steps + [(a, "") for a in after] + [(["-bp"], "")]


# ---- routers alone, with -bt, -bv and deliveries that a file takes

HOSTLISTS = ["127.0.0.1", "127.0.0.2", "127.0.0.1 : 127.0.0.6", "127.0.0.6::2525", "<; 127.0.0.1 ; 127.0.0.2", "127.0.0.1:+:127.0.0.6", "192.0.2.1", "[127.0.0.1]::2525", "localhost", "diff.test", "no.such.test", "", "${if eq{$local_part}{box1}{127.0.0.1}{127.0.0.6}}", "127.0.0.1/MX", "$domain"]


def router_any(r, o):
    maybe(r, o, .3, "domains = d.test", "domains = ! d.test", "domains = *.test", "domains = ^[df]", "domains = d.test : far.test", "domains = ${if eq{$local_part}{box1}{d.test}}", "domains = ${bad", "domains = @ : d.test", "domains = +none", "domains = partial-lsearch;@DIR@/doms",
          "domains = lsearch;@DIR@/doms", "domains = dsearch;@DIR@/mail")
    maybe(r, o, .3, "local_parts = box1 : r1", "local_parts = ! box1", "local_parts = ^r", "local_parts = *1", "local_parts = lsearch;@DIR@/parts", "local_parts = lsearch*;@DIR@/parts", "local_parts = BOX1", "local_parts = $domain_data", "local_parts =", "local_parts = nwildlsearch;@DIR@/parts")
    maybe(r, o, .2, "local_part_prefix = pre-\n  local_part_prefix_optional", "local_part_prefix = *-", "local_part_prefix = own- : pre-*-\n  local_part_prefix_optional", "local_part_prefix = pre-", "local_part_prefix = PRE-\n  caseful_local_part")
    maybe(r, o, .2, "local_part_suffix = -suf\n  local_part_suffix_optional", "local_part_suffix = +*\n  local_part_suffix_optional", "local_part_suffix = -*", "local_part_suffix = -q : +*")
    maybe(r, o, .15, "caseful_local_part", "check_local_user", "caseful_local_part\n  check_local_user")
    maybe(r, o, .2, "condition = ${if eq{$local_part}{box1}}", "condition = ${if def:local_part_suffix}", "condition = no", "condition = 0", "condition = abc", "condition =", "condition = ${bad", "condition = ${if eq{a}{b}{c}fail}", "condition = $address_data", "condition = yes\n  condition = ${if eq{$domain}{d.test}}",
          "condition = ${if def:address_data{$address_data}{yes}}", "condition = ${if match{$local_part_data}{r}}", "condition = $domain_data", "condition = -1", "condition = FALSE")
    maybe(r, o, .25, "address_data = $local_part", "address_data = AD:$address_data", "address_data = ${if eq{$local_part}{box1}{a}fail}", "address_data = ${bad", "address_data = K=v W=\"x y\"", "address_data = $local_part_data/$domain_data", "address_data = <$local_part_prefix|$local_part_suffix>")
    maybe(r, o, .1, "set = r_one = $local_part", "set = r_one = ${uc:$r_one}x", "set = r_a=1 ; r_b = 2", "set = r_one = ${bad", "set = r_one = ${if eq{a}{b}{c}fail}")
    maybe(r, o, .15, "senders = sender@src.test", "senders = :", "senders = ! *@src.test", "senders = *@*", "senders = ${bad")
    maybe(r, o, .1, "require_files = @DIR@/doms", "require_files = /nonexistent", "require_files = !/nonexistent", "require_files = Debian-exim : @DIR@/doms", "require_files = nosuchuser : /etc", "require_files = relative", "require_files = +/nonexistent/x", "require_files = @DIR@/$local_part", "require_files = ${bad")
    maybe(r, o, .12, "unseen", "unseen = false", "unseen\n  no_more", "more = false", "no_more", "more = ${if eq{$local_part}{r1}{no}{yes}}", "more = abc", "unseen = ${if eq{$local_part}{box1}}", "more = ${bad", "more = ${if eq{a}{b}{c}fail}")
    maybe(r, o, .08, "verify = false", "verify_only", "verify_recipient = false", "verify_sender = false", "expn = false", "fail_verify", "fail_verify_recipient", "fail_verify_sender", "address_test = false", "no_verify\n  no_address_test")
    maybe(r, o, .1, "cannot_route_message = no route for $local_part", "cannot_route_message = ${bad", "cannot_route_message = ${if eq{a}{b}{c}fail}", "cannot_route_message = $address_data")
    maybe(r, o, .08, "pass_router = last", "redirect_router = last", "pass_router = own", "redirect_router = own")
    maybe(r, o, .06, "self = send", "self = fail", "self = pass", "self = reroute: far.test", "self = reroute: rewrite: far.test", "self = defer", "self = freeze")
    maybe(r, o, .1, "errors_to = err@src.test", "errors_to =", "errors_to = ${if eq{$local_part}{box1}{e1@src.test}fail}", "errors_to = no@none.test", "errors_to = ${bad", "errors_to = unqualified")
    maybe(r, o, .1, "headers_add = X-Router: $local_part", "headers_add = X-R: 1\n  headers_add = X-S: $address_data", "headers_remove = subject", "headers_add = ${bad", "headers_add = ${if eq{a}{b}{c}fail}", "headers_remove = ${if eq{a}{b}{c}fail}")
    maybe(r, o, .05, "dsn_lasthop", "log_as_local", "debug_print = x", "group = mail", "initgroups", "router_home_directory = @DIR@/mail", "transport_home_directory = ${bad", "transport_current_directory = /", "retry_use_local_part", "disable_logging", "router_home_directory = ${bad")
    maybe(r, o, .06, "ignore_target_hosts = 127.0.0.1", "ignore_target_hosts = 127.0.0.0/8", "ignore_target_hosts = ${bad", "fallback_hosts = 127.0.0.6", "ignore_target_hosts = 127.0.0.2 : ! 127.0.0.6")


def router_accept(r, o):
    o.append("transport = " + r.choice(["tbox", "tbox", "tfar", "tbox", "${if eq{$local_part}{box1}{tbox}{tbox2}}", "none", "${bad", "tbox$local_part", "$address_data"]))


def router_manual(r, o):
    k = r.random()
    if k < .3:
        o.append("route_data = " + r.choice(HOSTLISTS) + r.choice(["", "", " byname", " bydns", " randomize byname", " tbox", " bogus", " ipv4_only"]))
    else:
        o.append("route_list = " + " ; ".join(r.choice(["d.test", "*", "*.test", "! d.test", "far.test", "^f"]) + " " + r.choice(['"%s"' % x if " " in x or "$" in x else x for x in HOSTLISTS if x[:1] != "<"]) + r.choice(["", " byname", " tbox", " byname tfar", " bogus"]) for _ in range(r.randint(1, 3))))
    maybe(r, o, .8, "transport = tfar", "transport = tfar", "transport = tbox")
    maybe(r, o, .3, "host_find_failed = fail", "host_find_failed = decline", "host_find_failed = pass", "host_find_failed = defer", "host_find_failed = ignore", "host_find_failed = freeze", "host_find_failed = decline\n  host_all_ignored = fail")
    maybe(r, o, .2, "hosts_randomize = false", "same_domain_copy_routing", "host_all_ignored = fail", "host_all_ignored = pass", "host_all_ignored = decline", "host_all_ignored = freeze")


def router_redirect(r, o):
    if r.random() < .25:
        o.append("file = " + r.choice(["@DIR@/list", "@DIR@/list", "/nonexistent", "@DIR@/mail/$local_part", "@DIR@/empty", "${bad", "relative", "@DIR@"]))
        maybe(r, o, .1, "owners = root", "owners = mail", "owngroups = root", "modemask = 0", "modemask = 0777", "ignore_eacces", "ignore_enotdir", "check_owner = false")
    else:
        o.append("data = " + r.choice(LISTS + ["$local_part-x@far.test", "${if eq{$local_part}{box1}{ok1@far.test}fail}", "${bad", "", "$local_part@$domain", "$local_part", "\\$local_part@far.test", "X <x@src.test>", "a@src.test (comment), <b@src.test>", ":fail: $local_part no", ":defer:", ":fail:", ":unknown: x",
                                              "x@src.test, \"|@DIR@/catch a b\"", "# comment only", "x@src.test # comment", ":include:/nonexistent", ":include:@DIR@/list", "a@src.test\\nb@src.test", "a@src.test;b@src.test", "@far.test", "<>", "@a.test:b@far.test", ":fail:550 own code", ":defer:451 4.7.1 own", "root",
                                              "nobody-x", "group: a@src.test, b@src.test;", "a b@src.test", "/etc/passwd/", "/dev/null", "|", "/", "a@src.test,", ",", "a@[127.0.0.1]", "a@src.test., b@.src.test", ":blackhole: x", ":fail: a, b@src.test", "x@src.test, :fail: no"]))
    o += ["file_transport = afile", "pipe_transport = apipe", "directory_transport = adir"]
    maybe(r, o, .6, "allow_fail\n  allow_defer")
    maybe(r, o, .6, "user = Debian-exim")
    maybe(r, o, .08, "one_time")
    maybe(r, o, .12, "check_ancestor", "repeat_use = false", "check_ancestor = false")
    maybe(r, o, .12, "skip_syntax_errors", "skip_syntax_errors\n  syntax_errors_to = src9@src.test", "skip_syntax_errors\n  syntax_errors_to = src9@src.test\n  syntax_errors_text = list is bad")
    maybe(r, o, .12, "forbid_file", "forbid_pipe", "forbid_blackhole", "forbid_include", "hide_child_in_errmsg", "qualify_preserve_domain", "include_directory = @DIR@", "include_directory = /etc", "rewrite = false", "qualify_domain = far.test", "forbid_smtp_code", "forbid_smtp_code = false")


def router_query(r, o):
    o.append("command = @DIR@/query " + r.choice(["decline", "pass", "fail no such", "defer later on", "accept tbox", "accept tfar", "redirect x@src.test", "redirect box1, box2", "redirect |/bin/true", "nonsense x", "error broken", "freeze held here", "accept", "host", "data", "$local_part", "\"fail x\"", "exit"]))
    o.append("command_user = Debian-exim")
    maybe(r, o, .4, "transport = tbox", "transport = tfar")
    maybe(r, o, .1, "current_directory = /nonexistent", "command_group = mail", "timeout = 1s")


def router_literal(r, o):
    o.append("transport = " + r.choice(["tfar", "tbox"]))
    o += ["domains = ! src.test"]


QUERY = """#!/bin/sh
case "$1" in
accept) shift; echo "ACCEPT${1:+ TRANSPORT=$1}";;
redirect) shift; echo "REDIRECT $*";;
host) echo "ACCEPT TRANSPORT=tfar HOSTS=127.0.0.1:127.0.0.6 LOOKUP=byname";;
data) echo "ACCEPT TRANSPORT=tbox DATA=\\"from query\\"";;
exit) echo FAIL; exit 3;;
error|nonsense|freeze|defer|fail|decline|pass) w=$1; shift; echo "$w $*";;
*) echo "FAIL unknown $1";;
esac
"""


def routers_alone(r):
    makers = {"accept": router_accept, "redirect": router_redirect, "manualroute": router_manual, "queryprogram": router_query, "ipliteral": router_literal}
    routers = []
    for i in range(1, r.randint(2, 5) + 1):
        driver = r.choice(["accept", "accept", "redirect", "redirect", "redirect", "manualroute", "manualroute", "queryprogram", "ipliteral"])
        o = ["driver = " + driver]
        makers[driver](r, o)
        router_any(r, o)
        if "one_time" in o:
            o = [x for x in o if not x.startswith(("headers_", "unseen", "errors_to"))]
        if any("syntax_errors_to" in x for x in o):  # the report must not come here again
            o.insert(1, "domains = d.test")
        routers.append(block("q%d" % i, o))
    conf = "\n".join(routers)
    routers.append("own:\n  driver = accept\n  local_parts = own\n  transport = tbox\n")
    routers.append("last:\n  driver = accept\n  local_parts = box2 : last\n  transport = tbox\n")
    trans = ("tbox:\n  driver = appendfile\n  file = @DIR@/mail/tbox\n  user = Debian-exim\n  message_prefix = \"P $local_part@$domain d=$local_part_data@$domain_data p=$local_part_prefix,$local_part_prefix_v s=$local_part_suffix,$local_part_suffix_v a=$address_data h=$host r=$r_one,$r_a,$r_b o=$original_local_part@$original_domain"
             " f=$parent_local_part@$parent_domain\\n\"\n  return_path_add\n"
             "tbox2:\n  driver = appendfile\n  file = @DIR@/mail/tbox2\n  user = Debian-exim\n"
             "tfar:\n  driver = smtp\n  port = 2525\n  allow_localhost\n  hosts_try_fastopen =\n  dnssec_request_domains =\n"
             "afile:\n  driver = appendfile\n  user = Debian-exim\nadir:\n  driver = appendfile\n  user = Debian-exim\n  maildir_format\napipe:\n  driver = pipe\n  user = Debian-exim\n")
    main = []
    maybe(r, main, .15, "local_interfaces = 127.0.0.6", "untrusted_set_sender = *", "domainlist none = d.test", "percent_hack_domains = d.test", "strip_trailing_dot", "allow_domain_literals", "allow_domain_literals\nlocal_interfaces = 127.0.0.1", "strip_excess_angle_brackets")
    if "+none" in conf and "domainlist none = d.test" not in main and r.random() < .7:
        main.append("domainlist none = far.test : d.test")
    main += ["remote_max_parallel = 1", "log_selector = +all_parents"]
    files = {"doms": "d.test: in d\n.far.test: wild\nfar.test: far data\n", "parts": "box1: one\nr1: \"quoted value\"\n*: any\n", "list": r.choice(["ok1@far.test\n# comment\nbox2\n", "box2@d.test,\n  x@src.test\n", ":fail: from file\n", "bad addr@x, box2@d.test\n", "/file\n"]), "empty": "\n", "query": QUERY}
    pre, suf = ["", "", "", "", "pre-", "own-", "pre-x-", "PRE-"], ["", "", "", "", "-suf", "+tag", "-q"]

    def who():
        k = r.random()
        return (r.choice(["x@[127.0.0.1]", "x@[127.0.0.6]", "unq", "<>", "a%b@d.test", "\"q q\"@d.test", "x@d.test.", "@a.test:b@d.test", "x@none.test", "x@localhost", "x@diff.test", "X@D.Test", "a@b@c", "<box1@d.test>", "x@one.far.test"]) if k < .2 else
                r.choice(pre) + r.choice(["r1", "r2", "box1", "box2", "BOX1", "root", "own", "last", "ok1", "perm1"]) + r.choice(suf) + "@" + r.choice(["d.test", "d.test", "far.test", "D.test", "one.far.test"]))
    steps = []
    for _ in range(r.randint(2, 4)):
        steps.append(([r.choice(["-bt", "-bt", "-bv", "-bvs"])] + (["-f", r.choice(FROM) or "<>"] if r.random() < .4 else []) + [who() for _ in range(r.randint(1, 3))], ""))
    for _ in range(r.randint(1, 2)):
        steps.append((["-odi", "-f", r.choice(FROM) or "<>"] + [who() for _ in range(r.randint(1, 3))], "Subject: plain\n\nx\n"))
    return CONF % ("\n".join(main), "".join(routers), trans, "* * F,1h,1m"), files, steps


# ---- what is easily overlooked: one case, the same for all seeds

def points(_):
    trans = {
        "say": "driver = pipe\n  command = @DIR@/say 75 later\n  return_output",
        "env": "driver = pipe\n  command = @DIR@/catch x",
        "away": "driver = autoreply\n  to = $sender_address\n  subject = away\n  text = later",
        "umlaut": "driver = autoreply\n  to = $sender_address\n  subject = caf\u00e9\n  text = later",
        "bsmtp": "driver = appendfile\n  file = @DIR@/mail/bsmtp\n  use_bsmtp\n  rcpt_include_affixes",
        "plain": "driver = appendfile\n  file = @DIR@/mail/plain\n  rcpt_include_affixes",
        "store": "driver = appendfile\n  directory = @DIR@/mail/store\n  mailstore_format\n  mailstore_prefix = before\n  mailstore_suffix = after",
        "shell": "driver = pipe\n  command = ${bad\n  use_shell",
        "long": "driver = appendfile\n  file = @DIR@/mail/long\n  message_size_limit = x",
    }
    blocks = "".join("%s:\n  user = Debian-exim\n  %s\n" % x for x in trans.items())
    routers = ("parts:\n  driver = accept\n  domains = d.test\n  local_parts = %s\n  local_part_suffix = -*\n  local_part_suffix_optional\n  transport = $local_part_data\n"
               "  errors_to = ${if eq{$local_part}{env}{err@src.test}fail}\n" % " : ".join(trans) +
               "filed:\n  driver = redirect\n  domains = d.test\n  local_parts = filed\n  data = @DIR@/mail/other\n  file_transport = plain\n  user = Debian-exim\n")
    main = "errors_reply_to = er@src.test\nfreeze_tell = ft@src.test"
    plain = "Subject: plain\n\nbody\n"

    def session(sender, *rcpts):
        return "EHLO client.test\r\nMAIL FROM:<%s>\r\n%sDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n" % (sender, "".join("RCPT TO:%s\r\n" % x for x in rcpts))
    steps = [(["-odi", "-f", "sender@src.test", "say@d.test", "env@d.test"], plain), (["-odi", "-f", "<>", "say@d.test"], plain), (["-odi", "-f", "sender@src.test", "umlaut@d.test"], plain),
             (["-odi", "-f", "sender@src.test", "away@d.test"], plain), (["-odi", "-f", "sender@src.test", "bsmtp-x@d.test", "plain-x@d.test", "store@d.test", "filed@d.test"], plain),
             (["-odi", "-f", "sender@src.test", "shell@d.test", "long@d.test"], plain),
             (["-odi", "-f", "sender@src.test", "u1@d.test"], "Message-Id: <first@src.test>\nResent-From: a@src.test\nResent-Message-Id: <second@src.test>\n\nx\n"),
             (["-odi", "-f", "sender@src.test", "u1@d.test"], "Message-Id: <first@src.test>\nResent-From: a@src.test\n\nx\n"),
             (["-odi", "-bs"], session("", "<u1@d.test> NOTIFY=NEVER")), (["-odi", "-bs"], session("sender@src.test", "<u1@d.test> NOTIFY=NEVER")),
             (["-odi", "-bs"], session("", "<u1@d.test>", "<u2@d.test>", "<u3@d.test>")), (["-qf"], ""), (["-bp"], "")]
    return CONF % (main, routers, blocks, "* * F,1d,1h"), {}, steps


def batches(_):
    """What recipients that go together see of themselves, commands of transports that hold a sender's words, what is told of frozen messages."""
    seen = ("lp=$local_part d=$domain pf=$local_part_prefix sf=$local_part_suffix lpd=$local_part_data dd=$domain_data ol=$original_local_part od=$original_domain"
            " pl=$parent_local_part pd=$parent_domain rn=$router_name tn=$transport_name")
    smtp = "driver = smtp\n  hosts = 127.0.0.1\n  port = 2525\n  allow_localhost\n  "
    trans = {
        "together": smtp + "headers_add = X-V: %s\n  return_path = x-${local_part}@x.test" % seen,
        "event": smtp + "event_action = ${acl{logev}{r=$router_name lp=$local_part d=$domain}}",
        "filter": "driver = appendfile\n  file = @DIR@/mail/filter\n  transport_filter = /bin/echo $pipe_addresses \"$local_part\"",
        "badfilter": "driver = appendfile\n  file = @DIR@/mail/filter\n  transport_filter = /bin/echo ${bad",
        "farfilter": smtp + "transport_filter = $local_part",
        "farbad": smtp + "transport_filter = /bin/echo ${bad",
        "lmtp": "driver = lmtp\n  command = @DIR@/say 0 $local_part",
        "quiet": "driver = appendfile\n  file = @DIR@/mail/quiet\n  disable_logging",
        "later": "driver = pipe\n  command = @DIR@/say 75",
        "id": "driver = appendfile\n  file = @DIR@/mail/id\n  batch_max = 10\n  batch_id = x\n  message_prefix = \"$domain\\n\"",
        "own": "driver = appendfile\n  file = @DIR@/mail/own\n  batch_max = 10\n  batch_id = ${if eq{$local_part}{z}{z}{x}}",
        "shown": "driver = appendfile\n  file = @DIR@/mail/shown\n  batch_max = 10\n  message_prefix = \"$original_local_part $original_domain $parent_domain $router_name\\n\"",
    }
    blocks = "".join("%s:\n  user = Debian-exim\n  %s\n" % x for x in trans.items()) + "apipe:\n  driver = pipe\n  user = Debian-exim\nadir:\n  driver = appendfile\n"
    routers = ("query:\n  driver = queryprogram\n  command_user = Debian-exim\n  domains = query.test\n  command = ${if eq{$local_part}{a}{$local_part}{${if eq{$local_part}{b}{/nonexistent/x}{/bin/echo ACCEPT}}}}\n"
               "nowhere:\n  driver = manualroute\n  domains = nowhere.test\n  route_data = 127.0.0.1 byname\n  self = send\n"
               "more:\n  driver = accept\n  domains = more.test\n  more = ${bad\n  condition = no\n  transport = together\n"
               "slash:\n  driver = redirect\n  domains = slash.test\n  data = /\n  directory_transport = adir\n  file_transport = own\n  user = Debian-exim\n"
               "red:\n  driver = redirect\n  local_parts = r1 : r2\n  domains = together.test\n  data = ${if eq{$local_part}{r1}{a@together.test, b@together.test}{c@together.test}}\n"
               "chain:\n  driver = redirect\n  domains = d.test : q.test\n  local_parts = l1 : l2\n  data = ${if eq{$local_part}{l1}{l2}{nobody}}\n"
               "gone:\n  driver = redirect\n  domains = q.test\n  local_parts = nobody\n  data = :fail: one\ttwo \u00e9\n  allow_fail\n"
               "wait:\n  driver = redirect\n  domains = d.test\n  local_parts = wait\n  data = :defer: not now\n  allow_defer\n"
               "parts:\n  driver = accept\n  domains = lsearch;@DIR@/doms\n  local_part_suffix = -*\n  local_part_suffix_optional\n  local_parts = a : b : c : temp\n"
               "  transport = $domain_data\n")
    doms = "".join("%s.test: %s\n%s2.test: %s\n" % (x, x, x, x) for x in trans)
    main = "freeze_tell = ft@src.test\nbounce_message_text = own text\nsystem_filter = @DIR@/sf\nsystem_filter_user = Debian-exim\nsystem_filter_pipe_transport = apipe"
    plain = "Subject: plain\n\nbody\n"

    def to(*rcpts, sender="sender@src.test", text=plain):
        return ["-odi", "-f", sender] + list(rcpts), text
    steps = [to("a@together.test", "a@together2.test"), to("a-x@together.test", "b@together.test"), to("r1@together.test", "r2@together.test"), to("a@together.test"), to("temp@event.test", "a@event.test")]
    steps += [to("a@%s.test" % x) for x in ("filter", "badfilter", "farfilter", "farbad", "lmtp")]
    steps += [to("a@quiet.test", "a@later.test"), to("a@id.test", "b@id.test", "a@id2.test"), to("a@own.test", "b@own.test", "a@own2.test"), to("a@shown.test", "b@shown2.test")]
    steps += [to(*x, sender="<>") for x in (["a@later.test", "none@none.test", "wait@d.test"], ["wait@d.test", "none@none.test"], ["l1@d.test", "nobody@q.test"])]
    steps += [([x] + ["%s@%s.test" % y for y in (("a", "query"), ("b", "query"), ("c", "query"), ("a", "nowhere"), ("a", "more"), ("a", "slash"))], "") for x in ("-bt", "-bv")]
    steps += [to("c@query.test", "a@nowhere.test"), to("a@quiet.test", text="Filter: yes\n" + plain), (["-bp"], "")]
    return CONF % (main, routers, blocks, "* * F,1d,1h"), {"doms": doms, "sf": "# Exim filter\nif $h_filter: is yes then unseen pipe \"@DIR@/catch x\" endif\n"}, steps


def reports(_):
    """Templates of reports that are not only header lines; what the sender of a message without recipients gets back; names of groups."""
    template = "Subject: own\n\nX-Body: y\n****\nbegin\n****\n\n****\n"
    return CONF % ("bounce_message_file = @DIR@/bmf", "", "", ""), {"bmf": template}, [(["-odi", "-f", "sender@src.test", "none@none.test"], "Subject: x\n\nx\n"),
        (["-t", "-odi", "-f", "sender@src.test"], "To: a@b:\n\nthe body\n"), (["-t", "-odi", "-f", "sender@src.test"], "To: \"g h\": a@src.test, b@src.test;, c@src.test\n\nx\n"),
        (["-odi", "-f", "<>", "a@b@c"], "x\n"), (["-bp"], "")]


KINDS = {"deliver": deliveries, "points": points, "batches": batches, "reports": reports, "route": routing, "router": routers_alone, "filter": filters, "sieve": sieve}


def generate(kind, seed):
    return KINDS[kind](random.Random("%s %d" % (kind, seed)))
