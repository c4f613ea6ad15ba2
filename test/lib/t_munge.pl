#!/usr/bin/env perl
# SPDX-License-Identifier: GPL-2.0-or-later
#
# t_munge.pl - checks the normaliser of the test harness, rule by rule.
#
# Each row is a kind of file, what a program may write, and what must stand in
# the expected file; undef means the line is left out. Rows marked "kept" make
# sure that what shows behaviour is not hidden. Plain perl, no root, no files;
# prints failures and, last, "N passed, N failed, N skipped".

use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__);
use Munge;

my ($passed, $failed) = (0, 0);

sub fresh {
  return Munge->new(
    dir => '/tmp/rQ1/test', hostname => 'myhost.harness.test', ipv4 => '192.0.2.10', ipv6 => '2001:db8:1:2:3:4:5:10',
    ipv4_reversed => '10.2.0.192', ipv6_reversed => '0.1.0.0.5', caller => 'probeuser', caller_uid => 4001,
    caller_gid => 4001, caller_group => 'probeuser', gecos => 'Probe User', home => '/tmp/rQ1/home',
    exim_user => 'eximtest', exim_group => 'eximtest', exim_uid => 4002, exim_gid => 4002,
    ports => { N => 1223, S => 1224, D => 1225, D2 => 1226, D3 => 1227, D4 => 1228 }, @_,
  );
}

my %PATH = (log => 'spool/log/mainlog', stdout => 'test-stdout', stderr => 'test-stderr', mail => 'test-mail/x');

sub check {
  my ($what, $got, $want) = @_;
  if ($got eq $want) {
    $passed++;
    return;
  }
  $failed++;
  print "FAILED: $what\n   got: $got\n  want: $want\n";
}

sub check_lines {
  my ($munge, $kind, $text, $want) = @_;
  my $got = $munge->munge_text($PATH{$kind}, "$text\n");
  check("$kind: $text", $got, defined $want ? "$want\n" : '');
}

my $ID1 = '1vPabc-00000005XyZ-0Abc';
my $ID2 = '1vPabd-00000005XyZ-1Abc';
my $TESTER = 'the.local.host.name';

