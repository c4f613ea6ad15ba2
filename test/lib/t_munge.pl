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
check_lines($m, 'log', '2026-11-23 19:10:12 [778] x', '1999-03-02 09:44:33 [1234] x');
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
