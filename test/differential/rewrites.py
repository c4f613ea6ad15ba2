# SPDX-License-Identifier: GPL-2.0-or-later
"""Rewriting rules of chance, tested with -brw, in messages and in sessions: kind rewrite of generate.py."""
from generate import CONF, maybe

PATTERNS = ["*", "*@*", "*@src.test", "a@d.test", "*@*.src.test", "a@src.test", "*@d.test", "a*@d.test", "*b@d.test", "*x*@*", "\\N^a.*@src\\.test\\N", "\\N^(?i)(.*)@(.*)\\.test$\\N", "\\N^(\\w+)-(\\w+)@(.*)$\\N", "^${sg{a-b}{-}{.}}@", "@", "*@@", "lsearch;@DIR@/adds",
            "*@lsearch;@DIR@/doms", "nwildlsearch;@DIR@/wild", "@@lsearch;@DIR@/atat", "a@lsearch;@DIR@/doms", "*@+locals", "a@+locals", "*@partial-lsearch;@DIR@/doms", "wildlsearch;@DIR@/wild", "! a@src.test", "unq", "\"a b\"@src.test", "*@[1.2.3.4]", "${if eq{a}{b}{x}{a@src.test}}", "*@${lc:SRC.TEST}"]
REPLACEMENTS = ["$1@new.test", "$0@new.test", "new@src.test", "$local_part@other.test", "$1-x@$2", "\"${lc:$1}@$domain\"", "\"${if eq{$1}{a}{b@src.test}fail}\"", "*", "\"Some One <$1@new.test>\"", "\"\\\"Q, R\\\" <$local_part@$domain>\"", "\"${lookup{$1}lsearch{@DIR@/map}{$value}fail}\"", "${bad", "unqualified", "\"bad addr@x\"", "\"\"", "a@src.test", "b@src.test",
                "\"${quote_local_part:$local_part x}@new.test\"", "$1@$2", "$2.$1@new.test", "\"${uc:$0}\"", "<$1@angle.test>", "\"$1@new.test (comment)\"", "\"x, y@new.test\"", "\"caf\u00e9 <$1@new.test>\"", "$local_part_data@data.test", "$domain_data", "\"${lookup{$domain}lsearch{@DIR@/doms}{$local_part@$value}{$0}}\"", "\"${if def:header_from:{h}{n}}$1@new.test\"", "$1"]
FLAGS = ["", "", "", "h", "E", "F", "T", "f", "t", "c", "b", "r", "s", "Eh", "Ffrs", "w", "hw", "q", "Rw", "R", "Tq", "S", "S", "Sq", "bcfrst", "EFTbcfrst", "Q", "hq", "ER", "Fw", "hR", "Ew"]
ADDRESSES = ["a@src.test", "A@SRC.TEST", "a-b@src.test", "axb@d.test", "\"a b\"@src.test", "\"a\"@src.test", "sender@src.test", "a@sub.src.test", "b@d.test", "unq", "x@[1.2.3.4]", "a@other.test", "X.Y@D.Test", "", "a!b@src.test", "a%b@src.test", "a@none.test", "\"a@b\"@src.test", "postmaster@src.test", "a\\@b@src.test", "\"a\\\"b\"@src.test"]
FORMS = ["%s", "<%s>", "Some One <%s>", "\"Q, R\" <%s>", "%s (comment)", "(before) %s", "\"A (x)\" <%s> (y)", "<@route.test:%s>", "=?utf-8?Q?caf=C3=A9?= <%s>", "Some.One <%s>", "(c1) A (c2) B <(c3) %s (c4)> (c5)", "caf\u00e9 <%s>", "A B\n  <%s>", "  %s  ", "<%s", "%s>", "Group: %s;", "Group: A <%s>, b@d.test;, c@src.test", "undisclosed: ;, %s"]


def rule(r, flags=None):
    flags = r.choice(flags or FLAGS)
    pattern, new = r.choice(PATTERNS[:9] if r.random() < .7 else PATTERNS), r.choice(REPLACEMENTS[:9] if r.random() < .8 else REPLACEMENTS)
    if "S" in flags:
        pattern, new = r.choice(["^.*%", "\\N^(?i)a@(.*)$\\N", "^x", "\\N^<(.*)!(.*)>\\N", "^(.*)@src"]), r.choice(["\"${if match{$0}{b}{c@src.test}{$0}}\"", "$0", "$1@new.test", "\"<a@src.test>\"", "x"])
    if " " in pattern or pattern.startswith(("^${", "! ")) and r.random() < .9:
        pattern = '"%s"' % pattern.replace("\\", "\\\\").replace('"', '\\"')
    return "%s %s %s" % (pattern, new, flags)


def addresses(r, many=True):
    out = []
    for _ in range(r.choice([1, 1, 2, 3]) if many else 1):
        out.append((r.choice(FORMS if r.random() < .15 else FORMS[:7]) if r.random() < .7 else "%s") % r.choice(ADDRESSES[:9] if r.random() < .9 else ADDRESSES))
    return r.choice([", ", ", ", ",", ",\n\t"]).join(out)