my @SINGLE = (
  # times
  ['log', '2026-11-23 19:10:12 Start', '1999-03-02 09:44:33 Start'],
  ['log', '2026-11-23 19:10:12 +0100 Start', '1999-03-02 09:44:33 Start'],
  ['log', '2026-11-23 19:10:12.345 Start', '2017-07-30 18:51:05.712 Start'],
  ['log', 'see 2026-11-23 19:10:12 Start', 'see 2026-11-23 19:10:12 Start'],
  ['stderr', "SYSLOG: '2026-11-23 19:10:12 x'", "SYSLOG: '2017-07-30 18:51:05 x'"],
  ['stderr', "SYSLOG: '2026-11-23 19:10:12.345 +0200 x'", "SYSLOG: '2017-07-30 18:51:05.712 +9999 x'"],
  ['mail', 'Date: Mon, 23 Nov 2026 19:10:12 +0000', 'Date: Tue, 2 Mar 1999 09:44:33 +0000'],
  ['mail', 'Date: Mon, 3 Nov 2026 19:10:12 -0500', 'Date: Tue, 2 Mar 1999 09:44:33 +0000'],
  ['mail', 'From a@b Mon Nov 23 19:10:12 2026', 'From a@b Tue Mar 02 09:44:33 1999'],
  ['stdout', '1795461012 0', 'ddddddddd 0'],
  ['stdout', '1795461012 1', '1795461012 1'],
  ['stdout', '23-Nov-2026 19:10:12  etrn-x', '07-Mar-2000 12:21:52  etrn-x'],
  ['log', 'x QT=3s DT=0s D=12s', 'x QT=qqs DT=qqs D=qqs'],
  ['log', 'x QT=1.234s', 'x QT=q.qqqs'],
  ['log', 'x QT=1m', 'x QT=1m'],
  # retry records
  ['stdout', '23-Nov-2026 19:10:12  23-Nov-2026 19:10:13  23-Nov-2026 19:30:13',
    'first failed = time last try = time2 next try = time2 + 1200'],
  ['stdout', '23-Nov-2026 19:10:12  23-Nov-2026 19:10:13  23-Nov-2026 19:30:12 *',
    'first failed = time last try = time2 next try = time2 + 1200 *'],
  ['stdout', '31-Dec-2026 23:59:58  31-Dec-2026 23:59:59  01-Jan-2027 00:00:03',
    'first failed = time last try = time2 next try = time2 + 4'],
  ['stdout', '28-Feb-2028 23:59:58  28-Feb-2028 23:59:59  29-Feb-2028 00:00:03',
    'first failed = time last try = time2 next try = time2 + 4'],
  ['stdout', '23-Nov-2026 19:10:12  23-Nov-2026 19:10:13  23-Nov-2026 19:10:12',
    'first failed = time last try = time2 next try = time2 + 2'],
  ['stdout', '  T:h.ex:127.0.0.1:1223 111 65 Connection refused', '  T:h.ex:127.0.0.1:PORT_N dd 65 Connection refused'],
  ['stdout', '  T:h.ex:127.0.0.1:1224 110 321 Connection timed out', '  T:h.ex:127.0.0.1:PORT_S dd 321 Connection timed out'],
  # places and names
  ['log', 'myhost.harness.test and xmyhost.harness.test', "$TESTER and xmyhost.harness.test"],
  ['log', 'file /tmp/rQ1/test/test-mail/x', 'file TESTSUITE/test-mail/x'],
  ['log', 'shell /tmp/rQ1/test/aux-var/sh', 'shell ENV_SHELL'],
  ['log', 'home /tmp/rQ1/home/x', 'home CALLER_HOME/x'],
  ['log', '<= probeuser@test.ex U=probeuser P=local S=312', '<= CALLER@test.ex U=CALLER P=local S=sss'],
  ['log', '<= <> R=x U=eximtest P=local S=312', '<= <> R=x U=EXIMUSER P=local S=sss'],
  ['mail', 'Received: from eximtest by h with local (Exim x.yz)', 'Received: from EXIMUSER by h with local (Exim x.yz)'],
  ['log', '(euid=4001 egid=4001)', '(euid=CALLER_UID egid=CALLER_GID)'],
  ['log', '(euid=4002 egid=4002)', '(euid=EXIM_UID egid=EXIM_GID)'],
  ['log', '(euid=17 egid=18)', '(euid=uuuu egid=gggg)'],
  ['stdout', 'probeuser 4001 4001', 'CALLER UID GID'],
  ['stdout', 'eximtest 4002 4002', 'EXIMUSER EXIM_UID EXIM_GID'],
  # addresses and networks
  ['stdout', '  host x.test.ex       [10.0.0.1]  MX=5', '  host x.test.ex [10.0.0.1] MX=5'],
  ['log', 'H=[192.0.2.10]', 'H=[ip4.ip4.ip4.ip4]'],
  ['log', 'H=[192.0.2.100]', 'H=[192.0.2.100]'],
  ['log', 'H=[2001:db8:1:2:3:4:5:10]', 'H=[' . join(':', ('ip6') x 8) . ']'],
  ['log', 'x 10.2.0.192.in-addr.arpa', 'x ip4-reverse.in-addr.arpa'],
  ['log', '[224.0.0.1] 224', '[V4NET.0.0.1] 224'],
  ['log', 'ff00:ffff:836f:0a00:1', 'V6NET:ffff:836f:0a00:1'],
  # system errors
  ['log', '== a@b T=smtp defer (101): Network is unreachable', '== a@b T=smtp defer (dd): Network Error'],
  ['log', '== a@b R=r T=t defer (13): Permission denied', '== a@b R=r T=t defer (EEE): Permission denied'],
  ['log', '== a@b R=r T=t defer (0): x', '== a@b R=r T=t defer (0): x'],
  ['log', '== a@b R=r T=t defer (-45): x', '== a@b R=r T=t defer (-45): x'],
  ['log', 'Cannot assign requested address', 'Netwk addr not available'],
  # sizes
  ['stdout', " 0m   312 $ID1 <a\@b>", 'TTT   sss 10HmaX-000000005vi-0000 <a@b>'],
  ['stdout', '250-SIZE 1000', '250-SIZE 1000'],
  ['stdout', '037  Date: x', '037  Date: x'],
  ['stdout', '123P Received: x', 'dddP Received: x'],
  ['mail', 'boundary=1795461012-eximdsn-123456', 'boundary=NNNNNNNNNN-eximdsn-MMMMMMMMMM'],
  # ports
  ['log', 'daemon started: pid=123, no queue runs, listening for SMTP on port 1225',
    'daemon started: pid=p1234, no queue runs, listening for SMTP on port PORT_D'],
  ['log', 'listening for SMTP on port 1225 (IPv6 and IPv4)', 'listening for SMTP on port PORT_D'],
  ['log', '=> a@b H=h [127.0.0.1]:1224 C="250 OK"', '=> a@b H=h [127.0.0.1]:PORT_S C="250 OK"'],
  ['log', 'H=h [127.0.0.1]:1224 Connection refused', 'H=h [127.0.0.1]:PORT_S Connection refused'],
  ['log', 'H=(h) [127.0.0.1] I=[127.0.0.1]:1225 F=<a@b> rejected', 'H=(h) [127.0.0.1] I=[127.0.0.1]:PORT_D F=<a@b> rejected'],
  ['stdout', 'Listening on port 1224 ... ', 'Listening on port PORT_S ... '],
  ['stdout', 'Connecting to 127.0.0.1 port 1225 ... connected', 'Connecting to 127.0.0.1 port PORT_D ... connected'],
  ['stdout', '-host_address [127.0.0.1]:40000', '-host_address [127.0.0.1]:9999'],
  # TLS
  ['log', 'X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256', 'X=TLS1.x:ke-RSA-AES256-SHAnnn:xxx'],
  ['log', 'X=TLS1.2:ECDHE_SECP256R1__ECDSA_SHA256__AES_256_GCM:256', 'X=TLS1.x:ke-ECDSA-AES256-SHAnnn:xxx'],
  ['log', 'X=TLS1.3:ECDHE_PSK_SECP256R1__AES_256_GCM:256', 'X=TLS1.x:ke-PSK-AES256-SHAnnn:xxx'],
  ['log', 'X=TLS1.3:TLS_AES_256_GCM_SHA384:256', 'X=TLS1.x:ke-RSA-AES256-SHAnnn:xxx'],
  ['mail', "\tby h with esmtps  (TLS1.3) tls TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "\tby h with esmtps (TLS1.x:ke-RSA-AES256-SHAnnn:xxx)"],
  # dropped
  ['stdout', '_HAVE_DMARC=y', undef],
  ['stderr', '>>> host in tls_advertise_hosts? no (option unset)', undef],
  ['stderr', 'Exim version 4.99 #3 built today', 'Exim version x.yz ....'],
  # DKIM, SRS, PRVS
  ['log', 'DKIM: d=x t=1795461012 x=1795461112 [ok]', 'DKIM: d=x t=T x=T+100 [ok]'],
  ['log', '<= SRS0=aB1c=Zz=test.ex=user@h.ex', '<= SRS0=ZZZZ=YY=test.ex=user@h.ex'],
  ['log', 'prvs=user/0123456789@x', 'prvs=user/xxxxxxxxxx@x'],
  ['log', 'creating /tmp/rQ1/test/m.lock.myhost.harness.test.6a036c14.00004e25 failed',
    'creating TESTSUITE/m.lock.test.ex.dddddddd.pppppppp failed'],
  # dates and durations, more
  ['log', 'Logwrite "2026-11-23 19:10:12 x"', 'Logwrite "1999-03-02 09:44:33 x"'],
  ['mail', 'Datum: lun., 23 novembre 2026 19:10:12 +0100', "Datum: dim., 10 f\xE9vr 2019 20:05:49 +0000"],
  ['stdout', '23-Nov-2026 19:10:12 -0500, x', '07-Mar-2000 12:21:52 +0100, x'],
  ['log', 'first failed=100 last try=200 next try=800', 'first failed=dddd last try=dddd next try=+600'],
  ['stdout', 'Exim statistics from 2026-11-23 19:10:12 to 2026-11-23 19:11:12', 'Exim statistics from <time> to <time>'],
  ['stdout', 'seconds 23:10 are no date', 'seconds 23:10 are no date'],
  ['stderr', '19:10:12 777 x', '01:01:01 p1234 x'],
  ['stderr', '19:10:12.345 x', '01:01:01 x'],
  # wordings of systems and libraries
  ['log', 'the address is not a base 62 number', 'the address is not a base 36/62 number'],
  ['log', 'forced fail after 3 seconds', 'forced fail after d seconds'],
  ['stdout', 'Failed to open DB file /tmp/rQ1/test/spool/db/retry', 'Failed to open hintsdb file TESTSUITE/spool/db/retry'],
  ['log', 'random@h.ex myhost.test.ex-1795461012-testing', 'random@h.ex myhost.test.ex-dddddddd-testing'],
  ['stderr', 'fd_write=7 fd_read=8', 'fd_write=dddd fd_read=dddd'],
  ['log', 'could not connect to /s: Connection reset by peer', 'could not connect to /s: Connection refused'],
  ['log', 'x: No such file: while opening named pipe', 'x: Error: while opening named pipe'],
  ['log', 'Operation timed out', 'Connection timed out'],
  ['log', 'errno=111 x', 'errno=dd x'],
  ['log', 'm is not a regular file', 'm not a regular file or too many links'],
  ['log', 'm has too many links (2)', 'm not a regular file or too many links'],
  ['log', 'Arg list too long', 'Argument list too long'],
  ['log', 'Permission denied (13)', 'Permission denied (13)'],
  # retry keys
  ['stdout', '  T:a@b -22 77 text', '  T:a@b -22 xxxx text'],
  ['stdout', 'helo/ehlo h:1224 x', 'helo/ehlo h:PORT_S x'],
  ['stdout', 'Transport: h [127.0.0.1]:1224 error 1', 'Transport: h [127.0.0.1]:PORT_S error 1'],
  ['stdout', '  T:a@b -46 77 text', '  T:a@b -46 77 text'],
  # users and numbers
  ['stdout', 'name="Probe User"', 'name=CALLER_GECOS'],
  ['mail', 'From: eximtest@h', 'From: EXIMUSER@h'],
  ['log', 'uid=4294967295 gid=4294967295', 'uid=-1 gid=-1'],
  ['log', 'child 777 and Process 777', 'child p1234 and Process p1234'],
  ['log', 'x Ci=777 y', 'x Ci=p1234 y'],
  ['stdout', 'test-mail/temp.777.h', 'test-mail/temp.pppp.h'],
  ['stderr', '4002 LOG: MAIN', 'LOG: MAIN'],
  ['stderr', 'connection_id: abc', 'connection_id: conn1111'],
  ['log', 'waiting for 1 (777)', 'waiting for 1 (pppp)'],
  # sizes
  ['log', ',S is 312', ',S is ddddd'],
  ['stdout', 'MAIL FROM:<a@b> SIZE=1312', 'MAIL FROM:<a@b> SIZE=ssss'],
  ['log', 'MAIL FROM:<a@b> SIZE=1312', 'MAIL FROM:<a@b> SIZE=ssss'],
  ['stderr', 'message size = 312 x', 'message size = sss x'],
  ['log', 'space=1000 inodes=1000', 'space=xxxxx inodes=xxxxx'],
  ['stdout', 'Received     3KB 4', 'Received     nnn 4'],
  ['stdout', '-received_time_usec .123456', '-received_time_usec .uuuuuu'],
  ['stdout', '-received_time_complete 1795461012.123456', '-received_time_complete tttt.uuuuuu'],
  # mailboxes, listings, descriptors
  ['stdout', 'renamed tmp/1795461012.H1P2.h as new/1795461012.H1P2.h', 'renamed tmp/MAILDIR as new/MAILDIR'],
  ['stdout', '-rw-r-----.  1 a  b   312 x', '-rw-r----- 1 a b 312 x'],
  ['stdout', 'max fd = 12', 'max fd = dddd'],
  ['stdout', '  0 opt=0 status=8000 RDONLY', '  0 opt=0 STATUS'],
  # ports and connections
  ['stdout', 'Connection request from [::1]', 'Connection request from [ipv6]'],
  ['stdout', 'Connection request from [127.0.0.1] port 40000', 'Connection request from [127.0.0.1] port 10001'],
  ['mail', 'received-port: 1225', 'received-port: PORT_D'],
  ['log', '== a@b T=t [127.0.0.1]:1225 x', '== a@b T=t [127.0.0.1]:PORT_D x'],
  # TLS, more
  ['log', 'Certificate is required.', 'The peer did not send any certificate.'],
  ['log', 'TLS error on connection from h (gnutls_handshake): timed out', 'TLS error on connection from h (tls lib accept fn): timed out'],
  ['log', 'TLS session: (gnutls_handshake): timed out', 'TLS session: (tls lib connect fn): timed out'],
  ['log', '(gnutls_handshake): No common application protocol could be negotiated.', '(tls lib connect): error: <<ALPN>>'],
  ['log', 'X=TLS1.3:TLS_CHACHA20_POLY1305_SHA256:256', 'X=TLS1.x:ke-RSA-AES256-SHAnnn:xxx'],
  # dropped, more
  ['stdout', 'tls_resumption_hosts = *', undef],
  ['log', '2026-11-23 19:10:12 Berkeley DB error: x', undef],
  ['mail', 'X-Exim-Diagnostic: x', undef],
  ['stderr', '>>> host in hosts_proxy? no', undef],
  ['stderr', 'DKIM: no signatures', undef],
  ['stderr', '>>> host in hosts_avoid_tls? no', '>>> host in hosts_avoid_tls? no'],
  # behaviour that must stay visible
  ['log', '** a@b R=r T=t: Unrouteable address', '** a@b R=r T=t: Unrouteable address'],
  ['stdout', '550 5.1.1 no such user', '550 5.1.1 no such user'],
  ['mail', 'Subject: 23 November', 'Subject: 23 November'],
);

check_lines(fresh(), @$_) for @SINGLE;

# Numbering goes over all lines of a case, by first appearance.
my $m = fresh();
check_lines($m, 'log', "2026-11-23 19:10:12 $ID2 <= a R=$ID1", '1999-03-02 09:44:33 10HmaX-000000005vi-0000 <= a R=10HmaY-000000005vi-0000');
check_lines($m, 'mail', "Message-Id: <E$ID1\@h>", 'Message-Id: <E10HmaY-000000005vi-0000@h>');
check_lines($m, 'log', 'short 1vPabc-0005Xy-Ab', 'short 10HmaX-0005vi-00');
check_lines($m, 'log', '2026-11-23 19:10:12 [777] x pid=778', '1999-03-02 09:44:33 [1235] x pid=p1234');
check_lines($m, 'log', '2026-11-23 19:10:12 [778] x', '1999-03-02 09:44:33 [1236] x');
check_lines($m, 'log', 'connection from [10.0.0.1]:40001 lost', 'connection from [10.0.0.1]:10001 lost');
check_lines($m, 'log', 'connection from [10.0.0.1]:40002 lost', 'connection from [10.0.0.1]:10002 lost');
check_lines($m, 'log', 'connection from [10.0.0.1]:40001 again', 'connection from [10.0.0.1]:10001 again');

# The 26th id after aX is on the next letter.
my $ids = fresh();
my $last;
$last = $ids->map_ids(sprintf '1vP%03d-00000005XyZ-0Abc', $_) for 1 .. 5;
check('fifth id', $last, '10HmbB-000000005vi-0000');

# Older programs have ids of 16 characters, which then count as long ones.
check_lines(fresh(want_old_ids => 1), 'log', 'old 1vPabc-0005Xy-Ab', 'old 10HmaX-000000005vi-0000');

# Named rules, and cases that are compared as they are.
check_lines(fresh(custom => 'loopback'), 'stdout', 'h [::1] [127.0.0.1]', 'h [IP_LOOPBACK_ADDR] [127.0.0.1]');
check_lines(fresh(custom => 'timeout_errno'), 'log', 'host deferral x errno <110> y', 'host deferral x errno <EEE> y');
check_lines(fresh(no_munge => 1), 'stdout', '2026-11-23 19:10:12 x', '2026-11-23 19:10:12 x');

check_lines(fresh(custom => 'sync_check_data'), 'log', 'SMTP protocol synchronization error (x): next input="12345678 and more', 'SMTP protocol synchronization error (x): next input="1234567<suppressed>');
check_lines(fresh(custom => 'scanfile_size'), 'stdout', 'Content-length: 312', 'Content-length: ddd');
check_lines(fresh(custom => 'delay_1500'), 'stderr', 'x 1523 msec', 'x ssss msec');
check_lines(fresh(custom => 'optional_config'), 'stdout', 'tls_sni = ', undef);
check_lines(fresh(custom => 'optional_config'), 'stdout', 'port = smtp', 'port = smtp');
check('optional_dsn_info', fresh(custom => 'optional_dsn_info')->munge_text('test-mail/x', "Remote-MTA: X-ip; [10.0.0.1]\n more\nTo: x\n"), "To: x\n");
check('gnutls_bad_clientcert', fresh(custom => 'gnutls_bad_clientcert')->munge_text('test-stdout', "Succeeded in starting TLS\n"),
  "A TLS fatal alert has been received.\nFailed to start TLS\n");
check_lines(fresh(custom => 'gnutls_unexpected'), 'log', 'x: The TLS connection was non-properly terminated.', 'x: A TLS packet with unexpected length was received.');
check_lines(fresh(is_ipv6_case => 1), 'log', 'listening for SMTP on port 1225 (IPv6 and IPv4)', 'listening for SMTP on port PORT_D (IPv6 and IPv4)');
check_lines(fresh(port_dynamic => 2000), 'stdout', 'Connecting to 127.0.0.1 port 2000 x', 'Connecting to 127.0.0.1 port <dynamic port> x');
check('filter test headings', fresh(want_rmfiltertest => 1)->munge_text('test-stdout', "Testing Exim filter file \"x\"\n\nSender    = a\nx\n"), "Sender    = a\nx\n");
check('a question with its elements', fresh()->munge_text('test-stderr', ">>> host in pipelining_connect_advertise_hosts?\n>>>  list element: *\n>>> x\n"), ">>> x\n");
check('directory sizes', fresh()->munge_text('test-stderr', "check_dir_size: b\ncheck_dir_size: a\nx\n"),
  "MUNGED: the check_dir_size lines have been sorted to ensure consistency\ncheck_dir_size: a\ncheck_dir_size: b\nx\n");

# A maildirsize file, and names of messages in a maildir.
check('maildirsize', fresh()->munge_text('test-mail/x/maildirsize', "100S,20C\n312 1\n-312 -1\n"), "100S,20C\nddd d\nddd d\n");
my $box = fresh();
check('maildir name', $box->mail_name('new/1795461012.H1P2.myhost.test.ex'), 'new/1.myhost.test.ex');
check('maildir name', $box->mail_name('new/1795461013.H1P2.myhost.test.ex'), 'new/2.myhost.test.ex');
check('mailbox of the caller', $box->mail_name('probeuser'), 'CALLER');

# A DKIM signature loses its time, its value and the two lines after it.
check('DKIM signature', fresh()->munge_text('test-mail/x', "\tt=1795461012; x=1795461022; b=abc\n\tdef\n\tghi;\nTo: x\n"),
  "\tt=T; x=T+10; b=bbbb;\nTo: x\n");

print "$passed passed, $failed failed, 0 skipped\n";
exit($failed ? 1 : 0);