def message(r):
    lines = []
    for name in ("From", "To", "Cc", "Bcc", "Reply-To", "Sender", "Resent-From", "Resent-To", "Resent-Sender", "FROM", "X-To", "Errors-To", "Return-Path"):
        if r.random() < {"From": .8, "To": .7, "Cc": .4}.get(name, .12):
            lines.append("%s: %s" % (name, addresses(r, name not in ("Sender", "Return-Path"))))
    r.shuffle(lines)
    return "".join(x + "\n" for x in lines + ["Subject: x"]) + "\nbody\n"


ROUTERS = """move:
  driver = redirect
  domains = d.test
  local_parts = red
  data = a@src.test, "a b"@src.test, unq
  %s
here:
  driver = accept
  transport = here
  %s
"""


def transport_rules(r):
    o = []
    if r.random() < .5:
        rules = [x for x in (rule(r, "hfts") for _ in range(r.randint(1, 3))) if "S" not in x.split()[-1] and "${bad" not in x]
        if rules and not rules[0].startswith('"'):
            o.append("headers_rewrite = " + " : ".join(x.replace(":", "::") for x in rules))
    maybe(r, o, .2, "return_path = $sender_address_local_part@rp.test")
    return o


def rewrites(r):
    rules = [rule(r) for _ in range(r.randint(1, 5))]
    main = []
    maybe(r, main, .6, "log_selector = +address_rewrite +received_sender +received_recipients", "log_selector = +address_rewrite +all_parents")
    maybe(r, main, .15, "allow_domain_literals", "strip_trailing_dot", "strip_excess_angle_brackets", "allow_utf8_domains", "allow_domain_literals\npercent_hack_domains = src.test")
    maybe(r, main, .1, "local_from_check = false\nlocal_sender_retain", "untrusted_set_sender = *", "qualify_recipient = rcpt.test", "hosts_treat_as_local = *", "print_topbitchars")
    maybe(r, main, .1, "sender_unqualified_hosts = *\nrecipient_unqualified_hosts = *")
    main.append("domainlist locals = src.test : d.test")
    control = r.choice(["", "", "", "", "warn control = suppress_local_fixups\n", "warn control = submission\n", "warn control = submission/sender_retain/domain=src.test\n"])
    routers = ROUTERS % (r.choice(["", "", "rewrite = false", "qualify_preserve_domain", "qualify_domain = d.test"]), r.choice(["", "", "headers_add = X-Add: a@src.test", "errors_to = a@src.test", "headers_add = Cc: a@src.test", "headers_remove = cc"]))
    trans = "here:\n  driver = appendfile\n  file = @DIR@/mail/here\n  user = Debian-exim\n  return_path_add\n  envelope_to_add\n" + "".join("  %s\n" % x for x in transport_rules(r))
    conf = CONF.replace("acl_smtp_rcpt = accept\n", "acl_smtp_rcpt = accept %s\n" % ("verify = " + r.choice(["sender", "recipient"]) if r.random() < .2 else "")).replace("begin acl\n", "begin rewrite\n%s\nbegin acl\n" % "\n".join(rules).replace("%", "%%"))
    if control:
        conf = conf.replace("acl_not_smtp = accept", "acl_not_smtp_start = fix\nacl_smtp_mail = fix\nacl_not_smtp = accept").replace("begin acl\n", "begin acl\nfix:\n%saccept\n" % control)
    conf = conf % ("\n".join(main), routers, trans, "* * F,1h,1m")
    files = {"adds": "a@src.test: x@adds.test\nsender@src.test: y@adds.test\n", "doms": "src.test: one.test\n*.d.test: two.test\nd.test: three.test\n", "wild": "*@src.test: w1\n^b@: w2\n", "atat": "src.test: a : a-b\n*: b\n", "map": "a: mapped@src.test\nb: \"B B <b2@d.test>\"\n"}
    steps = [(["-brw", r.choice(FORMS[:10] if r.random() < .8 else FORMS).replace("\n", "") % r.choice(ADDRESSES[:10] if r.random() < .8 else ADDRESSES)], "") for _ in range(r.randint(2, 4))]
    for _ in range(r.randint(1, 3)):
        who = [x for x in (r.choice(ADDRESSES[:10] if r.random() < .9 else ADDRESSES) for _ in range(r.randint(1, 3))) if x] or ["a@src.test"]
        k = r.random()
        text = message(r)
        if k < .3:
            steps.append((["-odi", "-oi", "-t"] + (["-f", r.choice(ADDRESSES) or "<>"] if r.random() < .6 else []), text))
        elif k < .6:
            steps.append((["-odi", "-oi"] + (["-F", r.choice(["A B", "A, \"B\"", "x"])] if r.random() < .3 else []) + (["-f", r.choice(ADDRESSES) or "<>"] if r.random() < .6 else []) + who + (["red@d.test"] if r.random() < .3 else []), text))
        else:
            lines = ["EHLO client.test", "MAIL FROM:<%s>" % r.choice(ADDRESSES)] + ["RCPT TO:<%s>" % x for x in who] + ["DATA"] + ["." + x if x.startswith(".") else x for x in text.rstrip("\n").split("\n")] + [".", "VRFY " + who[0], "QUIT"]
            steps.append((["-odi"] + (["-oMa", "1.2.3.4"] if r.random() < .4 else []) + ["-bs"], "".join(x + "\r\n" for x in lines)))
    return conf, files, steps + [(["-bp"], "")]
